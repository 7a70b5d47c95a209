"""What methods without a network score where a bundle is judged: the figure that its network must beat."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from model.bundle.expected import BaselineScore, figures
from model.experiments.baselines import baseline_prediction
from model.experiments.results.results import Trial
from model.experiments.results.scored_scene import ScoredScene
from model.inputs import cubes
from model.inputs.cubes import UNMAPPED
from model.inputs.windows import mask_of
from model.network.training_plan import Progress
from model.scores.scores import Method, Ranking
from model.training.training_events import Lesson
from pipeline.errors import ModelError

log = logging.getLogger(__name__)

COMPARED: tuple[Method, ...] = ("log-ratio", "boosting")


def beside(lesson: Lesson, seed: int, scratch: Path, progress: Progress) -> Iterator[BaselineScore]:
    """Change detector and boosted pixels, trained and scored on the very pixels of a network.

    The classifier has the network's inputs, the detector those of its own that the cube has; a threshold is chosen on
    the validation area. A method that the cube cannot serve is left out.

    Args:
        scratch: folder for scratch files, which leave no trace.
    """
    told, split = lesson.told, lesson.told.split
    scene = ScoredScene(
        dataset=lesson.dataset,
        facts=told.cube,
        event=told.selection.event,
        labels=lesson.labels,
        scored=lesson.usable & (lesson.labels != UNMAPPED),
        pixel_m=cubes.pixel_m(lesson.dataset),
    )
    shape = lesson.labels.shape
    truth = lesson.labels == 1
    chosen_on, tested = (mask_of(split.boxes(part), shape) & scene.scored for part in ("validation", "test"))
    for number, method in enumerate(COMPARED):
        progress("without a network", number, len(COMPARED), method)
        trial = Trial(label=method, method=method, inputs=lesson.inputs, protocol="strict", seed=seed)
        try:
            made = baseline_prediction(scene, trial, split, scratch, channels=lesson.held[0])
            score = made.filled()
            threshold = Ranking.of(score[chosen_on], truth[chosen_on]).best_threshold
            scores = Ranking.of(score[tested], truth[tested]).scores(threshold)
        except ModelError as error:
            log.info("%s is not compared on %s: %s", method, told.cube.area, error)
            continue
        yield BaselineScore(area=told.cube.area, cube=told.cube.digest, method=method, **figures(scores))
    progress("without a network", len(COMPARED), len(COMPARED), "")
