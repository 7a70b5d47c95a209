"""Writes the bursts of OPERA RTC-S1 of a simulated scene: backscatter and mask on the lattice of 30 m of each burst."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from rasterio.warp import Resampling, reproject
from shapely import Polygon, contains_xy
from shapely.geometry import mapping

from pipeline.sandbox.earth.images import file_md5, stamp, write_cog
from pipeline.sandbox.earth.overflights import Flight
from pipeline.sandbox.earth.parameters import OperaPlan
from pipeline.sandbox.earth.radar import observe
from pipeline.sandbox.earth.scene import Scene
from pipeline.sandbox.earth.stac_items import Raster, to_degrees
from pipeline.sandbox.opera.opera_index import FOLDER, HOST, OperaBurst, OperaFile, product_name

PIXEL_M = 30.0
OVERLAP = 0.1
"""of a burst's length and width, on each side, with its neighbours"""
CYCLE, SUBSWATH = timedelta(seconds=2.758273), timedelta(seconds=0.93)
"""between the bursts of a subswath, and between those of one cycle"""
SHADOW, LAYOVER, OUTSIDE = 1, 2, 255
REPROCESSED_GAIN = np.float32(1.02)
"""of the second processing of a burst"""


def bursts_alone(scene: Scene) -> tuple[Flight, ...]:
    """The last passes, of which only ASF lists backscatter."""
    plan = scene.parameters.opera
    return scene.flights[len(scene.flights) - plan.alone :] if plan is not None and plan.alone else ()


def write_opera(scene: Scene, plan: OperaPlan, root: Path) -> list[OperaBurst]:
    """Write the bursts of every pass below `root`/blobs; the first of the last pass lies in the next UTM zone where
    the plan says so, and the first of the first pass is offered a second time, processed again."""
    found: list[OperaBurst] = []
    for flight in scene.flights:
        views: dict[str, NDArray[Any]] = {
            pol.upper(): observe(scene, flight, pol) for pol in scene.area.polarisations
        }
        views["mask"] = _mask(scene, flight)
        for along in range(plan.bursts):
            for across in range(plan.subswaths):
                first = along == across == 0
                epsg = scene.grid.epsg
                if plan.neighbour_zone and first and flight is scene.flights[-1]:
                    epsg = _next_zone(scene)
                made = _Burst(scene, flight, plan, along, across, epsg)
                found.append(made.write(views, root))
                if first and flight is scene.flights[0]:
                    found.append(made.write(views, root, again=True))
    return found


class _Burst:
    """One burst of a pass, at its place on the swath."""

    def __init__(
        self, scene: Scene, flight: Flight, plan: OperaPlan, along: int, across: int, epsg: int
    ) -> None:
        self._scene, self._flight, self._epsg = scene, flight, epsg
        self._start = flight.instant + along * CYCLE + across * SUBSWATH
        number = 2150 * flight.track.relative_orbit + along + 1
        self._id = f"T{flight.track.relative_orbit:03d}-{number:06d}-IW{across + 1}"
        self._outline = _outline(scene, flight, (along, plan.bursts), (across, plan.subswaths))

    def write(self, views: dict[str, NDArray[Any]], root: Path, *, again: bool = False) -> OperaBurst:
        """Write its files and describe it."""
        flight = self._flight
        processed = flight.instant + timedelta(days=300 if again else 0, hours=7)
        name = product_name(self._id, self._start, processed, flight.platform)
        inside = _to(self._outline, self._scene.grid.epsg, self._epsg)
        raster = _lattice(inside, self._epsg)
        east, north = _centres(raster)
        within = contains_xy(inside, *np.meshgrid(east, north))
        mask = self._resampled(views["mask"], raster)
        mask[~within] = OUTSIDE
        files = {"mask": self._file(root, f"{name}_mask.tif", mask, raster, OUTSIDE)}
        for layer in sorted(set(views) - {"mask"}):
            values = self._resampled(views[layer] * (REPROCESSED_GAIN if again else np.float32(1)), raster)
            values[~within | (mask == SHADOW)] = np.nan
            files[layer] = self._file(root, f"{name}_{layer}.tif", values, raster, float("nan"))
        for file in files.values():
            stamp(root / "blobs" / HOST / FOLDER / file.name, processed)
        start, end = flight.span(0)
        return OperaBurst(
            name=name,
            absolute_orbit=flight.absolute_orbit,
            relative_orbit=flight.track.relative_orbit,
            direction=flight.track.direction,
            granule=(
                f"{flight.platform}_IW_SLC__1SDV_{start:%Y%m%dT%H%M%S}_{end:%Y%m%dT%H%M%S}"
                f"_{flight.absolute_orbit:06d}_{flight.datatake:06X}_0A0B"
            ),
            start=self._start,
            end=self._start + CYCLE,
            processed=processed,
            geometry=json.loads(json.dumps(mapping(to_degrees(inside, self._epsg)))),
            files=files,
        )

    def _resampled(self, values: NDArray[Any], raster: Raster) -> NDArray[Any]:
        """Values of the scene on a burst's lattice: mean power, or the nearest class."""
        grid, classes = self._scene.grid, values.dtype == np.uint8
        target = np.full((raster.height, raster.width), OUTSIDE if classes else np.nan, values.dtype)
        reproject(
            values,
            target,
            src_transform=grid.affine,
            src_crs=CRS.from_epsg(grid.epsg).to_wkt(),
            dst_transform=Affine(*raster.transform),
            dst_crs=CRS.from_epsg(raster.epsg).to_wkt(),
            src_nodata=OUTSIDE if classes else np.nan,
            dst_nodata=OUTSIDE if classes else np.nan,
            resampling=Resampling.nearest if classes else Resampling.average,
        )
        return target

    def _file(self, root: Path, name: str, values: NDArray[Any], raster: Raster, nodata: float) -> OperaFile:
        path = root / "blobs" / HOST / FOLDER / name
        write_cog(path, values, Affine(*raster.transform), raster.epsg, nodata)
        return OperaFile(name=name, size_bytes=path.stat().st_size, md5=file_md5(path))


def _outline(scene: Scene, flight: Flight, along: tuple[int, int], across: tuple[int, int]) -> Polygon:
    """The rectangle of a burst on the scene's grid; each is its number and how many there are."""
    swath = scene.swath(flight.track)
    spans = []
    for (number, count), reach in zip((along, across), swath.reach_m, strict=True):
        length = 2 * reach / count
        beyond = OVERLAP * length
        spans.append((-reach + number * length - beyond, -reach + (number + 1) * length + beyond))
    heading = np.radians(flight.track.heading_deg)
    east, north = swath.centre
    corners = [(spans[0][i], spans[1][j]) for i, j in ((0, 0), (0, 1), (1, 1), (1, 0))]
    return Polygon(
        (
            east + a * np.sin(heading) + c * np.cos(heading),
            north + a * np.cos(heading) - c * np.sin(heading),
        )
        for a, c in corners
    )


def _mask(scene: Scene, flight: Flight) -> NDArray[np.uint8]:
    """(y, x) where a slope is steeper towards the sensor than the line of sight allows, or faces away beyond it."""
    relief, track = scene.relief, flight.track
    towards = np.arctan(
        np.tan(relief.slope_rad) * np.cos(relief.downslope_rad - np.radians(track.to_sensor_deg))
    )
    incidence = np.radians(track.incidence_deg)
    found = np.zeros(scene.grid.shape, np.uint8)
    found[towards >= incidence] = LAYOVER
    found[towards <= incidence - np.pi / 2] = SHADOW
    return found


def _next_zone(scene: Scene) -> int:
    zone = scene.grid.epsg % 100
    eastern = scene.area.footprint.centroid.x > zone * 6 - 183
    return scene.grid.epsg // 100 * 100 + ((zone % 60) + 1 if eastern else (zone - 2) % 60 + 1)


def _to(outline: Polygon, epsg: int, target: int) -> Polygon:
    if epsg == target:
        return outline
    across = Transformer.from_crs(epsg, target, always_xy=True)
    return Polygon(across.transform(x, y) for x, y in outline.segmentize(300).exterior.coords)


def _lattice(outline: Polygon, epsg: int) -> Raster:
    """The burst's lattice: its edges lie on multiples of the pixel."""
    west, south, east, north = outline.bounds
    left, top = np.floor(west / PIXEL_M) * PIXEL_M, np.ceil(north / PIXEL_M) * PIXEL_M
    shape = int(np.ceil((top - south) / PIXEL_M)), int(np.ceil((east - left) / PIXEL_M))
    return Raster.of(epsg, Affine(PIXEL_M, 0, left, 0, -PIXEL_M, top), shape)


def _centres(raster: Raster) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    left, bottom, right, top = raster.bounds
    half = PIXEL_M / 2
    return np.arange(left + half, right, PIXEL_M), np.arange(top - half, bottom, -PIXEL_M)
