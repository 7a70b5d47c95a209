"""Sources of backscatter: the collections that an area can name, their pixel, and what their borders need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from pipeline.places import did_you_mean
from pipeline.records import Frozen

PLANETARY_RTC, OPERA_RTC = "sentinel-1-rtc", "opera-rtc-s1"


class BackscatterSource(Frozen):
    """One collection of terrain-corrected backscatter: gamma0, linear power, in UTM."""

    name: str = Field(description="of the collection, as areas and commands name it")
    title: str
    resolution_m: float
    border_erosion_px: int = Field(description="rim that a cube of it leaves out at the border of a pass")


SOURCES = {
    source.name: source
    for source in (
        BackscatterSource(
            name=PLANETARY_RTC,
            title="Sentinel-1 RTC at the Planetary Computer",
            resolution_m=10.0,
            border_erosion_px=3,
        ),
        # a burst holds its valid samples alone, and NaN around them (OPERA RTC-S1 Product Specification, JPL D-108758)
        BackscatterSource(
            name=OPERA_RTC, title="OPERA RTC-S1 at ASF", resolution_m=30.0, border_erosion_px=0
        ),
    )
}
"""By name. A collection of another STAC API can stand in `rtc_collection` without being named here."""


def pixel_m(collections: tuple[str, ...]) -> float | None:
    """The coarsest pixel of these collections, metres; None where none of them is known."""
    known = [SOURCES[name].resolution_m for name in collections if name in SOURCES]
    return max(known, default=None)


def check_sources(names: tuple[str, ...], collection: str, mixed: bool) -> None:
    """Refuse names that cannot be those of an area whose `rtc_collection` is `collection`.

    Raises:
        ValueError: one is unknown or named twice, or they contradict the other fields.
    """
    for name in names:
        if name not in SOURCES:
            raise ValueError(
                f"sources names {name!r:.60}, which is none of {', '.join(SOURCES)}.{did_you_mean(name, SOURCES)} "
                "Papers and pages belong in `references`"
            )
    if len(set(names)) < len(names):
        raise ValueError("sources names one twice; name each once")
    if names and names[0] != collection:
        raise ValueError(f"rtc_collection is {collection!r:.60}, and not the first of sources; leave it out")
    if mixed and len(names) < 2:
        raise ValueError("mixed_sources needs two sources or more; name them in `sources`")


def with_sources_apart(data: Any) -> Any:
    """Fields of an area file in which `sources` names collections alone.

    Earlier releases wrote papers and pages there, which are `references` now: texts that can be no collection's name.
    The first source is `rtc_collection`, and the pixel is that of the coarsest source of the cube, unless the file
    states them.
    """
    if not isinstance(data, Mapping) or not isinstance(data.get("sources"), list | tuple):
        return data
    stated = list(data["sources"])
    names = [one for one in stated if not isinstance(one, str) or _is_name(one)]
    texts = [one for one in stated if one not in names]
    fields = {**data, "sources": names}
    if texts:
        fields["references"] = [*texts, *(data.get("references") or ())]
    if names and isinstance(names[0], str):
        fields.setdefault("rtc_collection", names[0])
        of_cube = names if data.get("mixed_sources") is True else names[:1]
        pixel = pixel_m(tuple(name for name in of_cube if isinstance(name, str)))
        if pixel is not None and pixel > 10.0:
            fields.setdefault("resolution_m", pixel)
    return fields


def _is_name(text: str) -> bool:
    return " " not in text.strip() and "/" not in text and ":" not in text
