"""The overflight whose orbit gives a track's look geometry, and the product name that identifies its orbit file.

For a track with backscatter in the cube it is the earliest pass, whether or not the archive of single look complex data
was reachable, so that the layer is the same in both cases.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from urllib.parse import urlsplit

from pydantic import Field

from pipeline.catalogue.identities import platform_name
from pipeline.catalogue.passes import Pass
from pipeline.catalogue.slc import SlcPass
from pipeline.insar.look.relief import LOOK_MARGIN_M
from pipeline.records import Frozen, Utc

AREA_S = 90.0
"""From the instant of a pass to the last line of an area, for areas of at most 600 km."""
_PRODUCT = re.compile(
    r"S1[A-D]_\w\w_\w{4}_\d[AS]\w\w_\d{8}T\d{6}_\d{8}T\d{6}_\d{6}_[0-9A-F]{6}_[0-9A-F]{4}", re.ASCII
)


class LookOrder(Frozen):
    """The input of a track's look geometry: the orbit of one overflight."""

    relative_orbit: int
    platform: str = Field(description="such as 'sentinel-1a'")
    absolute_orbit: int
    instant: Utc = Field(description="start of that overflight over the area, or shortly before")
    scene: str = Field(description="name of a product of that overflight, which identifies its orbit file")
    margin_m: float = Field(LOOK_MARGIN_M, description="terrain needed around the grid")

    @property
    def orbit_span(self) -> tuple[datetime, datetime]:
        """The span that the orbit file must cover, without the usual margin before and after."""
        return self.instant, self.instant + timedelta(seconds=AREA_S)


class LookOrders(NamedTuple):
    """One order for each track, by relative orbit, and the tracks without a product name."""

    orders: tuple[LookOrder, ...]
    nameless: tuple[int, ...]


def look_orders(passes: Iterable[Pass], slc_passes: Sequence[SlcPass] = ()) -> LookOrders:
    """One order for every track, from its earliest pass with a product name.

    Orbits of a track repeat within about 100 m, which is 0.01 degrees. The earliest pass stays the same when new passes
    are added, and has a precise orbit first. `slc_passes` are used for tracks whose passes have no product name, and
    give the product name of passes of the same overflight.
    """
    granules = {one.id: one.granules[0].name for one in slc_passes if one.granules}
    by_track: dict[int, list[LookOrder]] = {}
    for one in passes:
        orders = by_track.setdefault(one.relative_orbit, [])
        if (own := product_name(one)) is not None:
            orders.append(_order(one, granules.get(f"{one.platform}_{one.absolute_orbit:06d}", own)))
    bare = {track for track, orders in by_track.items() if not orders}
    for other in slc_passes:
        track = other.relative_orbit
        if other.id in granules and (track in bare or track not in by_track):
            bare.add(track)
            by_track.setdefault(track, []).append(_order(other, granules[other.id]))
    return LookOrders(
        orders=tuple(
            min(by_track[track], key=lambda o: (o.instant, o.platform, o.absolute_orbit))
            for track in sorted(by_track)
            if by_track[track]
        ),
        nameless=tuple(track for track in sorted(by_track) if not by_track[track]),
    )


def product_name(overflight: Pass) -> str | None:
    """The full product name of an overflight, from the folder of its files; None if no folder is named like a product.

    An item's id lacks the end of the name, which distinguishes products of one scene.
    """
    for piece in overflight.slices:
        words = [word for asset in piece.assets.values() for word in urlsplit(asset.href).path.split("/")]
        for word in (*words, piece.id.removesuffix("_rtc")):
            if _PRODUCT.fullmatch(word) and platform_name(word[:3]) == overflight.platform:
                return word
    return None


def _order(one: Pass | SlcPass, scene: str) -> LookOrder:
    return LookOrder(
        relative_orbit=one.relative_orbit,
        platform=one.platform,
        absolute_orbit=one.absolute_orbit,
        instant=one.instant,
        scene=scene,
    )
