"""Styles of QGIS as XML, for `.qml`, GeoPackage and project: of rasters by value or ramp, of polygons by a column.

The elements are those that QGIS 3 writes itself (https://docs.qgis.org, "QML - The QGIS Style File Format").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lxml import etree
from lxml.builder import E

from model.bundle.markdown import one_line
from model.releases.categories import Category, Stop, rgb
from pipeline.records import Frozen

VERSION = "3.22.0"
LABELS_TO_SCALE = 25_000
"""denominator of the smallest scale at which labels are drawn"""
DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>"


class Fill(Frozen):
    """How polygons of one value are drawn."""

    value: str
    """of the column; empty: every polygon"""
    label: str
    colour: str
    pattern: str = "solid"
    """QGIS's name of the brush: solid, no, b_diagonal"""
    outline: str = "#4d4d4d"
    opacity: int = 255
    outline_style: str = "solid"
    width_mm: float = 0.26


def paletted(categories: Iterable[Category]) -> Any:
    """The renderer of a raster of classes."""
    entries = [
        E.paletteEntry(
            value=str(one.value), color=one.colour, alpha=str(one.opacity), label=one_line(one.name)
        )
        for one in categories
    ]
    return E.rasterrenderer(
        E.colorPalette(*entries), type="paletted", band="1", opacity="1", alphaBand="-1", nodataColor=""
    )


def pseudocolour(stops: Sequence[Stop]) -> Any:
    """The renderer of a raster of quantities, linear between the stops."""
    low, high = f"{stops[0].value:g}", f"{stops[-1].value:g}"
    items = [E.item(value=f"{s.value:g}", color=s.colour, alpha=str(s.opacity), label=s.label) for s in stops]
    shader = E.colorrampshader(
        *items, colorRampType="INTERPOLATED", classificationMode="1", clip="0", minimumValue=low,
        maximumValue=high,
    )  # fmt: skip
    return E.rasterrenderer(
        E.rastershader(shader),
        type="singlebandpseudocolor",
        band="1",
        opacity="1",
        alphaBand="-1",
        nodataColor="",
        classificationMin=low,
        classificationMax=high,
    )


def raster_pipe(renderer: Any) -> Any:
    """The element `pipe` of a raster layer."""
    return E.pipe(
        renderer, E.brightnesscontrast(brightness="0", contrast="0", gamma="1"), E.rasterresampler()
    )


def fills_by(column: str, fills: Sequence[Fill]) -> Any:
    """The renderer of polygons: by the values of a column, or one fill for all where `column` is empty."""
    symbols = E.symbols(*(_symbol(str(number), fill) for number, fill in enumerate(fills)))
    if not column:
        return etree.Element("renderer-v2", type="singleSymbol", enableorderby="0", forceraster="0"), symbols
    categories = E.categories(
        *(
            E.category(
                value=one_line(fill.value), label=one_line(fill.label), symbol=str(number), render="true"
            )
            for number, fill in enumerate(fills)
        )
    )
    renderer = etree.Element("renderer-v2", type="categorizedSymbol", attr=column, enableorderby="0",
                             forceraster="0")  # fmt: skip
    renderer.append(categories)
    return renderer, symbols


def polygon_style(
    column: str,
    fills: Sequence[Fill],
    aliases: Mapping[str, str],
    choices: Mapping[str, Sequence[str]] | None = None,
    label: str = "",
) -> list[Any]:
    """The elements of a polygon layer: renderer, labels and names of the columns for people.

    Args:
        column: or an expression, by whose values the polygons are drawn.
        choices: values that QGIS offers for a column.
        label: column that is written beside the polygons where the map is close enough.
    """
    renderer, symbols = fills_by(column, fills)
    renderer.append(symbols)
    named = E.aliases(
        *(
            E.alias(index=str(number), field=name, name=one_line(words))
            for number, (name, words) in enumerate(aliases.items())
        )
    )
    drawn = [renderer, *([_labels(label)] if label else [])]
    if not choices:
        return [*drawn, named]
    return [
        *drawn,
        E.fieldConfiguration(*(_value_map(name, values) for name, values in choices.items())),
        named,
    ]


def _labels(column: str) -> Any:
    """Values of a column beside their polygons, on white, from a scale on."""
    text = etree.Element(
        "text-style",
        fieldName=column,
        isExpression="0",
        fontSize="8",
        fontSizeUnit="Point",
        textColor="40,40,40,255",
    )
    etree.SubElement(
        text,
        "text-buffer",
        bufferDraw="1",
        bufferSize="0.8",
        bufferSizeUnits="MM",
        bufferColor="255,255,255,255",
    )
    rendering = etree.Element(
        "rendering", drawLabels="1", scaleVisibility="1", scaleMin="1", scaleMax=str(LABELS_TO_SCALE)
    )
    return E.labeling(E.settings(text, E.placement(placement="0"), rendering), type="simple")


def _value_map(name: str, values: Sequence[str]) -> Any:
    """QGIS's editor of a column that has one of several values."""
    options = (E.Option(E.Option(name=value, type="QString", value=value), type="Map") for value in values)
    config = E.config(E.Option(E.Option(*options, name="map", type="List"), type="Map"))
    return E.field(E.editWidget(config, type="ValueMap"), name=name)


def qml(elements: Iterable[Any]) -> str:
    """A style file of these elements."""
    root = E.qgis(*elements, version=VERSION, styleCategories="AllStyleCategories")
    return text_of(root)


def text_of(root: Any) -> str:
    """XML text with QGIS's document type."""
    found: str = etree.tostring(root, encoding="unicode", pretty_print=True)
    return f"{DOCTYPE}\n{found}"


def _symbol(name: str, fill: Fill) -> Any:
    options = {
        "color": _rgba(fill.colour, fill.opacity),
        "style": fill.pattern,
        "outline_color": _rgba(fill.outline, 255),
        "outline_style": fill.outline_style,
        "outline_width": f"{fill.width_mm:g}",
        "outline_width_unit": "MM",
        "joinstyle": "bevel",
    }
    layer = E.layer(
        E.Option(
            *(E.Option(name=key, type="QString", value=value) for key, value in options.items()), type="Map"
        ),
        **{"class": "SimpleFill", "pass": "0", "enabled": "1", "locked": "0"},
    )
    return E.symbol(layer, type="fill", name=name, alpha="1", clip_to_extent="1", force_rhr="0")


def _rgba(colour: str, opacity: int) -> str:
    return ",".join(str(part) for part in (*rgb(colour), opacity))
