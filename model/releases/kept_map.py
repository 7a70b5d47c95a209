"""What a release keeps beside its products, so that it can be written again without its cube.

`mapped.parquet` has the polygons as the map made them, which no review changes; `page-*.jpg` and `page-score.png` the
pictures of the page; `release.json` what no other document of the folder states.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import geopandas as gpd
import pyarrow
import rasterio
from pydantic import Field
from rasterio.errors import RasterioError

from model.bundle.summaries import ReleaseRecord
from model.inputs.cubes import CubeFacts, Georeference
from model.inputs.selection import Selection
from model.releases.categories import VALIDITY_NAME
from model.releases.event_facts import EventFacts
from model.releases.exposure import ExposureRow
from model.releases.finished_map import FinishedMap, PagePictures
from pipeline.errors import ModelError
from pipeline.files import read_regular
from pipeline.records import Frozen

RELEASE, MAPPED, REPORT = "release.json", "mapped.parquet", "report.json"
PICTURES = {
    "before": "page-before.jpg", "after": "page-after.jpg", "hillshade": "page-hillshade.jpg",
    "score": "page-score.png",
}  # fmt: skip
MOST_BYTES = 64 * 2**20
"""of each document and picture"""
MOST_TABLE_BYTES = 1 << 30


DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""what a document raises that is not as it was written"""


class KeptMap(Frozen):
    """`release.json`."""

    format: Literal["slidecube-release-1"] = "slidecube-release-1"
    variables: tuple[str, ...]
    backscatter: str
    highest: float
    warning: str
    block_px: int = Field(ge=1)
    flag_meanings: dict[int, str]
    status_meanings: dict[int, str] = Field(default_factory=dict)
    tags: dict[str, str]
    model_item: dict[str, Any] | None = None
    event: EventFacts = EventFacts()
    footprints: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="of passes, by their name"
    )


def keep(finished: FinishedMap) -> None:
    """Write these files into the folder of the map."""
    kept = KeptMap(
        variables=finished.variables,
        backscatter=finished.backscatter,
        highest=finished.highest,
        warning=finished.warning,
        block_px=finished.pictures.block_px,
        flag_meanings=dict(finished.flag_meanings),
        status_meanings=dict(finished.status_meanings),
        tags=dict(finished.tags),
        model_item=None if finished.model_item is None else dict(finished.model_item),
        event=finished.event,
        footprints={name: dict(geometry) for name, geometry in finished.footprints.items()},
    )
    (finished.folder / RELEASE).write_text(kept.model_dump_json(indent=1) + "\n", encoding="utf-8")
    for name, file in PICTURES.items():
        (finished.folder / file).write_bytes(getattr(finished.pictures, name))
    finished.mapped.to_parquet(finished.folder / MAPPED, index=False)


def kept_map(folder: Path, record: ReleaseRecord) -> FinishedMap:
    """The map in a folder, as its products need it.

    Raises:
        ModelError: the folder lacks what is kept, as one of an earlier release does, or it is damaged.
    """
    try:
        kept = KeptMap.model_validate_json(read_regular(folder / RELEASE, MOST_BYTES))
        report = json.loads(read_regular(folder / REPORT, MOST_BYTES))
        pictures = {name: read_regular(folder / file, MOST_BYTES) for name, file in PICTURES.items()}
        mapped = mapped_polygons(folder)
        facts, selection = (
            CubeFacts.model_validate(report["cube"]),
            Selection.model_validate(report["passes"]),
        )
        exposed = tuple(ExposureRow.model_validate(row) for row in report.get("exposure", ()))
        remarks = tuple(str(line) for line in report.get("remarks", ()))
        with rasterio.open(folder / f"{VALIDITY_NAME}.tif", driver="GTiff") as raster:
            a, b, c, d, e, f = tuple(raster.transform)[:6]
            reference = Georeference(crs_wkt=raster.crs.to_wkt(), transform=(a, b, c, d, e, f))
    except (*DAMAGE, RasterioError) as error:
        raise _not_kept(folder) from error
    return FinishedMap(
        folder=folder,
        record=record,
        variables=kept.variables,
        facts=facts,
        selection=selection,
        reference=reference,
        mapped=mapped,
        frame=mapped,
        pictures=PagePictures(**pictures, block_px=kept.block_px),
        backscatter=kept.backscatter,
        highest=kept.highest,
        warning=kept.warning,
        flag_meanings=kept.flag_meanings,
        status_meanings=kept.status_meanings,
        remarks=remarks,
        tags=kept.tags,
        model_item=kept.model_item,
        event=kept.event,
        footprints=kept.footprints,
        exposure=exposed,
    )


def mapped_polygons(folder: Path) -> gpd.GeoDataFrame:
    """The polygons of a map as it made them.

    Raises:
        ModelError: the folder lacks them, as one of an earlier release does, or they are damaged.
    """
    try:
        with (folder / MAPPED).open("rb") as file:
            if not (folder / MAPPED).is_file() or (folder / MAPPED).stat().st_size > MOST_TABLE_BYTES:
                raise _not_kept(folder)
            frame: gpd.GeoDataFrame = gpd.read_parquet(file)
        if (
            not {"id", "area_m2", "geometry"} <= set(frame.columns)
            or frame.crs is None
            or not frame["id"].is_unique
        ):
            raise _not_kept(folder)
        if not (frame.geom_type == "Polygon").all():
            raise _not_kept(folder)
    except (OSError, ValueError, KeyError, TypeError, pyarrow.ArrowException) as error:
        raise _not_kept(folder) from error
    return frame


def _not_kept(folder: Path) -> ModelError:
    return ModelError(
        f"{folder} does not hold what a review needs ({RELEASE}, {MAPPED}, {', '.join(PICTURES.values())}).",
        "It is of an earlier release or damaged: map again with --replace; verdicts are kept beside the maps.",
    )
