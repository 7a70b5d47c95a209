"""Bursts with masks of layover and shadow, mosaicked: what is masked, overlaps, and a burst in another zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.warp import Resampling, reproject

from pipeline.archives.geotiff.rasters import open_asset
from pipeline.catalogue.assets import Asset
from pipeline.catalogue.items import Slice
from pipeline.catalogue.passes import Pass
from pipeline.cube.layers import LayerData
from pipeline.errors import SourceDataError
from pipeline.grid import Grid
from pipeline.layers.rtc_mosaic import read_backscatter
from pipeline.settings import settings

GRID = Grid(epsg=32654, resolution_m=30, left=500010, top=4700010, width=40, height=50)
Values = np.ndarray[Any, Any]


@pytest.fixture(autouse=True)
def own_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIDECUBE_LOCAL_ITEMS", "true")
    settings.cache_clear()


def write(path: Path, values: Values, transform: Affine, epsg: int = 32654) -> Asset:
    nodata = np.nan if values.dtype == np.float32 else 255
    with rasterio.open(
        path, "w", driver="GTiff", height=values.shape[0], width=values.shape[1], count=1, dtype=values.dtype,
        crs=f"EPSG:{epsg}", transform=transform, nodata=nodata,
    ) as target:  # fmt: skip
        target.write(values, 1)
    return Asset(href=str(path))


def burst(
    folder: Path, name: str, values: Values, mask: Values, transform: Affine, epsg: int = 32654
) -> Slice:
    start = datetime(2018, 9, 5, 20, 31, tzinfo=UTC)
    return Slice(
        id=name,
        start=start,
        end=start + timedelta(seconds=3),
        number=None,
        epsg=epsg,
        geometry={"type": "Polygon", "coordinates": []},
        assets={"vv": write(folder / f"{name}_VV.tif", values, transform, epsg)},
        burst=name,
        mask=write(folder / f"{name}_mask.tif", mask, transform, epsg),
    )


def read(*slices: Slice) -> LayerData:
    one = Pass(
        platform="sentinel-1a", absolute_orbit=1, relative_orbit=46, datatake="1", direction="descending",
        instant=slices[0].start, slices=slices, coverage=1.0,
    )  # fmt: skip
    return LayerData.of(read_backscatter(one, "vv", GRID, open_asset, 0), GRID.shape)


def speckle(shape: tuple[int, int], seed: int) -> Values:
    return np.random.default_rng(seed).gamma(4.4, 0.05, shape).astype(np.float32) + np.float32(1e-6)


def test_layover_and_shadow_are_left_out_and_another_burst_that_sees_the_place_is_taken(
    tmp_path: Path,
) -> None:
    first, second = speckle(GRID.shape, 1), speckle(GRID.shape, 2)
    mask = np.zeros(GRID.shape, np.uint8)
    mask[5, 5:9] = (1, 2, 3, 255)
    mask[30:] = 255
    other = np.zeros(GRID.shape, np.uint8)
    other[5, 6] = 2
    other[:2] = 255
    bursts = [
        burst(tmp_path, "a", first, mask, GRID.affine),
        burst(tmp_path, "b", second, other, GRID.affine),
    ]
    found = read(*bursts).arrays["vv"]
    expected = np.where(mask == 0, first, second)
    expected[5, 6] = np.nan
    np.testing.assert_array_equal(found, expected)
    alone = read(bursts[0]).arrays["vv"]
    np.testing.assert_array_equal(alone, np.where(mask == 0, first, np.nan))


def test_a_burst_in_the_next_zone_is_sampled_with_its_own_mask(tmp_path: Path) -> None:
    """Each pixel is the nearest of the burst's own lattice, and masked where that one is."""
    values, mask = speckle((200, 200), 3), np.zeros((200, 200), np.uint8)
    mask[:, :100] = 1
    left, top = _corner_in_zone_55()
    transform = Affine(30, 0, left, 0, -30, top)
    found = read(burst(tmp_path, "a", values, mask, transform, 32655)).arrays["vv"]
    expected: Values = np.full(GRID.shape, np.nan, np.float32)
    reproject(
        np.where(mask == 0, values, np.nan), expected, src_transform=transform, src_crs="EPSG:32655",
        dst_transform=GRID.affine, dst_crs="EPSG:32654", src_nodata=np.nan, dst_nodata=np.nan,
        resampling=Resampling.nearest, tolerance=0,
    )  # fmt: skip
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    assert 0.2 < np.isfinite(found).mean() < 0.8
    # GDAL rounds a centre on the edge of two pixels its own way
    assert same.mean() > 0.995


def _corner_in_zone_55() -> tuple[float, float]:
    from pyproj import Transformer

    across = Transformer.from_crs(32654, 32655, always_xy=True)
    x, y = across.transform(GRID.left + 15 * GRID.width, GRID.top - 15 * GRID.height)
    return round(x / 30) * 30 - 3000.0, round(y / 30) * 30 + 3000.0


@pytest.mark.parametrize("shift", [(30.0, 0.0), (0.0, -30.0), (15.0, 0.0)])
def test_a_mask_on_another_lattice_is_refused(tmp_path: Path, shift: tuple[float, float]) -> None:
    one = burst(tmp_path, "a", speckle(GRID.shape, 1), np.zeros(GRID.shape, np.uint8), GRID.affine)
    moved = Affine(30, 0, GRID.left + shift[0], 0, -30, GRID.top + shift[1])
    mask = write(tmp_path / "moved.tif", np.zeros(GRID.shape, np.uint8), moved)
    with pytest.raises(SourceDataError):
        read(one.model_copy(update={"mask": mask}))
    smaller = write(tmp_path / "smaller.tif", np.zeros((10, 10), np.uint8), GRID.affine)
    with pytest.raises(SourceDataError):
        read(one.model_copy(update={"mask": smaller}))
