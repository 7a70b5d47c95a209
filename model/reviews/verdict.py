"""One verdict of a person on one polygon, and all verdicts of an area."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
import shapely
from pydantic import AfterValidator, BeforeValidator, Field
from pyproj import Transformer
from pyproj.exceptions import ProjError
from shapely.geometry import Polygon, mapping, shape

from model.bundle.markdown import one_line
from pipeline.errors import ModelError
from pipeline.records import Frozen, Utc

Judgement = Literal["accepted", "rejected", "edited", "withdrawn"]
"""edited: the outline is a person's, of a landslide; withdrawn: an earlier verdict on the place no longer counts"""
LONGEST_WHO, LONGEST_NOTE = 200, 2000
"""characters"""
MOST_POINTS = 200_000
"""of one outline"""
DIGITS = 9
"""of degrees: 0.1 mm"""
DEGREES = "EPSG:4326"


def _outline(value: Any) -> Any:
    """A GeoJSON polygon with finite degrees and an area, valid, shells anticlockwise (RFC 7946)."""
    try:
        with np.errstate(invalid="ignore"):
            polygon = shape(value) if isinstance(value, Mapping) else value
        if not isinstance(polygon, Polygon) or polygon.is_empty:
            raise ValueError("is no polygon")
        if shapely.get_num_coordinates(polygon) > MOST_POINTS:
            raise ValueError(f"has more than {MOST_POINTS} points")
        points = shapely.get_coordinates(polygon)
        inside = np.isfinite(points).all() and (np.abs(points) <= (180, 90)).all()
        if not inside or not polygon.is_valid or polygon.area == 0:
            raise ValueError("is no valid polygon in degrees")
    except (shapely.errors.ShapelyError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise ValueError("is no polygon") from error
    polygon = shapely.orient_polygons(shapely.force_2d(polygon))
    return {
        "type": "Polygon",
        "coordinates": [
            [[round(float(x), DIGITS), round(float(y), DIGITS)] for x, y in ring]
            for ring in mapping(polygon)["coordinates"]
        ],
    }


Outline = Annotated[dict[str, Any], BeforeValidator(_outline)]
"""a polygon as GeoJSON, degrees of WGS 84"""
Line = Annotated[
    str, BeforeValidator(lambda value: value), AfterValidator(lambda value: one_line(value).strip())
]
"""text on one line that can be printed"""


class Verdict(Frozen):
    """What one person said of one polygon."""

    judgement: Judgement
    who: Line = Field(
        min_length=1, max_length=LONGEST_WHO, description="text from outside; escape it where it is shown"
    )
    when: Utc
    note: Line = Field("", max_length=LONGEST_NOTE, description="text from outside")
    map: Line = Field("", max_length=400, description="name of the folder of the map that was judged")
    polygon: int | None = Field(None, description="its number in that map; None: the person drew it")
    outline: Outline = Field(
        description="of the polygon that was judged; of an edited one as the person drew it"
    )
    replaces: tuple[Outline, ...] = Field(
        (), max_length=1000, description="polygons of the map in whose place the edited outline stands"
    )


class Reviews(Frozen):
    """`reviews.json`: every verdict on an area, in the order in which they were given. None is ever removed."""

    format: Literal["slidecube-reviews-1"] = "slidecube-reviews-1"
    area: str
    verdicts: tuple[Verdict, ...] = ()

    def with_further(self, further: tuple[Verdict, ...]) -> Reviews:
        """The same with further verdicts at the end."""
        return self.model_copy(update={"verdicts": (*self.verdicts, *further)})


def outline_in(outline: Mapping[str, Any], transformer: Transformer) -> Polygon:
    """An outline in the coordinates that `transformer` leads to."""
    return transformed(shape(outline), transformer)


def transformed(polygon: Polygon, transformer: Transformer) -> Polygon:
    """A polygon in other coordinates, vertex by vertex.

    Raises:
        ModelError: it has none there.
    """
    try:
        found: Polygon = shapely.transform(
            polygon, lambda xy: np.column_stack(transformer.transform(xy[:, 0], xy[:, 1], errcheck=True))
        )
    except ProjError as error:
        raise ModelError("An outline lies outside what its coordinate reference system covers.") from error
    if not np.isfinite(shapely.get_coordinates(found)).all():
        raise ModelError("An outline lies outside what its coordinate reference system covers.")
    return found


def to_degrees(crs: Any) -> Transformer:
    """From a coordinate reference system to degrees of WGS 84, longitude first."""
    return Transformer.from_crs(crs, DEGREES, always_xy=True)


def from_degrees(crs: Any) -> Transformer:
    """From degrees of WGS 84, longitude first, to a coordinate reference system."""
    return Transformer.from_crs(DEGREES, crs, always_xy=True)
