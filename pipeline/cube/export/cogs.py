"""Cloud-optimised GeoTIFFs of a cube: one file for each variable of each pass, pair and track.

Values are those of the cube. Variables of codes (`landslides`, `layover_shadow`) become bytes with colours, 255 where
the cube has none. Overviews average what can be averaged, so backscatter in linear power; of codes, numbers and angles
they take the nearest pixel, since GDAL has no maximum for overviews.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.io import MemoryFile

from pipeline.cube.encoding.georeference import recorded_crs, transform_of
from pipeline.cube.export.cube_layer import CubeLayer
from pipeline.cube.schema import VARIABLES
from pipeline.errors import CubeError
from pipeline.files import writing

NO_CODE = 255
Colour = tuple[int, int, int, int]
PALETTES: Mapping[str, Mapping[int, Colour]] = {
    "landslides": {0: (235, 235, 235, 255), 1: (213, 32, 32, 255), NO_CODE: (0, 0, 0, 0)},
    "layover_shadow": {
        0: (235, 235, 235, 255),
        1: (230, 159, 0, 255),
        2: (60, 60, 90, 255),
        3: (120, 60, 120, 255),
        NO_CODE: (0, 0, 0, 0),
    },
}
"""red, green, blue and opacity by code; the colours of layover and shadow differ to the colour-blind too"""
MEANINGS = {
    "landslides": "0 mapped, no landslide; 1 landslide; 255 not mapped",
    "layover_shadow": "0 none; 1 layover; 2 shadow; 3 both; 255 not seen",
}


def georeference(cube: xr.Dataset) -> tuple[CRS, Affine]:
    """The reference system and the transform of a cube.

    Raises:
        CubeError: it records no reference system.
    """
    crs = recorded_crs(cube)
    if crs is None:
        raise CubeError(
            "The cube records no coordinate reference system.",
            "Set one, as with cube.rio.write_crs, and export again.",
        )
    return crs, transform_of(cube)


def write_cog(layer: CubeLayer, target: Path, place: tuple[CRS, Affine], tags: Mapping[str, str]) -> None:
    """Write one layer; it is made and read back in memory.

    Args:
        place: as `georeference` gives it.
        tags: of the whole cube.

    Raises:
        CubeError: the file does not hold what was written.
        DiskError: it cannot be written.
    """
    values, nodata = _values(layer)
    known = VARIABLES.get(layer.variable)
    averaged = known is None or known.coarsening == "average"
    profile = {
        "driver": "GTiff", "dtype": values.dtype.name, "count": 1, "height": values.shape[0],
        "width": values.shape[1], "crs": place[0], "transform": place[1], "nodata": nodata,
    }  # fmt: skip
    with MemoryFile() as plain, MemoryFile() as finished:
        with plain.open(**profile) as made:
            made.write(values, 1)
            _describe(made, layer, tags)
        rasterio.shutil.copy(
            plain.name,
            finished.name,
            driver="COG",
            COMPRESS="DEFLATE",
            PREDICTOR="YES",
            BLOCKSIZE="512",
            OVERVIEW_RESAMPLING="AVERAGE" if averaged and values.dtype.kind == "f" else "NEAREST",
            BIGTIFF="IF_SAFER",
        )
        with plain.open() as written, finished.open() as read:
            if written.checksum(1) != read.checksum(1):
                raise CubeError(f"{target.name} does not hold what was written.", "Check the memory.")
        # written by Python, whose errors name the disk: GDAL's do not
        with writing(target):
            target.write_bytes(finished.getbuffer())


def _values(layer: CubeLayer) -> tuple[NDArray[Any], float]:
    """(y, x) in the type of the file, and its value of no data."""
    values = layer.values()
    if layer.variable in PALETTES and values.dtype.kind == "f":
        valid = np.isfinite(values)
        codes = np.where(valid, values, NO_CODE)
        if np.array_equal(codes, np.round(codes)) and ((codes >= 0) & (codes <= NO_CODE)).all():
            return codes.astype(np.uint8), NO_CODE
    if values.dtype.kind in "iu":
        return values.astype(np.int32), 0
    return values.astype(np.float32), float("nan")


def _describe(made: Any, layer: CubeLayer, tags: Mapping[str, str]) -> None:
    attributes = layer.array.attrs
    title = str(attributes.get("long_name", layer.variable))
    made.set_band_description(1, f"{layer.variable}: {title}")
    if units := attributes.get("units"):
        made.units = (str(units),)
    if made.dtypes[0] == "uint8":
        made.write_colormap(1, dict(PALETTES[layer.variable]))
        made.update_tags(1, CODES=MEANINGS[layer.variable])
    else:
        made.colorinterp = (ColorInterp.gray,)
    when = layer.facts.get("PASS_TIME")
    moment = {"TIFFTAG_DATETIME": when[:19].replace("-", ":").replace("T", " ")} if when else {}
    made.update_tags(
        AREA_OR_POINT="Area",
        VARIABLE=layer.variable,
        TIFFTAG_IMAGEDESCRIPTION=_ascii(f"{layer.variable}: {title}"),
        **moment,
        **layer.facts,
        **tags,
    )


def _ascii(text: str) -> str:
    """TIFF tags hold ASCII."""
    return text.encode("ascii", "replace").decode()


def cog_tags(cube: xr.Dataset) -> dict[str, str]:
    """Tags that every file of a cube has: area, licence, citation, software, whether it is simulated."""
    stated = {
        "TITLE": "title",
        "AREA": "area",
        "LICENSE": "license",
        "CITATION": "attribution",
        "SOURCES": "sources",
        "INVENTORY": "inventory",
        "TIFFTAG_SOFTWARE": "software",
    }
    found = {tag: str(cube.attrs[name]) for tag, name in stated.items() if cube.attrs.get(name)}
    if "LICENSE" in found:
        found["TIFFTAG_COPYRIGHT"] = _ascii(found["LICENSE"])
    return {**found, "SIMULATED": "1" if cube.attrs.get("simulated") else "0"}
