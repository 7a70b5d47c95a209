"""A map by the training-free detector: seconds and peak memory, and the log-ratio of one polarisation beside it.

`python -m tests.bench detector_speed`: speckle of BENCH_DETECTOR_MAP (4398x5382) pixels with 10 passes.
"""

from __future__ import annotations

import os
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import xarray as xr
import zarr
from scipy.ndimage import gaussian_filter

from model.inputs.cubes import load
from model.inputs.inputs import Inputs
from model.inputs.selection import select
from model.maps.log_ratio import LogRatioPlan, log_ratio_rows
from model.maps.map_detector import map_detector
from tests.quiet_cube import quiet_cube

MAP = os.environ.get("BENCH_DETECTOR_MAP", "4398x5382")


def main() -> None:
    """A map of speckle: seconds (of the clock, and of the processor) and peak memory of this process."""
    height, width = (int(part) for part in MAP.split("x"))
    with tempfile.TemporaryDirectory(prefix="slidecube-bench-", dir=os.environ.get("BENCH_DIR")) as folder:
        path = Path(folder) / "cube.zarr"
        _large_cube(quiet_cube(64, before=8, after=2), height, width, path)
        cube, _ = load(str(path))
        print(
            f"\n{height} x {width} pixels, 8 passes before and 2 after, VV and VH; before the map {_peak_mib():.0f} MiB"
        )
        started = time.perf_counter(), time.process_time()
        map_detector(str(path), Path(folder) / "map")
        print(f"{'map by the detector':34}{_seconds(started)}, peak {_peak_mib():.0f} MiB", flush=True)
        started = time.perf_counter(), time.process_time()
        for _ in log_ratio_rows(cube, select(cube, Inputs(backscatter=("vv",), terrain=())), LogRatioPlan()):
            pass
        print(f"{'log-ratio of VV, values alone':34}{_seconds(started)}")


def _seconds(started: tuple[float, float]) -> str:
    now = time.perf_counter(), time.process_time()
    return f"{now[0] - started[0]:.0f} s ({now[1] - started[1]:.0f} s of the processor)"


def _peak_mib() -> float:
    """Largest resident memory of this process so far; not ru_maxrss, which begins with that of its parent."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


def _large_cube(small: xr.Dataset, height: int, width: int, path: Path) -> None:
    """Write a cube with the layout of this project, pass by pass."""

    rng = np.random.default_rng(0)
    group = zarr.open_group(path, mode="w", zarr_format=3)
    relief = gaussian_filter(rng.standard_normal((height // 8, width // 8)).astype(np.float32), 12)
    relief = np.kron(relief / relief.std() * 150 + 600, np.ones((8, 8), np.float32))
    relief = np.pad(relief, ((0, height - relief.shape[0]), (0, width - relief.shape[1])), mode="edge")
    south, east = np.gradient(gaussian_filter(relief, 6), 10.0)
    static = {
        "dem": relief,
        "dem_slope_radians": np.arctan(np.hypot(south, east)),
        "dem_aspect": np.degrees(np.arctan2(-east, south)) % 360,
    }
    for name, values in static.items():
        array = group.create_array(
            name,
            shape=(height, width),
            dtype="float32",
            chunks=(256, 256),
            shards=(2048, 2048),
            dimension_names=("y", "x"),
        )
        array[:] = values
    count = small.sizes["timestep"]
    for name, level in (("vv", -8.0), ("vh", -14.0)):
        array = group.create_array(
            name,
            shape=(count, height, width),
            dtype="float32",
            chunks=(1, 256, 256),
            shards=(1, 2048, 2048),
            dimension_names=("timestep", "y", "x"),
        )
        for number in range(count):
            noise = rng.standard_gamma(4.4, (height, width), dtype=np.float32) / np.float32(4.4)
            array[number] = noise * np.float32(10 ** (level / 10))
    coordinates = small.drop_vars([*small.data_vars, "x", "y"]).assign_coords(
        y=4_700_000.0 - 5 - 10.0 * np.arange(height), x=500_005.0 + 10.0 * np.arange(width)
    )
    coordinates.to_zarr(path, mode="a", zarr_format=3, consolidated=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Zarr v3 has no specification of consolidated metadata yet
        zarr.consolidate_metadata(path)


if __name__ == "__main__":
    main()
