"""A world of Hokkaido's size for benchmarks: speckle over a smooth field, in compressed COGs, two slices a pass.

Quick to make rather than true to a landslide: a few different images stand behind many passes by hard link, which
changes nothing in what is transferred and decoded.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from scipy import ndimage
from shapely.geometry import Polygon, box

from pipeline.areas.area import AreaOfInterest
from pipeline.grid import Grid
from pipeline.sandbox.earth.images import write_cog
from pipeline.sandbox.earth.stac_items import BlobFacts, Raster, RtcFacts, dem_item, rtc_item, to_degrees
from pipeline.sandbox.world import FORMAT, clear, finish

RTC_HOST = "sentinel1euwestrtc.blob.core.windows.net"
DEM_HOST = "nasademeuwest.blob.core.windows.net"
NODATA = -32768.0
MARGIN_PX = 100
IMAGES = 3
SLANT = 0.2
"""rows per column of the edge between two slices"""
PASSES = 18


def write_scenes(root: Path, area: AreaOfInterest) -> list[Path]:
    """A finished world of `PASSES` descending passes over `area` and its elevation; the COGs of the passes."""
    clear(root)
    wide = Grid.of_area(area).padded(MARGIN_PX)
    images = {
        (number, part): _write_slice(root, wide, number, part)
        for number in range(2 * IMAGES)
        for part in (0, 1)
    }
    items: list[dict[str, Any]] = []
    cogs: list[Path] = []
    for index in range(PASSES):
        start = datetime(2018, 7, 16, 20, 25, tzinfo=UTC) + timedelta(days=6 * index)
        for part in (0, 1):
            begin = start + timedelta(seconds=25 * part)
            name = f"S1A_IW_GRDH_1SDV_{begin:%Y%m%dT%H%M%S}_{begin:%H%M%S}_{22000 + index:06d}_02B5D2_rtc"
            blobs = {}
            for offset, polarisation in enumerate(("vv", "vh")):
                source, raster, footprint = images[(2 * index + offset) % (2 * IMAGES), part]
                target = root / "blobs" / RTC_HOST / "sentinel1-grd-rtc" / name / f"{polarisation}.tiff"
                target.parent.mkdir(parents=True, exist_ok=True)
                os.link(source, target)
                cogs.append(target)
                blobs[polarisation] = BlobFacts(
                    href=f"https://{RTC_HOST}/sentinel1-grd-rtc/{name}/{polarisation}.tiff",
                    size_bytes=target.stat().st_size, md5="0" * 32, nodata=NODATA, pixel_m=10.0,
                )  # fmt: skip
            facts = RtcFacts(
                id=name, platform="S1A", absolute_orbit=22000 + index, relative_orbit=46, datatake=100000 + index,
                direction="descending", start=begin, end=begin + timedelta(seconds=25), number=part + 1, total=2,
                raster=raster, blobs=blobs,
            )  # fmt: skip
            items.append(rtc_item(facts, to_degrees(footprint, wide.epsg)))
    items += _write_elevation(root, area)
    for path in (root / "blobs").glob("image-*"):
        path.unlink()
    document = {"format": FORMAT, "area": area.model_dump(mode="json"), "simulated": True, "notes": []}
    finish(root, document, items, [item["id"] for item in items])
    return cogs


def _write_slice(root: Path, wide: Grid, number: int, part: int) -> tuple[Path, Raster, Polygon]:
    """One image cut along a slanted line; the smallest raster that holds the part."""
    rng = np.random.default_rng(number)
    field = ndimage.zoom(rng.normal(0, 0.4, (60, 50)), (wide.height / 60, wide.width / 50), order=1)
    values = (0.2 / (1 + 3 * (number % 2)) * np.exp(field)).astype("float32")
    values *= (rng.standard_gamma(4.4, values.shape, dtype="float32") / np.float32(4.4)).astype("float32")
    cut = wide.height // 2 + np.round(SLANT * (np.arange(wide.width) - wide.width / 2)).astype(int)
    rows = np.arange(wide.height)[:, None]
    outside = rows >= cut if part == 0 else rows < cut
    values[outside] = NODATA
    top = 0 if part == 0 else int(cut.min())
    bottom = int(cut.max()) if part == 0 else wide.height
    transform = wide.affine @ Affine.translation(0, top)
    path = root / "blobs" / f"image-{number}-{part}.tiff"
    write_cog(path, values[top:bottom], transform, wide.epsg, NODATA)
    left, south, right, north = wide.bounds
    at = [wide.top - wide.resolution_m * float(cut[end]) for end in (0, -1)]
    corners = (
        [(left, north), (right, north), (right, at[1]), (left, at[0])]
        if part == 0
        else [(left, at[0]), (right, at[1]), (right, south), (left, south)]
    )
    return path, Raster.of(wide.epsg, transform, (bottom - top, wide.width)), Polygon(corners)


def _write_elevation(root: Path, area: AreaOfInterest) -> list[dict[str, Any]]:
    """NASADEM tiles of one arc second around the area: hills of some 300 m."""
    west, south, east, north = area.footprint.buffer(0.05).bounds
    items = []
    for lat in range(int(south), int(north) + 1):
        for lon in range(int(west), int(east) + 1):
            step = 1 / 3600
            transform = Affine(step, 0, lon - step / 2, 0, -step, lat + 1 + step / 2)
            rows, columns = np.mgrid[0:3601, 0:3601]
            heights = 300 + 150 * np.sin((columns + 3600 * lon) / 90) * np.cos((rows - 3600 * lat) / 70)
            name = f"NASADEM_HGT_n{lat:02d}e{lon:03d}"
            path = root / "blobs" / DEM_HOST / "nasadem-cog" / "v001" / f"{name}.tif"
            write_cog(path, heights.astype("int16"), transform, 4326, -32768)
            raster = Raster.of(4326, transform, (3601, 3601))
            href = f"https://{DEM_HOST}/nasadem-cog/v001/{name}.tif"
            items.append(dem_item(name, "nasadem", href, raster, box(*raster.bounds)))
    return items


def bytes_needed(cogs: list[Path], grid: Grid) -> int:
    """Bytes of the full-resolution blocks that touch the grid, over all files: the least that can be read."""
    known: dict[int, int] = {}
    total = 0
    for path in cogs:
        inode = path.stat().st_ino
        if inode not in known:
            with rasterio.open(path) as source:
                known[inode] = _blocks_on(source, grid)
        total += known[inode]
    return total


def _blocks_on(source: Any, grid: Grid) -> int:
    left, bottom, right, top = grid.bounds
    total = 0
    for (row, column), window in source.block_windows(1):
        w, s, e, n = source.window_bounds(window)
        if w < right and e > left and s < top and n > bottom:
            size = source.get_tag_item(f"BLOCK_SIZE_{column}_{row}", "TIFF", bidx=1)
            total += int(size or 0)
    return total
