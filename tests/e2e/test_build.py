"""From an area file to a cube through the real protocols: plan, build, verify, again, and a late pass."""

from __future__ import annotations

import json
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr

from pipeline.cube.read import open_cube
from pipeline.cube.verify import verify_cube
from pipeline.sandbox.posing.server import Sandbox
from tests.e2e.conftest import AREA, Command, SmallWorld, command_for


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@dataclass
class Undisturbed:
    """What one whole build left, which tests read or copy, and what it said."""

    data: Path
    said: dict[str, Any]

    @property
    def version(self) -> Path:
        return self.data / "cubes" / AREA / "versions" / "1.zarr"


@pytest.fixture(scope="module")
def undisturbed(
    served: Sandbox, small_world: SmallWorld, tmp_path_factory: pytest.TempPathFactory
) -> Undisturbed:
    served.reset()
    data = tmp_path_factory.mktemp("undisturbed") / "data"
    return Undisturbed(data, json.loads(command_for(served, small_world, data).run("build", AREA, "--json")))


def test_plan_build_verify_and_build_again(slidecube: Command, archive: Sandbox) -> None:
    planned = json.loads(slidecube.run("plan", AREA, "--json"))
    assert planned["current_version"] is None
    assert {p["when"] for p in planned["passes"]} == {"before", "after"}
    assert [p["instant"] for p in planned["passes"]] == sorted(p["instant"] for p in planned["passes"])
    # terrain, labels and the look of two tracks
    assert planned["layers_to_build"] == 2 * len(planned["passes"]) + 4
    built = json.loads(slidecube.run("build", AREA, "--json"))
    assert (built["version"], built["new"], built["failed"]) == (1, True, [])
    assert Path(built["quicklook"]).stat().st_size > 10_000
    assert "sound" in slidecube.run("verify", AREA)
    archive.reset()
    again = json.loads(slidecube.run("build", AREA, "--json"))
    assert (again["version"], again["new"], again["layers_built"]) == (1, False, 0)
    assert "version 1" in slidecube.run("build", AREA)
    blobs = [r for r in archive.log if "blob" in r.host and r.method == "GET"]
    assert blobs == [], "a second build reads no raster"
    planned = json.loads(slidecube.run("plan", AREA, "--json"))
    assert planned["changes"] is False
    assert planned["bytes_to_read"] == 0


def test_tracks_of_which_the_archive_has_no_single_look_data_have_their_look(
    undisturbed: Undisturbed,
) -> None:
    built = undisturbed.said
    assert "pairs: none (no SLC pass of the area)" in built["missing"]
    cube = xr.open_zarr(built["uri"])
    level = np.degrees(cube["dem_slope_radians"].values) < 3
    for track, incidence_deg in ((46, 35.9), (68, 38.6)):
        found = cube["local_incidence_deg"].sel(track=track).values
        assert np.isfinite(found).all()
        assert abs(float(found[level].mean()) - incidence_deg) < 1


def test_the_cube_holds_the_archives_pixels_and_opens_with_plain_xarray(
    undisturbed: Undisturbed, small_world: SmallWorld
) -> None:
    cube = xr.open_zarr(undisturbed.said["uri"])
    assert cube["vv"].dims == ("timestep", "y", "x")
    assert cube["vv"].dtype == np.float32
    assert (np.diff(cube["timestep"].values) > np.timedelta64(0)).all()
    assert set(cube["sat:orbit_state"].values) == {"ascending", "descending"}
    for name in (
        "dem",
        "dem_slope_radians",
        "dem_aspect",
        "dem_curvature",
        "landslides",
        "landslide_fraction",
    ):
        assert cube[name].dims == ("y", "x")
    assert set(np.unique(cube["landslides"].values[np.isfinite(cube["landslides"].values)])) == {0.0, 1.0}
    equal: dict[str, list[float]] = {}
    pixels = 0
    for path in sorted(small_world.root.rglob("iw-vv.rtc.tiff")):
        stamp = path.parts[-3].split("_")[4]
        with rasterio.open(path) as source:
            if source.crs.to_epsg() != 32654:
                continue
            window = source.window(*_bounds(cube))
            values = source.read(1, window=window, boundless=True, fill_value=source.nodata)
        day = np.datetime64(f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]}")
        index = int(np.flatnonzero(cube["timestep"].values.astype("M8[D]") == day)[0])
        ours = cube["vv"][index].values
        both = np.isfinite(ours) & (values > 0)
        same = ours[both] == values[both]
        equal.setdefault(stamp, []).append(float(same.mean()))
        pixels += int(same.sum())
    assert all(max(shares) == 1.0 for shares in equal.values())
    assert [sorted(shares) for shares in equal.values() if len(shares) > 1] == [[0.0, 1.0]], (
        "of a slice that was processed twice the newer one is taken, whole"
    )
    assert pixels > cube["vv"].size * 0.9


def _bounds(cube: xr.Dataset) -> tuple[float, float, float, float]:
    left, bottom, right, top = cube.attrs["spatial:bbox"]
    return left, bottom, right, top


def test_a_replayed_catalogue_needs_no_search_and_gives_the_same_cube(
    undisturbed: Undisturbed, slidecube: Command, archive: Sandbox
) -> None:
    snapshot = next((undisturbed.data / "cubes" / AREA / "catalogues").glob("*.json"))
    slidecube.run("build", AREA, "--catalogue", str(snapshot))
    assert not [r for r in archive.log if "stac" in r.path]
    assert tree(slidecube.cube / "versions" / "1.zarr") == tree(undisturbed.version)


def test_two_builds_at_once_make_one_version(slidecube: Command) -> None:
    first, second = slidecube.start("build", AREA, "--json"), slidecube.start("build", AREA, "--json")
    answers = [process.communicate(timeout=300) for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), answers
    found = [json.loads(out) for out, _ in answers]
    assert sorted(f["new"] for f in found) == [False, True]
    assert {f["version"] for f in found} == {1}
    assert verify_cube(slidecube.cube).sound


def test_a_late_pass_and_a_reprocessed_one_while_a_reader_reads(
    small_world: SmallWorld, tmp_path: Path
) -> None:
    late = "20180712"
    names = json.loads((small_world.root / "world.json").read_text())["order"]
    days = sorted({name.split("_")[4][:8] for name in names if name.startswith("S1A")})
    late = days[len(days) // 2]
    hidden = small_world.without(tmp_path / "hidden", f"_{late}T")
    data = tmp_path / "data"
    with Sandbox(hidden) as sandbox:
        command_for(sandbox, small_world, data).run("build", AREA)
    cube = data / "cubes" / AREA
    before = open_cube(cube)
    first = before["vv"].values.copy()
    problems: list[str] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen = open_cube(cube)
            times = seen["timestep"].values
            if seen["vv"].shape[0] != times.size or not (np.diff(times) > np.timedelta64(0)).all():
                problems.append("axes differ")
            if not np.isfinite(seen["vv"][-1].values).any():
                problems.append("an empty pass")
            seen.close()
            time.sleep(0.25)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        with Sandbox(small_world.root) as sandbox:
            built: dict[str, Any] = json.loads(
                command_for(sandbox, small_world, data).run("build", AREA, "--json")
            )
            read = {one.path for one in sandbox.log if one.method == "GET" and one.path.endswith(".tiff")}
        assert (built["version"], built["layers_built"]) == (2, 2), "only the late pass is read"
        assert read and all(f"_{late}T" in path for path in read), read
        changed = _reprocessed(small_world, tmp_path / "changed", late)
        with Sandbox(changed) as sandbox:
            planned = json.loads(command_for(sandbox, small_world, data).run("plan", AREA, "--json"))
            assert any("processed again" in note and late[:4] in note for note in planned["notes"])
            again: dict[str, Any] = json.loads(
                command_for(sandbox, small_world, data).run("build", AREA, "--json")
            )
            fresh = command_for(sandbox, small_world, tmp_path / "fresh")
            fresh.run("build", AREA)
        assert (again["version"], again["layers_built"]) == (3, 1)
    finally:
        stop.set()
        reader.join()
    assert problems == []
    np.testing.assert_array_equal(np.asarray(before["vv"].values), first)
    after = open_cube(cube)
    assert after.sizes["timestep"] == before.sizes["timestep"] + 1
    assert verify_cube(cube).sound
    assert tree(cube / "versions" / "3.zarr") == tree(fresh.cube / "versions" / "1.zarr")


def _reprocessed(world: SmallWorld, target: Path, day: str) -> Path:
    """A copy of the world in which one VV file of that day has other pixels under the same address."""
    world.without(target)
    path = next(p for p in sorted(target.rglob("iw-vv.rtc.tiff")) if f"_{day}T" in p.parts[-3])
    with rasterio.open(path) as source:
        profile, values = source.profile, source.read(1)
    path.unlink()
    with rasterio.open(path, "w", **{**profile, "driver": "GTiff"}) as sink:
        sink.write(np.where(values > 0, values * np.float32(1.1), values), 1)
    return target


def test_damage_is_found_and_repaired(undisturbed: Undisturbed, slidecube: Command) -> None:
    shutil.copytree(undisturbed.data, slidecube.data)
    version = slidecube.cube / "versions" / "1.zarr"
    expected = tree(version)
    shard = version / "vv" / "c" / "1" / "0" / "0"
    raw = bytearray(shard.read_bytes())
    raw[len(raw) // 3] ^= 4
    shard.write_bytes(bytes(raw))
    (version / "dem" / "c" / "0" / "0").unlink()
    output = slidecube.run("verify", AREA, code=5)
    assert "vv/c/1/0/0" in output
    assert "dem/c/0/0: the shard is missing" in output
    slidecube.run("build", AREA, "--repair")
    assert verify_cube(slidecube.cube).sound
    number = json.loads((slidecube.cube / "latest").read_text())["version"]
    assert tree(slidecube.cube / "versions" / f"{number}.zarr") == expected
