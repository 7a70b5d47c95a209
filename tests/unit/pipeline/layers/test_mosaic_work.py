"""What reading a pass must not grow in: bytes over those needed, requests, and memory."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Iterator
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
    peaks = []
    for height in (700, 700, 3000):
        folder = tmp_path / str(len(peaks))
        folder.mkdir()
        assets = two_slices(folder, height)
        mosaic = rtc_mosaic.read_backscatter(overflight(*assets), "vv", grid_of(height), open_asset)
        tracemalloc.start()
        for strip in mosaic.strips(arrays.strips_of((height, WIDTH))):
            assert np.isfinite(strip["vv"]).all()
        assert mosaic.report["coverage"] == 1.0
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    strip_bytes = 256 * WIDTH * 4
    assert peaks[2] < peaks[1] + strip_bytes
    assert peaks[2] < 3000 * WIDTH * 4 / 2, "no copy of the layer"
