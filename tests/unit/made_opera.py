"""Bursts of OPERA RTC-S1 as NASA's CMR gives them, made for tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.sandbox.opera.opera_index import OperaBurst, OperaFile, product_name
from pipeline.sandbox.posing.asf.opera_umm import opera_item

Item = dict[str, Any]


def burst_of(
    start: str = "2018-09-05T20:31:00Z",
    *,
    burst: str = "T046-098901-IW1",
    hours: float = 7,
    orbit: int = 23568,
    datatake: int = 0x067DF2,
    layers: tuple[str, ...] = ("VV", "VH", "mask"),
    box: tuple[float, float, float, float] = (141.0, 42.0, 143.0, 43.5),
    unit: str = "S1A",
) -> OperaBurst:
    """One product, of the overflight that `tests.unit.pipeline.catalogue.test_passes.item` has by default."""
    begin = datetime.fromisoformat(start).astimezone(UTC)
    processed = begin + timedelta(hours=hours)
    name = product_name(burst, begin, processed, unit)
    west, south, east, north = box
    ring = [(west, south), (east, south), (east, north), (west, north), (west, south)]
    return OperaBurst(
        name=name,
        absolute_orbit=orbit,
        relative_orbit=int(burst[1:4]),
        direction="descending",
        granule=f"{unit}_IW_SLC__1SDV_{begin:%Y%m%dT%H%M%S}_{begin:%Y%m%dT%H%M%S}_{orbit:06d}_{datatake:06X}_0A0B",
        start=begin,
        end=begin + timedelta(seconds=3),
        processed=processed,
        geometry={"type": "Polygon", "coordinates": [ring]},
        files={
            layer: OperaFile(name=f"{name}_{layer}.tif", size_bytes=1000, md5="0" * 32) for layer in layers
        },
    )


def umm_of(start: str = "2018-09-05T20:31:00Z", **options: Any) -> Item:
    """The item of CMR of such a product."""
    return opera_item(burst_of(start, **options))
