"""Granules that ASF lists of the overflights of a world, without their files: what a list of passes needs."""

from __future__ import annotations

import json
import zlib
from datetime import timedelta

from shapely.geometry import mapping

from pipeline.catalogue.identities import platform_name
from pipeline.catalogue.slc import Granule
from pipeline.sandbox.earth.scene import Scene
from pipeline.sandbox.earth.stac_items import to_degrees

HOST = "datapool.asf.alaska.edu"
_BYTES = 4_200_000_000
"""About the size of a zipped product of two polarisations."""


def listed_granules(scene: Scene) -> list[Granule]:
    """One granule a slice of each overflight, also of slices that the RTC archive lacks; a download answers 404."""
    found = []
    for flight in scene.flights:
        for number in range(scene.parameters.slices):
            start, end = flight.span(number)
            stem = (
                f"{flight.platform}_IW_SLC__1SDV_{start:%Y%m%dT%H%M%S}_{end:%Y%m%dT%H%M%S}"
                f"_{flight.absolute_orbit:06d}_{flight.datatake:06X}"
            )
            name = f"{stem}_{zlib.crc32(stem.encode()) & 0xFFFF:04X}"
            outline = to_degrees(scene.swath(flight.track).outline(flight, number), scene.grid.epsg)
            found.append(
                Granule(
                    name=name,
                    platform=platform_name(flight.platform),
                    absolute_orbit=flight.absolute_orbit,
                    relative_orbit=flight.track.relative_orbit,
                    frame=100 + number,
                    direction=flight.track.direction,
                    start=start,
                    end=end,
                    polarisations=("vv", "vh"),
                    geometry=json.loads(json.dumps(mapping(outline))),
                    url=f"https://{HOST}/SLC/S{flight.platform[-1]}/{name}.zip",
                    size_bytes=_BYTES,
                    processed=end + timedelta(hours=2),
                )
            )
    return found
