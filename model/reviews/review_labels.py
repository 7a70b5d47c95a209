"""Verdicts as an inventory: what is accepted or edited is a landslide, what is rejected is ground without one."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import pandas as pd
from pydantic import Field

from model.reviews.inheritance import counting
from model.reviews.reviewed_polygons import REJECTED
from model.reviews.verdict import DEGREES, Reviews
from pipeline.errors import ModelError
from pipeline.files import whole_file
from pipeline.records import Frozen

LANDSLIDES, GROUND = "landslides", "mapped_ground"


class LabelsRecord(Frozen):
    """An inventory that was written, and the fields by which an area file names it."""

    path: Path
    landslides: int
    without: int = Field(description="rejected polygons")
    inventory: dict[str, str] = Field(description="the block `inventory` of an area file")


def write_labels(reviews: Reviews, target: Path) -> LabelsRecord:
    """Write the verdicts that count as a GeoPackage with the layers `landslides` and `mapped_ground`, in degrees.

    The second has every polygon with a verdict: all other ground is not labelled.

    Raises:
        ModelError: no verdict says that there is a landslide, or the name is none of a GeoPackage.
        DiskError: it cannot be written.
    """
    if target.suffix.lower() != ".gpkg":
        raise ModelError(f"{target} is no name of a GeoPackage.", "Give --labels FILE.gpkg.")
    judged = counting(reviews, DEGREES)
    frame = gpd.GeoDataFrame(
        {
            "judgement": [one.verdict.judgement for one in judged],
            "who": [one.verdict.who for one in judged],
            "when": pd.to_datetime([one.verdict.when for one in judged], utc=True),
            "note": [one.verdict.note for one in judged],
        },
        geometry=[one.outline for one in judged],
        crs=DEGREES,
    )
    landslides = frame[frame["judgement"] != REJECTED]
    if landslides.empty:
        raise ModelError(
            f"No verdict on {reviews.area!r:.200} says that there is a landslide: there is nothing to train on.",
            "Accept or edit a polygon first.",
        )
    with whole_file(target) as partial:
        for name, part in ((LANDSLIDES, landslides), (GROUND, frame)):
            part.to_file(
                partial, layer=name, driver="GPKG", engine="pyogrio", mode="a" if partial.exists() else "w"
            )
    reviewers = ", ".join(sorted(set(frame["who"])))
    return LabelsRecord(
        path=target,
        landslides=len(landslides),
        without=len(frame) - len(landslides),
        inventory={
            "name": f"review of {reviews.area}",
            "url": str(target.absolute()),
            "layer": LANDSLIDES,
            "extent": str(target.absolute()),
            "extent_layer": GROUND,
            "citation": f"Review of landslide maps by {reviewers}",
            "licence": "not stated",
        },
    )
