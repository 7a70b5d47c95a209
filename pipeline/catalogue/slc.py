"""Single look complex data of the archive: granules, their bursts, the overflights and their pairs."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from pipeline.catalogue.identities import Direction
from pipeline.records import Frozen, Utc

Swath = Literal["IW1", "IW2", "IW3"]
Polarisation = Literal["vv", "vh"]

ORBIT_RADIUS_M = (6.9e6, 7.3e6)
"""Distances from the Earth's centre that Sentinel-1 can have: it flies 690 to 740 km above the ground."""
SPEED_M_S = (7.2e3, 8.0e3)
"""Speeds over the turning Earth that it can have: about 7.6 km/s."""


def on_orbit(radius_m: float, speed_m_s: float) -> bool:
    """Whether Sentinel-1 can be that far from the Earth's centre and that fast; what is not finite is not."""
    return ORBIT_RADIUS_M[0] < radius_m < ORBIT_RADIUS_M[1] and SPEED_M_S[0] < speed_m_s < SPEED_M_S[1]


class StateVector(Frozen):
    """Position and velocity of the satellite at an instant, earth-fixed (WGS 84)."""

    time: Utc
    position_m: tuple[float, float, float]
    velocity_m_s: tuple[float, float, float]


class Burst(Frozen):
    """One burst of one overflight, as the archive cuts it out of a granule."""

    id: str = Field(description="the archive's file id, as in S1_136231_IW2_20200604T022312_VV_7C85-BURST")
    full_id: str = Field(description="track, burst and swath: 064_136231_IW2; the same place at every repeat")
    granule: str = Field(description="name of the granule that holds it")
    swath: Swath
    polarisation: Polarisation
    index: int = Field(ge=0, description="of the burst within the granule's swath")
    start: Utc
    geometry: dict[str, Any] = Field(description="footprint, GeoJSON, degrees")
    tiff_url: str
    xml_url: str
    size_bytes: int | None = Field(
        None, description="of the samples (lines times samples times 4); the TIFF is a little larger"
    )


class Granule(Frozen):
    """One SLC product (a slice of a datatake)."""

    name: str = Field(description="scene name, S1A_IW_SLC__1SDV_...")
    platform: str = Field(description="as in 'sentinel-1a'")
    absolute_orbit: int
    relative_orbit: int
    frame: int | None = None
    direction: Direction
    start: Utc
    end: Utc
    polarisations: tuple[Polarisation, ...]
    geometry: dict[str, Any] = Field(description="footprint, GeoJSON, degrees")
    url: str
    size_bytes: int | None = None
    md5: str | None = None
    processed: Utc | None = None
    state_vectors: tuple[StateVector, ...] = Field(
        (), description="around the scene, where the archive has any"
    )


class SlcPass(Frozen):
    """One overflight: the granules of one platform and absolute orbit over the area, and the bursts that meet it."""

    platform: str
    absolute_orbit: int
    relative_orbit: int
    direction: Direction
    instant: Utc = Field(description="start of the earliest granule that meets the area")
    granules: tuple[Granule, ...] = Field(description="ascending in time")
    bursts: tuple[Burst, ...] = Field(
        (), description="of the chosen polarisation that meet the area, by full_id"
    )

    @property
    def id(self) -> str:
        """Name of the overflight."""
        return f"{self.platform}_{self.absolute_orbit:06d}"

    @property
    def state_vectors(self) -> tuple[StateVector, ...]:
        """Of all granules, ascending in time, each instant once."""
        by_time = {vector.time: vector for granule in self.granules for vector in granule.state_vectors}
        return tuple(by_time[time] for time in sorted(by_time))


class SlcPassList(Frozen):
    """The overflights of an area, ascending in time, and what was dropped or looks wrong, in words."""

    passes: tuple[SlcPass, ...]
    left_out: tuple[str, ...] = Field((), description="items and passes that cannot be used, and why")
    notes: tuple[str, ...] = ()


class SlcHoldings(Frozen):
    """What the archive of single look complex data held: its items, from which passes are computed.

    `granules` and `bursts` are the archive's items (meta and UMM-G, the fields that are read), `dem_items` the
    elevation items that cover the bursts' footprints with a margin.
    """

    granules: tuple[dict[str, Any], ...] = ()
    bursts: tuple[dict[str, Any], ...] = ()
    dem_items: tuple[dict[str, Any], ...] = ()


class Pair(Frozen):
    """Two overflights of one track, the earlier one as reference."""

    reference: SlcPass
    secondary: SlcPass
    polarisation: Polarisation
    burst_ids: tuple[str, ...] = Field(description="full_id of every burst that both have and the area needs")
    perpendicular_baseline_m: float | None = Field(
        None,
        description="secondary against reference at the area's middle; None without state vectors",
    )

    @property
    def relative_orbit(self) -> int:
        """The track of both."""
        return self.reference.relative_orbit

    @property
    def days(self) -> float:
        """Days from reference to secondary."""
        return (self.secondary.instant - self.reference.instant).total_seconds() / 86400

    @property
    def id(self) -> str:
        """Identity: track, start, end."""
        return pair_id(self.relative_orbit, self.reference.instant, self.secondary.instant)


def pair_id(relative_orbit: int, start: datetime, end: datetime) -> str:
    """'T046_20180824_20180905': the identity of a pair, of which `timepair` is the short form."""
    return f"T{relative_orbit:03d}_{start:%Y%m%d}_{end:%Y%m%d}"
