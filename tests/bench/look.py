"""Look geometry and what a user would otherwise write: CPU time and peak memory, each run a process of its own.

`python -m tests.bench look`. Mountains on a square grid, one thread, an orbit made for it:

- slidecube: local incidence, and layover and shadow along range lines (`derive_look`)
- plain: every pixel's zero Doppler by Newton's method in space, normals from cross products, the image turned so that
  range runs along its rows, running extremes, turned back
- sarsen (if it is installed): its zero Doppler and oriented areas; local incidence only

They must agree, else the times mean nothing. slidecube alone runs over Hokkaido's grid besides.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer
from scipy import ndimage

from pipeline.areas.area import SHIPPED_AREAS, load_area
from pipeline.catalogue.state_vectors import OrbitFile
from pipeline.grid import Grid
from pipeline.insar.look.look import Ground, derive_look
from pipeline.insar.look.orbit_geometry import Orbit
from pipeline.sandbox.earth.realism.random_fields import fractal_field
from tests.unit.made_orbits import INSTANT, made_orbit_file

SIDE = int(os.environ.get("BENCH_LOOK_SIDE", "1200"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
RELIEF_M = 3000.0
MARGIN_PX = 280

Float = NDArray[np.float32]


def main() -> None:
    """Run each `ROUNDS` times in turns, check that they agree, print medians and ratios."""
    names = ["slidecube", "plain"]
    if importlib.util.find_spec("sarsen"):
        names.append("sarsen")
    else:
        print("sarsen is not installed and left out (pip install sarsen)")
    with tempfile.TemporaryDirectory(prefix="slidecube-bench-", dir=os.environ.get("BENCH_DIR")) as folder:
        rounds = []
        for number in range(ROUNDS):
            rounds.append({name: _run(name, Path(folder)) for name in names})
            print(f"round {number + 1} of {ROUNDS}: {json.dumps(rounds[-1])}", flush=True)
        _compare(Path(folder), names)
        print(
            f"{SIDE} x {SIDE} pixels, margin {MARGIN_PX}\n{'':12}{'CPU s':>9}{'peak MiB':>10}{'over slidecube':>16}"
        )
        for name in names:
            cpu = [r[name]["cpu_s"] for r in rounds]
            ratio = np.median([r[name]["cpu_s"] / r["slidecube"]["cpu_s"] for r in rounds])
            peak = np.median([r[name]["peak_mib"] for r in rounds])
            print(f"{name:12}{np.median(cpu):9.2f}{peak:10.0f}{ratio:16.2f}")
        whole = _run("hokkaido", Path(folder))
        print(f"slidecube over Hokkaido's grid: {json.dumps(whole)}")


def _run(name: str, folder: Path) -> dict[str, float]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.bench.look", name, str(folder / f"{name}.npz")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} failed: {done.stderr[-3000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _compare(folder: Path, names: list[str]) -> None:
    """Angles and codes of the others against slidecube's; the others' slopes are central differences."""
    ours = np.load(folder / "slidecube.npz")
    for name in names[1:]:
        other = np.load(folder / f"{name}.npz")
        apart = np.abs(ours["incidence"] - other["incidence"])
        words = f"{name}: local incidence differs by {np.median(apart):.3f} degrees (median)"
        if "codes" in other:
            same = float(np.mean(ours["codes"] == other["codes"]))
            share = float(np.mean(ours["codes"] > 0))
            words += f"; {100 * share:.1f} % of pixels lie in layover or shadow, {100 * same:.2f} % have the same code"
            if same < 0.97:
                raise RuntimeError(words)
        print(words)
        if np.median(apart) > 0.5:
            raise RuntimeError(words)


def _scene(grid: Grid, margin_px: int) -> tuple[Float, OrbitFile]:
    """Mountains with slopes on either side of the incidence, and the orbit."""
    field = ndimage.gaussian_filter(
        fractal_field(grid.padded(margin_px).shape, 3.4, np.random.default_rng(1)), 3.0
    )
    elevation = ((field - field.min()) * (RELIEF_M / np.ptp(field))).astype(np.float32)
    west, south, east, north = grid.bounds_deg()
    return elevation, made_orbit_file((west + east) / 2, (south + north) / 2, 36.0)


def _slidecube(grid: Grid, elevation: Float, orbit_file: OrbitFile) -> dict[str, Any]:
    layer = derive_look(Ground(elevation, MARGIN_PX), grid, orbit_file, INSTANT)
    return {"incidence": layer.arrays["local_incidence_deg"], "codes": layer.arrays["layover_shadow"]}


def _plain(grid: Grid, elevation: Float, orbit_file: OrbitFile) -> dict[str, Any]:
    orbit = Orbit.of(orbit_file.around(INSTANT, INSTANT, margin_s=180))
    wide = grid.padded(MARGIN_PX)
    x, y = np.meshgrid(wide.x, wide.y)
    points = np.stack(
        Transformer.from_crs(grid.epsg, 4978, always_xy=True).transform(x, y, elevation), axis=-1
    )
    times, ranges = orbit.zero_doppler(points)
    position = orbit.position_m(times)
    normal = np.cross(np.gradient(points, axis=1), -np.gradient(points, axis=0))
    cosine = (normal * (position - points)).sum(-1) / np.linalg.norm(normal, axis=-1) / ranges
    looks = np.arccos(-((points - position) * position).sum(-1) / ranges / np.linalg.norm(position, axis=-1))
    # times of level ground are constant along range lines
    level = orbit.zero_doppler(
        np.stack(Transformer.from_crs(grid.epsg, 4978, always_xy=True).transform(x, y, 0 * x), axis=-1)
    )[0]
    along_rows, along_columns = (np.gradient(level, axis=axis).mean() for axis in (0, 1))
    angle = np.degrees(np.arctan2(-along_columns, along_rows))
    turned = [
        ndimage.rotate(image, angle, order=1, cval=np.nan)[:, ::-1]  # the satellite is in the east
        for image in (ranges, looks)
    ]
    code = np.zeros(turned[0].shape)
    for row in range(code.shape[0]):
        far, look = turned[0][row], turned[1][row]
        nearer = np.fmax.accumulate(far)
        farther = np.fmin.accumulate(far[::-1])[::-1]
        code[row, 1:] += far[1:] <= nearer[:-1]
        code[row, :-1] = np.maximum(code[row, :-1], far[:-1] >= farther[1:])
        code[row, 1:] += 2 * (look[1:] <= np.fmax.accumulate(look)[:-1])
    back = ndimage.rotate(code[:, ::-1], -angle, order=0)
    top, left = ((a - b) // 2 + MARGIN_PX for a, b in zip(back.shape, wide.shape, strict=True))
    inner = np.s_[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]
    return {
        "incidence": np.degrees(np.arccos(cosine))[inner].astype(np.float32),
        "codes": back[top : top + grid.height, left : left + grid.width].astype(np.float32),
    }


def _sarsen(grid: Grid, elevation: Float, orbit_file: OrbitFile) -> dict[str, Any]:
    import sarsen.geocoding
    import sarsen.orbit
    import sarsen.scene
    import xarray as xr

    inner = elevation[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]
    dem = xr.DataArray(inner, coords={"y": grid.y, "x": grid.x}, dims=("y", "x"))
    ecef = sarsen.scene.convert_to_dem_ecef(dem, source_crs=f"EPSG:{grid.epsg}")
    vectors = orbit_file.around(INSTANT, INSTANT, margin_s=60)
    stamps = np.array([np.datetime64(v.time.replace(tzinfo=None), "ns") for v in vectors])
    position = xr.DataArray(
        np.array([v.position_m for v in vectors]),
        coords={"azimuth_time": stamps, "axis": [0, 1, 2]},
        dims=("azimuth_time", "axis"),
    )
    orbit = sarsen.orbit.OrbitPolyfitInterpolator.from_position(position)
    seen = sarsen.geocoding.backward_geocode(ecef, orbit, seed_step=(64, 64))
    area = sarsen.scene.compute_dem_oriented_area(ecef)
    towards = -seen["dem_distance"]
    cosine = (area * towards).sum("axis") / np.sqrt((area**2).sum("axis") * (towards**2).sum("axis"))
    return {"incidence": np.degrees(np.arccos(cosine)).transpose("y", "x").values.astype(np.float32)}


def _contestant(name: str, target: Path) -> None:
    if name == "hokkaido":
        grid, how = Grid.of_area(load_area(SHIPPED_AREAS / "hokkaido.yaml")), _slidecube
    else:
        grid = Grid(epsg=32654, resolution_m=10.0, left=500_000.0, top=4_730_000.0, width=SIDE, height=SIDE)
        how = {"slidecube": _slidecube, "plain": _plain, "sarsen": _sarsen}[name]
    # made by another process, whose memory would else be the peak
    scene = target.with_name(f"scene-{grid.width}.npy")
    if not scene.exists():
        maker = "import sys; from tests.bench.look import _make; _make(sys.argv[1], sys.argv[2])"
        subprocess.run([sys.executable, "-c", maker, grid.model_dump_json(), str(scene)], check=True)
    west, south, east, north = grid.bounds_deg()
    orbit_file = made_orbit_file((west + east) / 2, (south + north) / 2, 36.0)
    elevation = np.load(scene)
    began, cpu = time.monotonic(), time.process_time()
    found = how(grid, elevation, orbit_file)
    figures = {"cpu_s": time.process_time() - cpu, "wall_s": time.monotonic() - began}
    status = Path("/proc/self/status").read_text()
    figures["peak_mib"] = int(status.split("VmHWM:")[1].split()[0]) / 1024
    if name != "hokkaido":
        np.savez(target, **found)
    print(json.dumps({key: round(value, 2) for key, value in figures.items()}))


def _make(grid: str, target: str) -> None:
    np.save(target, _scene(Grid.model_validate_json(grid), MARGIN_PX)[0])


if __name__ == "__main__":
    _contestant(sys.argv[1], Path(sys.argv[2]))
