"""Vector files: an inventory or extent read into a frame with its CRS, from any of several formats."""

from __future__ import annotations

import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import geopandas as gpd
import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError, FieldError, GeometryError

from pipeline.area import Inventory
from pipeline.errors import SourceDataError

DRIVERS = frozenset(
    {
        "ESRI Shapefile", "GPKG", "GeoJSON", "GeoJSONSeq", "FlatGeobuf", "KML", "LIBKML", "OpenFileGDB", "GML",
        "TopoJSON", "ESRIJSON", "MapInfo File", "SQLite",
    }
)  # fmt: skip
"""GDAL drivers whose files hold the features themselves; others may name further files, addresses or programs."""
_SUFFIXES = (".shp", ".gpkg", ".geojson", ".json", ".fgb", ".kml", ".gml", ".tab", ".geojsonl")
_POINTERS = re.compile(rb"<OGR\w*DataSource|gdal_streamed_alg|<VRTDataset|<WFS|<GDAL_WMS", re.IGNORECASE)
_SNIFFED_BYTES = 1 << 16


def read_inventory(path: Path, inventory: Inventory) -> gpd.GeoDataFrame:
    """Every feature of a vector file, in its own CRS; the index is the file's feature id.

    Reads GeoPackage, shapefile (also zipped), GeoJSON, FlatGeobuf, KML and the other formats of `DRIVERS`.
    `inventory.layer` chooses one of several layers, or one of several files in a zip. Geometry that cannot be
    parsed comes back as None. `frame.attrs` holds "file", "layer", "driver" and "remarks" of the reader.

    Raises:
        SourceDataError: not a readable vector file, a choice of layers is needed (they are listed), no features,
            no geometry, or no CRS.
    """
    source, layer = _choose(path, inventory.layer)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            layer, driver = _layer(source, path, layer)
            frame = pyogrio.read_dataframe(source, layer=layer, fid_as_index=True, on_invalid="ignore")
    except (
        DataSourceError,
        DataLayerError,
        GeometryError,
        FieldError,
        UnicodeError,
        ValueError,
        OSError,
    ) as error:
        raise SourceDataError(
            f"{path.name} cannot be read as a vector file ({type(error).__name__}: {_without_path(error, path)}).",
            "Give a GeoPackage, shapefile (zipped), GeoJSON, FlatGeobuf or KML file.",
        ) from error
    if not isinstance(frame, gpd.GeoDataFrame):
        raise SourceDataError(f"Layer {layer} of {path.name} has no geometry.", "Name another layer.")
    if frame.empty:
        raise SourceDataError(
            f"Layer {layer} of {path.name} holds no features.", "Name another layer or file."
        )
    if frame.crs is None:
        raise SourceDataError(
            f"{path.name} states no CRS.",
            "Add it (a .prj file with a shapefile, or ogr2ogr -a_srs EPSG:nnnn); guessing would misplace landslides.",
        )
    frame.attrs = {
        "file": path.name,
        "layer": layer,
        "driver": driver,
        # warnings are recorded for the whole process: those of other threads do not belong to this file
        "remarks": sorted(
            {_without_path(w.message, path) for w in caught if "pyogrio" in Path(w.filename).parts}
        ),
    }
    return frame


def _choose(path: Path, wanted: str | None) -> tuple[str, str | None]:
    """The name that GDAL opens, and the layer to read from it; None where it is not chosen yet."""
    if not path.exists():
        raise SourceDataError(f"There is no file {path.name}.", "Check the inventory's url in the area file.")
    if path.is_dir() or not zipfile.is_zipfile(path):
        _refuse_pointers(path.name, b"" if path.is_dir() else _head(path))
        return str(path), wanted
    try:
        with zipfile.ZipFile(path) as archive:
            members = sorted(
                name
                for name in archive.namelist()
                if name.lower().endswith(_SUFFIXES) and not name.startswith("__MACOSX")
            )
            matching = [m for m in members if wanted in {m, Path(m).name, Path(m).stem}]
            if len(matching) == 1:
                member, layer = matching[0], None
            elif len(members) == 1:
                member, layer = members[0], wanted
            else:
                raise SourceDataError(
                    f"{path.name} holds {len(members)} vector files"
                    + (f", and {len(matching)} are called {wanted!r}" if wanted else "")
                    + (f": {', '.join(members)}." if members else "."),
                    "Name one of them as inventory.layer."
                    if members
                    else "Give a zip with a vector file in it.",
                )
            with archive.open(member) as stream:
                _refuse_pointers(member, stream.read(_SNIFFED_BYTES))
    except (zipfile.BadZipFile, RuntimeError, OSError, NotImplementedError) as error:
        raise SourceDataError(f"{path.name} is no readable zip file ({error}).", "Fetch it again.") from error
    return f"/vsizip/{{{path.resolve()}}}/{member}", layer


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(_SNIFFED_BYTES)


def _refuse_pointers(name: str, head: bytes) -> None:
    if _POINTERS.search(head):
        raise SourceDataError(
            f"{name} does not hold features but points to other sources, which are not followed.",
            "Give the file that holds the features.",
        )


def _layer(source: str, path: Path, wanted: str | None) -> tuple[str, str]:
    """Name of the layer to read and of the driver that reads it."""
    layers: dict[str, Any] = {str(name): kind for name, kind in pyogrio.list_layers(source)}
    spatial = [name for name, kind in layers.items() if kind is not None]
    if wanted is not None:
        if wanted not in layers:
            raise SourceDataError(
                f"{path.name} has no layer {wanted!r}.", f"Its layers are: {', '.join(layers) or 'none'}."
            )
        chosen = wanted
    elif len(spatial) == 1:
        chosen = spatial[0]
    elif spatial:
        raise SourceDataError(
            f"{path.name} has {len(spatial)} layers: {', '.join(spatial)}.", "Name one as inventory.layer."
        )
    else:
        raise SourceDataError(f"{path.name} has no layer with geometry.", "Give a file with polygons.")
    driver = str(pyogrio.read_info(source, layer=chosen)["driver"])
    if driver not in DRIVERS:
        raise SourceDataError(
            f"{path.name} is a {driver} file, which is not read here.",
            f"Convert it to GeoPackage. Read are: {', '.join(sorted(DRIVERS))}.",
        )
    return chosen, driver


def _without_path(error: object, path: Path) -> str:
    return str(error).replace(str(path.resolve()), path.name).replace(str(path), path.name)
