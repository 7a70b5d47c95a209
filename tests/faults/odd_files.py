"""Binary files that are odd in one way each: rasters of one value, and zips."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import xarray as xr
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp

from pipeline.archives.inventories import check_zip
from pipeline.archives.slc.zips import unpack
from pipeline.catalogue.assets import Asset
from pipeline.cube.foreign.geotiffs import import_folder
from pipeline.layers.outlines.vectors import read_features
from tests.faults.corpus import RING, SECRET, geojson, polygon
from tests.faults.odd_documents import Action
from tests.faults.outcomes import WrongValueError
from tests.unit.pipeline.elevation.test_raster_values import GRID, gamma0, setting

TRUTH = 0.25
"""gamma0 of every pixel with data, once what the file declares is applied"""
Change = Callable[[Any], None]


def raster(path: Path, stored: Any, change: Change = lambda _: None, **options: Any) -> Path:
    """A file of one stored value."""
    profile = {
        "driver": "GTiff", "crs": "EPSG:32654", "transform": Affine(10, 0, GRID.left, 0, -10, GRID.top), "count": 1,
        "width": GRID.width, "height": GRID.height, "dtype": "float32", "tiled": True, "blockxsize": 32,
        "blockysize": 32,
    } | options  # fmt: skip
    with rasterio.open(path, "w", **profile) as target:
        for band in range(1, int(profile["count"]) + 1):
            target.write(np.full((GRID.height, GRID.width), stored, str(profile["dtype"])), band)
        change(target)
    return path


def part_of(number: Any) -> Change:
    """The upper rows hold that number."""

    def change(target: Any) -> None:
        rows = np.full((10, GRID.width), number, target.dtypes[0])
        target.write(rows, 1, window=((0, 10), (0, GRID.width)))

    return change


def tagged(**tags: str) -> Change:
    return lambda target: target.update_tags(1, **tags)


def both(*changes: Change) -> Change:
    def change(target: Any) -> None:
        for one in changes:
            one(target)

    return change


GCPS = [
    GroundControlPoint(0, 0, 142.0, 42.4),
    GroundControlPoint(0, 59, 142.01, 42.4),
    GroundControlPoint(49, 0, 142.0, 42.39),
]
PLAIN = Affine(10, 0, GRID.left, 0, -10, GRID.top)
RASTERS: dict[str, tuple[Any, Change, dict[str, Any]]] = {
    "plain": (TRUTH, lambda _: None, {}),
    **{
        f"{dtype}-scaled": (2500, setting(scales=(1e-4,)), {"dtype": dtype})
        for dtype in ("int16", "uint16", "int32", "uint32", "float32", "float64")
    },
    **{
        f"{dtype}-unscaled": (2500, lambda _: None, {"dtype": dtype})
        for dtype in ("int16", "uint16", "int32", "uint32")
    },
    **{f"{dtype}": (1, lambda _: None, {"dtype": dtype}) for dtype in ("complex64", "complex128", "complex_int16")},
    "uint8-scaled": (25, setting(scales=(0.01,)), {"dtype": "uint8"}),
    "int8-scaled": (25, setting(scales=(0.01,)), {"dtype": "int8"}),
    "int64-scaled": (2500, setting(scales=(1e-4,)), {"dtype": "int64"}),
    "uint64-scaled": (2500, setting(scales=(1e-4,)), {"dtype": "uint64"}),
    "float16": (TRUTH, lambda _: None, {"dtype": "float32", "NBITS": 16}),
    "offset-of-the-band": (2600, setting(scales=(1e-4,), offsets=(-0.01,)), {"dtype": "int16"}),
    "two-bands-with-their-own": (
        2500, setting(scales=(1e-4, 1.0), offsets=(0.0, 5.0)), {"dtype": "int16", "count": 2},
    ),
    "scale-zero": (2500, setting(scales=(0.0,)), {}),
    "scale-nan": (2500, setting(scales=(float("nan"),)), {}),
    "scale-infinite": (2500, setting(scales=(float("inf"),)), {}),
    "scale-negative": (-2500, setting(scales=(-1e-4,)), {"dtype": "int16"}),
    "nodata-declared": (TRUTH, part_of(-9999), {"nodata": -9999}),
    "nodata-nan-and-nan": (TRUTH, part_of(np.nan), {"nodata": float("nan")}),
    "nodata-declared-and-nan": (TRUTH, part_of(np.nan), {"nodata": 0}),
    "nodata-of-the-scaled-number": (2500, both(part_of(1), setting(scales=(1e-4,))), {"dtype": "int16", "nodata": 1}),
    "infinite-pixels": (TRUTH, part_of(np.inf), {}),
    "negative-pixels": (TRUTH, part_of(-1), {}),
    "decibels": (-6.02, lambda _: None, {}),
    "decibels-by-unit": (-6.02, setting(units=("dB",)), {}),
    "decibels-by-tag": (-6.02, tagged(units="decibel"), {}),
    "amplitude-by-tag": (0.5, tagged(units="amplitude"), {}),
    "sigma0-by-tag": (TRUTH, tagged(calibration="sigma0"), {}),
    "percent": (25, setting(units=("%",)), {}),
    "palette": (1, lambda target: target.write_colormap(1, {1: (9, 9, 9, 255)}), {"dtype": "uint8"}),
    "alpha-first": (TRUTH, setting(colorinterp=(ColorInterp.alpha, ColorInterp.gray)), {"count": 2}),
    "rgb": (100, lambda _: None, {"dtype": "uint8", "count": 3, "photometric": "RGB"}),
    "rotated": (TRUTH, lambda _: None, {"transform": PLAIN * Affine.rotation(10)}),
    "sheared": (TRUTH, lambda _: None, {"transform": PLAIN * Affine.shear(5)}),
    "south-up": (TRUTH, lambda _: None, {"transform": Affine(10, 0, GRID.left, 0, 10, GRID.top - 500)}),
    "mirrored": (TRUTH, lambda _: None, {"transform": Affine(-10, 0, GRID.left + 600, 0, -10, GRID.top)}),
    "gcps": (TRUTH, setting(gcps=(GCPS, rasterio.CRS.from_epsg(4326))), {"transform": None, "crs": None}),
    "no-crs": (TRUTH, lambda _: None, {"crs": None}),
    "degrees": (TRUTH, lambda _: None, {"crs": "EPSG:4326", "transform": Affine(1e-4, 0, 142, 0, -1e-4, 42.4)}),
    "feet": (TRUTH, lambda _: None, {"crs": "EPSG:2263"}),
    "pixels-of-nothing": (TRUTH, lambda _: None, {"transform": Affine(1e-300, 0, GRID.left, 0, -1e-300, GRID.top)}),
    "pixels-of-millimetres": (TRUTH, lambda _: None, {"transform": Affine(1e-3, 0, GRID.left, 0, -1e-3, GRID.top)}),
    "pixels-of-planets": (TRUTH, lambda _: None, {"transform": Affine(1e9, 0, GRID.left, 0, -1e9, GRID.top)}),
    "elsewhere": (TRUTH, lambda _: None, {"transform": Affine(10, 0, 9e8, 0, -10, 9e8)}),
    "bigtiff": (TRUTH, lambda _: None, {"BIGTIFF": "YES"}),
    "big-endian": (TRUTH, lambda _: None, {"ENDIANNESS": "BIG"}),
    "sparse": (TRUTH, lambda _: None, {"SPARSE_OK": "TRUE"}),
    "striped": (TRUTH, lambda _: None, {"tiled": False, "blockysize": 7}),
    **{
        f"compressed-{kind}": (TRUTH, lambda _: None, {"compress": kind})
        for kind in ("LZW", "DEFLATE", "PACKBITS", "ZSTD", "LERC", "LZMA")
    },
    "compressed-jpeg": (100, lambda _: None, {"compress": "JPEG", "dtype": "uint8"}),
    "predictor-3": (TRUTH, lambda _: None, {"compress": "DEFLATE", "predictor": 3}),
    "jpeg2000": (25, setting(scales=(0.01,)), {"driver": "JP2OpenJPEG", "dtype": "uint8"}),
    "netcdf": (TRUTH, lambda _: None, {"driver": "netCDF"}),
    "png": (25, lambda _: None, {"driver": "PNG", "dtype": "uint8"}),
    "envi": (TRUTH, lambda _: None, {"driver": "ENVI"}),
}  # fmt: skip
"""Rasters by what is odd: the stored number, what is changed, and options of the writer."""
SIDECARS = {
    "x.tif.aux.xml": "<PAMDataset><PAMRasterBand band='1'><Scale>9</Scale><NoDataValue>0.25</NoDataValue>"
    "</PAMRasterBand></PAMDataset>",
    "x.tif.msk": SECRET,
    "x.tif.ovr": SECRET,
    "x.tfw": "1\n0\n0\n-1\n0\n0\n",
    "x.IMD": SECRET,
}
"""Files beside a raster, none of which may be read."""


def read_raster(path: Path) -> None:
    found = gamma0(Asset(href=str(path)))
    values = found[np.isfinite(found)]
    if values.size and not np.allclose(values, TRUTH, rtol=1e-3):
        raise WrongValueError(f"{path.name} gives {float(np.median(values)):g}")


def written(path: Path, stored: Any, change: Change, options: dict[str, Any]) -> Path:
    """The file; where this GDAL cannot write such a one, a file of nothing."""
    try:
        return raster(path, stored, change, **options)
    except Exception:
        path.write_bytes(b"II*\0" + b"\xff" * 200)
        return path


def imports() -> Iterator[tuple[str, Action]]:
    """The same rasters in a folder that becomes a cube."""
    for name, given in RASTERS.items():

        def read(folder: Path, given: Any = given) -> None:
            (folder / "tifs").mkdir()
            written(folder / "tifs" / "S1_VV_20180824.tif", *given)
            import_folder(folder / "tifs", folder / "mine.zarr")
            with xr.open_zarr(folder / "mine.zarr") as cube:
                values = cube["vv"].values
            values = values[np.isfinite(values)]
            if values.size and not np.allclose(values, TRUTH, rtol=1e-3):
                raise WrongValueError(f"the cube holds {float(np.median(values)):g}")

        yield name, read


def rasters() -> Iterator[tuple[str, Action]]:
    for name, (stored, change, options) in RASTERS.items():

        def read(folder: Path, given: Any = (stored, change, options)) -> None:
            read_raster(written(folder / "x.tif", *given))

        yield name, read
    for beside, text in SIDECARS.items():

        def read_beside(folder: Path, beside: str = beside, text: str = text) -> None:
            path = raster(folder / "x.tif", TRUTH)
            (folder / beside).write_text(text)
            read_raster(path)

        yield f"beside-{beside}", read_beside
    whole = io.BytesIO()
    with rasterio.MemoryFile() as memory:
        with memory.open(
            driver="GTiff", width=GRID.width, height=GRID.height, count=1, dtype="float32", crs="EPSG:32654",
            transform=PLAIN,
        ) as target:  # fmt: skip
            target.write(np.full((1, GRID.height, GRID.width), TRUTH, "float32"))
        whole.write(memory.read())
    data = whole.getvalue()
    for at in range(4, 300, 6):  # the directory: every entry's tag, type, count and offset

        def read_damaged(folder: Path, at: int = at) -> None:
            path = folder / "x.tif"
            path.write_bytes(data[:at] + b"\xff\xff" + data[at + 2 :])
            gamma0(Asset(href=str(path)))

        yield f"directory-{at}", read_damaged
    for share in range(1, 10):
        cut = data[: len(data) * share // 10]

        def read_cut(folder: Path, cut: bytes = cut) -> None:
            (folder / "x.tif").write_bytes(cut)
            found = gamma0(Asset(href=str(folder / "x.tif")))
            raise WrongValueError(f"{int(np.isfinite(found).sum())} pixels of a file that is cut")

        yield f"cut-{share}", read_cut


def entry(name: str, mode: int = 0, **fields: Any) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name)
    made.create_system, made.external_attr = 3, mode << 16
    for field, value in fields.items():
        setattr(made, field, value)
    return made


TOP = "S1A.SAFE"
NAMES = (
    "../x", "a/../../x", "/etc/x", "\\..\\x", "C:/x", "C:\\x", "//host/x", "./../x", "a/\0b", "a\nb", "x" * 300, "..",
    ".", "a/./b", "con", "ａ/．．/x", "~/x", "$HOME/x", "a/" * 200 + "x",
)  # fmt: skip


def packed(*members: tuple[zipfile.ZipInfo | str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members:
            made.writestr(name, content)
    return out.getvalue()


def zip_files() -> Iterator[tuple[str, bytes]]:
    content = geojson(polygon(RING))
    for number, name in enumerate(NAMES):
        yield f"name-{number}", packed((f"{TOP}/manifest.safe", b"x"), (entry(name), content))
    for kind in (0o120777, 0o010666, 0o020666, 0o060666, 0o140777):
        yield f"mode-{kind:o}", packed((entry("x.geojson", kind), b"/etc/passwd"))
    yield "link-in-top", packed((entry(f"{TOP}/link", 0o120777), b"/etc/passwd"))
    yield "directory-of-gigabytes", packed(("x.geojson", content))[:-10] + b"\xff\xff\xff\x7f" + bytes(6)
    yield "bomb", packed(("x.geojson", bytes(8 * 2**20)))
    sound = packed(("x.geojson", content))
    yield "sound", sound
    yield "comment", sound[:-2] + struct.pack("<H", 5) + b"PK\5\6!"
    yield "prefix", b"#!/bin/sh\n" + sound
    for at in range(len(sound) - 22, len(sound) - 2, 2):  # the end record
        yield f"end-{at}", sound[:at] + b"\xff\xff" + sound[at + 2 :]
    start = sound.rindex(b"PK\1\2")
    for at in range(start + 4, start + 46, 2):  # the directory's only entry
        yield f"entry-{at}", sound[:at] + b"\xff\xff" + sound[at + 2 :]
    for at in range(4, 30, 2):  # the local header
        yield f"local-{at}", sound[:at] + b"\xff\xff" + sound[at + 2 :]


def zips() -> Iterator[tuple[str, Action]]:
    for name, content in zip_files():

        def as_inventory(folder: Path, content: bytes = content) -> None:
            path = folder / "x.zip"
            path.write_bytes(content)
            check_zip(path)
            read_features(path)

        def as_safe(folder: Path, content: bytes = content) -> None:
            (folder / "x.zip").write_bytes(content)
            unpack(folder / "x.zip", folder, TOP)

        yield f"inventory-{name}", as_inventory
        yield f"SAFE-{name}", as_safe
