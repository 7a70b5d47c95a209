"""What lies within the polygons of a map: counts and kilometres of the features of files that a person gives.

Lines count by their length within the polygons. Polygons of `LEAST_UNIT_KM2` on average and more are taken for
administrative units: each gets its landslides, and what of the other files is hit within it; smaller polygons are
objects, such as buildings.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import geopandas as gpd
import numpy as np
import pyogrio
from pydantic import Field
from pyogrio.errors import DataLayerError, DataSourceError
from pyproj.exceptions import ProjError
from shapely import Geometry, force_2d, intersection, make_valid, unary_union
from shapely.errors import GEOSException
from shapely.geometry import Polygon

from model.bundle.markdown import one_line
from pipeline.errors import ModelError
from pipeline.records import Frozen

CSV = "exposure.csv"
LEAST_UNIT_KM2 = 1.0
MOST_UNITS = 10_000
NAMES = ("name", "name_en", "shapename", "nam", "adm3_en", "adm2_en", "adm1_en", "name_3", "name_2", "name_1")
"""columns that name an administrative unit in widespread data sets, the first that is there counts"""

Kind = Literal["points", "lines", "polygons", "units"]


class ExposureRow(Frozen):
    """What is hit of one file, in the whole area or in one administrative unit."""

    file: str = Field(description="name of the file")
    kind: Kind
    unit: str = Field("", description="of the administrative units; empty: the whole area")
    features: int = Field(ge=0, description="in the area, or in the unit within the area")
    features_hit: int = Field(ge=0, description="of them, within mapped polygons, at least in part")
    km: float | None = Field(None, ge=0, description="length of lines")
    km_hit: float | None = Field(None, ge=0, description="of it within mapped polygons")
    km2_hit: float | None = Field(None, ge=0, description="area of polygons within mapped polygons")


@dataclass(frozen=True)
class _File:
    """A file that was read: its features within the area."""

    name: str
    kind: Kind
    features: gpd.GeoDataFrame
    hit: Any
    """the parts of its geometries within mapped polygons, by feature"""


def digest_of_file(path: Path) -> dict[str, str]:
    """Name and sha256 of a file, by which a map of the same files is recognised.

    Raises:
        ModelError: it is no file, holds no layer with geometries, or names no coordinate reference system.
    """
    if not path.is_file():
        raise ModelError(
            f"There is no file {path} for --exposure.", "Give a vector file, such as a GeoPackage."
        )
    try:
        info = pyogrio.read_info(path)
    except (DataSourceError, DataLayerError, UnicodeError) as error:
        raise _unusable(path, "GDAL cannot read it") from error
    if not info["crs"] or info["geometry_type"] is None:
        raise _unusable(path, "it has no geometries, or names no coordinate reference system")
    with path.open("rb") as stream:
        return {"name": path.name, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}


def exposure(files: Sequence[Path], polygons: gpd.GeoDataFrame, extent: Polygon) -> tuple[ExposureRow, ...]:
    """What of each file lies within the polygons, for the whole area and for each administrative unit.

    Args:
        polygons: landslides, in metres of a projection, whose lengths and areas are taken.
        extent: the area, in the same coordinates; what lies outside is not counted.

    Raises:
        ModelError: a file cannot be read.
    """
    if not files:
        return ()
    ground = unary_union(list(polygons.geometry)) if len(polygons) else Polygon()
    read = [_read(path, extent, polygons.crs, ground) for path in files]
    rows = [_row(one, np.ones(len(one.features), dtype=bool), "", None) for one in read]
    for units in (one for one in read if one.kind == "units"):
        for name, unit in zip(_names(units.features), units.features.geometry, strict=True):
            rows.append(_of_unit(units.name, name, unit, polygons, ground))
            for other in read:
                if other.kind != "units":
                    inside = other.features.intersects(unit).to_numpy()
                    if inside.any():
                        rows.append(_row(other, inside, name, unit))
    return tuple(rows)


def table(rows: Sequence[ExposureRow]) -> str:
    """The rows as CSV. A text that a table program would take for a formula gets an apostrophe before it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(ExposureRow.model_fields)
    for row in rows:
        writer.writerow([_cell(value) for value in row.model_dump().values()])
    return text.getvalue()


def _read(path: Path, extent: Polygon, crs: Any, ground: Geometry) -> _File:
    try:
        there = gpd.GeoSeries([extent], crs=crs).to_crs(pyogrio.read_info(path)["crs"])
        frame = gpd.read_file(path, bbox=tuple(there.total_bounds), engine="pyogrio")
        frame = frame[~frame.geometry.isna() & ~frame.geometry.is_empty].to_crs(crs)
        frame = frame.set_geometry(make_valid(force_2d(frame.geometry.to_numpy())), crs=crs)
        whole_km2 = frame.area.mean() / 1e6 if len(frame) else 0.0
        frame = frame.set_geometry(intersection(frame.geometry.to_numpy(), extent), crs=crs)
        frame = frame[~frame.geometry.is_empty].reset_index(drop=True)
        hit = intersection(frame.geometry.to_numpy(), ground)
    except (DataSourceError, DataLayerError, ProjError, GEOSException, UnicodeError, ValueError) as error:
        raise _unusable(path, "its features cannot be read") from error
    kind = _kind(frame, whole_km2)
    if kind == "units" and len(frame) > MOST_UNITS:
        kind = "polygons"
    return _File(one_line(path.name), kind, frame, hit)


def _kind(frame: gpd.GeoDataFrame, mean_km2: float) -> Kind:
    types = set(frame.geom_type)
    if any("Polygon" in one for one in types):
        return "units" if mean_km2 >= LEAST_UNIT_KM2 else "polygons"
    return "lines" if any("Line" in one for one in types) else "points"


def _row(one: _File, inside: Any, name: str, unit: Geometry | None) -> ExposureRow:
    """What is hit of a file, of the features `inside` and within `unit`."""
    parts, hit = one.features.geometry.to_numpy()[inside], one.hit[inside]
    if unit is not None:
        parts, hit = intersection(parts, unit), intersection(hit, unit)
    lines, areas = one.kind == "lines", one.kind in ("polygons", "units")
    return ExposureRow(
        file=one.name,
        kind=one.kind,
        unit=name,
        features=len(parts),
        features_hit=int(sum(not part.is_empty for part in hit)),
        km=round(sum(part.length for part in parts) / 1e3, 3) if lines else None,
        km_hit=round(sum(part.length for part in hit) / 1e3, 3) if lines else None,
        km2_hit=round(sum(part.area for part in hit) / 1e6, 6) if areas else None,
    )


def _of_unit(
    file: str, name: str, unit: Geometry, polygons: gpd.GeoDataFrame, ground: Geometry
) -> ExposureRow:
    """The landslides of an administrative unit: their number, and their area within it."""
    number = int(polygons.intersects(unit).sum())
    return ExposureRow(
        file=file,
        kind="units",
        unit=name,
        features=number,
        features_hit=number,
        km2_hit=round(intersection(ground, unit).area / 1e6, 6),
    )


def _names(units: gpd.GeoDataFrame) -> list[str]:
    known = {str(column).lower(): column for column in units.columns}
    texts = [c for c in units.columns if c != "geometry" and units[c].dtype.kind in "OUT"]
    column = next((known[name] for name in NAMES if name in known), texts[0] if texts else None)
    if column is None:
        return [f"unit {number + 1}" for number in range(len(units))]
    return [one_line(value)[:200] or f"unit {number + 1}" for number, value in enumerate(units[column])]


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return "" if value is None else value


def _unusable(path: Path, why: str) -> ModelError:
    return ModelError(
        f"{path} cannot be used for --exposure: {why}.",
        "Give buildings, roads or administrative units as a GeoPackage, GeoJSON or shapefile.",
    )
