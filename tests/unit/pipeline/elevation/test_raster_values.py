"""What a raster's header declares reaches the cube or is refused by name, for radar as for elevation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

from pipeline.archives.geotiff.rasters import open_asset
from pipeline.catalogue.assets import Asset
from pipeline.catalogue.items import Slice
from pipeline.catalogue.passes import Pass
from pipeline.cube.layers import LayerData
from pipeline.elevation import geoid
from pipeline.elevation.dem_on_grid import elevation_on
from pipeline.elevation.ellipsoid import write_dem
from pipeline.errors import SourceDataError
from pipeline.grid import Grid
from pipeline.layers.dem_derivatives import derive_terrain
from pipeline.layers.rtc_mosaic import read_backscatter
from pipeline.settings import settings

GRID = Grid(epsg=32654, resolution_m=10, left=500000, top=4700000, width=60, height=50)
BOX = (141.0, 42.4, 141.02, 42.42)
GAMMA0 = np.random.default_rng(3).gamma(4.4, 0.05, GRID.shape) + 1e-3

Change = Callable[[Any], None]


@pytest.fixture(autouse=True)
def own_files(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SLIDECUBE_LOCAL_ITEMS", "true")
    settings.cache_clear()
    yield
    settings.cache_clear()


def write(path: Path, bands: NDArray[Any], change: Change = lambda _: None, **options: Any) -> Asset:
    """A GeoTIFF of (bands, rows, columns), or (rows, columns), on the grid; `change` sets what its header declares."""
    bands = bands if bands.ndim == 3 else bands[np.newaxis]
    profile = {
        "driver": "GTiff", "crs": "EPSG:32654", "transform": Affine(10, 0, GRID.left, 0, -10, GRID.top),
        "tiled": True, "blockxsize": 32, "blockysize": 32,
    } | options  # fmt: skip
    profile |= {
        "count": bands.shape[0],
        "height": bands.shape[1],
        "width": bands.shape[2],
        "dtype": bands.dtype,
    }
    with rasterio.open(path, "w", **profile) as target:
        target.write(bands)
        change(target)
    return Asset(href=str(path))


def gamma0(asset: Asset) -> NDArray[np.float32]:
    """What a cube holds of a pass with that one slice."""
    start = datetime(2018, 8, 1, tzinfo=UTC)
    piece = Slice(
        id="slice-0", start=start, end=start + timedelta(seconds=25), number=1, epsg=32654,
        geometry={"type": "Polygon", "coordinates": []}, assets={"vv": asset},
    )  # fmt: skip
    overflight = Pass(
        platform="sentinel-1a", absolute_orbit=1, relative_orbit=46, datatake="A", direction="descending",
        instant=start, slices=(piece,), coverage=1.0,
    )  # fmt: skip
    found = read_backscatter(overflight, "vv", GRID, open_asset, erosion_px=0)
    return LayerData.of(found, GRID.shape).arrays["vv"]


def setting(**values: Any) -> Change:
    def change(target: Any) -> None:
        for name, value in values.items():
            setattr(target, name, value)

    return change


@pytest.mark.parametrize(
    ("scale", "offset", "dtype"), [(1e-4, 0.0, "uint16"), (2e-5, -0.01, "int32"), (0.5, 0.25, "float32")]
)
def test_scale_and_offset_are_applied(tmp_path: Path, scale: float, offset: float, dtype: str) -> None:
    numbers = ((GAMMA0 - offset) / scale).astype(dtype)
    nodata = numbers.dtype.type(0 if dtype == "uint16" else -9999)
    numbers[:5] = nodata
    asset = write(
        tmp_path / "a.tif", numbers, setting(scales=(scale,), offsets=(offset,)), nodata=float(nodata)
    )
    found = gamma0(asset)
    assert np.isnan(found[:5]).all()
    np.testing.assert_allclose(found[5:], numbers[5:].astype(float) * scale + offset, rtol=1e-6)


def test_a_mask_within_the_file_is_no_data(tmp_path: Path) -> None:
    hidden = np.zeros(GRID.shape, bool)
    hidden[10:20, 5:40] = True
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        asset = write(tmp_path / "a.tif", GAMMA0.astype("f4"), lambda t: t.write_mask(~hidden))
    np.testing.assert_array_equal(np.isnan(gamma0(asset)), hidden)


@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_transparent_pixels_are_no_data(tmp_path: Path, interleave: str) -> None:
    opaque = np.full(GRID.shape, 1.0, "f4")
    opaque[30:, :7] = 0
    both = np.stack([GAMMA0.astype("f4"), opaque])
    asset = write(tmp_path / "a.tif", both, interleave=interleave, alpha="yes")
    found = gamma0(asset)
    np.testing.assert_array_equal(np.isnan(found), opaque == 0)
    np.testing.assert_array_equal(found[opaque != 0], GAMMA0.astype("f4")[opaque != 0])


@pytest.mark.parametrize("nodata", [0.25, -3.4028234663852886e38, float("nan"), 1e38])
def test_a_nodata_is_no_data(tmp_path: Path, nodata: float) -> None:
    values = GAMMA0.astype("f4")
    values[:, 8] = nodata
    assert np.isnan(gamma0(write(tmp_path / "a.tif", values, nodata=nodata))[:, 8]).all()


def test_a_nodata_that_only_a_text_declares_is_no_data(tmp_path: Path) -> None:
    values = GAMMA0.astype("f4")
    values[:, 8] = 0.125
    asset = write(tmp_path / "a.tif", values, lambda t: t.update_tags(1, _FillValue="0.125"))
    assert np.isnan(gamma0(asset)[:, 8]).all()


def test_texts_that_declare_nothing_of_the_values_are_no_hindrance(tmp_path: Path) -> None:
    def change(target: Any) -> None:
        target.update_tags(SCALE="1:25000", units="metre", AREA_OR_POINT="Area")
        target.update_tags(1, scale_factor="1.0", add_offset="0", _FillValue="nan")

    found = gamma0(write(tmp_path / "a.tif", GAMMA0.astype("f4"), change, nodata=float("nan")))
    np.testing.assert_array_equal(found, GAMMA0.astype("f4"))


def palette(target: Any) -> None:
    target.write_colormap(1, {0: (0, 0, 0, 255), 1: (255, 0, 0, 255)})


ONE, TWO = GAMMA0.astype("f4"), np.stack([GAMMA0, GAMMA0]).astype("f4")
REFUSED: dict[str, tuple[NDArray[Any], Change, dict[str, Any], str]] = {
    "complex": (ONE.astype("c8"), setting(), {}, "complex64"),
    "two bands": (TWO, setting(), {}, "2 bands"),
    "colours": (np.stack([ONE] * 3).astype("u1"), setting(), {"photometric": "RGB"}, "3 bands"),
    "palette": (np.ones(GRID.shape, "u1"), palette, {}, "palette"),
    "no scale": (ONE, setting(scales=(0.0,)), {}, "scale 0"),
    "scale NaN": (ONE, setting(scales=(float("nan"),)), {}, "scale nan"),
    "scale beside GDAL's": (ONE, lambda t: t.update_tags(1, scale_factor="0.0001"), {}, "scale_factor"),
    "offset beside GDAL's": (ONE, lambda t: t.update_tags(add_offset="-40"), {}, "add_offset"),
    "nodata beside GDAL's": (
        ONE,
        lambda t: t.update_tags(1, missing_value="-1"),
        {"nodata": -9999.0},
        "missing_value",
    ),
    "white is zero": (ONE.astype("u2"), setting(), {"photometric": "MINISWHITE"}, "white"),
    "unit": (ONE, setting(units=("kelvin",)), {}, "kelvin"),
    "unit as a text": (ONE, lambda t: t.update_tags(1, units="furlong"), {}, "furlong"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("read", [gamma0, lambda asset: terrain(asset)], ids=["radar", "elevation"])
def test_what_cannot_be_applied_is_refused_by_name(tmp_path: Path, case: str, read: Any) -> None:
    values, change, options, named = REFUSED[case]
    with pytest.raises(SourceDataError, match=named) as caught:
        read(write(tmp_path / "odd.tif", values, change, **options))
    assert "odd.tif" in caught.value.message


def test_decibels_are_named_whether_declared_or_not(tmp_path: Path) -> None:
    decibels = (10 * np.log10(GAMMA0)).astype("f4")
    for name, values, change in (
        ("declared", decibels, setting(units=("dB",))),
        ("silent", decibels, setting()),
        ("positive", -decibels, setting()),
        ("numbers", (GAMMA0 * 1e4).astype("u2"), setting()),
    ):
        with pytest.raises(SourceDataError, match=r"a\.tif|slice-0"):
            gamma0(write(tmp_path / "a.tif", values, change))
            pytest.fail(name)


def test_bright_targets_and_a_little_noise_below_zero_are_gamma0(tmp_path: Path) -> None:
    values = GAMMA0.astype("f4")
    values[3, 3], values[::5, ::3] = 881.0, -0.001
    found = gamma0(write(tmp_path / "a.tif", values, setting(units=("1",))))
    assert found[3, 3] == np.float32(881) and np.isnan(found[0, 0])


# elevation --------------------------------------------------------------------------------------------------------

HEIGHTS = 300 + 20 * np.sin(np.arange(120) / 9)[:, None] + 10 * np.cos(np.arange(120) / 7)


def tile(
    path: Path, values: NDArray[Any] = HEIGHTS, change: Change = lambda _: None, **options: Any
) -> Asset:
    """An elevation tile of 3 seconds of arc around the grid."""
    options = {"crs": "EPSG:4326", "transform": Affine(1 / 1200, 0, 140.95, 0, -1 / 1200, 42.5)} | options
    return write(path, values if values.dtype.kind != "f" else values.astype("f4"), change, **options)


def terrain(asset: Asset) -> Any:
    with open_asset(asset) as opened:
        return derive_terrain([opened], GRID, collection="nasadem")


def test_elevation_is_the_same_however_the_numbers_are_kept(tmp_path: Path) -> None:
    plain = terrain(tile(tmp_path / "plain.tif")).arrays["dem"]
    packed = tile(
        tmp_path / "packed.tif",
        np.round((HEIGHTS - 100) * 100).astype("i4"),
        setting(scales=(0.01,), offsets=(100.0,)),
    )
    np.testing.assert_allclose(terrain(packed).arrays["dem"], plain, atol=0.02)
    assert np.isfinite(plain).all()


@pytest.mark.parametrize(
    ("crs", "stated"),
    [("EPSG:4326+5773", "EPSG:5773"), ("EPSG:4326+3855", "EPSG:3855"), ("EPSG:4979", "ellipsoid")],
)
def test_a_tiles_own_vertical_reference_outranks_the_collections(
    tmp_path: Path, crs: str, stated: str
) -> None:
    asset = tile(tmp_path / "a.tif", crs=crs)
    # nasadem is above EGM96, cop-dem-glo-30 above EGM2008
    for collection in ("nasadem", "cop-dem-glo-30"):
        with open_asset(asset) as opened:
            found = elevation_on([opened], GRID, collection=collection)
            assert stated in found.source.vertical_datum
    assert stated in terrain(asset).attributes["dem"]["vertical_datum"]


def test_ellipsoidal_tiles_get_no_geoid(tmp_path: Path) -> None:
    heights = {}
    for crs in ("EPSG:4326", "EPSG:4979", "EPSG:4326+5773"):
        with open_asset(tile(tmp_path / "a.tif", crs=crs)) as opened:
            report = write_dem([opened], "nasadem", BOX, tmp_path / "dem.tif", margin_deg=0.0)
        heights[crs] = report.height_m[1], report.geoid
    undulation = float(geoid.undulation_m(42.41, 141.01))
    assert heights["EPSG:4979"][1] == "none" and heights["EPSG:4326"] == heights["EPSG:4326+5773"]
    assert heights["EPSG:4326"][0] - heights["EPSG:4979"][0] == pytest.approx(undulation, abs=0.5)


def test_heights_in_feet_and_tiles_of_two_references_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceDataError, match=r"feet\.tif"):
        terrain(tile(tmp_path / "feet.tif", crs="EPSG:4326+6360"))
    one, two = (
        tile(tmp_path / "one.tif", crs="EPSG:4326+5773"),
        tile(tmp_path / "two.tif", crs="EPSG:4326+3855"),
    )
    with (
        open_asset(one) as first,
        open_asset(two) as second,
        pytest.raises(SourceDataError, match=r"two\.tif"),
    ):
        elevation_on([first, second], GRID, collection="nasadem")
