"""The events that a bundle is trained on: of each its division, its statistics, and its views by number of passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from model.bundle.learnt_event import LearntEvent
from model.inputs import cubes
from model.inputs.channel_source import ScratchChannels
from model.inputs.channel_statistics import Statistics
from model.inputs.cube_channels import CubeChannels
from model.inputs.cubes import CubeFacts, footprint, grid_of
from model.inputs.inputs import EventSpan, Inputs
from model.inputs.selection import Selection, limit_passes, select
from model.network.training_plan import Case, TrainingPlan
from model.split.partition import Mask
from model.split.split import divide
from model.training.experiment import Experiment
from pipeline.errors import ModelError
from pipeline.progress import Progress

if TYPE_CHECKING:
    import xarray as xr

    from model.network.training_scene import Scene

SAME_EVENT = 0.5
"""share of the smaller inventory that two cubes of one grid have in common, from which on they show the same event"""


@dataclass(frozen=True)
class Material:
    """A cube with labels, before it is known what of it a network sees."""

    dataset: xr.Dataset
    facts: CubeFacts
    event: EventSpan | None
    """None: the one that the cube records"""


@dataclass(frozen=True)
class Chosen:
    """A cube of which a network sees the selected passes."""

    material: Material
    selection: Selection
    labels: NDArray[np.uint8]
    """(y, x) 1, 0, or 255 not mapped"""


@dataclass(frozen=True)
class Lesson:
    """One event as a network learns from it and is judged on it."""

    dataset: xr.Dataset
    inputs: Inputs
    told: LearntEvent
    labels: NDArray[np.uint8]
    """(y, x) 1, 0, or 255 not mapped"""
    usable: Mask
    """(y, x) whether the inputs of all passes are valid"""
    views: tuple[Selection, ...]
    """all passes first, then fewer after the event"""
    held: tuple[ScratchChannels, ...]
    """one for each view"""

    def scenes(self) -> list[Scene]:
        """What is learned from, one for each view."""
        return [self._scene(channels, channels.usable()) for channels in self.held]

    def seen_with(self, after: int) -> Scene | None:
        """What is judged with so many passes after the event; None: there are not so many.

        Raises:
            ModelError: the inputs cannot be had with so few passes.
        """
        most = len(self.told.selection.after)
        if after > most:
            return None
        if after == most:
            return self._scene(self.held[0], self.usable)
        fewer = limit_passes(self.told.selection, None, after)
        return self._scene(CubeChannels(self.dataset, self.inputs, fewer), self.usable)

    def _scene(self, channels: CubeChannels | ScratchChannels, usable: Mask) -> Scene:
        from model.network.training_scene import Scene

        return Scene(channels, self.labels, usable, self.told.split, self.told.statistics)


def materials(cube: str, event: EventSpan | None, others: Sequence[str]) -> list[Material]:
    """The cubes that are learned from, the first one's event as given.

    Raises:
        CubeError: one is not there.
        ModelError: two of them show the same event on the same ground, so that what one is tested on may be what the
            other is learned from.
    """
    found = [Material(*cubes.load(cube), event), *(Material(*cubes.load(other), None) for other in others)]
    for number, one in enumerate(found):
        for other in found[:number]:
            _refuse_same(other, one)
    return found


def chosen(events: Sequence[Material], inputs: Inputs) -> list[Chosen]:
    """Select the passes of every event; no channel is read, and nothing is written.

    Raises:
        ModelError: one has no labels, no pass before or after the event, or lacks a variable.
    """
    found = []
    for event in events:
        try:
            selection = select(event.dataset, inputs, event.event)
            found.append(Chosen(event, selection, cubes.labels(event.dataset)))
        except ModelError as error:
            if len(events) == 1:
                raise
            raise ModelError(f"{event.facts.uri}: {error.message}", error.remedy) from error
    return found


def lesson(
    event: Chosen,
    inputs: Inputs,
    experiment: Experiment,
    plan: TrainingPlan,
    seed: int,
    scratch: Path,
    progress: Progress,
) -> Lesson:
    """Read, divide and measure an event.

    Args:
        seed: draws the arrangement of the division.
        scratch: folder for the copy of the channels, which leaves no file.

    Raises:
        ModelError: no landslide for one of train, validation and test.
    """
    material, selection, labels = event.material, event.selection, event.labels
    dataset = material.dataset
    views = _views(selection, inputs, experiment.cases)
    held = []
    for number, view in enumerate(views):
        progress(f"read {material.facts.area}", number, len(views), view.track)
        held.append(ScratchChannels(CubeChannels(dataset, inputs, view), len(inputs.channels), scratch))
    progress(f"read {material.facts.area}", len(views), len(views), views[0].track)
    usable = held[0].usable()
    split_plan = experiment.split.model_copy(update={"shortest_px": plan.chip_px})
    split = divide(labels, usable, split_plan, seed)
    told = LearntEvent(
        cube=material.facts,
        grid=grid_of(dataset),
        split=split,
        selection=selection,
        statistics=Statistics.of(held[0], inputs.channels, split.train),
    )
    return Lesson(dataset, inputs, told, labels, usable, tuple(views), tuple(held))


def _views(selection: Selection, inputs: Inputs, cases: tuple[Case, ...] | None) -> list[Selection]:
    """What the network is trained on: all passes that were selected first, then fewer of them after the event."""
    most = len(selection.after)
    if cases is None:
        cases = tuple(Case(after=n) for n in (1, 2) if n < most) if inputs.after is None else ()
    found = {(len(selection.before), most): selection}
    for case in cases:
        fewer = limit_passes(selection, case.before, case.after)
        found.setdefault((len(fewer.before), len(fewer.after)), fewer)
    return list(found.values())


def _refuse_same(one: Material, other: Material) -> None:
    """A split of one says nothing of the other's: the same event may not come in twice."""
    twice = one.facts.digest == other.facts.digest
    grids = grid_of(one.dataset), grid_of(other.dataset)
    if not twice and grids[0] is not None and grids[1] is not None:
        if grids[0] == grids[1] and one.facts.shape == other.facts.shape:
            first, second = (cubes.labels(each.dataset) == 1 for each in (one, other))
            common = int((first & second).sum())
            twice = common > SAME_EVENT * min(int(first.sum()), int(second.sum()))
        else:
            spans = [each.event or EventSpan.of_cube(each.dataset) for each in (one, other)]
            overlap = footprint(grids[0], one.facts.shape).intersects(footprint(grids[1], other.facts.shape))
            twice = overlap and spans[0] == spans[1]
    if twice:
        raise ModelError(
            f"{one.facts.uri} and {other.facts.uri} show the same event on the same ground: what one of them is tested "
            "on may be what the other is learned from.",
            "Name each event once.",
        )
