"""The simulated prior beside the detector: on a real landslide, on left-out events, and where nothing happened.

`python -m tests.bench prior`, or one part: `python -m tests.bench.prior real left-out false`. BENCH_PRIOR is another
bundle than `simulated-prior`. Recorded series as in `tests.bench.detector`.

- real: average precision on the landslide of Enga, 8 passes before and the first after.
- left-out: the same on the events of `pipeline.sandbox.event_series.LEFT_OUT`, the first pass of each direction alone
  and of both.
- false: area that each maps where nothing happened, km² per 1000 km² and pass.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import numpy as np
import xarray as xr

from model.bundle.bundle import ModelBundle, load
from model.bundle.map_calibrations import calibrations_of
from model.detector.land import OverLand
from model.inputs import cubes
from model.inputs.channel_statistics import Statistics
from model.inputs.cube_channels import CubeChannels
from model.inputs.windows import whole
from model.maps.map_plan import SMALLEST_M2, MapPlan
from model.maps.model_passes import passes_to_map
from model.network.ensemble import probability_of
from model.network.inference import predict
from model.network.network import choose_device
from model.scores.intervals import over_events
from model.scores.mapped_objects import labelled, smallest_pixels
from model.scores.scores import Ranking
from pipeline.errors import ModelError
from pipeline.places import SIMULATED_PRIOR, bundle_named
from pipeline.sandbox.event_series import left_out_events
from tests import real_series
from tests.bench.detector import BEFORE, MOST_BEFORE, SHARED, detected

BUNDLE = os.environ.get("BENCH_PRIOR", SIMULATED_PRIOR)


def main() -> None:
    """Every part."""
    for part in PARTS.values():
        part()


def mapped(bundle: ModelBundle, cube: xr.Dataset, plan: MapPlan) -> tuple[np.ndarray, float, str]:
    """(y, x) calibrated probability as `slidecube map` has it, NaN no data; the threshold; the passes in words."""
    document = bundle.document
    selection = passes_to_map(cube, document, plan)
    channels, names = CubeChannels(cube, document.inputs, selection), document.inputs.channels
    land = OverLand(channels, names, cube)
    statistics = Statistics.of(land, names, (whole(channels.shape),))
    probability = probability_of(bundle.networks, choose_device("auto"), names, document.test_time)
    found = np.full(channels.shape, np.nan, dtype=np.float32)
    calibrations = calibrations_of(document, selection)
    for strip in predict(channels, whole(channels.shape), statistics, probability):
        found[strip.box.slices] = calibrations.apply(strip.probability, strip.channels, names)
    return found, document.calibrated_for(selection).threshold, selection.track


def _auprc(score: np.ndarray, cube: xr.Dataset) -> float:
    labels = np.asarray(cube.landslides.values)
    known = np.isfinite(labels) & np.isfinite(score)
    return Ranking.of(score[known].ravel(), labels[known].ravel() > 0).auprc


def real() -> None:
    """The landslide of Enga, and the same with the polarisations exchanged."""
    if not (SHARED / real_series.ENGA).is_file():
        print("Enga: not there")
        return
    bundle, enga = load(bundle_named(BUNDLE)), real_series.enga(SHARED)
    print("Enga, average precision, 8 passes before and the first after (prevalence 0.038)")
    for name, cube in (("as recorded", enga), ("VV and VH exchanged", enga.assign(vv=enga.vh, vh=enga.vv))):
        score, threshold, _ = mapped(bundle, cube, MapPlan(before=BEFORE, after=1))
        truth, inside = np.asarray(cube.landslides.values) > 0, score >= threshold
        print(
            f"{name:24} prior {_auprc(score, cube):.3f}, detector {_auprc(detected(cube, BEFORE, 1).score, cube):.3f}; "
            f"of the landslide the prior maps {inside[truth].mean():.2f}, and {truth[inside].mean():.2f} of what it "
            "maps lies on it",
            flush=True,
        )


def left_out() -> None:
    """Events that the prior never saw."""
    bundle = load(bundle_named(BUNDLE))
    tracks = ("ascending", "descending", "both")
    print("Left-out events, average precision with the first pass after: prior | detector")
    print(f"{'event':14}{'landslides':>11}" + "".join(f"{track:>20}" for track in tracks))
    differences: dict[str, list[float]] = {track: [] for track in tracks}
    for event in left_out_events():
        cube = cubes.prepared(event.cube())
        line = f"{event.name:14}{float((cube.landslides == 1).mean()):11.4f}"
        for track in tracks:
            part = cube if track == "both" else _of_direction(cube, track)
            ours, _, _ = mapped(bundle, part, MapPlan(after=1))
            pair = _auprc(ours, part), _auprc(detected(part, None, 1).score, part)
            differences[track].append(pair[0] - pair[1])
            line += f"{pair[0]:12.3f} | {pair[1]:.3f}"
        print(line, flush=True)
    for track, values in differences.items():
        whole_ = over_events(values)
        print(f"prior minus detector, {track}: {whole_.mean:+.3f} [{whole_.lower:+.3f}, {whole_.upper:+.3f}]")


def _of_direction(cube: xr.Dataset, direction: str) -> xr.Dataset:
    return cube.isel(timestep=np.flatnonzero(cube["sat:orbit_state"].values == direction))


def false() -> None:
    """Area that is mapped where nothing happened."""
    bundle = load(bundle_named(BUNDLE))
    print("False area where nothing happened, km² per 1000 km² and pass: mean, median, largest")
    if not SHARED.is_dir():
        print("no recorded series")
        return
    for name, cube in real_series.quiet_stacks(SHARED).items():
        ours, theirs = [], []
        for dated in _dates(cube):
            share = _share(bundle, dated)
            if share is not None:
                ours.append(share)
                detection = detected(dated, MOST_BEFORE, 1)
                known = np.isfinite(detection.score)
                theirs.append(float(1000 * detection.mapped()[detection.objects][known].mean()))
        if ours:
            words = " | ".join(
                f"{np.mean(each):8.2f}{np.median(each):8.2f}{max(each):8.2f}" for each in (ours, theirs)
            )
            print(f"{name:34}{len(ours):4} dates: prior {words} detector", flush=True)
        else:
            print(f"{name:34} is not mapped by both")


def _dates(cube: xr.Dataset) -> Iterator[xr.Dataset]:
    for number in range(BEFORE, cube.sizes["timestep"]):
        yield real_series.with_event_before(cube, number, MOST_BEFORE)


def _share(bundle: ModelBundle, cube: xr.Dataset) -> float | None:
    """km² mapped per 1000 km² that has data, objects of the smallest mapped unit; None: one of both maps nothing."""
    try:
        detected(cube, MOST_BEFORE, 1)
        score, threshold, _ = mapped(bundle, cube, MapPlan(after=1))
    except ModelError as error:
        print(f"  {error.message}")
        return None
    numbers, count = labelled(score >= threshold)
    sizes = np.bincount(numbers.ravel(), minlength=count + 1)
    size_x, size_y = cubes.pixel_m(cube)
    kept = sizes >= smallest_pixels(SMALLEST_M2, size_x * size_y)
    kept[0] = False
    return float(1000 * kept[numbers][np.isfinite(score)].mean())


PARTS = {"real": real, "left-out": left_out, "false": false}

if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()
