"""`index.html`: a release as one page that opens from the disk without a network, and prints on A4."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from model.bundle.markdown import instant, one_line
from model.detector.pass_status import WORDS
from model.releases.categories import scale_of, score_ramp
from model.releases.exchange_files import GEOJSON, KML, PMTILES
from model.releases.exposure import CSV
from model.releases.finished_map import FinishedMap
from model.releases.raster_styles import TITLES, rasters_of
from model.releases.vector_layers import Layer
from model.releases.web_page.page_images import data_address, encoded, map_picture
from model.releases.web_page.page_map import COLUMNS, MOST_POLYGONS, largest, page_map, shown_columns

PAGE = "index.html"
PRINTED_ROWS = 30
WRITTEN_LATER = ("catalog.json",)
"""files of a release that are written after the page"""


def write_page(finished: FinishedMap, layer: Layer) -> None:
    """Write the page; text from outside is escaped.

    Args:
        layer: the landslides.
    """
    ramp, pictures = score_ramp(*scale_of(finished.record, finished.highest)), finished.pictures
    live, printed = page_map(finished, layer), _printed(layer)
    files = {
        **{f"{name}.tif": f"{TITLES[name]} (cloud-optimised GeoTIFF)" for name in rasters_of(finished)},
        "landslides.gpkg": "Polygons, ground that was not analysed, area, passes, with styles (GeoPackage)",
        GEOJSON: "Polygons for the web and for scripts (GeoJSON)",
        KML: "Polygons for Google Earth (KML)",
        PMTILES: "Polygons as tiles for maps on the web (PMTiles)",
        CSV: "What lies within the polygons (CSV)",
        "mapped.parquet": "The polygons as the map made them, whatever persons said of them (GeoParquet)",
        "report.md": "The report as text",
        "report.json": "The report for scripts",
        "catalog.json": "Catalogue of cube, map and model (STAC)",
    }
    text = (
        _environment()
        .get_template("page.html.j2")
        .render(
            title=finished.title,
            coming="" if finished.awaited is None else finished.awaited.coming_beside(_used(finished)),
            meanings={WORDS[one]: words for one, words in finished.status_meanings.items() if one in WORDS},
            map=finished.record,
            by_model=finished.by_model,
            exposure=finished.exposure,
            facts=finished.facts,
            selection=finished.selection,
            awaited=() if finished.awaited is None else finished.awaited.lines_beside(_used(finished)),
            warning=finished.warning,
            remarks=[*finished.remarks, *finished.selection.notes],
            backscatter=finished.backscatter.upper(),
            live=live,
            ramp=[stop for stop in ramp if stop.opacity],
            fills=[fill for fill in layer.fills if fill.value in set(layer.drawn_by)],
            pictures={
                "before": data_address(pictures.before),
                "after": data_address(pictures.after),
                "map": data_address(encoded(map_picture(finished, layer, printed["numbers"]))),
            },
            shown=min(len(layer.frame), MOST_POLYGONS),
            printed=printed,
            width_km=(finished.extent.bounds[2] - finished.extent.bounds[0]) / 1e3,
            height_km=(finished.extent.bounds[3] - finished.extent.bounds[1]) / 1e3,
            pixel_m=finished.reference.pixel_m[0],
            has_terrain="dem" in finished.variables,
            event=finished.event,
            review=finished.record.review,
            files={
                name: words
                for name, words in files.items()
                if name in WRITTEN_LATER or (finished.folder / name).is_file()
            },
        )
    )
    (finished.folder / PAGE).write_text(text, encoding="utf-8")


def _used(finished: FinishedMap) -> list[datetime]:
    """The instants of the passes that the map rests on."""
    views = finished.selection.every_view
    return [used.instant for view in views for used in (*view.before, *view.after)]


def _printed(layer: Layer) -> dict[str, Any]:
    """The first rows of the table on paper: titles, and cells as text."""
    frame = largest(layer).head(PRINTED_ROWS)
    names = shown_columns(frame)
    rows = [[_cell(value, COLUMNS[name][2]) for name, value in zip(names, row, strict=True)]
            for row in frame[names].itertuples(index=False)]  # fmt: skip
    return {"titles": [COLUMNS[name][0] for name in names], "rows": rows, "all": len(layer.frame),
            "numbers": frozenset(frame["id"])}  # fmt: skip


def _cell(value: Any, form: str) -> str:
    if pd.isna(value):
        return ""
    if form == "date":
        return f"{value:%Y-%m-%d}"
    digits = len(form.partition(".")[2])
    return f"{value:.{digits}f}" if form else str(value)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("model.releases.web_page"),
        undefined=StrictUndefined,
        autoescape=True,
        finalize=lambda value: value if isinstance(value, Markup) else one_line(value),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"instant": instant}
    return environment
