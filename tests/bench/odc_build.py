"""What a user would otherwise write: search, odc-stac's `load`, `to_zarr` with the same layout. Run as a process.

`python -m tests.bench.odc_build AREA TARGET`: the same passes and polarisations, on the same grid, with the same
shards, chunks and codecs, read with the same number of threads as slidecube reads layers.
"""

from __future__ import annotations

import sys
from pathlib import Path

import dask
import odc.stac
import planetary_computer
import pystac_client
from odc.geo.geobox import GeoBox

from pipeline.areas.area import load_area
from pipeline.cube.encoding.codecs import NEW_CODEC
from pipeline.cube.schema import CHUNK, SHARD
from pipeline.grid import Grid
from pipeline.settings import settings
from tests.bench.command import note_peak


def main() -> None:
    """Build the backscatter half of a cube with odc-stac."""
    area, target = load_area(sys.argv[1]), Path(sys.argv[2])
    grid = Grid.of_area(area)
    client = pystac_client.Client.open(settings().stac_url)
    items = client.search(
        collections=["sentinel-1-rtc"],
        intersects=area.footprint_geojson,
        datetime=f"{area.start.isoformat()}/{area.end.isoformat()}",
    ).item_collection()
    odc.stac.configure_rio(cloud_defaults=True)
    loaded = odc.stac.load(
        list(items),
        bands=["vv", "vh"],
        geobox=GeoBox(grid.shape, grid.affine, f"EPSG:{grid.epsg}"),
        chunks={"x": SHARD, "y": SHARD},
        groupby=lambda item, parsed, index: item.properties["sat:absolute_orbit"],
        patch_url=planetary_computer.sign,
    )
    layout = {
        "chunks": (1, CHUNK, CHUNK),
        "shards": (1, SHARD, SHARD),
        "compressors": NEW_CODEC.compressors,
    }
    with dask.config.set(scheduler="threads", num_workers=settings().read_concurrency):
        loaded.to_zarr(
            target, zarr_format=3, encoding=dict.fromkeys(("vv", "vh"), layout), consolidated=False
        )


if __name__ == "__main__":
    main()
    note_peak()
