"""The least that a build does: read the bytes through the server, decode them, encode the shards. Run as a process.

`python -m tests.bench.floor AREA TARGET`: every file of the bench's passes in windows of two rows of blocks, by as many
threads as a build reads with. Nothing is mosaicked, checked or digested.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pystac_client
from rasterio.windows import Window

from pipeline.archives.geotiff.rasters import RemoteRaster
from pipeline.areas.area import load_area
from pipeline.cube.encoding.arrays import chunk_of, shard_of
from pipeline.cube.encoding.codecs import NEW_CODEC
from pipeline.cube.encoding.shards import encode_shard
from pipeline.grid import Grid
from pipeline.settings import settings
from tests.bench.command import note_peak

WINDOW_ROWS = 1024


def main() -> None:
    """Read, decode and encode the backscatter of an area."""
    area, target = load_area(sys.argv[1]), Path(sys.argv[2])
    target.mkdir()
    grid = Grid.of_area(area)
    items = pystac_client.Client.open(settings().stac_url).search(
        collections=["sentinel-1-rtc"],
        intersects=area.footprint_geojson,
        datetime=f"{area.start.isoformat()}/{area.end.isoformat()}",
    )
    files = [
        (item.assets[band].href, target / f"{item.id}-{band}")
        for item in items.items()
        for band in ("vv", "vh")
    ]
    with ThreadPoolExecutor(settings().read_concurrency) as pool:
        for _ in pool.map(lambda file: recode(*file, grid), files):
            pass


def recode(href: str, target: Path, grid: Grid) -> None:
    """The part of one file over the grid, as shards one after the other."""
    shard, chunk = shard_of(grid.shape), chunk_of(grid.shape)
    with RemoteRaster(href) as raster, target.open("wb") as file:
        column, row = (round(v) for v in ~raster.transform @ (grid.left, grid.top))
        top, bottom = max(0, row), min(raster.shape[0], row + grid.height)
        values = np.empty((shard[0] + WINDOW_ROWS, grid.width), np.float32)
        held = 0
        while top < bottom:
            end = min(bottom, (top + WINDOW_ROWS) // raster.block_shape[0] * raster.block_shape[0])
            values[held : held + end - top] = raster.read(window=Window(column, top, grid.width, end - top))
            held, top = held + end - top, end
            while held >= shard[0] or (held and top == bottom):
                count = min(held, shard[0])
                for left in range(0, grid.width, shard[1]):
                    part = values[:count, left : left + shard[1]]
                    file.write(encode_shard(part, shard, chunk, NEW_CODEC, np.nan))
                values[: held - count] = values[count:held].copy()
                held -= count


if __name__ == "__main__":
    main()
    note_peak()
