"""Evaluation of a trained model with each number of passes: calibration, threshold, scores. Imports torch."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.bundle.expected_scores import (
    EventScore,
    ExpectedScore,
    area_score_fields,
    mean_score,
    scored_cases,
)
from model.inputs import cubes
from model.inputs.pass_subsets import PassSubset, ViewPasses, passes_by_view
from model.inputs.selection import Selection
from model.maps.map_plan import SMALLEST_M2
from model.network.inference import Probability, labelled_pixels, predicted_areas
from model.scores import probability_calibration
from model.scores.case_evidence import CaseEvidence
from model.scores.event_evidence import CountedEvent, EventEvidence
from model.scores.probability_calibration import Calibration, CaseCalibration
from model.scores.scores import Ranking, Scores
from model.training.training_data import EventData
from pipeline.errors import ModelError

Predicted = tuple[NDArray[np.float32], NDArray[np.bool_]]
"""(n,) probability and (n,) truth of labelled pixels"""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """The calibration, fitted on the validation areas, and the scores with calibrated thresholds."""

    calibration: Calibration
    validation: Scores
    test: Scores
    events: tuple[EventScore, ...]
    """scores on the test area of each event"""
    validation_events: tuple[EventScore, ...]
    """scores on the validation area of each event"""

    evidence: CaseEvidence
    """what maps are worth, counted on the test areas"""
    selection: Selection
    """the passes of the first event"""
    views: tuple[ViewPasses, ...]
    """their numbers, of a network that takes any view; else empty"""

    def case_calibration(self) -> CaseCalibration:
        """The calibration of maps of these passes, without its reliability classes."""
        short = self.calibration.model_copy(update={"before": (), "after": ()})
        return CaseCalibration(
            after=len(self.selection.after),
            views=self.views,
            calibration=short,
            threshold=self.validation.threshold,
        )

    def expected_score(self) -> ExpectedScore:
        """The score to expect of maps of these passes."""
        return ExpectedScore(
            before=len(self.selection.before),
            after=len(self.selection.after),
            events=len(self.events),
            views=self.views,
            **mean_score(self.events).model_dump(),
        )


def evaluations(events: Sequence[EventData], probability: Probability) -> Iterator[Evaluation]:
    """Evaluate with each number of passes after the event that the first event has; all passes come last.

    A network that takes any view is evaluated with each direction alone too. An event counts where it has as many
    passes. A number below all passes is left out where the inputs cannot be computed from so few passes, or where none
    of the pixels is landslide.

    Raises:
        ModelError: no evaluation with all passes is possible.
    """
    first = events[0]
    *fewer, every = scored_cases(first.event.selection, first.inputs)
    for case in fewer:
        try:
            yield _evaluation(events, case, probability)
        except ModelError as error:
            log.info("the model has no score with %s: %s", case, error)
    yield _evaluation(events, every, probability)


def _evaluation(events: Sequence[EventData], case: PassSubset, probability: Probability) -> Evaluation:
    """One calibration and one threshold for all events: a map of another event has no labels to choose them by."""
    able = [(one, scene) for one in events if (scene := one.scene_with(case)) is not None]
    scenes = [(one.event.cube, scene) for one, scene in able]
    first = events[0]
    selection = case.of(first.event.selection) or first.event.selection
    in_validation, in_test = (
        [predicted_areas(scene, scene.split.boxes(part), probability) for _, scene in scenes]
        for part in ("validation", "test")
    )
    validations, tests = (list(map(labelled_pixels, parts)) for parts in (in_validation, in_test))
    validation = _joined(validations)
    calibration = probability_calibration.fitted(*validation)
    on_validation = Ranking.of(*validation).scores()
    threshold = on_validation.threshold
    on_test = Ranking.of(*_joined(tests)).scores(threshold)
    on_validation_by_event, on_test_by_event = (
        tuple(
            EventScore(
                area=cube.area, cube=cube.digest, **area_score_fields(Ranking.of(*pixels).scores(threshold))
            )
            for (cube, _), pixels in zip(scenes, parts, strict=True)
        )
        for parts in (validations, tests)
    )
    views = passes_by_view(selection) if first.inputs.views == "any" else ()
    evidence = CaseEvidence(
        before=len(selection.before),
        after=len(selection.after),
        views=views,
        smallest_m2=SMALLEST_M2,
        events=tuple(
            EventEvidence.of(
                CountedEvent(
                    area=one.event.cube.area,
                    cube=one.event.cube.digest,
                    simulated=one.event.cube.simulated,
                    part="test area",
                ),
                rectangles,
                float(np.prod(cubes.pixel_m(one.dataset))),
                SMALLEST_M2,
            )
            for (one, _), rectangles in zip(able, in_test, strict=True)
        ),
    )
    return Evaluation(
        calibration,
        calibration.applied_to(on_validation),
        calibration.applied_to(on_test),
        on_test_by_event,
        on_validation_by_event,
        evidence,
        selection,
        views,
    )


def _joined(parts: Sequence[Predicted]) -> Predicted:
    return np.concatenate([score for score, _ in parts]), np.concatenate([truth for _, truth in parts])
