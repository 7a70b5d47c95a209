"""The methods that a network must beat: change without training, and classifiers of single pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, uniform_filter
from scipy.special import expit, logit

from model.experiments.results.prediction import Prediction
from model.experiments.results.results import Trial
from model.experiments.results.scored_scene import ScoredScene
from model.inputs.channel_source import ChannelSource, ScratchChannels
from model.inputs.channel_statistics import Statistics
from model.inputs.cubes import UNMAPPED
from model.inputs.inputs import Inputs
from model.inputs.windows import Box, tiles, whole
from model.maps.log_ratio import LogRatioPlan, log_ratio_rows
from model.scores.scores import Method
from model.split.partition import Mask, Partition
from pipeline.errors import ModelError

BOXES_PX = (3, 7, 15)
"""sides of the box means of a pixel's surroundings"""
CONTEXT_PX = max(BOXES_PX) // 2
"""pixels around a tile that its box means need"""
TILE_PX = 512
MOST_PIXELS = 60_000
"""at most this many training pixels for a classifier, half of them landslides if there are enough"""
SMALLEST_CURVATURE_PER_M = -0.005
CURVATURE_SIGMA_M = 60.0
"""Laplacian of the elevation after a Gaussian of 60 m, below which a pixel lies on a ridge and is left out: the
constants of the published scripts of Handwerger et al. (2022)"""


def baseline_prediction(
    scene: ScoredScene,
    trial: Trial,
    parts: Partition,
    scratch: Path,
    *,
    channels: ChannelSource | None = None,
    learned_on: Sequence[tuple[ScoredScene, Partition]] = (),
) -> Prediction:
    """The prediction of a method that is no network. Classifiers predict the validation and test rectangles only.

    Args:
        scratch: folder for a copy of the channels, which leaves no file.
        channels: those of the trial's inputs, if they have been read before.
        learned_on: other scenes and their divisions that a classifier is trained on instead, each standardised with the
            statistics of its own training pixels; this scene is then standardised by its own inputs. Empty: this scene.

    Raises:
        ModelError: the method is unknown, or the training area has no landslide or nothing else.
    """
    if trial.method == "random":
        return _random(scene, trial)
    if trial.method == "log-ratio":
        return _log_ratio(scene, trial)
    if trial.method not in ("logistic", "boosting"):
        raise ModelError(f"{trial.method!r} is no method without a network.")
    if channels is None:
        channels = _read(scene, trial, scratch)
    if not learned_on:
        tested = _Pixels.of(scene, trial, parts, channels)
        return _classifier(tested, [tested], trial)
    every = np.isfinite(scene.labels)  # no label is read
    tested = _Pixels.of(scene, trial, parts, channels, every)
    learned = [
        _Pixels.of(other, trial, divided, _read(other, trial, scratch)) for other, divided in learned_on
    ]
    return _classifier(tested, learned, trial)


def _read(scene: ScoredScene, trial: Trial, scratch: Path) -> ScratchChannels:
    scratch.mkdir(parents=True, exist_ok=True)
    selection = scene.select(trial.inputs)
    if trial.tested is not None and (passes := trial.tested.of(selection)) is not None:
        selection = passes
    return scene.copied(trial.inputs, selection, scratch)


@dataclass(frozen=True)
class _Pixels:
    """The pixels of a scene that a classifier is trained on, or whose scores it predicts."""

    scene: ScoredScene
    parts: Partition
    source: ChannelSource
    statistics: Statistics
    train: Mask
    """(y, x) pixels to train on"""

    @classmethod
    def of(
        cls,
        scene: ScoredScene,
        trial: Trial,
        parts: Partition,
        source: ChannelSource,
        standardised_by: Mask | None = None,
    ) -> _Pixels:
        """
        Args:
            standardised_by: (y, x) pixels whose statistics are taken; None: those to train on.
        """
        shape = scene.shape
        train = parts.train_mask(shape) & scene.scored & (scene.labels != UNMAPPED)
        counted = train if standardised_by is None else standardised_by
        statistics = Statistics.of(source, trial.inputs.channels, (whole(shape),), counted)
        for tile in tiles(whole(shape), TILE_PX):
            train[tile.slices] &= statistics.valid(source.read(tile))
        return cls(scene, parts, source, statistics, train)

    def sampled(self, most: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """(n, feature) of at most so many training pixels; (n,) whether they are landslides."""
        shape, labels = self.scene.shape, self.scene.labels
        chosen = _sample(self.train, labels, most, rng)
        width = len(self.statistics.channels) * (1 + len(BOXES_PX))
        table = np.empty((len(chosen), width), dtype=np.float32)
        for tile in tiles(whole(shape), TILE_PX):
            inside = np.flatnonzero(
                ((chosen >= (tile.top, tile.left)) & (chosen < (tile.bottom, tile.right))).all(axis=1)
            )
            if len(inside):
                around = _around(tile, shape)
                scaled, _ = self.statistics.standardise(self.source.read(around))
                rows, columns = (chosen[inside] - (around.top, around.left)).T
                for column, feature in enumerate(_features(scaled, self.train[around.slices])):
                    table[inside, column] = feature[rows, columns]
        return table, labels[chosen[:, 0], chosen[:, 1]] == 1


def _random(scene: ScoredScene, trial: Trial) -> Prediction:
    """Uniform random numbers: the AUPRC is the prevalence."""
    score = np.random.default_rng([trial.seed, 3]).random(scene.shape, dtype=np.float32)
    return Prediction(score, scene.select(trial.inputs), probability=False)


def _log_ratio(scene: ScoredScene, trial: Trial) -> Prediction:
    """Size of the change of temporal medians on slopes, after Handwerger et al. (2022).

    Their map is the ratio of median backscatter before and after in decibels (VH if the inputs have it), without flat
    terrain and ridges, thresholded by a percentile. Here the size of the ratio is the score, and the pixels that they
    leave out score 0. Both signs count: slopes that face the radar brighten, others darken.
    """
    polarisation = next((p for p in ("vh", "vv") if p in trial.inputs.backscatter), "vv")
    inputs = trial.inputs.model_copy(
        update={
            "backscatter": (polarisation,),
            "terrain": (),
            "change": (),
            "geometry": (),
            "coherence": (),
            "track": "best" if trial.inputs.track == "both" else trial.inputs.track,
        }
    )
    selection = scene.select(inputs)
    score = np.full(scene.shape, np.nan, dtype=np.float32)
    plan = LogRatioPlan.model_validate({"polarisation": polarisation})
    for rows in log_ratio_rows(scene.dataset, selection, plan):
        score[rows.box.slices] = rows.score
    notes = [f"{polarisation.upper()}, slopes above {plan.smallest_slope_deg:g} degrees"]
    if "dem" in scene.dataset:
        dem = np.asarray(scene.dataset["dem"].values, dtype=np.float64)
        smooth = gaussian_filter(dem, [CURVATURE_SIGMA_M / pixel for pixel in reversed(scene.pixel_m)])
        rows_m, columns_m = scene.pixel_m[1], scene.pixel_m[0]
        curvature = np.gradient(np.gradient(smooth, rows_m, axis=0), rows_m, axis=0)
        curvature += np.gradient(np.gradient(smooth, columns_m, axis=1), columns_m, axis=1)
        score[np.isfinite(score) & (curvature < SMALLEST_CURVATURE_PER_M)] = 0.0
        notes.append(f"curvature above {SMALLEST_CURVATURE_PER_M:g} 1/m")
    return Prediction(score, selection, probability=False, notes=("; ".join(notes),))


def _classifier(tested: _Pixels, learned: Sequence[_Pixels], trial: Trial) -> Prediction:
    """A classifier of single pixels by their channels and box means of them, trained on training pixels only.

    It reads tile by tile, so that memory does not grow with the scene.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rng, most = np.random.default_rng([trial.seed, 4]), MOST_PIXELS // len(learned)
    sampled = [pixels.sampled(most, rng) for pixels in learned]
    table, slid = (np.concatenate([each[number] for each in sampled]) for number in (0, 1))
    model = (
        HistGradientBoostingClassifier(
            max_iter=150, learning_rate=0.08, max_leaf_nodes=31, random_state=trial.seed
        )
        if trial.method == "boosting"
        else make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    )
    model.fit(table, slid)
    # half of the sample are landslides: restore the odds of the training area (monotone, so no ranking changes)
    prevalence = np.mean([(pixels.scene.labels[pixels.train] == 1).mean() for pixels in learned])
    shift = logit(prevalence) - logit(slid.mean())
    scene, shape = tested.scene, tested.scene.shape
    score = np.full(shape, np.nan, dtype=np.float32)
    for area in (*tested.parts.boxes("validation"), *tested.parts.boxes("test")):
        for tile in tiles(area, TILE_PX):
            around = _around(tile, shape)
            scaled, valid = tested.statistics.standardise(tested.source.read(around))
            inner = (
                slice(tile.top - around.top, tile.bottom - around.top),
                slice(tile.left - around.left, tile.right - around.left),
            )
            flat = np.stack([feature[inner].ravel() for feature in _features(scaled, None)], axis=1)
            found = expit(logit(model.predict_proba(flat)[:, 1]) + shift).reshape(tile.height, tile.width)
            score[tile.slices] = np.where(valid[inner], found, np.nan)
    return Prediction(
        score,
        scene.select(trial.inputs),
        probability=True,
        notes=(f"{len(table)} training pixels, {table.shape[1]} features",),
    )


def _around(box: Box, shape: tuple[int, int]) -> Box:
    """The box with the pixels around it that its box means need, cut at the scene's edge."""
    top, left = max(box.top - CONTEXT_PX, 0), max(box.left - CONTEXT_PX, 0)
    bottom, right = min(box.bottom + CONTEXT_PX, shape[0]), min(box.right + CONTEXT_PX, shape[1])
    return Box(top=top, left=left, height=bottom - top, width=right - left)


def _features(scaled: NDArray[np.float32], within: Mask | None) -> Iterator[NDArray[np.float32]]:
    """(y, x) each channel, and its box means.

    Args:
        within: take the means over these pixels only, so that no value from beyond the training area enters.
    """
    for channel in scaled:
        yield channel
        for size in BOXES_PX:
            if within is None:
                yield uniform_filter(channel, size, mode="nearest")
            else:
                share = uniform_filter(within.astype(np.float32), size, mode="constant")
                total = uniform_filter(np.where(within, channel, 0), size, mode="constant")
                yield np.where(share > 0, total / np.maximum(share, 1e-6), 0).astype(np.float32)


def _sample(train: Mask, labels: NDArray[np.uint8], most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(n, 2) row and column of random training pixels, half of them landslides if there are enough."""
    slid, rest = np.argwhere(train & (labels == 1)), np.argwhere(train & (labels == 0))
    if len(slid) == 0 or len(rest) == 0:
        raise ModelError("The training area holds no landslide, or nothing else.", "Use a larger area.")
    parts = [
        pool[rng.choice(len(pool), size=min(len(pool), most // 2), replace=False)] for pool in (slid, rest)
    ]
    return np.concatenate(parts)


METHODS: tuple[Method, ...] = ("random", "log-ratio", "logistic", "boosting")
"""the methods without a network"""


def baselines(inputs: Inputs, seed: int = 0) -> tuple[Trial, ...]:
    """A trial of the protocol `strict` for each method, without a fold."""
    return tuple(
        Trial(label=method, method=method, inputs=inputs, protocol="strict", seed=seed) for method in METHODS
    )
