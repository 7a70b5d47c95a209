"""A release as one file to mail: every file of its folder, and a QGIS project that opens them.

Documents name no folder of the sender's disk: an address of the cube is its name alone, and links to files that are not
in the zip are left out.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pyogrio
from lxml.etree import XMLSyntaxError
from pyogrio.errors import DataLayerError, DataSourceError
from pyproj import CRS
from pyproj.exceptions import ProjError

from model.bundle.markdown import one_line
from model.releases.raster_styles import TITLES
from model.releases.stac_catalog import CUBE, MAP, MODEL
from model.releases.styles.qgis_project import ProjectLayer, project
from pipeline.errors import ModelError, disk_error_of
from pipeline.files import UnreadableError, read_regular, whole_file
from pipeline.records import Frozen

POLYGONS, REPORT, ORIGIN = "landslides.gpkg", "report.json", "origin.json"
PROJECT = "landslides.qgs"
ADDRESSES = ("cube", "uri")
"""fields of `report.json` and `origin.json` with the address of a cube"""
MOST_REPORT_BYTES = 64 << 20
MOST_STYLE_BYTES = 1 << 20
GROUPS = {
    "landslides": "Observed event",
    "not_analysed": "Not analysed",
    "area": "Area of interest and images",
    "passes": "Area of interest and images",
}
"""layers of the GeoPackage and their groups, named as those of Copernicus EMS Rapid Mapping"""
RASTERS = "Rasters"
SHOWN = ("landslides", "not_analysed", "area")
STORED = (".tif", ".png", ".pmtiles")
"""of files that are compressed already"""


class ZipRecord(Frozen):
    """A map that was packed."""

    path: Path
    map: Path
    files: int
    size_bytes: int
    simulated: bool


def is_map(folder: Path) -> bool:
    """Whether a folder is a map of slidecube, by its report."""
    return _report(folder) is not None


def write_zip(folder: Path, target: Path) -> ZipRecord:
    """Pack a map into a zip with a QGIS project; one that is at `target` is replaced.

    Raises:
        ModelError: the folder is no map, lacks its polygons or their styles, or `target` lies inside of it.
        DiskError: `target` cannot be written.
    """
    report = _report(folder)
    if report is None:
        raise ModelError(
            f"{folder} is no map of slidecube.", "Give the folder that `slidecube map` has written."
        )
    if target.absolute().resolve().is_relative_to(folder.resolve()):
        raise ModelError(f"{target} lies in the folder that is packed.", "Give a file elsewhere.")
    content = _project(folder, report)
    root = _root(report, folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    documents = _documents(folder)
    with whole_file(target) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(f"{root}/{PROJECT}", content)
        for file in files:
            kind = zipfile.ZIP_STORED if file.suffix in STORED else zipfile.ZIP_DEFLATED
            name = file.relative_to(folder).as_posix()
            if name in documents:
                packed.writestr(f"{root}/{name}", documents[name], kind)
            else:
                packed.write(file, f"{root}/{name}", kind)
    return ZipRecord(
        path=target,
        map=folder,
        files=len(files) + 1,
        size_bytes=target.stat().st_size,
        simulated=bool(report["map"].get("simulated", False)),
    )


def _documents(folder: Path) -> dict[str, bytes]:
    """The JSON documents of a release without local addresses, by name, with the checksum of the changed report.

    Raises:
        ModelError: one cannot be read.
    """
    found: dict[str, Any] = {}
    for name in (ORIGIN, REPORT, MAP, CUBE, MODEL):
        if not (folder / name).is_file():
            continue
        try:
            found[name] = _named(json.loads(read_regular(folder / name, MOST_REPORT_BYTES)))
        except (OSError, ValueError, RecursionError) as error:
            raise ModelError(f"{folder / name} cannot be read.", "Map again (--replace).") from error
    packed = {name: (json.dumps(document, indent=1) + "\n").encode() for name, document in found.items()}
    if MAP in found:
        for asset in found[MAP].get("assets", {}).values():
            content = packed.get(Path(str(asset.get("href"))).name)
            if content is not None and "file:checksum" in asset:
                asset["file:checksum"] = f"1220{hashlib.sha256(content).hexdigest()}"
                asset["file:size"] = len(content)
        packed[MAP] = (json.dumps(found[MAP], indent=1) + "\n").encode()
    return packed


def _named(value: Any) -> Any:
    """A document in which the address of a local cube is its name, without assets that lie elsewhere on this disk."""
    if isinstance(value, list):
        return [_named(one) for one in value]
    if not isinstance(value, dict):
        return value
    kept = {}
    for key, one in value.items():
        if key in ADDRESSES and isinstance(one, str) and Path(one).is_absolute():
            kept[key] = Path(one).name
        elif not (isinstance(one, dict) and _is_elsewhere(str(one.get("href", "")))):
            kept[key] = _named(one)
    return kept


def _is_elsewhere(href: str) -> bool:
    """Whether a link leads out of the map's folder on this disk."""
    return Path(href).is_absolute() or href.startswith("../")


def _report(folder: Path) -> dict[str, Any] | None:
    try:
        report = json.loads(read_regular(folder / REPORT, MOST_REPORT_BYTES))
        known = str(report["format"]).startswith("slidecube-map-") and isinstance(report["map"], dict)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return report if known else None


def _root(report: dict[str, Any], folder: Path) -> str:
    """The folder in the zip: area and version, in characters that every system takes."""
    area = "".join(
        c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in str(report["map"].get("area"))
    )
    return f"{area.strip('-')[:60] or 'map'}-landslides"


def _project(folder: Path, report: dict[str, Any]) -> bytes:
    try:
        layers, crs, extent = _layers(folder, report)
        return project(_title(report["map"]), layers, crs, extent)
    except (
        DataSourceError,
        DataLayerError,
        sqlite3.Error,
        ProjError,
        XMLSyntaxError,
        UnicodeDecodeError,
    ) as error:
        raise ModelError(
            f"{folder / POLYGONS} cannot be used: it lacks layers or styles of a release.",
            "Map again with this release of slidecube (--replace).",
        ) from error
    except OSError as error:
        raise disk_error_of(error, folder) or error from error


def _title(record: dict[str, Any]) -> str:
    """Of the release, text from outside; one of an earlier release states none."""
    return str(record.get("title") or f"Landslides of {record.get('area')}")


def _layers(
    folder: Path, report: dict[str, Any]
) -> tuple[list[ProjectLayer], CRS, tuple[float, float, float, float]]:
    polygons = folder / POLYGONS
    info = pyogrio.read_info(polygons, layer="area", force_total_bounds=True)
    attribution = one_line(str(report.get("cube", {}).get("attribution", "")))
    found = [
        ProjectLayer(
            id=f"{name}_polygons", title=title, kind="vector", source=f"./{POLYGONS}|layername={name}", style=style,
            group=GROUPS[name], shown=name in SHOWN, attribution=attribution,
        )
        for name, title, style in _styles(polygons)
    ]  # fmt: skip
    for name, title in TITLES.items():
        style_file = folder / f"{name}.qml"
        if not (folder / f"{name}.tif").is_file() or not style_file.is_file():
            continue
        found.append(
            ProjectLayer(
                id=f"{name}_raster", title=title, kind="raster", source=f"./{name}.tif",
                style=_style(style_file), group=RASTERS,
                shown=name in ("probability", "score"), attribution=attribution,
            )
        )  # fmt: skip
    west, south, east, north = info["total_bounds"]
    margin = 0.03 * max(east - west, north - south)
    return (
        found,
        CRS.from_user_input(info["crs"]),
        (west - margin, south - margin, east + margin, north + margin),
    )


def _style(file: Path) -> str:
    """The style of a raster.

    Raises:
        ModelError: the file cannot be a style of a release.
    """
    try:
        return read_regular(file, MOST_STYLE_BYTES).decode("utf-8")
    except (UnreadableError, UnicodeDecodeError) as error:
        raise ModelError(f"{file} is no style of a release.", "Map again (--replace).") from error


def _styles(polygons: Path) -> list[tuple[str, str, str]]:
    """Name, title and style of each layer of a GeoPackage that a release has, in the order in which they are drawn."""
    with closing(sqlite3.connect(f"file:{polygons.absolute()}?mode=ro", uri=True)) as database:
        rows = database.execute(
            "SELECT f_table_name, description, styleQML FROM layer_styles WHERE useAsDefault ORDER BY id"
        ).fetchall()
    known = {str(name): (str(title), str(style)) for name, title, style in rows}
    if missing := sorted(GROUPS.keys() - known.keys()):
        raise DataLayerError(f"no style of {', '.join(missing)}")
    return [(name, *known[name]) for name in GROUPS]
