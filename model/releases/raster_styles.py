"""What stands beside each raster so that it is seen right: QGIS's default style, and names of the values for GDAL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import rasterio
from lxml import etree
from lxml.builder import E

from model.bundle.markdown import one_line
from model.releases.categories import (
    CHANGE_NAME,
    CLASS_NAME,
    STATUS_NAME,
    VALIDITY_NAME,
    Category,
    change_ramp,
    classes,
    scale_of,
    score_ramp,
    statuses,
    validities,
)
from model.releases.finished_map import FinishedMap
from model.releases.styles.qgis_style import paletted, pseudocolour, qml, raster_pipe
from model.releases.vector_layers import Layer

TITLES = {
    "probability": "Probability of landslide",
    "score": "Change score",
    CLASS_NAME: "Landslide or not, by pixel",
    STATUS_NAME: "Status over the passes, by pixel",
    VALIDITY_NAME: "What could not be analysed, by pixel",
    CHANGE_NAME: "Change of backscatter, dB",
}
"""rasters of a map in the order of their importance, with their names for people"""
BLOCK_ROWS = 1024


def rasters_of(finished: FinishedMap) -> tuple[str, ...]:
    """Names of the rasters in the folder, without their suffix."""
    return tuple(name for name in TITLES if (finished.folder / f"{name}.tif").is_file())


def occurring(finished: FinishedMap) -> dict[str, tuple[Category, ...]]:
    """The categories of each class raster in the folder; of the validity raster those that occur."""
    found = {CLASS_NAME: classes(), STATUS_NAME: statuses()}
    values = _values(finished, VALIDITY_NAME)
    found[VALIDITY_NAME] = validities(finished.flag_meanings, values)
    return {name: found[name] for name in rasters_of(finished) if name in found}


def renderers(finished: FinishedMap, of_classes: Mapping[str, Sequence[Category]]) -> dict[str, Any]:
    """QGIS's renderer of each raster in the folder."""
    ramps = {
        CHANGE_NAME: change_ramp(),
        finished.score_name: score_ramp(*scale_of(finished.record, finished.highest)),
    }
    return {
        name: paletted(of_classes[name]) if name in of_classes else pseudocolour(ramps[name])
        for name in rasters_of(finished)
    }


def write_raster_styles(finished: FinishedMap, polygons: Layer) -> dict[str, tuple[Category, ...]]:
    """Write `<raster>.qml` beside each raster, and `<raster>.tif.aux.xml` beside those of classes.

    `landslides.qml` has the style of the polygons too: GeoJSON and KML of the same name are drawn with it.

    Returns:
        The categories of each raster of classes.
    """
    of_classes = occurring(finished)
    for name, renderer in renderers(finished, of_classes).items():
        more = polygons.style if name == polygons.name else []
        style = qml([raster_pipe(renderer), E.blendMode("0"), *more])
        (finished.folder / f"{name}.qml").write_text(style, encoding="utf-8")
    for name, found in of_classes.items():
        (finished.folder / f"{name}.tif.aux.xml").write_text(_names_of_values(found), encoding="utf-8")
    return of_classes


def _values(finished: FinishedMap, name: str) -> list[int]:
    """Values that occur in a raster of bytes."""
    seen = np.zeros(256, dtype=bool)
    with rasterio.open(finished.folder / f"{name}.tif") as file:
        for top in range(0, file.height, BLOCK_ROWS):
            rows = file.read(1, window=((top, min(top + BLOCK_ROWS, file.height)), (0, file.width)))
            seen |= np.bincount(rows.ravel(), minlength=256) > 0
    return [int(value) for value in np.flatnonzero(seen)]


def _names_of_values(found: Iterable[Category]) -> str:
    """GDAL's auxiliary file (PAM): names of the values, and the same as a raster attribute table."""
    by_value = {one.value: one for one in found}
    names = E.CategoryNames(
        *(E.Category(one_line(by_value[v].name) if v in by_value else "") for v in range(max(by_value) + 1))
    )
    columns = (
        ("Value", 0, 5),
        ("Class", 2, 2),
        ("Red", 0, 6),
        ("Green", 0, 7),
        ("Blue", 0, 8),
        ("Alpha", 0, 9),
    )
    table = etree.Element("GDALRasterAttributeTable", tableType="thematic")
    for number, (name, kind, usage) in enumerate(columns):
        table.append(E.FieldDefn(E.Name(name), E.Type(str(kind)), E.Usage(str(usage)), index=str(number)))
    for number, one in enumerate(by_value.values()):
        cells = (one.value, one_line(one.name), *one.rgba)
        table.append(E.Row(*(E.F(str(cell)) for cell in cells), index=str(number)))
    root = E.PAMDataset(E.PAMRasterBand(names, table, band="1"))
    text: str = etree.tostring(root, encoding="unicode", pretty_print=True)
    return text
