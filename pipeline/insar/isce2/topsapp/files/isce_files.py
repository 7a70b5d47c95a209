"""ISCE2's raster files: a flat binary file and an .xml header.

ISCE2 counts a geocoded image's coordinates from the centre of its first pixel: geozero.f90 computes pixel i at
`lon_first + i * dlon`, and topozero.f90 reads the DEM likewise. The .vrt of the file passes the same numbers to GDAL as
the corner of the pixel, which is half a pixel off. Therefore this module never reads a raster through its .vrt. In a
run of ISCE2 2.6.5 on a simulated pair, the coherence at these coordinates matches the simulated one best without a
shift (tested in steps of a quarter pixel).
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError

from pipeline.errors import InterferometryError
from pipeline.files import read_regular
from pipeline.insar.isce2.topsapp.files.annotation_xml import parse
from pipeline.records import Frozen

_LARGEST_HEADER_BYTES = 2**20
_TYPES = {"FLOAT": "f4", "DOUBLE": "f8", "CFLOAT": "c8", "SHORT": "i2", "INT": "i4", "BYTE": "u1"}
_VRT_TYPES = {"FLOAT": "Float32", "CFLOAT": "CFloat32"}


class IsceImage(Frozen):
    """The header of a raster: size in pixels, interleaving, type, and for a geocoded image its coordinates."""

    width: int = Field(gt=0, le=200_000)
    length: int = Field(gt=0, le=200_000)
    bands: int = Field(gt=0, le=8)
    data_type: str = Field(description="FLOAT, CFLOAT, ...")
    scheme: str = Field(description="interleaving: BIL, BIP or BSQ")
    byte_order: str = Field("l", description="l: little endian, b: big")
    first_longitude: float = Field(0.0, description="of the first pixel's centre, degrees")
    first_latitude: float = 0.0
    delta_longitude: float = 1.0
    delta_latitude: float = 1.0
    reference: str = Field("", description="vertical reference of a DEM: WGS84 or EGM96")

    @property
    def corner(self) -> tuple[float, float]:
        """Longitude and latitude of the first pixel's outer corner, degrees."""
        return (
            self.first_longitude - self.delta_longitude / 2,
            self.first_latitude - self.delta_latitude / 2,
        )

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The type of one value."""
        return np.dtype((">" if self.byte_order == "b" else "<") + _TYPES[self.data_type])

    @property
    def size_bytes(self) -> int:
        """Size of the flat file."""
        return self.width * self.length * self.bands * self.dtype.itemsize


def read_header(raster: Path) -> IsceImage:
    """The header of the flat file `raster`, from `raster`.xml.

    Raises InterferometryError `header-unreadable` if it is absent, too large or invalid.
    """
    header = raster.with_name(raster.name + ".xml")
    try:
        root = parse(read_regular(header, _LARGEST_HEADER_BYTES))
        values = {_plain(item.get("name")): _value(item) for item in root.findall("property")}
        axes = {
            _plain(item.get("name")): {
                _plain(entry.get("name")): _value(entry) for entry in item.findall("property")
            }
            for item in root.findall("component")
        }
        across, along = axes.get("coordinate1", {}), axes.get("coordinate2", {})
        image = IsceImage(
            width=int(values.get("width") or across["size"]),
            length=int(values.get("length") or along["size"]),
            bands=int(values["numberbands"]),
            data_type=values["datatype"].upper(),
            scheme=values.get("scheme", "BIP").upper(),
            byte_order="b" if values.get("byteorder", "l").lower().startswith("b") else "l",
            first_longitude=float(across.get("startingvalue", 0)),
            first_latitude=float(along.get("startingvalue", 0)),
            delta_longitude=float(across.get("delta", 1)),
            delta_latitude=float(along.get("delta", 1)),
            reference=values.get("reference", "").upper(),
        )
        if image.data_type not in _TYPES or image.scheme not in ("BIL", "BIP", "BSQ"):
            raise ValueError(f"type {image.data_type} or interleaving {image.scheme} is unknown")
    except (OSError, ValueError, KeyError, ET.ParseError, ValidationError) as error:
        raise InterferometryError(
            "header-unreadable",
            f"{header.name} is invalid: {type(error).__name__} {error}".splitlines()[0] + ".",
            "Delete the job's scratch folder and run the pair again.",
        ) from error
    return image


def open_bands(raster: Path, image: IsceImage) -> npt.NDArray[np.generic]:
    """The flat file as a memory-mapped array (bands, length, width).

    Raises InterferometryError `product-truncated` if the file's size differs from the header.
    """
    size = raster.stat().st_size if raster.is_file() else -1
    if size != image.size_bytes:
        raise InterferometryError(
            "product-truncated",
            f"{raster.name} has {max(size, 0)} bytes, but its header states {image.size_bytes}.",
            "The disk was full or the step was interrupted: delete the job's scratch folder and run the pair again.",
        )
    shapes = {
        "BIL": ((image.length, image.bands, image.width), (1, 0, 2)),
        "BIP": ((image.length, image.width, image.bands), (2, 0, 1)),
        "BSQ": ((image.bands, image.length, image.width), (0, 1, 2)),
    }
    shape, order = shapes[image.scheme]
    flat: npt.NDArray[np.generic] = np.memmap(raster, dtype=image.dtype, mode="r", shape=shape)
    return flat.transpose(order)


def write_headers(raster: Path, image: IsceImage, kind: str) -> None:
    """Write the .xml and the .vrt of the flat file `raster`; `kind` is ISCE2's image type, such as 'dem'."""
    root = ET.Element("imageFile")
    properties = {
        "access_mode": "read",
        "byte_order": image.byte_order,
        "data_type": image.data_type,
        "family": "demimage" if kind == "dem" else "image",
        "file_name": str(raster),
        "image_type": kind,
        "length": str(image.length),
        "number_bands": str(image.bands),
        "scheme": image.scheme,
        "width": str(image.width),
    }
    if image.reference:
        properties["reference"] = image.reference
    for name, value in properties.items():
        _add(root, name, value)
    axes = (
        ("coordinate1", image.first_longitude, image.delta_longitude, image.width),
        ("coordinate2", image.first_latitude, image.delta_latitude, image.length),
    )
    for name, start, delta, size in axes:
        axis = ET.SubElement(root, "component", name=name)
        ET.SubElement(axis, "factorymodule").text = "isceobj.Image"
        ET.SubElement(axis, "factoryname").text = "createCoordinate"
        _add(axis, "delta", repr(delta))
        _add(axis, "endingvalue", repr(start + size * delta))
        _add(axis, "family", "imagecoordinate")
        _add(axis, "name", f"imagecoordinate_{name}")
        _add(axis, "size", str(size))
        _add(axis, "startingvalue", repr(start))
    ET.indent(root)
    ET.ElementTree(root).write(raster.with_name(raster.name + ".xml"), encoding="utf-8")
    raster.with_name(raster.name + ".vrt").write_text(_vrt(raster, image), encoding="utf-8")


def _vrt(raster: Path, image: IsceImage) -> str:
    """The .vrt as ISCE2 writes it, with the first pixel's centre as its corner."""
    value_bytes = image.dtype.itemsize
    line_bytes = image.width * image.bands * value_bytes
    offsets = {
        "BIL": (image.width * value_bytes, value_bytes, line_bytes),
        "BIP": (value_bytes, image.bands * value_bytes, line_bytes),
        "BSQ": (image.width * image.length * value_bytes, value_bytes, image.width * value_bytes),
    }
    band_bytes, pixel_bytes, line_step = offsets[image.scheme]
    root = ET.Element("VRTDataset", rasterXSize=str(image.width), rasterYSize=str(image.length))
    ET.SubElement(root, "SRS").text = "EPSG:4326"
    ET.SubElement(root, "GeoTransform").text = (
        f"{image.first_longitude!r}, {image.delta_longitude!r}, 0.0, "
        f"{image.first_latitude!r}, 0.0, {image.delta_latitude!r}"
    )
    for band in range(image.bands):
        element = ET.SubElement(
            root,
            "VRTRasterBand",
            dataType=_VRT_TYPES[image.data_type],
            band=str(band + 1),
            subClass="VRTRawRasterBand",
        )
        ET.SubElement(element, "SourceFilename", relativeToVRT="1").text = raster.name
        ET.SubElement(element, "ByteOrder").text = "LSB" if image.byte_order == "l" else "MSB"
        ET.SubElement(element, "ImageOffset").text = str(band * band_bytes)
        ET.SubElement(element, "PixelOffset").text = str(pixel_bytes)
        ET.SubElement(element, "LineOffset").text = str(line_step)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode")


def _add(parent: ET.Element, name: str, value: str) -> None:
    entry = ET.SubElement(parent, "property", name=name)
    ET.SubElement(entry, "value").text = value


def _value(entry: ET.Element) -> str:
    """The value of a property: the text of its element `value`, or in older files its own text."""
    inner = entry.find("value")
    return ((inner.text if inner is not None else entry.text) or "").strip()


def _plain(name: str | None) -> str:
    """A property's name without case, blanks and underscores, which ISCE2 ignores."""
    return (name or "").lower().replace("_", "").replace(" ", "")
