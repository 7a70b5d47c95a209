"""What commands and flows call: train a bundle on a cube, map a cube, map it without training. Torch is loaded late."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from model import cubes
from model.augmentation import turned_by_mirror
from model.best import best_inputs
from model.calibration import Calibration, CaseCalibration
from model.channels import CubeChannels, ScratchChannels, Statistics
from model.expected import ExpectedScore, cases
from model.folders import writable_parent
from model.inputs import Inputs
from model.mapping import grid_of, map_cube, map_log_ratio
from model.plan import Case, Experiment, NetworkSpec, Progress, TrainingPlan, member_seed, no_progress
from model.records import BundleRecord, ReleaseRecord
from model.selection import Selection, narrowed, select
from model.split import divide
from pipeline.errors import ModelError

if TYPE_CHECKING:
    import xarray as xr

    from model.channels import ChannelSource
    from model.scores import Scores

__all__ = [
    "BundleRecord",
    "Experiment",
    "ReleaseRecord",
    "TrainingPlan",
    "map_cube",
    "map_log_ratio",
    "train_bundle",
]

log = logging.getLogger(__name__)


def train_bundle(
    cube: str,
    out: Path,
    *,
    plan: TrainingPlan | None = None,
    seed: int = 0,
    experiment: Experiment | None = None,
    progress: Progress = no_progress,
) -> BundleRecord:
    """Train a network on a cube and write it as a bundle.

    Args:
        cube: path of a cube, or name of a built area.
        out: folder of the bundle; a bundle that is there is replaced.
        seed: draws the split's arrangement, the initial weights and the chips; further members draw from others.

    Raises:
        CubeError: there is no such cube.
        ModelError: the cube cannot be trained on: no labels, no pass before or after the event, a missing variable, no
            landslide for one of train, validation and test; or `out` holds something else.
    """
    started = time.monotonic()
    plan, experiment = plan or TrainingPlan(), experiment or Experiment()
    dataset, facts = cubes.load(cube)
    notes: tuple[str, ...] = ()
    inputs = experiment.inputs
    if inputs is None:
        inputs, notes = best_inputs(dataset, experiment.event, experiment.settled)
    if experiment.test_time == "mirrored":
        turned_by_mirror(inputs.channels)  # refuses what cannot be mirrored before anything is trained
    selection = select(dataset, inputs, experiment.event)
    labels = cubes.labels(dataset)

    from model import bundle, calibration
    from model.ensemble import viewed
    from model.network import choose_device
    from model.scores import Ranking
    from model.training import Scene, predictions, train

    scratch = writable_parent(out)
    views = _views(selection, inputs, experiment.cases)
    channels, *fewer = _held(dataset, inputs, views, scratch, progress)
    usable = channels.usable()
    split_plan = experiment.split.model_copy(update={"shortest_px": plan.chip_px})
    split = divide(labels, usable, split_plan, seed)
    statistics = Statistics.of(channels, inputs.channels, split.train)
    scenes = [Scene(one, labels, one.usable(), split, statistics) for one in (channels, *fewer)]
    spec = NetworkSpec(
        encoder=experiment.encoder,
        in_channels=len(inputs.channels),
        initial_weights=experiment.initial_weights,
    )
    members = [
        train(scenes, spec, plan, member_seed(seed, number), _named(progress, number, experiment.members))
        for number in range(experiment.members)
    ]
    trained, networks = members[0], [member.network for member in members]
    seen_by = viewed(networks, choose_device(plan.device), inputs.channels, experiment.test_time)

    def judged(source: ChannelSource) -> _Judged:
        seen = Scene(source, labels, usable, split, statistics)
        chosen_on = predictions(seen, split.validation, seen_by)
        scale = calibration.fitted(*chosen_on)
        raw = Ranking.of(*chosen_on).scores()
        found = Ranking.of(*predictions(seen, split.test, seen_by)).scores(raw.threshold)
        return _Judged(scale, scale.applied_to(raw), scale.applied_to(found))

    every = judged(channels)
    scale, validation, test = every.calibration, every.validation, every.test
    by_passes = dict(_by_passes(dataset, inputs, selection, judged))
    by_passes[len(selection.after)] = every
    weights = bundle.weights_of(networks)
    document = bundle.sealed(
        weights,
        inputs=inputs,
        network=spec,
        members=len(members),
        parameters=sum(member.parameters for member in members),
        statistics=statistics,
        training=plan,
        cases=tuple(len(view.after) for view in views),
        test_time=experiment.test_time,
        notes=notes,
        seed=seed,
        split=split,
        grid=grid_of(dataset),
        cube=facts,
        selection=selection,
        history=trained.history,
        best_step=trained.best.step,
        validation=validation,
        test=test,
        calibration=scale,
        by_passes=tuple(
            CaseCalibration(after=after, calibration=found.in_short, threshold=found.validation.threshold)
            for after, found in by_passes.items()
            if found is not every
        ),
        expected=tuple(found.expected(selection, after) for after, found in by_passes.items()),
        device=trained.device,
    )
    bundle.save(document, weights, out)
    log.info(
        "model %s: test AUPRC %.4f at prevalence %.4f", document.digest[:12], test.auprc, test.prevalence
    )
    return BundleRecord(
        path=out,
        digest=document.digest,
        area=facts.area,
        cube=facts.uri,
        cube_version=facts.version,
        track=selection.track,
        passes_before=len(selection.before),
        passes_after=len(selection.after),
        auprc=test.auprc,
        prevalence=test.prevalence,
        validation_auprc=validation.auprc,
        threshold=document.threshold,
        parameters=document.parameters,
        calibration_error=scale.error_after,
        expected=document.expected,
        seconds=round(time.monotonic() - started, 1),
        simulated=facts.simulated,
    )


def _named(progress: Progress, number: int, members: int) -> Progress:
    """A progress that says which member of an ensemble is trained."""
    if members == 1:
        return progress

    def told(stage: str, done: int, total: int, remark: str) -> None:
        progress(f"{stage} {number + 1} of {members}", done, total, remark)

    return told


def _views(selection: Selection, inputs: Inputs, cases: tuple[Case, ...] | None) -> list[Selection]:
    """What the network is trained on: all passes that were selected first, then fewer of them after the event."""
    most = len(selection.after)
    if cases is None:
        cases = tuple(Case(after=n) for n in (1, 2) if n < most) if inputs.after is None else ()
    found = {(len(selection.before), most): selection}
    for case in cases:
        fewer = narrowed(selection, case.before, case.after)
        found.setdefault((len(fewer.before), len(fewer.after)), fewer)
    return list(found.values())


def _held(
    cube: xr.Dataset, inputs: Inputs, views: list[Selection], scratch: Path, progress: Progress
) -> list[ScratchChannels]:
    """The channels of every view, read once from the cube."""
    held = []
    for number, view in enumerate(views):
        progress("read", number, len(views), view.track)
        held.append(ScratchChannels(CubeChannels(cube, inputs, view), len(inputs.channels), scratch))
    progress("read", len(views), len(views), views[0].track)
    return held


@dataclass(frozen=True)
class _Judged:
    """What was fitted on the validation area, and the scores there and on the test area, thresholds calibrated."""

    calibration: Calibration
    validation: Scores
    test: Scores

    @property
    def in_short(self) -> Calibration:
        """Without the classes that a picture is drawn from."""
        return self.calibration.model_copy(update={"before": (), "after": ()})

    def expected(self, selection: Selection, after: int) -> ExpectedScore:
        """The row of a case."""
        return ExpectedScore(
            before=len(selection.before),
            after=after,
            auprc=self.test.auprc,
            prevalence=self.test.prevalence,
            f1=self.test.f1,
            pixels=self.test.pixels,
        )


def _by_passes(
    cube: xr.Dataset, inputs: Inputs, selection: Selection, judged: Callable[[ChannelSource], _Judged]
) -> Iterator[tuple[int, _Judged]]:
    """Numbers of passes after the event below all of them, and how maps with so many are judged.

    A number is left out where the inputs cannot be had with so few passes, or where none of its pixels is landslide.
    """
    for after in cases(selection):
        if after < len(selection.after):
            try:
                yield after, judged(CubeChannels(cube, inputs, narrowed(selection, None, after)))
            except ModelError as error:
                log.info("nothing is expected with %d passes after the event: %s", after, error)
