"""Reference scores: what methods without a network reach on the test area that a network is scored on."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from model.bundle.expected_scores import BaselineScore, area_score_fields
from model.experiments.baselines import baseline_prediction
from model.experiments.results.results import Trial
from model.experiments.results.scored_scene import ScoredScene
from model.inputs import cubes
from model.inputs.cubes import UNMAPPED
from model.inputs.windows import mask_of
from model.scores.scores import Method, Ranking
from model.training.training_data import EventData, TrainingRun
from pipeline.errors import ModelError

log = logging.getLogger(__name__)

COMPARED: tuple[Method, ...] = ("log-ratio", "boosting")


def reference_scores(data: EventData, run: TrainingRun, seed: int) -> Iterator[BaselineScore]:
    """Score the change detector and boosted pixels on the test pixels of a network, after the same training pixels.

    The classifier has the network's inputs, the detector those of its own that the cube has. Each threshold is chosen
    on the validation area. A method that the cube does not allow is left out.

    Args:
        seed: of the classifier.
    """
    event, split = data.event, data.event.split
    scene = ScoredScene(
        dataset=data.dataset,
        facts=event.cube,
        event=event.selection.event,
        labels=data.labels,
        scored=data.usable & (data.labels != UNMAPPED),
        pixel_m=cubes.pixel_m(data.dataset),
    )
    shape = data.labels.shape
    truth = data.labels == 1
    validation, test = (mask_of(split.boxes(part), shape) & scene.scored for part in ("validation", "test"))
    for number, method in enumerate(COMPARED):
        run.progress("methods without a network", number, len(COMPARED), method)
        trial = Trial(label=method, method=method, inputs=data.inputs, protocol="strict", seed=seed)
        try:
            made = baseline_prediction(scene, trial, split, run.scratch, channels=data.channels[0])
            score = made.filled()
            threshold = Ranking.of(score[validation], truth[validation]).best_threshold
            scores = Ranking.of(score[test], truth[test]).scores(threshold)
        except ModelError as error:
            log.info("%s is not compared on %s: %s", method, event.cube.area, error)
            continue
        yield BaselineScore(
            area=event.cube.area, cube=event.cube.digest, method=method, **area_score_fields(scores)
        )
    run.progress("methods without a network", len(COMPARED), len(COMPARED))
