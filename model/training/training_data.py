"""The training set of a model: of each event its cube, passes, split, statistics and channels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from model.bundle.training_event import TrainingEvent
from model.detector.land import OverLand
from model.inputs import cubes
from model.inputs.channel_source import ScratchChannels
from model.inputs.channel_statistics import Statistics
from model.inputs.cube_channels import CubeChannels
from model.inputs.cubes import CubeFacts, footprint, grid_of
from model.inputs.inputs import EventSpan, Inputs
from model.inputs.pass_subsets import PassSubset, limit_passes, most_after, passes_by_view
from model.inputs.selection import Selection, select
from model.network.training_plan import Case, TrainingPlan
from model.split.partition import Mask
from model.split.split import divide
from model.training.experiment import Experiment
from pipeline.errors import ModelError
from pipeline.progress import Progress

if TYPE_CHECKING:
    import xarray as xr

    from model.network.training_scene import Scene

FEW_BEFORE = 4
"""passes before the event in one of the cases that a network which takes any view is trained on"""
SAME_EVENT = 0.5
"""two cubes on one grid show the same event from this common share of the smaller inventory"""


@dataclass(frozen=True)
class TrainingRun:
    """The settings of one training run, which are the same for all its events."""

    inputs: Inputs
    experiment: Experiment
    plan: TrainingPlan
    seed: int
    """of the split, the initial weights and the chips"""
    scratch: Path
    """folder for copies of the channels, which leave no file"""
    progress: Progress


@dataclass(frozen=True)
class LabelledCube:
    """A cube of the training set, before its passes are selected."""

    dataset: xr.Dataset
    facts: CubeFacts
    event: EventSpan | None
    """None: the event that the cube records"""


@dataclass(frozen=True)
class SelectedCube:
    """A cube of the training set with the passes that the inputs take."""

    cube: LabelledCube
    selection: Selection
    labels: NDArray[np.uint8]
    """(y, x) 1, 0, or 255 not mapped"""


@dataclass(frozen=True)
class EventData:
    """The data of one training event: what a network is trained and evaluated on."""

    dataset: xr.Dataset
    inputs: Inputs
    event: TrainingEvent
    labels: NDArray[np.uint8]
    """(y, x) 1, 0, or 255 not mapped"""
    usable: Mask
    """(y, x) whether the inputs of all passes are valid"""
    selections: tuple[Selection, ...]
    """all passes first, then fewer after the event"""
    channels: tuple[ScratchChannels, ...]
    """one for each selection"""

    @property
    def land(self) -> OverLand:
        """The channels with all passes, NaN over water."""
        return OverLand(self.channels[0], self.inputs.channels, self.dataset)

    def training_scenes(self) -> list[Scene]:
        """The scenes that a network is trained on, one for each selection of passes."""
        return [self._scene(channels, channels.usable()) for channels in self.channels]

    def scene_with(self, case: PassSubset) -> Scene | None:
        """The scene with some of its passes, for evaluation; None: the event has not as many.

        Raises:
            ModelError: the inputs cannot be computed from so few passes.
        """
        passes = case.of(self.event.selection)
        if passes is None:
            return None
        if passes == self.event.selection:
            return self._scene(self.channels[0], self.usable)
        return self._scene(CubeChannels(self.dataset, self.inputs, passes), self.usable)

    def _scene(self, channels: CubeChannels | ScratchChannels, usable: Mask) -> Scene:
        from model.network.training_scene import Scene

        return Scene(channels, self.labels, usable, self.event.split, self.event.statistics)


def labelled_cubes(cube: str, experiment: Experiment) -> list[LabelledCube]:
    """Open the cubes of the training set; the experiment's event is that of `cube`.

    Raises:
        CubeError: a cube does not exist.
        ModelError: two cubes show the same event on the same ground, so that the test area of one may lie in the
            training area of the other.
    """
    found = [
        LabelledCube(*cubes.load(cube), experiment.event),
        *(LabelledCube(*cubes.load(other), None) for other in experiment.others),
    ]
    for number, one in enumerate(found):
        for other in found[:number]:
            _refuse_same_event(other, one)
    return found


def select_passes(labelled: Sequence[LabelledCube], inputs: Inputs) -> list[SelectedCube]:
    """Select the passes of every event. No channel is read, and nothing is written.

    Raises:
        ModelError: a cube has no labels, no pass before or after the event, or lacks a variable.
    """
    found = []
    for one in labelled:
        with _named(one, several=len(labelled) > 1):
            selection = select(one.dataset, inputs, one.event)
            found.append(SelectedCube(one, selection, cubes.labels(one.dataset)))
    return found


@contextmanager
def _named(one: LabelledCube, *, several: bool) -> Iterator[None]:
    """An error of the block names the cube, where the training set has several."""
    try:
        yield
    except ModelError as error:
        if not several:
            raise
        raise ModelError(f"{one.facts.uri}: {error.message}", error.remedy) from error


def event_data(selected: SelectedCube, run: TrainingRun) -> EventData:
    """Read the channels of an event, split its scene and compute the statistics of its training area, over land.

    Raises:
        ModelError: a part of the split (train, validation or test) holds no landslide.
    """
    cube, labels, inputs = selected.cube, selected.labels, run.inputs
    selections = _selections(selected.selection, inputs, run.experiment.cases)
    stage, count = f"read {cube.facts.area}", len(selections)
    channels = []
    for number, selection in enumerate(selections):
        run.progress(stage, number, count, selection.track)
        source = CubeChannels(cube.dataset, inputs, selection)
        channels.append(ScratchChannels(source, len(inputs.channels), run.scratch))
    run.progress(stage, count, count, selections[0].track)
    usable = channels[0].usable()
    split_plan = run.experiment.split.model_copy(update={"shortest_px": run.plan.chip_px})
    with _named(cube, several=bool(run.experiment.others)):
        split = divide(labels, usable, split_plan, run.seed)
    land = OverLand(channels[0], inputs.channels, cube.dataset)
    event = TrainingEvent(
        cube=cube.facts,
        grid=grid_of(cube.dataset),
        split=split,
        selection=selected.selection,
        statistics=Statistics.of(land, inputs.channels, split.train),
    )
    return EventData(cube.dataset, inputs, event, labels, usable, tuple(selections), tuple(channels))


def _selections(selection: Selection, inputs: Inputs, cases: tuple[Case, ...] | None) -> list[Selection]:
    """The selections that a network is trained on: all passes first, then fewer after the event."""
    most = most_after(selection)
    if cases is None:
        few = FEW_BEFORE if inputs.views == "any" else None
        wanted = (Case(after=1), Case(before=few, after=2))
        cases = tuple(case for case in wanted if (case.after or 1) < most) if inputs.after is None else ()
    found = {passes_by_view(selection): selection}
    for case in cases:
        fewer = limit_passes(selection, case.before, case.after)
        found.setdefault(passes_by_view(fewer), fewer)
    return list(found.values())


def _refuse_same_event(one: LabelledCube, other: LabelledCube) -> None:
    """Refuse two cubes of one event: the split of one does not separate the pixels of the other."""
    same = one.facts.digest == other.facts.digest
    grids = grid_of(one.dataset), grid_of(other.dataset)
    if not same and grids[0] is not None and grids[1] is not None:
        if grids[0] == grids[1] and one.facts.shape == other.facts.shape:
            first, second = (cubes.labels(each.dataset) == 1 for each in (one, other))
            common = int((first & second).sum())
            same = common > SAME_EVENT * min(int(first.sum()), int(second.sum()))
        else:
            spans = [each.event or EventSpan.of_cube(each.dataset) for each in (one, other)]
            overlap = footprint(grids[0], one.facts.shape).intersects(footprint(grids[1], other.facts.shape))
            same = overlap and spans[0] == spans[1]
    if same:
        raise ModelError(
            f"{one.facts.uri} and {other.facts.uri} show the same event on the same ground: the test area of one may "
            "lie in the training area of the other.",
            "Name each event once.",
        )
