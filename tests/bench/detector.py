"""The training-free detector: candidates on events with labels, false alarms where nothing happened.

`python -m tests.bench detector`, or one part: `python -m tests.bench.detector candidates`, or `false`.

- candidates: average precision of scores after the first pass, on the recorded landslide and on the cubes of
  BENCH_DETECTOR_EVENTS (paths, separated by `:`; simulated events).
- false: every date in turn as the first pass after, with 8 passes before or more: area that is mapped where nothing
  happened, km² per 1000 km² and pass; then the cubes of BENCH_DETECTOR_QUIET.
- slopes: average precision with several weights of slopes, on BENCH_DETECTOR_EVENTS.
- events: what is false and missed of the default maps of BENCH_DETECTOR_EVENTS after the first pass of each track.

Recorded series lie in `shared/data` beside the checkout, or in BENCH_SHARED_DATA; without them those rows are left out.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import xarray as xr

from model.detector.change_score import change_score, fused, history, own_variance, smoothed_db
from model.detector.detection import Detection, Detector, detect
from model.detector.detector_plan import DetectorPlan
from model.detector.scene_views import every_view, polarisations_of
from model.inputs.cubes import load, pixel_m
from model.inputs.inputs import Inputs
from model.inputs.selection import Selection
from model.maps.map_detector import map_detector
from model.maps.map_plan import DETECTOR_SMALLEST_M2, DetectorMapPlan
from model.scores.intervals import over_events
from model.scores.scores import Ranking
from pipeline.errors import ModelError
from tests import real_series
from tests.bench import SHARED

EVENTS = [path for path in os.environ.get("BENCH_DETECTOR_EVENTS", "").split(":") if path]
QUIET = [path for path in os.environ.get("BENCH_DETECTOR_QUIET", "").split(":") if path]
BEFORE = 8
MOST_BEFORE = 10
SCALES_M = (0.0, 10.0, 15.0, 20.0, 25.0, 30.0)
FEWEST_M = 5.0
Weigh = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""the weight of each pixel, from its slope (radians) and from whether it is searched"""


def main() -> None:
    """Every part."""
    candidates()
    false()


def _selected(cube: xr.Dataset, before: int | None, after: int | None) -> tuple[Selection, tuple[str, ...]]:
    names = polarisations_of(cube)
    return every_view(cube, Inputs(backscatter=names, terrain=(), before=before, after=after), None), names


def detected(
    cube: xr.Dataset, before: int | None, after: int | None, plan: DetectorPlan | None = None
) -> Detection:
    """The detector on a cube, as a map has it."""
    selection, names = _selected(cube, before, after)
    size_x, size_y = pixel_m(cube)
    smallest = int(np.ceil(DETECTOR_SMALLEST_M2 / (size_x * size_y) - 1e-9))
    with tempfile.TemporaryDirectory() as folder:
        return detect(Detector.of(cube, selection, names, plan), smallest, Path(folder))


def candidates() -> None:
    """Average precision of each score, with the spatial mean that it is best with, and with the default of 20 m."""
    sets: dict[str, xr.Dataset] = {}
    if (SHARED / real_series.ENGA).is_file():
        real = real_series.enga(SHARED)
        sets |= {"Enga 30 m": real, "Enga, VV and VH exchanged": real.assign(vv=real.vh, vh=real.vv)}
    sets |= {load(path)[1].area: load(path)[0] for path in EVENTS}
    for name, cube in sets.items():
        labels = np.asarray(cube.landslides.values)
        known = np.isfinite(labels)
        print(
            f"\n{name}: prevalence {np.mean(labels[known] > 0):.4f}, {BEFORE} passes before, the first after"
        )
        print(f"{'score':34}" + "".join(f"{scale:>7.0f} m" for scale in SCALES_M))
        rows: dict[str, list[float]] = {}
        for scale in SCALES_M:
            for label, score in _scores(cube, scale):
                ok = known & np.isfinite(score)
                rows.setdefault(label, []).append(Ranking.of(score[ok].ravel(), labels[ok].ravel() > 0).auprc)
        for label, values in rows.items():
            print(f"{label:34}" + "".join(f"{value:9.3f}" for value in values))
        for label, by_class in (("the detector", True), ("the detector, no classes", False)):
            score = detected(cube, BEFORE, 1, DetectorPlan(classes=by_class)).score
            ok = known & np.isfinite(score)
            print(
                f"{label:34}{Ranking.of(score[ok].ravel(), labels[ok].ravel() > 0).auprc:9.3f} at 20 m",
                flush=True,
            )


def _scores(cube: xr.Dataset, scale_m: float) -> Iterator[tuple[str, np.ndarray]]:
    """Every candidate of each track, and of the tracks together; flat terrain has the score 0."""
    selection, names = _selected(cube, BEFORE, 1)
    sigma = (scale_m / pixel_m(cube)[1], scale_m / pixel_m(cube)[0])
    slope = cube["dem_slope_radians"].values if "dem_slope_radians" in cube else None
    steep = np.ones(cube.landslides.shape, bool) if slope is None else np.degrees(slope) >= FEWEST_M
    together: dict[str, list[np.ndarray]] = {}
    for view in selection.every_view:
        change, score, pooled = {}, {}, {}
        for name in names:
            power = [cube[name].isel(timestep=p.index).values for p in (*view.before, *view.after)]
            passes = np.stack([smoothed_db(one, sigma) for one in power])
            mean = own_variance(passes[:BEFORE])[1]
            passes -= np.nanmedian(passes - mean, axis=(1, 2), keepdims=True)
            count, mean, squares = own_variance(passes[:BEFORE])
            scene = float(np.nanmedian(squares / np.maximum(count - 1, 1)))
            change[name] = passes[BEFORE] - mean
            ones = np.ones_like(passes[BEFORE:])
            score[name] = change_score(passes[BEFORE:], history(passes[:BEFORE], scene, 8.0), ones)
            pooled[name] = change_score(passes[BEFORE:], history(passes[:BEFORE], scene, 0.0), ones)
        found = {f"|change| {name.upper()}": np.abs(change[name]) for name in names}
        found |= {f"z-score {name.upper()}": np.abs(score[name]) for name in names}
        if len(names) == 2:
            found["largest |change|"] = np.maximum(*(np.abs(change[name]) for name in names))
            found["largest z, own spread alone"] = np.maximum(*(np.abs(pooled[name]) for name in names))
            found["largest z, shrunk spread"] = np.maximum(*(np.abs(score[name]) for name in names))
            found["VV minus VH, signed"] = change["vv"] - change["vh"]
            found["|VV minus VH|"] = np.abs(change["vv"] - change["vh"])
        found["root sum of squares, shrunk"] = fused([score[name] for name in names])
        for label, values in found.items():
            together.setdefault(label, []).append(np.where(steep, values, 0))
            yield f"{label}, {view.track.split(' (')[0]}", together[label][-1]
    if len(selection.every_view) > 1:
        for label, parts in together.items():
            if "signed" not in label:
                yield f"{label}, largest of tracks", np.maximum.reduce(parts)
                yield f"{label}, rss of tracks", np.sqrt(np.sum(np.square(parts), axis=0))


def false() -> None:
    """Area that is mapped where nothing happened."""
    print("\nFalse area where nothing happened, km² per 1000 km² and pass")
    print(f"{'series':34}{'dates':>6}{'km²':>8}{'mean':>8}{'median':>8}{'largest':>9}")
    if SHARED.is_dir():
        for name, cube in real_series.quiet_stacks(SHARED).items():
            shares = [
                share
                for number in range(BEFORE, cube.sizes["timestep"])
                if (share := _share(real_series.with_event_before(cube, number, MOST_BEFORE))) is not None
            ]
            _false_row(name, shares, cube)
    for path in QUIET:
        cube, facts = load(path)
        selection, _ = _selected(cube, None, None)
        for after in range(1, 1 + min(len(view.after) for view in selection.every_view)):
            share = _share(cube, after)
            passes = after * len(selection.every_view)
            _false_row(
                f"{facts.area}, {passes} passes after", [] if share is None else [share / passes], cube
            )


def _share(cube: xr.Dataset, after: int | None = 1) -> float | None:
    """km² mapped per 1000 km² that has data; None: nothing can be searched."""
    try:
        detection = detected(cube, MOST_BEFORE, after)
    except ModelError as error:
        print(f"  {error.message}")
        return None
    known = np.isfinite(detection.score)
    return float(1000 * detection.mapped()[detection.objects][known].mean())


def _false_row(name: str, shares: list[float], cube: xr.Dataset) -> None:
    if not shares:
        print(f"{name:34}   nothing is searched")
        return
    km2 = cube.sizes["y"] * cube.sizes["x"] * pixel_m(cube)[0] * pixel_m(cube)[1] / 1e6
    print(
        f"{name:34}{len(shares):6}{km2:8.1f}{np.mean(shares):8.2f}{np.median(shares):8.2f}{max(shares):9.2f}",
        flush=True,
    )


def events() -> None:
    """What is false and missed on each labelled event, by its map."""
    plan = DetectorMapPlan(inputs=Inputs(after=1))
    for path in EVENTS:
        with tempfile.TemporaryDirectory() as folder:
            made = map_detector(path, Path(folder) / "map", plan=plan)
        found = made.beside_labels
        if found is None:
            continue
        print(
            f"{made.area}: {found.polygons} polygons, {found.false_polygons} false; {found.mapped_km2:.4f} km² mapped, "
            f"{found.false_km2:.4f} false; {found.landslide_km2:.4f} km² landslides, {found.missed_km2:.4f} missed",
            flush=True,
        )


def slopes() -> None:
    """What the weight of slopes gains on each labelled event, and over all of them."""
    rows: dict[str, list[float]] = {}
    print(f"{'event':34}" + "".join(f"{name:>22}" for name in WEIGHTS))
    for path in EVENTS:
        cube, facts = load(path)
        labels = np.asarray(cube.landslides.values)
        alike = detected(cube, None, 1, DetectorPlan(gentle_weight=1.0)).score
        slope = np.asarray(cube["dem_slope_radians"].values)
        known = np.isfinite(labels) & np.isfinite(alike)
        for name, weigh in WEIGHTS.items():
            score = alike * np.where(np.isfinite(slope), weigh(slope, alike > 0), 1.0)
            rows.setdefault(name, []).append(
                Ranking.of(score[known].astype(np.float32), labels[known] > 0).auprc
            )
        print(f"{facts.area:34}" + "".join(f"{row[-1]:22.3f}" for row in rows.values()), flush=True)
    for name, row in rows.items():
        if len(row) > 1 and name != "alike":
            over = over_events([one - alike for one, alike in zip(row, rows["alike"], strict=True)])
            print(f"{name:34}{over.mean:+8.3f} [{over.lower:+.3f}, {over.upper:+.3f}]")


def _between(weight: float, low: float, high: float) -> Weigh:
    """A weight up to `low` degrees, 1 from `high` on."""
    return lambda slope, _: np.interp(np.degrees(slope), (low, high), (weight, 1.0))


def _between_shares(weight: float, low: float, high: float) -> Weigh:
    """A weight up to one quantile of the slopes that are searched, 1 from another one on."""
    return lambda slope, searched: np.interp(
        slope, np.nanquantile(slope[searched], (low, high)), (weight, 1.0)
    )


def _by_rank(weight: float) -> Weigh:
    """A weight that rises evenly with the rank of the slope among those that are searched."""
    shares = np.linspace(0, 1, 21)
    return lambda slope, searched: np.interp(
        slope, np.nanquantile(slope[searched], shares), weight + (1 - weight) * shares
    )


def _capped(weight: float, low: float, high: float, share: float) -> Weigh:
    """As `_between`, with both limits lowered alike where the scene's quantile of slopes lies below the upper one."""

    def weigh(slope: np.ndarray, searched: np.ndarray) -> np.ndarray:
        upper = min(high, float(np.degrees(np.nanquantile(slope[searched], share))))
        return np.interp(np.degrees(slope), (upper * low / high, upper), (weight, 1.0))

    return weigh


WEIGHTS = {
    "alike": _between(1.0, 10, 25),
    "0.5, 10 to 25": _between(0.5, 10, 25),
    "0.7, 10 to 25": _between(0.7, 10, 25),
    "0.8, 10 to 25": _between(0.8, 10, 25),
    "0.5, 5 to 15": _between(0.5, 5, 15),
    "0.8, 5 to 15": _between(0.8, 5, 15),
    "0.5, quartiles": _between_shares(0.5, 0.25, 0.75),
    "0.8, quartiles": _between_shares(0.8, 0.25, 0.75),
    "0.5, upper quartile": _capped(0.5, 10, 25, 0.75),
    "0.5, rank": _by_rank(0.5),
    "0.8, rank": _by_rank(0.8),
}
"""the weights of `slopes`"""

if __name__ == "__main__":
    for part in sys.argv[1:] or ("candidates", "false"):
        {"candidates": candidates, "events": events, "false": false, "slopes": slopes}[part]()
