"""Areas of interest: event, outline, time range and sources of each, in one YAML file, validated."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AliasChoices, Field, ValidationError, model_validator
from pyproj import Geod
from shapely import Geometry, force_2d, get_coordinates, get_parts, set_precision
from shapely.geometry import box, mapping, shape

from pipeline.areas.area_file import SUFFIXES, explained_all, fields_of, is_of_other_kind, text_of
from pipeline.areas.backscatter_sources import SOURCES, check_sources, pixel_m, with_sources_apart
from pipeline.areas.inventory_rules import Inventory
from pipeline.errors import AreaError, SettingsError
from pipeline.places import areas_root, base_of, did_you_mean, name_beside
from pipeline.records import Frozen, Number, Utc, Whole
from pipeline.settings import settings

__all__ = [
    "AreaOfInterest",
    "Dem",
    "Event",
    "Interferometry",
    "Inventory",
    "area_files",
    "area_folders",
    "load_area",
    "parse_area",
]

SHIPPED_AREAS = Path(__file__).resolve().parents[2] / "aoi"


class Event(Frozen):
    """The event, as instants in UTC; `start` equals `end` for an earthquake."""

    kind: Literal["earthquake", "hurricane", "rainfall", "other"]
    start: Utc
    end: Utc
    source: str = Field(min_length=1, description="where the instants come from")
    usgs_id: str | None = Field(None, description="event id at USGS, for an earthquake")
    epicentre: (
        tuple[Annotated[Number, Field(ge=-180, le=180)], Annotated[Number, Field(ge=-90, le=90)]] | None
    ) = Field(
        None,
        description="longitude and latitude, degrees; maps state distances to it",
        exclude_if=lambda value: value is None,
    )

    @model_validator(mode="after")
    def _ordered(self) -> Event:
        if self.end < self.start:
            raise ValueError("event.end is before event.start; exchange them")
        return self


class Dem(Frozen):
    """Which elevation tiles are read."""

    collection: Literal["nasadem", "cop-dem-glo-30"] = "nasadem"


class Interferometry(Frozen):
    """Which pairs of passes become interferogram and coherence, and how.

    The rules of pairing, each within one track:
    `consecutive` each pass with the next one, as in the paper;
    `within` each pass with every later one that is at most `most_days` away;
    `reference` the last pass before the event with every other one;
    `event` the last two passes before the event, the last before with the first after it, the first two after it.
    No rule makes a pair that is longer than `most_days`.
    """

    pairs: Literal["consecutive", "within", "reference", "event"] = "consecutive"
    most_days: Whole = Field(
        48, ge=1, le=3660, description="longest pair; at C band forest and field have changed long before"
    )
    polarisation: Literal["vv", "vh"] = "vv"
    azimuth_looks: Whole = Field(1, ge=1, le=40)
    range_looks: Whole = Field(5, ge=1, le=200)
    esd: bool = Field(
        True, description="enhanced spectral diversity is wanted; left out where it cannot be done"
    )
    fetch: Literal["bursts", "granules"] = Field(
        "bursts", description="only the bursts that meet the area, or whole granules"
    )
    allow_mixed_backends: bool = Field(False, description="one cube may hold pairs of different processors")


class AreaOfInterest(Frozen):
    """One area file, validated.

    Coordinates are degrees WGS 84. Either `geometry` (GeoJSON Polygon or MultiPolygon) or `bbox` (west, south,
    east, north) is given. `start` and `end` bound the passes that are wanted.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    title: str = ""
    geometry: dict[str, Any] | None = None
    bbox: tuple[Number, Number, Number, Number] | None = None
    event: Event
    start: Utc
    end: Utc
    epsg: Whole | None = Field(None, description="UTM zone as EPSG 326zz or 327zz; None: of the centroid")
    resolution_m: Number = Field(10.0, ge=1.0, le=1000.0)
    lattice_offset_m: tuple[Number, Number] = Field(
        (0.0, 0.0), description="pixel edges lie on multiples of the pixel plus this (x, y); 0 for RTC items"
    )
    tracks: tuple[Annotated[Whole, Field(ge=1, le=175)], ...] | None = Field(
        None, min_length=1, description="relative orbits wanted; None: all"
    )
    polarisations: tuple[Literal["vv", "vh"], ...] = Field(("vv", "vh"), min_length=1)
    border_erosion_px: Whole = Field(
        3,
        ge=0,
        le=50,
        description="rim removed at the outer border of a pass; 0 where the archive masks its borders",
    )
    rtc_collection: str = "sentinel-1-rtc"
    dem: Dem = Dem()
    inventory: Inventory | None = None
    interferometry: Interferometry | None = Field(None, description="None: neither pairs nor look geometry")
    simulated: bool = Field(False, description="the archive behind this area is simulated; products state it")
    sources: tuple[str, ...] = Field(
        (),
        description="collections of backscatter, one cube each, the first one's under the area's own name",
        exclude_if=lambda value: not value,
    )
    mixed_sources: bool = Field(
        False,
        description="one cube holds the passes of all `sources`, each pass of the first one that has it",
        exclude_if=lambda value: not value,
    )
    references: tuple[str, ...] = Field(
        (),
        description="papers and pages that the figures here come from",
        exclude_if=lambda value: not value,
    )
    exclude: tuple[Annotated[str, Field(min_length=1, max_length=512)], ...] = Field(
        (), description="ids that are left out: of items, granules, bursts or passes"
    )
    licence: str = Field(
        "",
        description="of the data that go into the cube",
        validation_alias=AliasChoices("licence", "license"),
    )
    attribution: str | None = Field(None, description="further words that must go with every product")

    @model_validator(mode="before")
    @classmethod
    def _sources_apart(cls, data: Any) -> Any:
        return with_sources_apart(data)

    @model_validator(mode="after")
    def _of_known_sources(self) -> AreaOfInterest:
        check_sources(self.sources, self.rtc_collection, self.mixed_sources)
        pixel = pixel_m(self.collections) if self.sources else None
        if pixel is not None and self.resolution_m < 0.67 * pixel:
            raise ValueError(
                f"resolution_m is {self.resolution_m:g}, finer than the {pixel:g} m of "
                f"{' and '.join(self.collections)}; give {pixel:g} or more, or leave it out"
            )
        return self

    @model_validator(mode="after")
    def _consistent(self) -> AreaOfInterest:
        if (self.geometry is None) == (self.bbox is None):
            raise ValueError(
                "give either geometry (GeoJSON) or bbox (west, south, east, north), not both or none"
            )
        if self.end <= self.start:
            raise ValueError("end is not after start; exchange them or widen the time range")
        if not (self.start <= self.event.start and self.event.end <= self.end):
            raise ValueError(
                f"the event ({self.event.start.isoformat()} to {self.event.end.isoformat()}) lies outside the time "
                "range start..end; widen the range or correct the event"
            )
        if self.epsg is not None and not (32601 <= self.epsg <= 32660 or 32701 <= self.epsg <= 32760):
            raise ValueError(f"epsg {self.epsg} is no WGS 84 UTM zone; give 32601..32660 or 32701..32760")
        if len(set(self.polarisations)) < len(self.polarisations):
            raise ValueError("polarisations names one twice; name each once")
        geometry = self._parsed()
        west, south, east, north = geometry.bounds
        if geometry.is_empty or geometry.area == 0:
            raise ValueError(
                f"{'geometry' if self.bbox is None else 'bbox'} is empty; give a polygon or a box with an extent"
            )
        if west < -180 or east > 180 or south < -90 or north > 90:
            raise ValueError("geometry leaves -180..180, -90..90; give degrees WGS 84, longitude first")
        if east - west > 180:
            raise ValueError("geometry crosses the antimeridian; split it into two areas at 180 degrees")
        if south < -80 or north > 84:
            raise ValueError(
                "geometry reaches beyond UTM (80 S to 84 N); no Sentinel-1 RTC grid exists there"
            )
        if self.epsg is not None:
            off = max(abs(edge - (self.epsg % 100 * 6 - 183)) for edge in (west, east))
            if off > 12:
                raise ValueError(
                    f"epsg {self.epsg} is a zone whose meridian is {off:.0f} degrees from the area; leave epsg out to "
                    "take the zone of the area"
                )
        limit = settings().max_area_km2
        if self.area_km2 > limit:
            raise ValueError(
                f"geometry covers {self.area_km2:,.0f} km², more than the limit of {limit:,.0f} km²; "
                "make it smaller or raise SLIDECUBE_MAX_AREA_KM2"
            )
        return self

    def _parsed(self) -> Geometry:
        if self.bbox is not None:
            west, south, east, north = self.bbox
            if west >= east or south >= north:
                raise ValueError(
                    "bbox must be west < east and south < north"
                    + ("; an area across the antimeridian must be split into two" if west > east else "")
                )
            return box(west, south, east, north)
        outline = self.geometry or {}
        if outline.get("type") not in {"Polygon", "MultiPolygon"}:
            raise ValueError(f"geometry is a {outline.get('type')!r:.60}; give a Polygon or MultiPolygon")
        try:
            with np.errstate(invalid="ignore"):  # not finite: refused below
                parsed = without_empty_rings(force_2d(shape(outline)))
        except Exception as error:  # shapely and numpy raise errors of any type on broken geometry
            raise ValueError(f"geometry is no valid GeoJSON ({str(error)[:200]}); correct it") from error
        if not all(math.isfinite(v) for xy in get_coordinates(parsed).tolist() for v in xy):
            raise ValueError("geometry holds coordinates that are not finite; give degrees")
        if not parsed.is_empty and not parsed.is_valid:
            raise ValueError(
                "geometry is not valid (it crosses itself); repair it, for example with make_valid"
            )
        return parsed

    @property
    def footprint(self) -> Geometry:
        """The area as a shapely geometry, degrees WGS 84."""
        return self._parsed()

    @property
    def footprint_geojson(self) -> dict[str, Any]:
        """The area as a GeoJSON geometry, degrees WGS 84."""
        return dict(mapping(self.footprint))

    @property
    def area_km2(self) -> float:
        """Ellipsoidal (WGS 84) area in km²."""
        square_metres: float = Geod(ellps="WGS84").geometry_area_perimeter(self._parsed())[0]
        return abs(square_metres) / 1e6

    @property
    def utm_epsg(self) -> int:
        """EPSG code of the UTM zone of the cube: the stated one, else the one of the centroid."""
        if self.epsg is not None:
            return self.epsg
        centre = self.footprint.centroid
        zone = min(int((centre.x + 180) // 6) + 1, 60)
        return (32600 if centre.y >= 0 else 32700) + zone

    @property
    def collections(self) -> tuple[str, ...]:
        """The collections of which the area's own cube is made, in the order in which a pass is taken from them."""
        return self.sources if self.mixed_sources else (self.rtc_collection,)

    @property
    def beside(self) -> tuple[str, ...]:
        """The sources that have a cube of their own beside the area's."""
        return () if self.mixed_sources else self.sources[1:]

    def cubes(self, source: str | None = None) -> tuple[AreaOfInterest, ...]:
        """The areas of the cubes that a build makes: this one and those beside it, or that of one source alone.

        Raises:
            AreaError: as for `of_source`.
        """
        if source is not None:
            return (self.of_source(source),)
        return (self, *map(self.of_source, self.beside))

    def of_source(self, source: str) -> AreaOfInterest:
        """The area of a source's cube: the area itself for its own collection, else one beside it, named after both.

        That one has the source's pixel, unless the area's is coarser, and no pairs, which the area's own cube has.

        Raises:
            AreaError: there is no such source, or the name of both is too long.
        """
        if source == self.rtc_collection and not self.mixed_sources:
            return self
        known = SOURCES.get(source)
        if known is None:
            raise AreaError(
                f"There is no source of backscatter {source!r:.60}.{did_you_mean(source, SOURCES)}",
                f"Known: {', '.join(SOURCES)}.",
            )
        fields = self.model_dump(exclude={"mixed_sources", "interferometry"}) | {
            "name": name_beside(self.name, source),
            "title": f"{self.title or self.name} ({known.title})",
            "rtc_collection": source,
            "sources": (source,),
            "resolution_m": max(self.resolution_m, known.resolution_m),
            "border_erosion_px": known.border_erosion_px,
        }
        try:
            return AreaOfInterest.model_validate(fields)
        except ValidationError as error:
            raise AreaError(
                f"No cube of {source} can stand beside {self.name!r}: {explained_all(error.errors())}.",
                "Shorten the name of the area.",
            ) from error

    def when(self, instant: datetime) -> Literal["before", "during", "after"]:
        """Whether an instant is before, during or after the event; instants are compared, never dates."""
        if instant < self.event.start:
            return "before"
        return "after" if instant > self.event.end else "during"


def without_empty_rings(polygons: Geometry) -> Geometry:
    """The same polygons without holes of no points, on which GEOS ends the process when vertices are added."""
    if any(hole.is_empty for part in get_parts(polygons) for hole in getattr(part, "interiors", ())):
        return set_precision(polygons, 0.0)
    return polygons


def area_folders() -> tuple[Path, ...]:
    """Where areas and rules are looked for: the user's folder (`SLIDECUBE_AOI_DIR`), areas of events, shipped ones."""
    folders = (settings().aoi_dir, Path("aoi"), areas_root(), SHIPPED_AREAS)
    return tuple(folder for folder in folders if folder is not None)


def area_files() -> dict[str, Path]:
    """Every area that can be named, of the first of `area_folders` that has it; files of another kind are none."""
    found: dict[str, Path] = {}
    for folder in area_folders():
        if folder.is_dir():
            for path in sorted(folder.glob("*.yaml")):
                if not is_of_other_kind(path):
                    found.setdefault(path.stem, path.resolve())
    return dict(sorted(found.items()))


def known_areas() -> list[str]:
    """The names of these areas; only of the shipped ones where a setting is wrong, which a command names."""
    try:
        return list(area_files())
    except SettingsError:
        return sorted(path.stem for path in SHIPPED_AREAS.glob("*.yaml"))


def load_area(name_or_path: str | Path) -> AreaOfInterest:
    """The area of that name, or of that file.

    Raises:
        AreaError: no such area, not YAML, or a field is wrong (named, with the remedy).
    """
    text = str(name_or_path)
    path = Path(text)
    if not (path.suffix in SUFFIXES or "/" in text):
        known = area_files()
        if text not in known and (base := base_of(text, SOURCES)) is not None and base[0] in known:
            return load_area(base[0]).of_source(base[1])
        if text not in known:
            raise AreaError(
                f"There is no area {text!r:.200}.{did_you_mean(text, known)}",
                f"Known: {', '.join(known)}; or give the path of a YAML file.",
            )
        path = known[text]
    if path.suffix not in SUFFIXES:
        raise AreaError(f"{path} is no area file.", f"Give a file that ends in {', '.join(SUFFIXES)}.")
    return parse_area(text_of(path, f"The area file {path}"), path)


def parse_area(raw: str, path: Path) -> AreaOfInterest:
    """The area written in `raw` (YAML or JSON); `path` names it in errors and anchors relative paths.

    Raises:
        AreaError: the text is no mapping or a field is wrong.
    """
    data = fields_of(raw, path)
    try:
        return AreaOfInterest.model_validate(data)
    except ValidationError as error:
        raise AreaError(
            f"{path}: {explained_all(error.errors())}.", "See aoi/README.md for every field."
        ) from error
