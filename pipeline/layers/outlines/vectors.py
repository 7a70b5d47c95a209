"""Vector files: features read into a frame with their CRS, from any of several formats and containers."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import geopandas as gpd
import pyogrio
from pydantic import Field
from pyogrio.errors import DataLayerError, DataSourceError, FieldError, GeometryError

from pipeline.area import Inventory
from pipeline.errors import SourceDataError, number_of
from pipeline.layers.outlines.containers import MOST_LISTED, Opened, opened
from pipeline.records import Frozen

DRIVERS = frozenset(
    {
        "ESRI Shapefile", "GPKG", "GeoJSON", "GeoJSONSeq", "FlatGeobuf", "KML", "LIBKML", "OpenFileGDB", "GML",
        "TopoJSON", "ESRIJSON", "MapInfo File", "SQLite",
    }
)  # fmt: skip
"""GDAL drivers whose files hold the features themselves; others may name further files, addresses or programs."""
_ERRORS = (DataSourceError, DataLayerError, GeometryError, FieldError, UnicodeError, ValueError, OSError)


class VectorHeader(Frozen):
    """What a vector file states of one of its layers."""

    layer: str
    driver: str
    attributes: tuple[str, ...]
    features: int = Field(description="-1: not stated")
    crs: str | None


def read_inventory(path: Path, inventory: Inventory) -> gpd.GeoDataFrame:
    """Every feature of an inventory, as `read_features`, from the layer that `inventory.layer` chooses."""
    return read_features(path, inventory.layer, "inventory.layer")


def read_features(path: Path, layer: str | None, field: str) -> gpd.GeoDataFrame:
    """Every feature of a vector file, in its own CRS; the index is the file's feature id.

    Reads GeoPackage, shapefile (also zipped), GeoJSON, FlatGeobuf, KML and the other formats of `DRIVERS`.
    `layer` chooses one of several layers, or one of several files in a zip; `field` is the field of the area file that
    states it. Geometry that cannot be parsed comes back as None. `frame.attrs` holds "file", "layer", "driver" and
    "remarks" of the reader.

    Raises:
        SourceDataError: not a readable vector file, a choice of layers is needed (they are listed), no features,
            no geometry, or no CRS.
    """
    with _reading(path), opened(path, layer, field) as source, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        header = _header(source, path, field)
        frame = pyogrio.read_dataframe(
            source.source, layer=header.layer, fid_as_index=True, on_invalid="ignore"
        )
    if not isinstance(frame, gpd.GeoDataFrame):
        raise SourceDataError(f"Layer {header.layer} of {path.name} has no geometry.", "Name another layer.")
    if frame.empty:
        raise SourceDataError(
            f"Layer {header.layer} of {path.name} holds no features.", "Name another layer or file."
        )
    _check_crs(None if frame.crs is None else str(frame.crs), path)
    frame.attrs = {
        "file": path.name,
        "layer": header.layer,
        "driver": header.driver,
        # warnings are recorded for the whole process: those of other threads do not belong to this file
        "remarks": sorted(
            {_without_path(w.message, path) for w in caught if "pyogrio" in Path(w.filename).parts}
        ),
    }
    return frame


def read_header(path: Path, layer: str | None, field: str) -> VectorHeader:
    """What a vector file states, by the rules of `read_features`, without its features.

    Raises:
        SourceDataError: as `read_features`, for what the header shows.
    """
    with _reading(path), opened(path, layer, field) as source, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = _header(source, path, field)
    if header.features == 0:
        raise SourceDataError(
            f"Layer {header.layer} of {path.name} holds no features.", "Name another layer or file."
        )
    _check_crs(header.crs, path)
    return header


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Raise the errors of the reader as those of the file."""
    try:
        yield
    except _ERRORS as error:
        raise SourceDataError(
            f"{path.name} cannot be read as a vector file ({type(error).__name__}: {_without_path(error, path)}).",
            "Give a GeoPackage, shapefile (zipped), GeoJSON, FlatGeobuf or KML file.",
        ) from error


def _check_crs(crs: str | None, path: Path) -> None:
    if crs is None:
        raise SourceDataError(
            f"{path.name} states no CRS.",
            "Add it (a .prj file with a shapefile, or ogr2ogr -a_srs EPSG:nnnn); guessing would misplace landslides.",
        )


def _header(source: Opened, path: Path, field: str) -> VectorHeader:
    """The layer to read, and what the file states of it."""
    layers: dict[str, Any] = {str(name): kind for name, kind in pyogrio.list_layers(source.source)}
    spatial = [name for name, kind in layers.items() if kind is not None]
    if source.layer is not None:
        if source.layer not in layers:
            raise SourceDataError(
                f"{path.name} has no layer {source.layer!r}.",
                f"Its layers are: {_listed(list(layers)) or 'none'}. Correct {field}.",
            )
        chosen = source.layer
    elif len(spatial) == 1:
        chosen = spatial[0]
    elif spatial:
        raise SourceDataError(
            f"{path.name} has {number_of(len(spatial), 'layer')}: {_listed(spatial)}.",
            f"Name one as {field}.",
        )
    else:
        raise SourceDataError(f"{path.name} has no layer with geometry.", "Give a file with polygons.")
    info = pyogrio.read_info(source.source, layer=chosen)
    driver = str(info["driver"])
    if driver not in DRIVERS:
        raise SourceDataError(
            f"{path.name} is a {driver} file, which is not read here.",
            f"Convert it to GeoPackage. Read are: {', '.join(sorted(DRIVERS))}.",
        )
    return VectorHeader(
        layer=chosen,
        driver=driver,
        attributes=tuple(str(name) for name in info["fields"]),
        features=int(info["features"]),
        crs=None if info["crs"] is None else str(info["crs"]),
    )


def _listed(names: list[str]) -> str:
    more = len(names) - MOST_LISTED
    return ", ".join(names[:MOST_LISTED]) + (f" and {more} more" if more > 0 else "")


def _without_path(error: object, path: Path) -> str:
    return str(error).replace(str(path.resolve()), path.name).replace(str(path), path.name)
