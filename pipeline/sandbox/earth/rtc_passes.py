"""Writes one simulated pass in the archive's form: slices with two polarisations, and their items."""

from __future__ import annotations

import zlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from pyproj import CRS, Transformer
from rasterio.warp import Resampling, reproject

from pipeline.sandbox.earth.images import file_md5, stamp, write_cog
from pipeline.sandbox.earth.overflights import Flight
from pipeline.sandbox.earth.radar import NODATA, observe, slice_masks
from pipeline.sandbox.earth.realism.random_fields import Raster as Values
from pipeline.sandbox.earth.scene import Scene
from pipeline.sandbox.earth.stac_items import (
    RTC_CONTAINER,
    RTC_HOST,
    BlobFacts,
    Raster,
    RtcFacts,
    rtc_item,
    to_degrees,
)

REPROCESSED_GAIN = np.float32(1.02)


def write_pass(scene: Scene, flight: Flight, root: Path) -> list[dict[str, Any]]:
    """Write a pass's slices below `root`/blobs; returns their items."""
    views: dict[str, Values] = {pol: observe(scene, flight, pol) for pol in scene.area.polarisations}
    items = []
    for number in flight.slices:
        items.append(_write_slice(scene, flight, number, views, root))
        if is_reprocessed(scene, flight, number):
            anew: dict[str, Values] = {pol: view * REPROCESSED_GAIN for pol, view in views.items()}
            items.append(_write_slice(scene, flight, number, anew, root, reprocessed=True))
    return items


def is_reprocessed(scene: Scene, flight: Flight, number: int) -> bool:
    """Whether a slice is offered a second time, with `REPROCESSED_GAIN`: the first one after the event."""
    first = next((other for other in scene.flights if other.slid), None)
    return scene.parameters.reprocessed_item and number == 0 and flight is first


def _in_neighbour_zone(scene: Scene, flight: Flight, number: int) -> bool:
    """Whether this slice is written in the next UTM zone: the first slice of the last pass before the event."""
    wanted = scene.parameters.neighbour_zone
    if wanted is None:
        west, _, east, _ = scene.area.footprint.bounds
        zone = scene.grid.epsg % 100
        wanted = any(int((lon + 180) // 6) + 1 != zone for lon in (west, east))
    quiet = [other for other in scene.flights if not other.slid]
    return bool(wanted and number == 0 and quiet and flight is quiet[-1])


def _neighbour_epsg(scene: Scene) -> int:
    zone = scene.grid.epsg % 100
    eastern = scene.area.footprint.centroid.x > zone * 6 - 183
    following = (zone % 60) + 1 if eastern else (zone - 2) % 60 + 1
    return scene.grid.epsg // 100 * 100 + following


def _write_slice(
    scene: Scene,
    flight: Flight,
    number: int,
    views: dict[str, Values],
    root: Path,
    reprocessed: bool = False,
) -> dict[str, Any]:
    inside, fringe = slice_masks(scene, flight, number)
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    transform = scene.grid.affine @ Affine.translation(int(columns[0]), int(rows[0]))
    start, end = flight.span(number)
    if reprocessed:
        end += timedelta(seconds=1)
    name = (
        f"{flight.platform}_IW_GRDH_1SDV_{start:%Y%m%dT%H%M%S}_{end:%Y%m%dT%H%M%S}"
        f"_{flight.absolute_orbit:06d}_{flight.datatake:06X}"
    )
    unique = f"{zlib.crc32(name.encode()) & 0xFFFF:04X}"
    folder = f"{RTC_CONTAINER}/GRD/{start.year}/{start.month}/{start.day}/IW/DV/{name}_{unique}/measurement"
    epsg, blobs = scene.grid.epsg, {}
    outside = np.float32(0.0 if flight.zero_filled else NODATA)
    raster = Raster.of(epsg, transform, inside[window].shape)
    for polarisation, view in views.items():
        values = np.where(inside[window], view[window], outside)
        values[fringe[window]] = 0.0
        if _in_neighbour_zone(scene, flight, number):
            values, raster = _warp(values, Raster.of(epsg, transform, values.shape), _neighbour_epsg(scene))
        path = root / "blobs" / RTC_HOST / folder / f"iw-{polarisation}.rtc.tiff"
        write_cog(path, values, Affine(*raster.transform), raster.epsg, NODATA)
        stamp(path, end + timedelta(days=200 if reprocessed else 2))
        blobs[polarisation] = BlobFacts(
            href=f"https://{RTC_HOST}/{folder}/{path.name}",
            size_bytes=path.stat().st_size,
            md5=file_md5(path),
            nodata=NODATA,
            pixel_m=scene.grid.resolution_m,
        )
    facts = RtcFacts(
        id=f"{name}_rtc",
        platform=flight.platform,
        absolute_orbit=flight.absolute_orbit,
        relative_orbit=flight.track.relative_orbit,
        datatake=flight.datatake,
        direction=flight.track.direction,
        start=start,
        end=end,
        number=number + 1,
        total=scene.parameters.slices,
        raster=raster,
        blobs=blobs,
    )
    outline = scene.swath(flight.track).outline(flight, number, beyond_m=1.5 * scene.grid.resolution_m)
    return rtc_item(facts, to_degrees(outline, scene.grid.epsg))


def _warp(values: Values, source: Raster, epsg: int) -> tuple[Values, Raster]:
    """The slice on the lattice of another zone, nearest neighbour; nodata around."""
    step = source.transform[0]
    across = Transformer.from_crs(source.epsg, epsg, always_xy=True)
    left, bottom, right, top = across.transform_bounds(*source.bounds, densify_pts=21)
    columns = int(np.floor(left / step)), int(np.ceil(right / step))
    rows = int(np.floor(bottom / step)), int(np.ceil(top / step))
    transform = Affine(step, 0.0, columns[0] * step, 0.0, -step, rows[1] * step)
    warped = np.full((rows[1] - rows[0], columns[1] - columns[0]), NODATA, dtype=np.float32)
    reproject(
        values,
        warped,
        src_transform=Affine(*source.transform),
        src_crs=CRS.from_epsg(source.epsg).to_wkt(),
        src_nodata=NODATA,
        dst_transform=transform,
        dst_crs=CRS.from_epsg(epsg).to_wkt(),
        dst_nodata=NODATA,
        init_dest_nodata=True,
        resampling=Resampling.nearest,
    )
    return warped, Raster.of(epsg, transform, warped.shape)
