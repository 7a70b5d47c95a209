"""The map of a release's page that answers a click, and its table that sorts: Bokeh, with its scripts in the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
from shapely.affinity import affine_transform

from model.releases.categories import OTHER
from model.releases.finished_map import FinishedMap
from model.releases.vector_layers import Layer
from model.releases.web_page.page_images import data_address

MOST_POLYGONS = 2000
"""on the page; the files have all"""
COMPONENTS = ["bokeh", "bokeh-widgets", "bokeh-tables"]
COLUMNS = {
    "id": ("No.", 45, "0"),
    "area_ha": ("Area, ha", 70, "0.00"),
    "review": ("Review", 80, ""),
    "probability_class": ("Likelihood", 150, ""),
    "score_class": ("Change", 70, ""),
    "status_words": ("Status", 130, ""),
    "mean_probability": ("Probability", 85, "0.00"),
    "mean_score": ("Score", 60, "0.0"),
    "mean_slope_deg": ("Slope, °", 65, "0.0"),
    "epicentre_km": ("Epicentre, km", 95, "0.0"),
    "first_seen": ("First seen", 95, "date"),
    "last_seen": ("Last seen", 95, "date"),
    "longitude": ("Longitude", 85, "0.00000"),
    "latitude": ("Latitude", 85, "0.00000"),
    "review_who": ("Reviewed by", 110, ""),
    "review_when": ("Reviewed", 95, "date"),
    "review_note": ("Note", 160, ""),
    "review_remark": ("Remark", 160, ""),
}
"""columns of the table: title, width in pixels of the screen, format of numbers"""
COLUMNS_OF_REVIEW = ("review_who", "review_when", "review_note", "review_remark")
"""shown where any polygon has a value"""


@dataclass(frozen=True)
class PageMap:
    """Pieces of HTML, which are safe as they are: Bokeh escapes what it puts into them."""

    scripts: str
    """of the library"""
    start: str
    """the script that draws map and table"""
    map: str
    table: str


def largest(layer: Layer) -> gpd.GeoDataFrame:
    """The polygons that the page shows, the largest first."""
    found: gpd.GeoDataFrame = layer.frame.sort_values("area_m2", ascending=False, kind="stable").head(
        MOST_POLYGONS
    )
    return found


def shown_columns(frame: gpd.GeoDataFrame) -> list[str]:
    """The columns of the table, without those of a review where nobody gave one."""
    some = {
        name
        for name in COLUMNS_OF_REVIEW
        if name in frame and (frame[name].notna() & (frame[name] != "")).any()
    }
    return [name for name in COLUMNS if name in frame and (name not in COLUMNS_OF_REVIEW or name in some)]


def page_map(finished: FinishedMap, layer: Layer) -> PageMap:
    """The map and the table of the polygons, which choose together: a click in one marks the other."""
    from bokeh.embed import components
    from bokeh.resources import Resources

    frame = largest(layer)
    source = _source(finished, layer, frame)
    drawn = _figure(finished, source)
    table = _table(source, frame)
    start, parts = components({"map": drawn, "table": table})
    return PageMap(
        scripts=Resources(mode="inline", components=COMPONENTS).render_js(),
        start=start,
        map=parts["map"],
        table=parts["table"],
    )


def _source(finished: FinishedMap, layer: Layer, frame: gpd.GeoDataFrame) -> Any:
    """The polygons in km from the area's south-west corner, with the columns of the table."""
    from bokeh.models import ColumnDataSource, CustomJS

    left, bottom, _, _ = finished.extent.bounds
    data: dict[str, Any] = {"xs": [], "ys": []}
    for polygon in frame.geometry:
        local = affine_transform(polygon.simplify(0.0), [1e-3, 0, 0, 1e-3, -left / 1e3, -bottom / 1e3])
        rings = [np.round(np.asarray(ring.coords)[:, :2], 4) for ring in (local.exterior, *local.interiors)]
        data["xs"].append([[ring[:, 0].tolist() for ring in rings]])
        data["ys"].append([[ring[:, 1].tolist() for ring in rings]])
    for name in shown_columns(frame):
        data[name] = _plain(frame[name])
    colours = {fill.value: fill.colour for fill in layer.fills}
    data["colour"] = [colours.get(value, OTHER) for value in layer.drawn_of(frame)]
    source = ColumnDataSource(data, name="landslides")
    source.selected.js_on_change("indices", CustomJS(code="window.slidecube.show(cb_obj.indices)"))
    return source


def _plain(values: pd.Series) -> list[Any]:
    """Values for JSON; instants as milliseconds, None where there is none."""
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        return [value.timestamp() * 1000.0 if pd.notna(value) else None for value in values]
    if values.dtype.kind == "f":
        return [round(float(value), 5) if np.isfinite(value) else None for value in values]
    return [value.item() if isinstance(value, np.generic) else value for value in values]


def _figure(finished: FinishedMap, source: Any) -> Any:
    from bokeh.models import HoverTool, Range1d, TapTool, WheelZoomTool
    from bokeh.plotting import figure

    left, bottom, right, top = finished.extent.bounds
    width, height = (right - left) / 1e3, (top - bottom) / 1e3
    margin = 0.02 * max(width, height)
    drawn = figure(
        x_range=Range1d(-margin, width + margin, name="x-range"),
        y_range=Range1d(-margin, height + margin, name="y-range"),
        match_aspect=True,
        aspect_ratio=(width + 2 * margin) / (height + 2 * margin),
        sizing_mode="stretch_width",
        tools="pan,box_zoom,reset,save",
        active_drag="pan",
        x_axis_label="km from the south-west corner",
        background_fill_color="#ffffff",
        output_backend="canvas",
        name="map",
    )
    for name, picture in (("hillshade", finished.pictures.hillshade), ("score", finished.pictures.score)):
        drawn.image_url(
            url=[data_address(picture)], x=0, y=height, w=width, h=height, anchor="top_left", name=name
        )
    polygons = drawn.multi_polygons(
        xs="xs", ys="ys", source=source, fill_color="colour", fill_alpha=0.25, line_color="colour", line_width=1.6,
        selection_fill_alpha=0.55, selection_line_color="#00bcd4", selection_line_width=3.0,
        nonselection_fill_alpha=0.25, nonselection_line_alpha=0.9, hover_fill_alpha=0.6, name="polygons",
    )  # fmt: skip
    names = [
        name
        for name in COLUMNS
        if name in source.data and name not in ("longitude", "latitude", *COLUMNS_OF_REVIEW)
    ]
    tips = [(COLUMNS[name][0], _tip(name)) for name in names]
    wheel = WheelZoomTool(zoom_on_axis=False)
    drawn.add_tools(
        TapTool(renderers=[polygons]),
        HoverTool(
            renderers=[polygons],
            tooltips=tips,
            formatters={f"@{name}": "datetime" for name, (_, _, form) in COLUMNS.items() if form == "date"},
        ),
        wheel,
    )
    drawn.toolbar.active_scroll = wheel
    drawn.toolbar.logo = None
    drawn.grid.visible = False
    return drawn


def _tip(name: str) -> str:
    form = COLUMNS[name][2]
    return f"@{name}{{%F}}" if form == "date" else f"@{name}{{{form}}}" if form else f"@{name}"


def _table(source: Any, frame: gpd.GeoDataFrame) -> Any:
    from bokeh.models import DataTable, DateFormatter, NumberFormatter, StringFormatter, TableColumn

    columns = []
    for name in shown_columns(frame):
        title, width, form = COLUMNS[name]
        if form == "date":
            formatter = DateFormatter(format="%F", nan_format="", null_format="")
        elif form:
            formatter = NumberFormatter(format=form, nan_format="", null_format="", text_align="right")
        else:
            formatter = StringFormatter(nan_format="", null_format="")
        columns.append(TableColumn(field=name, title=title, width=width, formatter=formatter))
    return DataTable(
        source=source,
        columns=columns,
        index_position=None,
        sizing_mode="stretch_width",
        autosize_mode="none",
        height=min(420, 60 + 26 * max(1, len(frame))),
        row_height=26,
        reorderable=False,
        name="table",
    )
