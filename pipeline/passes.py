"""Passes of the satellite over the area: what the archive's items become."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from pipeline.aoi import Frozen, Utc

Direction = Literal["ascending", "descending"]


class Asset(Frozen):
    """One file of an item: one polarisation of one slice."""

    href: str = Field(description="unsigned URL")
    size_bytes: int | None = None
    etag: str | None = Field(None, description="ETag (or Last-Modified) that the server gave when the archive was asked")

    @property
    def fingerprint(self) -> str:
        """What tells one content of this URL from another: the server's ETag, else the size."""
        return self.etag or f"size:{self.size_bytes}"


class Slice(Frozen):
    """One RTC item: a slice of a datatake, in one UTM zone."""

    id: str
    start: Utc
    end: Utc
    number: int | None = Field(description="position in the datatake, from 1")
    epsg: int
    geometry: dict[str, Any] = Field(description="footprint, GeoJSON, degrees WGS 84")
    assets: dict[str, Asset] = Field(description="by polarisation: 'vv', 'vh'")


class Pass(Frozen):
    """One overflight: every slice of one platform, absolute orbit and datatake that meets the area.

    `instant` is the earliest start among the slices that meet the area.
    """

    platform: str = Field(description="as in 'sentinel-1a'")
    absolute_orbit: int
    relative_orbit: int
    datatake: str
    direction: Direction
    instant: Utc
    slices: tuple[Slice, ...] = Field(description="ascending in time")
    coverage: float = Field(ge=0, le=1, description="share of the area inside the slices' footprints")

    @property
    def id(self) -> str:
        """Name of the pass: platform, absolute orbit, datatake."""
        return f"{self.platform}_{self.absolute_orbit:06d}_{self.datatake}"

    @property
    def size_bytes(self) -> int:
        """Bytes of all assets, where the archive says."""
        return sum(a.size_bytes or 0 for s in self.slices for a in s.assets.values())


class DemTile(Frozen):
    """One elevation tile."""

    id: str
    collection: str
    asset: Asset
    bbox: tuple[float, float, float, float] = Field(description="west, south, east, north, degrees")


class InventoryFile(Frozen):
    """The inventory as found when the archive was asked."""

    url: str
    fingerprint: str = Field(description="sha256 of a local file, the stated sha256, or the server's ETag")
    extent_url: str | None = None
    extent_fingerprint: str | None = None


class Catalogue(Frozen):
    """What the archives held at one instant: one search, kept with the version and replayable.

    `rtc_items` and `dem_items` are the archive's own answers (STAC items as JSON), `probes` what its servers said
    of each file. Passes, tiles and sizes are computed from them, so that replaying uses the same code as searching.
    """

    format: Literal["slidecube-catalogue-1"] = "slidecube-catalogue-1"
    area: str
    area_digest: str = Field(description="of the fields of the area that the search depends on")
    searched_at: Utc
    endpoint: str
    rtc_items: tuple[dict[str, Any], ...]
    dem_items: tuple[dict[str, Any], ...]
    probes: dict[str, Asset] = Field(default_factory=dict, description="by unsigned href")
    inventory: InventoryFile | None = None
    notes: tuple[str, ...] = Field((), description="what was dropped or looks wrong, in words")
