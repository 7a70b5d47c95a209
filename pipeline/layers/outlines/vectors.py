"""Vector files: features read into a frame with their CRS, from any of several formats and containers."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import geopandas as gpd
import pyogrio
from pydantic import Field
from pyogrio.errors import DataLayerError, DataSourceError, FieldError, GeometryError

from pipeline.areas.area import Inventory
from pipeline.errors import SourceDataError, number_of
from pipeline.layers.outlines.containers import MOST_LISTED, Opened, opened
from pipeline.layers.outlines.vector_formats import FORMATS, GDAL_OPTIONS, READ, check_table
from pipeline.records import Frozen

LAYER_FIELD = "inventory.layer"
LEAST_FEATURE_BYTES = 4
"""A feature takes more in any format. For more features than there can be, memory would be taken before reading."""
_ERRORS = (
    DataSourceError, DataLayerError, GeometryError, FieldError, UnicodeError, ValueError, OSError, MemoryError,
    OverflowError, zipfile.BadZipFile,
)  # fmt: skip


class VectorHeader(Frozen):
    """What a vector file states of one of its layers."""

    layer: str
    driver: str
    attributes: tuple[str, ...]
    features: int = Field(description="-1: not stated")
    crs: str | None


def read_inventory(path: Path, inventory: Inventory) -> gpd.GeoDataFrame:
    """Every feature of an inventory, as `read_features`, from the layer that `inventory.layer` chooses.

    It may have none where the area file says so (`may_be_empty`).
    """
    return read_features(path, inventory.layer, may_be_empty=inventory.may_be_empty)


def read_features(
    path: Path, layer: str | None = None, field: str = LAYER_FIELD, *, may_be_empty: bool = False
) -> gpd.GeoDataFrame:
    """Every feature of a vector file, in its own CRS; the index is the file's feature id.

    Reads the formats of `pipeline.layers.outlines.vector_formats`, also within a zip.
    `layer` chooses one of several layers, or one of several files in a zip; `field` is the field of the area file that
    states it. Geometry that cannot be parsed comes back as None. `frame.attrs` holds "file", "layer", "driver" and
    "remarks" of the reader.

    Raises:
        SourceDataError: not a readable vector file, a choice of layers is needed (they are listed), no features
            without `may_be_empty`, no geometry, or no CRS.
    """
    with _reading(path), opened(path, layer, field) as source, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        header = _header(source, path, field)
        frame = pyogrio.read_dataframe(
            source.source, layer=header.layer, fid_as_index=True, on_invalid="ignore"
        )
    if not isinstance(frame, gpd.GeoDataFrame):
        raise SourceDataError(f"Layer {header.layer} of {path.name} has no geometry.", "Name another layer.")
    if frame.empty and not may_be_empty:
        raise SourceDataError(
            f"Layer {header.layer} of {path.name} holds no features.",
            "Name another layer or file; of an inventory whose mappers found nothing, state may_be_empty: true.",
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


def read_header(path: Path, layer: str | None = None, field: str = LAYER_FIELD) -> VectorHeader:
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
    pyogrio.set_gdal_config_options(GDAL_OPTIONS)
    try:
        yield
    except _ERRORS as error:
        raise SourceDataError(
            f"{path.name} cannot be read as a vector file ({type(error).__name__}: {_without_path(error, path)}).",
            f"Give a {READ}.",
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
    if source.kind == "SQLite":
        check_table(Path(source.source), chosen, path.name)
    info = pyogrio.read_info(source.source, layer=chosen)
    driver, features = str(info["driver"]), int(info["features"])
    if driver not in FORMATS[source.kind]:
        raise SourceDataError(
            f"{path.name} is a {driver} file, which is not read here.", f"Convert it to a {READ}."
        )
    if features * LEAST_FEATURE_BYTES > source.size_bytes:
        raise SourceDataError(
            f"{path.name} states {features} features in {source.size_bytes} bytes, which cannot be.",
            "Fetch it again; if it stays, report it to its publisher.",
        )
    return VectorHeader(
        layer=chosen,
        driver=driver,
        attributes=tuple(str(name) for name in info["fields"]),
        features=features,
        crs=None if info["crs"] is None else str(info["crs"]),
    )


def _listed(names: list[str]) -> str:
    more = len(names) - MOST_LISTED
    return ", ".join(names[:MOST_LISTED]) + (f" and {more} more" if more > 0 else "")


def _without_path(error: object, path: Path) -> str:
    return str(error).replace(str(path.resolve()), path.name).replace(str(path), path.name)
