"""From a cube, or several, to a bundle: networks trained, calibrated, judged and written."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from model.bundle.expected import EventScore, ExpectedScore, cases, figures
from model.bundle.summaries import BundleRecord
from model.inputs.best_inputs import best_inputs
from model.inputs.selection import Selection
from model.network.augmentation import mirror_signs
from model.network.training_plan import NetworkSpec, TrainingPlan, member_seed
from model.scores.probability_calibration import Calibration, CaseCalibration
from model.training.experiment import Experiment
from model.training.reference_scores import beside
from model.training.training_events import Lesson, chosen, lesson, materials
from pipeline.errors import ModelError
from pipeline.files import writable_parent
from pipeline.progress import Progress, no_progress

if TYPE_CHECKING:
    from model.network.inference import Probability
    from model.scores.scores import Scores


Predicted = tuple[NDArray[np.float32], NDArray[np.bool_]]
"""(n,) probability and (n,) truth of labelled pixels"""

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
    """Train a network on a cube, and on those of other events that `experiment` names, and write it as a bundle.

    Args:
        cube: path of a cube, or name of a built area. Scores are given for the numbers of passes that it has; another
            event counts where it has as many.
        out: folder of the bundle; a bundle that is there is replaced.
        seed: draws the split's arrangement, the initial weights and the chips; further members draw from others.

    Raises:
        CubeError: there is no such cube.
        ModelError: the cube cannot be trained on: no labels, no pass before or after the event, a missing variable, no
            landslide for one of train, validation and test; two cubes show the same event; or `out` holds something
            else.
    """
    started = time.monotonic()
    plan, experiment = plan or TrainingPlan(), experiment or Experiment()
    first, *others = materials(cube, experiment.event, experiment.others)
    notes: tuple[str, ...] = ()
    inputs = experiment.inputs
    if inputs is None:
        further = [other.dataset for other in others]
        inputs, notes = best_inputs(first.dataset, experiment.event, experiment.settled, further)
    if experiment.test_time == "mirrored":
        mirror_signs(inputs.channels)  # refuses what cannot be mirrored before anything is trained
    events = chosen((first, *others), inputs)  # refuses before anything is written

    from model.bundle import bundle
    from model.network.ensemble import probability_of
    from model.network.network import choose_device
    from model.network.training import train
    from model.network.weights import weights_of

    scratch = writable_parent(out)
    lessons = [lesson(event, inputs, experiment, plan, seed, scratch, progress) for event in events]
    learnt = [one.told for one in lessons]
    facts, selection = learnt[0].cube, learnt[0].selection
    spec = NetworkSpec(
        architecture=experiment.architecture,
        encoder=experiment.encoder,
        in_channels=len(inputs.channels),
        initial_weights=experiment.initial_weights,
    )
    scenes = [scene for one in lessons for scene in one.scenes()]
    members = [
        train(scenes, spec, plan, member_seed(seed, number), _named(progress, number, experiment.members))
        for number in range(experiment.members)
    ]
    trained, networks = members[0], [member.network for member in members]
    seen_by = probability_of(networks, choose_device(plan.device), inputs.channels, experiment.test_time)
    by_passes = dict(_by_passes(lessons, seen_by))
    every = by_passes[len(selection.after)]
    scale, validation, test = every.calibration, every.validation, every.test
    baselines = tuple(
        row for number, one in enumerate(lessons) for row in beside(one, seed + number, scratch, progress)
    )
    weights = weights_of(networks)
    document = bundle.sealed(
        weights,
        inputs=inputs,
        network=spec,
        members=len(members),
        parameters=sum(member.parameters for member in members),
        statistics=learnt[0].statistics,
        training=plan,
        cases=tuple(dict.fromkeys(len(view.after) for one in lessons for view in one.views)),
        test_time=experiment.test_time,
        notes=notes,
        seed=seed,
        split=learnt[0].split,
        grid=learnt[0].grid,
        cube=facts,
        selection=selection,
        others=tuple(learnt[1:]),
        history=trained.history,
        best_step=trained.best.step,
        validation=validation,
        test=test,
        events=every.events if others else (),
        baselines=baselines,
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
        simulated=document.simulated,
        events=document.events,
        baselines=document.baselines,
    )


def _named(progress: Progress, number: int, members: int) -> Progress:
    """A progress that says which member of an ensemble is trained."""
    if members == 1:
        return progress

    def of_member(what: str, done: int, total: int | None = None, remark: str = "", /) -> None:
        progress(f"{what} {number + 1} of {members}", done, total, remark)

    return of_member


@dataclass(frozen=True)
class _Judged:
    """What was fitted on the validation areas, and the scores there and on the test areas, thresholds calibrated."""

    calibration: Calibration
    validation: Scores
    test: Scores
    events: tuple[EventScore, ...]
    """test area by test area"""

    @property
    def in_short(self) -> Calibration:
        """Without the classes that a picture is drawn from."""
        return self.calibration.model_copy(update={"before": (), "after": ()})

    def expected(self, selection: Selection, after: int) -> ExpectedScore:
        """The row of a case."""
        return ExpectedScore(before=len(selection.before), after=after, **figures(self.test))


def _by_passes(lessons: Sequence[Lesson], seen_by: Probability) -> Iterator[tuple[int, _Judged]]:
    """Numbers of passes after the event that the first event has, and how maps with so many are judged.

    An event counts where it has as many. A number below all passes is left out where the inputs cannot be had with so
    few, or where none of its pixels is landslide.
    """
    selection = lessons[0].told.selection
    for after in cases(selection):
        try:
            yield after, _judged(lessons, after, seen_by)
        except ModelError as error:
            if after == len(selection.after):
                raise
            log.info("nothing is expected with %d passes after the event: %s", after, error)


def _judged(lessons: Sequence[Lesson], after: int, seen_by: Probability) -> _Judged:
    """One calibration and one threshold for all events: a map of another one has no label to choose them by."""
    from model.network.training import predictions
    from model.scores import probability_calibration as calibration
    from model.scores.scores import Ranking

    seen = [(one, scene) for one in lessons if (scene := one.seen_with(after)) is not None]
    chosen_on = _joined([predictions(scene, scene.split.boxes("validation"), seen_by) for _, scene in seen])
    tested = [predictions(scene, scene.split.boxes("test"), seen_by) for _, scene in seen]
    scale = calibration.fitted(*chosen_on)
    raw = Ranking.of(*chosen_on).scores()
    found = Ranking.of(*_joined(tested)).scores(raw.threshold)
    events = []
    for (one, _), pixels in zip(seen, tested, strict=True):
        own = Ranking.of(*pixels).scores(raw.threshold)
        facts = one.told.cube
        events.append(EventScore(area=facts.area, cube=facts.digest, **figures(own)))
    return _Judged(scale, scale.applied_to(raw), scale.applied_to(found), tuple(events))


def _joined(parts: Sequence[Predicted]) -> Predicted:
    return np.concatenate([score for score, _ in parts]), np.concatenate([truth for _, truth in parts])
