"""A QGIS project of a release: every layer with its style, in groups, by paths relative to the project."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lxml import etree
from lxml.builder import E
from pyproj import CRS

from model.bundle.markdown import one_line
from model.releases.styles.qgis_style import DOCTYPE, VERSION
from pipeline.records import Frozen


class ProjectLayer(Frozen):
    """One layer of a project."""

    id: str
    title: str
    kind: str
    """vector or raster"""
    source: str
    """relative to the project"""
    style: str
    """a style file of QGIS"""
    group: str
    shown: bool = True
    attribution: str = ""


def project(
    title: str, layers: Sequence[ProjectLayer], crs: CRS, extent: tuple[float, float, float, float]
) -> bytes:
    """The XML of a project, the topmost layer first.

    Args:
        extent: west, south, east, north of what is seen first, in the units of `crs`.
    """
    return etree_bytes(
        E.qgis(
            E.homePath(path=""),
            E.title(one_line(title)),
            E.projectCrs(_system(crs)),
            _tree(layers),
            _canvas(crs, extent),
            _first_view(crs, extent),
            E.projectlayers(*(_layer(one, crs) for one in layers)),
            E.layerorder(*(E.layer(id=one.id) for one in layers)),
            _properties(),
            projectname=one_line(title),
            version=VERSION,
        )
    )


def _properties() -> Any:
    """Relative paths; the project's coordinate system is used, which QGIS else reads as "none"; areas in m²."""
    return E.properties(
        E.Paths(E.Absolute("false", type="bool")),
        E.SpatialRefSys(E.ProjectionsEnabled("1", type="int")),
        E.Measurement(E.DistanceUnits("meters", type="QString"), E.AreaUnits("m2", type="QString")),
        E.Measure(E.Ellipsoid("EPSG:7030", type="QString")),
    )


def etree_bytes(root: Any) -> bytes:
    """The document as bytes."""
    found: bytes = etree.tostring(
        root, xml_declaration=True, encoding="UTF-8", doctype=DOCTYPE, pretty_print=True
    )
    return found


def _tree(layers: Sequence[ProjectLayer]) -> Any:
    tree = etree.Element("layer-tree-group")
    for name in dict.fromkeys(one.group for one in layers):
        members = [one for one in layers if one.group == name]
        checked = "Qt::Checked" if any(one.shown for one in members) else "Qt::Unchecked"
        group = etree.SubElement(tree, "layer-tree-group", name=name, checked=checked, expanded="1")
        for one in members:
            etree.SubElement(
                group,
                "layer-tree-layer",
                id=one.id,
                name=one_line(one.title),
                source=one.source,
                providerKey=_provider(one),
                checked="Qt::Checked" if one.shown else "Qt::Unchecked",
                expanded="1" if one.shown else "0",
            )
    return tree


def _canvas(crs: CRS, extent: tuple[float, float, float, float]) -> Any:
    names = ("xmin", "ymin", "xmax", "ymax")
    corners = [E(name, f"{value:.3f}") for name, value in zip(names, extent, strict=True)]
    return E.mapcanvas(
        E.units("meters"),
        E.extent(*corners),
        E.rotation("0"),
        E.destinationsrs(_system(crs)),
        name="theMapCanvas",
    )


def _first_view(crs: CRS, extent: tuple[float, float, float, float]) -> Any:
    """The same extent as what "full view" goes to."""
    corners = {
        name: f"{value:.3f}" for name, value in zip(("xmin", "ymin", "xmax", "ymax"), extent, strict=True)
    }
    shown = etree.Element("DefaultViewExtent", corners)
    shown.append(_system(crs))
    return E.ProjectViewSettings(shown, UseProjectScales="0")


def _layer(one: ProjectLayer, crs: CRS) -> Any:
    found = etree.Element(
        "maplayer", type=one.kind, autoRefreshEnabled="0", styleCategories="AllStyleCategories"
    )
    if one.kind == "vector":
        found.set("geometry", "Polygon")
    found.append(E.id(one.id))
    found.append(E.datasource(one.source))
    found.append(E.layername(one_line(one.title)))
    found.append(E.srs(_system(crs)))
    found.append(E.attribution(one_line(one.attribution)))
    provider = E.provider(_provider(one))
    if one.kind == "vector":
        provider.set("encoding", "UTF-8")
    found.append(provider)
    for element in etree.fromstring(one.style.encode(), _PARSER):
        found.append(element)
    return found


_PARSER = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)


def _provider(one: ProjectLayer) -> str:
    return "ogr" if one.kind == "vector" else "gdal"


def _system(crs: CRS) -> Any:
    epsg = crs.to_epsg()
    return E.spatialrefsys(
        E.wkt(crs.to_wkt()),
        E.authid(f"EPSG:{epsg}" if epsg else ""),
        E.srid(str(epsg or 0)),
        E.description(one_line(crs.name)),
        nativeFormat="Wkt",
    )
