"""What a network must beat: change without training, and classifiers of single pixels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, uniform_filter
from scipy.special import expit, logit

from model.experiments.results.prediction import Answer
from model.experiments.results.results import Trial
from model.experiments.results.scored_pixels import Ground
from model.inputs.channel_source import ChannelSource, ScratchChannels
from model.inputs.channel_statistics import Statistics
from model.inputs.cube_channels import CubeChannels
from model.inputs.cubes import UNMAPPED
from model.inputs.inputs import EventSpan, Inputs
from model.inputs.selection import Selection, select
from model.inputs.windows import Box, tiles, whole
from model.maps.log_ratio import LogRatioPlan, log_ratio_rows
from model.scores.scores import Method
from model.split.partition import Mask, Partition
from pipeline.errors import ModelError

BOXES_PX = (3, 7, 15)
"""sides of the box means that give a pixel its surroundings"""
TILE_PX = 512
MOST_PIXELS = 60_000
"""training pixels that a classifier sees, half of them landslides where there are as many"""
SMALLEST_CURVATURE_PER_M = -0.005
CURVATURE_SIGMA_M = 60.0
"""Laplacian of the elevation after a Gaussian of 60 m below which ground (a ridge) is left out: the constants of the
published scripts of Handwerger et al. (2022)"""


def answer(
    place: Ground,
    trial: Trial,
    parts: Partition,
    event: EventSpan | None,
    scratch: Path,
    *,
    held: ChannelSource | None = None,
) -> Answer:
    """The scores of a method that is no network.

    Args:
        scratch: folder for a copy of the channels, which leaves no file.
        held: the channels of the trial's inputs, where they were read before.

    Returns:
        Of classifiers only what is chosen on and tested is known.

    Raises:
        ModelError: the method is unknown, or nothing can be learned from.
    """
    if trial.method == "random":
        return _random(place, trial, event)
    if trial.method == "log-ratio":
        return _log_ratio(place, trial, event)
    if trial.method not in ("logistic", "boosting"):
        raise ModelError(f"{trial.method!r} is no method without a network.")
    selection = select(place.dataset, trial.inputs, event)
    if held is None:
        scratch.mkdir(parents=True, exist_ok=True)
        channels = CubeChannels(place.dataset, trial.inputs, selection)
        held = ScratchChannels(channels, len(trial.inputs.channels), scratch)
    return _classifier(place, trial, parts, selection, held)


def _random(place: Ground, trial: Trial, event: EventSpan | None) -> Answer:
    """Uniform random numbers: the AUPRC is the prevalence."""
    score = np.random.default_rng([trial.seed, 3]).random(place.labels.shape, dtype=np.float32)
    return Answer(score, select(place.dataset, trial.inputs, event), probability=False)


def _log_ratio(place: Ground, trial: Trial, event: EventSpan | None) -> Answer:
    """Size of the change of temporal medians on slopes, after Handwerger et al. (2022).

    Their map is the ratio of median backscatter before and after in decibels (VH where there is one), without flat
    ground and without ridges, thresholded by a percentile; here the size of the ratio is the score, and what they leave
    out scores 0. Both signs count: slopes that face the radar brighten, others darken.
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
    selection = select(place.dataset, inputs, event)
    score = np.full(place.labels.shape, np.nan, dtype=np.float32)
    plan = LogRatioPlan.model_validate({"polarisation": polarisation})
    for rows in log_ratio_rows(place.dataset, selection, plan):
        score[rows.box.slices] = rows.score
    notes = [f"{polarisation.upper()}, slopes above {plan.smallest_slope_deg:g} degrees"]
    if "dem" in place.dataset:
        dem = np.asarray(place.dataset["dem"].values, dtype=np.float64)
        smooth = gaussian_filter(dem, [CURVATURE_SIGMA_M / pixel for pixel in reversed(place.pixel_m)])
        rows_m, columns_m = place.pixel_m[1], place.pixel_m[0]
        curvature = np.gradient(np.gradient(smooth, rows_m, axis=0), rows_m, axis=0)
        curvature += np.gradient(np.gradient(smooth, columns_m, axis=1), columns_m, axis=1)
        score[np.isfinite(score) & (curvature < SMALLEST_CURVATURE_PER_M)] = 0.0
        notes.append(f"curvature above {SMALLEST_CURVATURE_PER_M:g} 1/m")
    return Answer(score, selection, probability=False, notes=("; ".join(notes),))


def _classifier(
    place: Ground, trial: Trial, parts: Partition, selection: Selection, source: ChannelSource
) -> Answer:
    """A classifier of single pixels by their channels and box means of them, trained on training pixels alone.

    Read tile by tile, so that memory does not grow with the scene.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    shape = place.labels.shape
    train = parts.train_mask(shape) & place.scored & (place.labels != UNMAPPED)
    statistics = Statistics.of(source, trial.inputs.channels, (whole(shape),), train)
    for tile in tiles(whole(shape), TILE_PX):
        train[tile.slices] &= statistics.valid(source.read(tile))
    chosen = _sample(train, place.labels, np.random.default_rng([trial.seed, 4]))
    table = np.empty((len(chosen), len(trial.inputs.channels) * (1 + len(BOXES_PX))), dtype=np.float32)
    for tile in tiles(whole(shape), TILE_PX):
        inside = np.flatnonzero(
            ((chosen >= (tile.top, tile.left)) & (chosen < (tile.bottom, tile.right))).all(axis=1)
        )
        if len(inside):
            around = _around(tile, shape)
            scaled, _ = statistics.standardise(source.read(around))
            rows, columns = (chosen[inside] - (around.top, around.left)).T
            for column, feature in enumerate(_features(scaled, train[around.slices])):
                table[inside, column] = feature[rows, columns]
    model = (
        HistGradientBoostingClassifier(
            max_iter=150, learning_rate=0.08, max_leaf_nodes=31, random_state=trial.seed
        )
        if trial.method == "boosting"
        else make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    )
    slid = place.labels[chosen[:, 0], chosen[:, 1]] == 1
    model.fit(table, slid)
    # half of the sample slid: put the odds back to those of the training area (monotone: no ranking changes)
    shift = logit((place.labels[train] == 1).mean()) - logit(slid.mean())
    score = np.full(shape, np.nan, dtype=np.float32)
    for area in (*parts.boxes("validation"), *parts.boxes("test")):
        for tile in tiles(area, TILE_PX):
            around = _around(tile, shape)
            scaled, valid = statistics.standardise(source.read(around))
            inner = (
                slice(tile.top - around.top, tile.bottom - around.top),
                slice(tile.left - around.left, tile.right - around.left),
            )
            flat = np.stack([feature[inner].ravel() for feature in _features(scaled, None)], axis=1)
            found = expit(logit(model.predict_proba(flat)[:, 1]) + shift).reshape(tile.height, tile.width)
            score[tile.slices] = np.where(valid[inner], found, np.nan)
    return Answer(
        score,
        selection,
        probability=True,
        notes=(f"{len(chosen)} training pixels, {table.shape[1]} features",),
    )


def _around(box: Box, shape: tuple[int, int]) -> Box:
    """The box, and what the box means of its pixels see, as far as the scene reaches."""
    reach = max(BOXES_PX) // 2
    top, left = max(box.top - reach, 0), max(box.left - reach, 0)
    bottom, right = min(box.bottom + reach, shape[0]), min(box.right + reach, shape[1])
    return Box(top=top, left=left, height=bottom - top, width=right - left)


def _features(scaled: NDArray[np.float32], within: Mask | None) -> Iterator[NDArray[np.float32]]:
    """(y, x) each channel, and its box means.

    Args:
        within: means over these pixels only, so that a training pixel near its area's edge knows nothing beyond.
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


def _sample(train: Mask, labels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.int64]:
    """(n, 2) training pixels at random, half of them landslides where there are as many."""
    slid, rest = np.argwhere(train & (labels == 1)), np.argwhere(train & (labels == 0))
    if len(slid) == 0 or len(rest) == 0:
        raise ModelError("The training area holds no landslide, or nothing else.", "Use a larger area.")
    parts = [
        pool[rng.choice(len(pool), size=min(len(pool), MOST_PIXELS // 2), replace=False)]
        for pool in (slid, rest)
    ]
    return np.concatenate(parts)


METHODS: tuple[Method, ...] = ("random", "log-ratio", "logistic", "boosting")
"""the methods of this module"""


def baselines(inputs: Inputs, seed: int = 0) -> tuple[Trial, ...]:
    """A trial for each method, under the protocol `strict`, without a fold."""
    return tuple(
        Trial(label=method, method=method, inputs=inputs, protocol="strict", seed=seed) for method in METHODS
    )
