"""A layer that cannot be made fails by name in the first build as in any other, and `plan` shows it beforehand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
import yaml

from pipeline.sandbox.posing.server import Sandbox
from tests.e2e.conftest import AREA, SmallWorld, command_for

LABELS = "landslides"
TERRAIN = "dem"


def with_inventory(world: SmallWorld, folder: Path, **changes: Any) -> SmallWorld:
    """The same world, asked by an area file whose inventory has other fields; None removes one."""
    aoi_dir = folder / "aoi"
    aoi_dir.mkdir()
    fields = yaml.safe_load((world.aoi_dir / f"{AREA}.yaml").read_text())
    inventory = {**fields["inventory"], **changes}
    fields["inventory"] = {key: value for key, value in inventory.items() if value is not None}
    (aoi_dir / f"{AREA}.yaml").write_text(yaml.safe_dump(fields))
    return SmallWorld(world.root, aoi_dir)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"layer": "slides"}, "slides"),
        ({"url": "absent.gpkg"}, "absent.gpkg"),
    ],
)
def test_labels_that_cannot_be_made(
    archive: Sandbox, small_world: SmallWorld, tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    world = with_inventory(small_world, tmp_path, **changes)
    slidecube = command_for(archive, world, tmp_path / "data")
    assert named in slidecube.run("plan", AREA, code=6)
    assert [r for r in archive.log if "rtc.tiff" in r.path and r.method == "GET"] == []
    said = slidecube.run("build", AREA, "--no-quicklook", code=6)
    assert named in said and "Traceback" not in said and "Assertion" not in said
    cube = xr.open_zarr(next((slidecube.cube / "versions").glob("*.zarr")))
    assert LABELS not in cube and TERRAIN in cube and cube.sizes["timestep"] > 0
    assert named in cube.attrs["missing"]


@pytest.mark.parametrize("fault", ["truncated", "gone"])
def test_terrain_that_cannot_be_made(small_world: SmallWorld, tmp_path: Path, fault: str) -> None:
    root = small_world.without(tmp_path / "world", "nothing is hidden")
    for path in root.rglob("*.tif"):
        if "nasadem" in str(path).lower():
            data = path.read_bytes()
            path.unlink()
            if fault == "truncated":
                path.write_bytes(data[: len(data) // 2])
    with Sandbox(root) as sandbox:
        slidecube = command_for(sandbox, small_world, tmp_path / "data")
        said = slidecube.run("build", AREA, "--no-quicklook", code=6)
        assert "terrain" in said and "Traceback" not in said
        cube = xr.open_zarr(next((slidecube.cube / "versions").glob("*.zarr")))
        assert TERRAIN not in cube and LABELS in cube
        if fault == "truncated":
            assert "terrain" in slidecube.run("plan", AREA, code=6)


def test_a_path_with_an_exclamation_mark(archive: Sandbox, small_world: SmallWorld, tmp_path: Path) -> None:
    found = next(path for path in small_world.root.rglob("*.gpkg") if "truth" not in path.name)
    folder = tmp_path / "in!ventory"
    folder.mkdir()
    shutil.copy(found, folder / "slides!.gpkg")
    world = with_inventory(small_world, tmp_path, url=str(folder / "slides!.gpkg"))
    slidecube = command_for(archive, world, tmp_path / "da!ta")
    built = json.loads(slidecube.run("build", AREA, "--no-quicklook", "--json"))
    assert built["failed"] == []
    assert LABELS in xr.open_zarr(built["uri"])
