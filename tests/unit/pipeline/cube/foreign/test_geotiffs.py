"""`slidecube import`: a folder of GeoTIFFs becomes a cube that meets the contract, or an error that names the file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner

import pipeline.cube.accessor  # noqa: F401
from model.inputs import cubes
from pipeline.cube.foreign.cli import import_geotiffs
from pipeline.cube.read import open_cube

TRANSFORM = Affine(20, 0, 500_000, 0, -20, 4_700_000)
SHAPE = (30, 40)


def tif(path: Path, *bands: Any, dtype: str = "float32", tags: tuple[str, ...] = (), **profile: Any) -> Path:
    given = {"crs": "EPSG:32654", "transform": TRANSFORM, "height": SHAPE[0], "width": SHAPE[1], **profile}
    scales, offsets, units = (given.pop(name, None) for name in ("scales", "offsets", "units"))
    with rasterio.open(path, "w", driver="GTiff", count=len(bands), dtype=dtype, **given) as file:
        for number, band in enumerate(bands, start=1):
            file.write(np.broadcast_to(np.asarray(band, dtype), (given["height"], given["width"])), number)
        for number, text in enumerate(tags, start=1):
            file.set_band_description(number, text)
        if scales:
            file.scales, file.offsets = scales, offsets
        if units:
            file.units = units
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two passes, one of which is described by its bands, a DEM and labels."""
    made = tmp_path / "tifs"
    made.mkdir()
    tif(made / "S1_VV_20180824.tif", 0.2)
    tif(made / "S1_vh_2018-08-24.TIFF", 0.05)
    tif(made / "20180906T204103.tif", 0.3, 0.06, tags=("VV", "VH"))
    tif(made / "dem.tif", 300)
    labels = np.zeros(SHAPE)
    labels[3:6, 4:9] = 1
    labels[:, 30:] = 255
    tif(made / "landslides.tif", labels, dtype="uint8", nodata=255)
    return made


def run(folder: Path, *options: str) -> Any:
    return CliRunner().invoke(
        import_geotiffs, [str(folder), "--out", str(folder.parent / "mine.zarr"), *options]
    )


def test_a_folder_becomes_a_cube(folder: Path) -> None:
    result = run(
        folder, "--track", "46", "--direction", "descending", "--event", "2018-09-05T18:07:59", "--json"
    )
    assert result.exit_code == 0, result.output
    made = json.loads(result.output)
    assert (made["passes"], made["variables"]) == (2, ["dem", "landslides", "vh", "vv"])
    with open_cube(made["uri"]) as cube:
        assert [str(t)[:19] for t in cube.timestep.values] == ["2018-08-24T00:00:00", "2018-09-06T20:41:03"]
        np.testing.assert_allclose(cube.vv[:, 5, 5], [0.2, 0.3])
        np.testing.assert_allclose(cube.vh[:, 5, 5], [0.05, 0.06])
        assert float(cube.landslides.sum()) == 15
        assert np.isnan(cube.landslides[:, 30:]).all()
        assert (float(cube.x[0]), float(cube.y[0])) == (500_010, 4_699_990)
        assert cube.rio.crs.to_epsg() == 32654
        assert cube.slidecube.log_ratio().shape == SHAPE
    loaded, facts = cubes.load(made["uri"])
    assert facts.area == "mine" and not facts.simulated
    assert set(np.unique(cubes.labels(loaded))) == {0, 1, 255}


def test_what_a_file_declares_is_applied(folder: Path) -> None:
    (folder / "S1_VV_20180824.tif").unlink()
    tif(folder / "S1_VV_20180824.tif", 2000, dtype="uint16", scales=(1e-4,), offsets=(0.1,), nodata=0)
    assert run(folder).exit_code == 0
    np.testing.assert_allclose(open_cube(folder.parent / "mine.zarr").vv[0, 0, 0], 0.3, rtol=1e-6)


def test_decibels_are_converted_where_a_person_says_so_and_refused_elsewhere(folder: Path) -> None:
    for path in folder.glob("*2018*"):
        path.unlink()
    tif(folder / "vv_20180824.tif", -7.0)
    tif(folder / "vv_20180906.tif", -6.0)
    refused = run(folder)
    assert refused.exit_code == 5 and "decibels" in refused.output
    assert not (folder.parent / "mine.zarr").exists()
    assert run(folder, "--backscatter", "dB").exit_code == 0
    np.testing.assert_allclose(
        open_cube(folder.parent / "mine.zarr").vv[:, 0, 0], [10**-0.7, 10**-0.6], rtol=1e-6
    )


def test_label_codes_are_what_a_person_says(folder: Path) -> None:
    labels = np.full(SHAPE, 2)
    labels[:5], labels[5:9] = 7, 9
    tif(folder / "landslides.tif", labels, dtype="int16")
    refused = run(folder)
    assert refused.exit_code == 5 and "2, 7, 9" in refused.output
    assert run(folder, "--landslide", "7", "--background", "2", "--unmapped", "9").exit_code == 0
    found = open_cube(folder.parent / "mine.zarr").landslides.values
    assert (found[:5] == 1).all() and np.isnan(found[5:9]).all() and (found[9:] == 0).all()


Spoil = Callable[[Path], object]


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda f: tif(f / "vv_20180930.tif", 0.2, crs="EPSG:32655"), "vv_20180930.tif"),
        (lambda f: tif(f / "vv_20180930.tif", 0.2, transform=Affine(10, 0, 0, 0, -10, 0)), "vv_20180930.tif"),
        (lambda f: tif(f / "vv_20180930.tif", 0.2, width=41), "vv_20180930.tif"),
        (lambda f: tif(f / "vv.tif", 0.2), "vv.tif"),
        (lambda f: tif(f / "20180930.tif", 0.2), "20180930.tif"),
        (lambda f: tif(f / "vv_20181399.tif", 0.2), "vv_20181399.tif"),
        (lambda f: tif(f / "VV_20180824.tif", 0.2), "VV_20180824.tif"),
        (lambda f: tif(f / "20180930.tif", 0.2, 0.1, tags=("VV", "entropy")), "20180930.tif"),
        (lambda f: (f / "vv_20180930.tif").write_bytes(b"II*\0 no picture"), "vv_20180930.tif"),
        (lambda f: (f / "vv_20180930.tif").write_text("<VRTDataset/>"), "vv_20180930.tif"),
        (lambda f: [p.unlink() for p in f.glob("*2018*")], "pass"),
        (lambda f: [p.unlink() for p in f.iterdir()], "GeoTIFF"),
    ],
)
def test_what_cannot_be_placed_is_named_and_nothing_is_left(folder: Path, spoil: Spoil, named: str) -> None:
    spoil(folder)
    result = run(folder)
    assert result.exit_code == 5 and named in result.output
    assert [path.name for path in folder.parent.iterdir()] == ["tifs"]


def test_a_folder_in_degrees_is_refused(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    tif(folder / "vv_20180824.tif", 0.2, crs="EPSG:4326", transform=Affine(1e-4, 0, 142, 0, -1e-4, 42))
    result = run(folder)
    assert result.exit_code == 5 and "degrees" in result.output


def test_nothing_is_replaced(folder: Path) -> None:
    (folder.parent / "mine.zarr").mkdir()
    (folder.parent / "mine.zarr" / "mine").write_text("kept")
    assert run(folder).exit_code == 5
    assert (folder.parent / "mine.zarr" / "mine").read_text() == "kept"


def test_a_truncated_file_is_named_with_what_gdal_says_and_nothing_is_left(folder: Path) -> None:
    victim = min(folder.glob("*20*.tif"))
    content = victim.read_bytes()
    victim.write_bytes(content[: len(content) * 2 // 3])
    ended = run(folder)
    assert ended.exit_code == 5 and victim.name in ended.output and "previous exception" not in ended.output
    assert not (folder.parent / "mine.zarr").exists()
