"""What reading a pass must not grow in: bytes over those needed, requests, and memory."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.archives.geotiff.rasters import RemoteRaster, open_asset
from pipeline.archives.local_files import LocalFile
from pipeline.catalogue.assets import Asset
from pipeline.cube.encoding import arrays
from pipeline.grid import Grid
from pipeline.layers import rtc_mosaic
from pipeline.settings import settings
from tests.unit.pipeline.layers.test_rtc_mosaic import overflight, speckle, write

BLOCK, WIDTH = 64, 320


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Shards of 256 rows, windows of 160: neither ends where a block of 64 rows, begun 50 rows higher, does."""
    monkeypatch.setenv("SLIDECUBE_LOCAL_ITEMS", "true")
    monkeypatch.setattr(arrays, "SHARD", 256)
    monkeypatch.setattr(arrays, "CHUNK", 128)
    monkeypatch.setattr(rtc_mosaic, "MAX_WINDOW_PIXELS", 160 * WIDTH)
    settings.cache_clear()
    yield
    settings.cache_clear()


def grid_of(height: int) -> Grid:
    return Grid(epsg=32654, resolution_m=10, left=500000, top=4700000, width=WIDTH, height=height)


def two_slices(folder: Path, height: int) -> list[Asset]:
    """Two slices that meet in the middle and overlap by 40 rows, 50 pixels larger than the grid on each side."""
    values = speckle((height + 100, WIDTH + 100))
    middle = height // 2
    return [
        write(folder / f"{height}-a.tif", values[: middle + 20], 499500, 4700500, compress="deflate"),
        write(
            folder / f"{height}-b.tif", values[middle - 20 :], 499500, 4700500 - 10 * (middle - 20),
            compress="deflate",
        ),
    ]  # fmt: skip


def needed(raster: RemoteRaster, grid: Grid) -> int:
    """Bytes of the blocks that touch the grid."""
    row, column = (round(v) for v in reversed(~raster.transform @ (grid.left, grid.top)))
    image = raster._layout.image
    rows = max(0, row), min(raster.shape[0], row + grid.height)
    return sum(int(image.lengths[n]) for n in image.touched(rows, (column, column + grid.width)))


def test_each_block_is_read_once_and_in_few_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = grid_of(1000)
    opened: list[RemoteRaster] = []
    asked: list[int] = []
    honest = LocalFile.fetch_ranges

    def counted(self: LocalFile, ranges: Any) -> list[bytes]:
        asked.append(len(ranges))
        return honest(self, ranges)

    def opener(asset: Asset) -> RemoteRaster:
        opened.append(open_asset(asset))
        return opened[-1]

    monkeypatch.setattr(LocalFile, "fetch_ranges", counted)
    mosaic = rtc_mosaic.read_backscatter(overflight(*two_slices(tmp_path, 1000)), "vv", grid, opener)
    for _ in mosaic.strips(arrays.strips_of(grid.shape)):
        pass
    before = sum(raster.bytes_read for raster in opened)
    least = sum(needed(raster, grid) for raster in opened)
    headers = sum(raster._file.bytes_read and 65536 for raster in opened)
    assert before <= least + headers
    read = [count for count in asked if count]
    rows_of_blocks = sum(math.ceil(raster.shape[0] / BLOCK) for raster in opened)
    assert len(read) <= rows_of_blocks // 2 + len(arrays.strips_of(grid.shape)), (
        "two rows of blocks a request"
    )
    assert mosaic.report["coverage"] == 1.0


def test_memory_grows_with_a_strip_and_not_with_the_scene(tmp_path: Path) -> None:
    def peak(folder: Path, height: int) -> int:
        folder.mkdir()
        assets = two_slices(folder, height)
        mosaic = rtc_mosaic.read_backscatter(overflight(*assets), "vv", grid_of(height), open_asset)
        tracemalloc.start()
        for strip in mosaic.strips(arrays.strips_of((height, WIDTH))):
            assert np.isfinite(strip["vv"]).all()
        assert mosaic.report["coverage"] == 1.0
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peaks = []
    for height in (700, 700, 3000):
        with ThreadPoolExecutor(1) as fresh:  # a thread that has kept no memory yet
            peaks.append(fresh.submit(peak, tmp_path / str(len(peaks)), height).result())
    strip_bytes = 256 * WIDTH * 4
    assert peaks[2] < peaks[1] + strip_bytes
    assert peaks[2] < 3000 * WIDTH * 4 / 2, "no copy of the layer"


def test_a_thread_uses_its_memory_again_and_two_mosaics_at_once_do_not_share_it(tmp_path: Path) -> None:
    grid = grid_of(700)
    assets = two_slices(tmp_path, 700)
    strips = arrays.strips_of(grid.shape)

    def mosaic(*of: Asset) -> rtc_mosaic.Mosaic:
        return rtc_mosaic.read_backscatter(overflight(*of), "vv", grid, open_asset)

    def copied(one: rtc_mosaic.Mosaic) -> list[np.ndarray[Any, Any]]:
        return [strip["vv"].copy() for strip in one.strips(strips)]

    alone = []
    for part in ([assets[0]], [assets[1]]):
        with ThreadPoolExecutor(1) as fresh:
            alone.append(fresh.submit(copied, mosaic(*part)).result())
    one_after_the_other = [copied(mosaic(*part)) for part in ([assets[0]], [assets[1]])]
    pairs = zip(mosaic(assets[0]).strips(strips), mosaic(assets[1]).strips(strips), strict=True)
    at_once = zip(*([one["vv"].copy() for one in pair] for pair in pairs), strict=True)
    for number, in_turns in enumerate(at_once):
        for wanted, after, beside in zip(alone[number], one_after_the_other[number], in_turns, strict=True):
            np.testing.assert_array_equal(wanted, after)
            np.testing.assert_array_equal(wanted, beside)
