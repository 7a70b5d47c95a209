"""The scores of a prior: calibrations on the validation squares of its events, predictions of left-out events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from model.bundle.expected_scores import EventScore, area_score_fields
from model.inputs import cubes
from model.inputs.channel import DIRECTIONS, Array
from model.inputs.channel_source import ChannelSource, ScratchChannels
from model.inputs.channel_statistics import Statistics
from model.inputs.cube_channels import CubeChannels
from model.inputs.pass_subsets import PassSubset
from model.inputs.selection import Selection, select
from model.inputs.windows import Box, whole
from model.maps.map_plan import SMALLEST_M2
from model.network.training_plan import TestTime
from model.scores import probability_calibration
from model.scores.event_evidence import CountedEvent, EventEvidence
from model.scores.probability_calibration import Calibration
from model.scores.scores import Ranking, Scores
from model.training.prior.prior_training import TrainedPrior
from model.training.prior.stored_events import (
    CASES,
    INPUTS,
    SimulatedEvent,
    digest_of_cube,
    statistics_over_land,
    training_scenes,
)
from pipeline.errors import ModelError
from pipeline.progress import Progress

if TYPE_CHECKING:
    from model.network.inference import Probability
    from model.network.training_scene import Scene


TEST_TIME: TestTime = "plain"


@dataclass(frozen=True)
class ScoredCase:
    """Directions that are shown, and the number of an entry of `CASES`."""

    directions: tuple[str, ...]
    number: int

    def of(self, full: Selection) -> Selection:
        """The passes of this case.

        Raises:
            ModelError: the event has not as many.
        """
        case = CASES[self.number]
        found = PassSubset(before=case.before, after=case.after, directions=self.directions).of(full)
        if found is None:
            raise ModelError("A left-out event has fewer passes than a prior is scored with.")
        return found


SCORED = (
    *(ScoredCase((direction,), number) for direction in DIRECTIONS for number in (0, len(CASES) - 1)),
    *(ScoredCase(DIRECTIONS, number) for number in range(len(CASES))),
)
"""what a prior is calibrated and scored for: one direction alone with the first pass and with all, and both"""


@dataclass(frozen=True)
class Fitted:
    """The calibration of one case, and the scores on the validation squares before it."""

    calibration: Calibration
    validation: Scores


@dataclass(frozen=True)
class Tested:
    """The predictions for one left-out event."""

    name: str
    digest: str
    selections: dict[ScoredCase, Selection]
    predicted: dict[ScoredCase, tuple[np.ndarray, np.ndarray]]
    """(n,) probability and (n,) truth of labelled pixels, before calibration"""
    counted: dict[ScoredCase, EventEvidence]

    def score(self, case: ScoredCase, threshold: float) -> EventScore:
        """The score of one case at an uncalibrated threshold, which marks the same pixels as the calibrated one."""
        scores = Ranking.of(*self.predicted[case]).scores(threshold)
        return EventScore(area=self.name, cube=self.digest, **area_score_fields(scores))


class _OneView:
    """Channels of which one view alone is shown, as those of a cube that has no pass of the other one."""

    def __init__(self, source: ChannelSource, directions: tuple[str, ...]) -> None:
        names, self._source, self.shape = INPUTS.channels, source, source.shape
        absent = [d for d in DIRECTIONS if d not in directions]
        self._zero = [names.index(f"{word}@{d}") for d in absent for word in ("seen", "passes")]
        self._none = [
            number
            for number, name in enumerate(names)
            if any(name.endswith(f"@{d}") for d in absent) and number not in self._zero
        ]
        self._seen = [names.index(f"seen@{d}") for d in directions]

    def read(self, box: Box) -> Array:
        """(channel, y, x) float32, as `CubeChannels.read`."""
        values = self._source.read(box)
        unseen = ~(values[self._seen] > 0).any(axis=0)
        values[self._zero] = 0.0
        values[self._none] = np.nan
        values[:, unseen] = np.nan
        return values


def calibrations(
    trained: TrainedPrior, probability: Probability, progress: Progress
) -> dict[ScoredCase, Fitted]:
    """One calibration for each case, over the validation squares of all events together."""
    from model.network.training import predictions

    scenes = [
        scenes
        for number, one in enumerate(trained.records)
        if (scenes := training_scenes(one, trained.folder / "events", number))
    ]
    found = {}
    for done, case in enumerate(SCORED):
        progress("calibrate", done, len(SCORED))
        shown = [_shown(of_event[case.number], case.directions) for of_event in scenes]
        pixels = joined([predictions(scene, scene.split.boxes("validation"), probability) for scene in shown])
        found[case] = Fitted(probability_calibration.fitted(*pixels), Ranking.of(*pixels).scores())
    progress("calibrate", len(SCORED), len(SCORED))
    return found


def _shown(scene: Scene, directions: tuple[str, ...]) -> Scene:
    if directions == DIRECTIONS:
        return scene
    return replace(scene, channels=_OneView(scene.channels, directions))


def tested_event(
    event: SimulatedEvent,
    probability: Probability,
    scratch: Path,
    number: int,
    count: int,
    progress: Progress,
) -> Tested:
    """Predict a whole left-out event with each number of passes of each direction, as a map of it is made."""
    progress("left-out events", number, count, event.name)
    dataset = cubes.prepared(event.cube())
    full, labels = select(dataset, INPUTS), cubes.labels(dataset)
    selections = {}
    predicted = {}
    counted = {}
    digest = digest_of_cube(event.name, dataset)
    counting = CountedEvent(area=event.name, cube=digest, simulated=True, part="left-out event")
    pixel_m2 = float(np.prod(cubes.pixel_m(dataset)))
    for case in SCORED:
        selections[case] = case.of(full)
        source = CubeChannels(dataset, INPUTS, selections[case])
        channels = ScratchChannels(source, len(INPUTS.channels), scratch)
        mapped = _mapped(channels, statistics_over_land(channels, dataset), probability)
        known = np.isfinite(mapped) & (labels != cubes.UNMAPPED)
        predicted[case] = (mapped[known], labels[known] == 1)
        counted[case] = EventEvidence.of(counting, [(mapped, labels)], pixel_m2, SMALLEST_M2)
    progress("left-out events", number + 1, count, event.name)
    return Tested(event.name, digest, selections, predicted, counted)


def _mapped(
    channels: ScratchChannels, statistics: Statistics, probability: Probability
) -> NDArray[np.float32]:
    """(y, x) probability before calibration, NaN no data."""
    from model.network.inference import predict

    found = np.full(channels.shape, np.nan, dtype=np.float32)
    for strip in predict(channels, whole(channels.shape), statistics, probability):
        found[strip.box.slices] = strip.probability
    return found


def joined(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([score for score, _ in parts]), np.concatenate([truth for _, truth in parts])
