"""A pass from its slices: exactness, mosaicking, borders and seams, on small local rasters."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from pipeline.archives.geotiff.rasters import open_asset
from pipeline.catalogue.assets import Asset
from pipeline.catalogue.items import Slice
from pipeline.catalogue.passes import Pass
from pipeline.cube.layers import LayerData
from pipeline.errors import SourceDataError
from pipeline.grid import Grid
from pipeline.layers import rtc_mosaic
from pipeline.layers.mosaic_borders import Squares
from pipeline.settings import settings as program_settings

GRID = Grid(epsg=32654, resolution_m=10, left=500000, top=4700000, width=120, height=150)
NODATA = -32768.0


opener = open_asset


@pytest.fixture(autouse=True)
def own_files(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SLIDECUBE_LOCAL_ITEMS", "true")
    program_settings.cache_clear()
    yield
    program_settings.cache_clear()


def write(path: Path, values: np.ndarray[Any, Any], left: float, top: float, **options: Any) -> Asset:
    profile = {
        "driver": "GTiff", "dtype": "float32", "count": 1, "nodata": NODATA, "crs": "EPSG:32654",
        "tiled": True, "blockxsize": 64, "blockysize": 64, "pixel": 10.0,
    } | options  # fmt: skip
    pixel = profile.pop("pixel")
    profile |= {"height": values.shape[0], "width": values.shape[1]}
    profile["transform"] = Affine(pixel, 0, left, 0, -pixel, top)
    with rasterio.open(path, "w", **profile) as target:
        target.write(values.astype("float32"), 1)
    return Asset(href=str(path))


def overflight(*assets: Asset) -> Pass:
    start = datetime(2018, 8, 1, tzinfo=UTC)
    slices = tuple(
        Slice(
            id=f"slice-{n}",
            start=start + timedelta(seconds=25 * n),
            end=start + timedelta(seconds=25 * (n + 1)),
            number=n,
            epsg=32654,
            geometry={"type": "Polygon", "coordinates": []},
            assets={"vv": asset},
        )
        for n, asset in enumerate(assets)
    )
    return Pass(
        platform="sentinel-1a", absolute_orbit=1, relative_orbit=46, datatake="A", direction="descending",
        instant=start, slices=slices, coverage=1.0,
    )  # fmt: skip


def read(one: Pass, polarisation: str, grid: Grid, *, erosion_px: int = 3) -> LayerData:
    return LayerData.of(rtc_mosaic.read_backscatter(one, polarisation, grid, opener, erosion_px), grid.shape)


def speckle(shape: tuple[int, int], seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).gamma(4.4, 0.05, shape).astype("float32") + np.float32(1e-6)


def test_a_raster_on_the_lattice_is_read_without_resampling(tmp_path: Path) -> None:
    values = speckle((300, 300))
    asset = write(tmp_path / "a.tif", values, 499500, 4700500)
    data = read(overflight(asset), "vv", GRID)
    np.testing.assert_array_equal(data.arrays["vv"], values[50:200, 50:170])
    assert data.report["coverage"] == 1.0
    assert data.report["eroded_pixels"] == 0


@settings(max_examples=12, deadline=None)
@given(pixels=st.integers(800, 40_000), left=st.integers(-90, 60), top=st.integers(-90, 60))
def test_the_result_does_not_depend_on_the_windows(
    tmp_path_factory: pytest.TempPathFactory, pixels: int, left: int, top: int
) -> None:
    folder = tmp_path_factory.mktemp("windows")
    values = speckle((200, 170))
    values[20:30, 40:60] = 0
    asset = write(folder / "a.tif", values, 500000 + 10 * left, 4700000 - 10 * top)
    other = write(folder / "b.tif", speckle((150, 150), 1), 6300, 4717600, crs="EPSG:32655", pixel=10.0)
    whole = read(overflight(asset, other), "vv", GRID).arrays["vv"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rtc_mosaic, "MAX_WINDOW_PIXELS", pixels)
        cut = read(overflight(asset, other), "vv", GRID).arrays["vv"]
    np.testing.assert_array_equal(whole, cut)


def test_a_slice_of_the_neighbouring_zone_equals_an_exact_warp(tmp_path: Path) -> None:
    zone = Grid(epsg=32655, resolution_m=10, left=6000, top=4718000, width=400, height=400)
    asset = write(tmp_path / "b.tif", speckle(zone.shape), zone.left, zone.top, crs="EPSG:32655")
    data = read(overflight(asset), "vv", GRID, erosion_px=0)
    with (
        rasterio.open(asset.href) as source,
        WarpedVRT(
            source, crs="EPSG:32654", transform=GRID.affine, width=GRID.width, height=GRID.height,
            resampling=Resampling.nearest, tolerance=1e-9, XSCALE=1, YSCALE=1,
        ) as warped,
    ):  # fmt: skip
        expected = warped.read(1)
    expected = np.where(expected == NODATA, np.nan, expected)
    assert np.isfinite(expected).mean() > 0.5, "the two must overlap for the comparison to mean anything"
    np.testing.assert_array_equal(data.arrays["vv"], expected)
    assert data.report["slices_in_another_zone"] == ["slice-0"]


def test_invalid_pixels_are_nan_and_only_the_outer_border_is_eroded(tmp_path: Path) -> None:
    values = speckle(GRID.shape)
    values[:20] = 0  # border filled with zeros
    values[20:22, :50] = NODATA
    values[80:90, 60:70] = 0  # a lake
    values[100, 100], values[101, 101], values[102, 102] = np.nan, np.inf, -1.0
    asset = write(tmp_path / "a.tif", values, GRID.left, GRID.top)
    got = read(overflight(asset), "vv", GRID, erosion_px=3).arrays["vv"]
    assert np.isnan(got[:23]).all()
    assert np.isnan(got[22:25, :50]).all()
    assert np.isfinite(got[23:26, 60:]).all()
    assert np.isnan(got[80:90, 60:70]).all()
    assert np.isfinite(got[77:80, 60:70]).all(), "the shore of the lake stays"
    assert np.isnan([got[100, 100], got[101, 101], got[102, 102]]).all()
    assert np.isfinite(got[103:, 103:]).all()


def test_the_seam_between_slices_is_neither_eroded_nor_counted_as_border(tmp_path: Path) -> None:
    values = speckle(GRID.shape)
    first, second = values.copy(), values.copy()
    first[70:] = 0
    second[:70] = 0
    second[70, 40:60] = 0  # a gap of one pixel along the seam, which reaches no edge
    second[70, :5] = 0  # and one that does
    one = write(tmp_path / "a.tif", first, GRID.left, GRID.top)
    two = write(tmp_path / "b.tif", second, GRID.left, GRID.top)
    data = read(overflight(one, two), "vv", GRID, erosion_px=3)
    got = data.arrays["vv"]
    assert data.report["seam_gap_pixels"] == 25
    assert data.report["seam_pixels"] == 2 * (120 - 25)
    assert data.report["eroded_pixels"] == 0
    assert np.isnan(got).sum() == 25
    np.testing.assert_array_equal(got[71:], values[71:])


def test_the_first_valid_slice_is_taken(tmp_path: Path) -> None:
    first = np.full(GRID.shape, 0.5, "float32")
    first[:, :60] = 0
    one = write(tmp_path / "a.tif", first, GRID.left, GRID.top)
    two = write(tmp_path / "b.tif", np.full(GRID.shape, 0.25, "float32"), GRID.left, GRID.top)
    got = read(overflight(one, two), "vv", GRID).arrays["vv"]
    assert (got[:, :60] == 0.25).all()
    assert (got[:, 60:] == 0.5).all()


def test_a_missing_polarisation_is_all_nan_with_coverage_0(tmp_path: Path) -> None:
    asset = write(tmp_path / "a.tif", speckle(GRID.shape), GRID.left, GRID.top)
    data = read(overflight(asset), "vh", GRID)
    assert np.isnan(data.arrays["vh"]).all()
    assert data.report["coverage"] == 0.0


def test_finer_pixels_are_averaged_in_power(tmp_path: Path) -> None:
    values = speckle((300, 300))
    values[:4, :4] = 0
    values[0:2, 0:1] = 0.3
    asset = write(tmp_path / "a.tif", values, GRID.left, GRID.top)
    coarse = Grid(epsg=32654, resolution_m=20, left=GRID.left, top=GRID.top, width=60, height=70)
    got = read(overflight(asset), "vv", coarse, erosion_px=0).arrays["vv"]
    expected = values[:140, :120].reshape(70, 2, 60, 2).mean(axis=(1, 3), dtype="float64").astype("float32")
    np.testing.assert_array_equal(got[2:, 2:], expected[2:, 2:])
    assert got[0, 0] == np.float32(0.3), "half of the pixel is valid"
    assert np.isnan(got[1, 1])


def test_rasters_that_cannot_be_aligned_are_refused(tmp_path: Path) -> None:
    coarse = write(tmp_path / "a.tif", speckle((50, 50)), GRID.left, GRID.top, pixel=30.0)
    with pytest.raises(SourceDataError, match="resolution_m"):
        read(overflight(coarse), "vv", GRID)
    degrees = write(tmp_path / "b.tif", speckle((50, 50)), 141, 42, pixel=0.0001, crs="EPSG:4326")
    with pytest.raises(SourceDataError, match="degrees"):
        read(overflight(degrees), "vv", GRID)


def share_reached(valid: np.ndarray[Any, np.dtype[np.bool_]], resolution_m: float) -> float:
    squares = Squares(valid.shape, resolution_m)
    for first in range(0, len(valid), 37):
        squares.add(first, valid[first : first + 37])
    assert squares.total == np.count_nonzero(valid)
    return squares.share_reached


def test_masked_shadow_empties_no_square_and_an_absent_slice_does() -> None:
    shape = (400, 400)
    rows, columns = np.indices(shape)
    assert share_reached(np.ones(shape, bool), 10.0) == 1.0
    assert share_reached(np.zeros(shape, bool), 10.0) == 0.0
    assert share_reached(columns % 20 < 11, 10.0) == 1.0, "45 % of the pixels lack, in stripes"
    assert share_reached(columns < 200, 10.0) == pytest.approx(0.5, abs=0.05)
    assert share_reached((rows + columns) % 100 == 0, 10.0) == 0.0, "single pixels are no data"
    assert share_reached(np.ones((7, 3), bool), 10.0) == 1.0
