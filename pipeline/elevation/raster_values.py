"""What a raster's header declares of its values: applied where it can be, refused by name where it cannot."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError
from rasterio.enums import ColorInterp, MaskFlags

from pipeline.errors import SourceDataError

_COLOURS = {ColorInterp.gray, ColorInterp.undefined}
"""How the band of a measured quantity is shown; a band of any other colour holds no quantity."""
_SCALES, _OFFSETS = ("scale_factor", "scale"), ("add_offset", "offset")
"""Names by which conventions other than GDAL's declare a scale and an offset, as text beside the band."""
_NODATAS = ("_fillvalue", "missing_value", "nodata", "no_data")
_UNITS = ("units", "unit", "unittype")
_REMEDY = "Leave the item out of the search, or report it to the archive."


@dataclass(frozen=True, slots=True)
class DeclaredValues:
    """How the numbers of a band become values: value = number x `scale` + `offset`."""

    scale: float
    offset: float
    nodata: float | None
    """the number, before scale and offset, that means that there is none"""
    unit: str
    """empty where none is declared"""

    def values(self, numbers: NDArray[Any]) -> NDArray[Any]:
        """The values; an array of floats without scale and offset is returned as it is, others as float64."""
        if self.scale == 1.0 and self.offset == 0.0 and numbers.dtype.kind == "f":
            return numbers
        return numbers.astype(np.float64) * self.scale + self.offset

    def is_nodata(self, numbers: NDArray[Any]) -> NDArray[np.bool_]:
        """Where a number is not finite or the declared nodata."""
        missing: NDArray[np.bool_] = ~np.isfinite(numbers)
        if (stated := self.is_stated_nodata(numbers)) is not None:
            missing |= stated
        return missing

    def is_stated_nodata(self, numbers: NDArray[Any]) -> NDArray[np.bool_] | None:
        """Where a number is the declared nodata; None where none is declared, or the one that is not a number."""
        if self.nodata is None or math.isnan(self.nodata):
            return None
        # a nodata that the type rounds (-3.4e38 as float32) is the rounded number
        with np.errstate(over="ignore"):
            stated = numbers.dtype.type(self.nodata) if numbers.dtype.kind == "f" else self.nodata
        return np.asarray(numbers == stated)


def declared_values(dataset: Any, name: str, units: Collection[str]) -> DeclaredValues:
    """What the header of a rasterio dataset declares of its single band; `name` stands for it in errors.

    `units` are the accepted units in lower case; a file that declares none is accepted. A band of transparency may
    stand beside the measured one.

    Raises:
        SourceDataError: several bands, a palette or colours, complex or no numbers, another unit, a scale that is
            none, or a scale or offset in a form that GDAL does not apply; what is declared is named.
    """

    def refuse(problem: str) -> SourceDataError:
        return SourceDataError(f"{name} {problem}.", _REMEDY)

    colours = list(dataset.colorinterp)
    measured = [index for index, colour in enumerate(colours) if colour != ColorInterp.alpha]
    if measured != [0]:
        raise refuse(f"holds {len(measured)} bands ({', '.join(c.name for c in colours)}), not one")
    if colours[0] not in _COLOURS:
        raise refuse(f"holds colours ({colours[0].name}), no measured values")
    found = values_of_band(dataset, 1, refuse)
    if found.unit and found.unit.lower() not in units:
        raise refuse(f"is in {found.unit!r:.40}")
    return found


def values_of_band(dataset: Any, number: int, refuse: Callable[[str], Exception]) -> DeclaredValues:
    """What the header of a rasterio dataset declares of one band; `refuse` makes the error of a problem.

    Raises:
        what `refuse` makes: complex or no numbers, a scale that is none, or a scale or offset in a form that GDAL does
            not apply; what is declared is named.
    """
    index = number - 1
    dtype = dataset.dtypes[index]
    if dtype.startswith("complex") or np.dtype(dtype).kind not in "iuf":
        raise refuse(f"holds {dtype}, no real numbers")
    scale, offset = float(dataset.scales[index]), float(dataset.offsets[index])
    if not (math.isfinite(scale) and math.isfinite(offset)) or scale == 0.0:
        raise refuse(f"declares the scale {scale:g} and the offset {offset:g}")
    if dataset.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES":
        raise refuse("declares that small numbers are white: its numbers are turned round")
    of_band = {key.lower(): text for key, text in dataset.tags(number).items()}
    texts = {key.lower(): text for key, text in dataset.tags().items()} | of_band
    given = dataset.nodata if number == 1 else dataset.nodatavals[index]
    nodata = given if given is not None else _stated(texts, _NODATAS)
    for names, applied in ((_SCALES, scale), (_OFFSETS, offset), (_NODATAS, nodata)):
        stated = _stated(texts, names)
        if stated is not None and applied is not None and not _same(stated, applied):
            raise refuse(f"declares {' or '.join(names)} as {stated:g} beside GDAL's {applied:g}")
    # beside the file, and not beside its band, a unit may be that of the map
    unit = str(dataset.units[index] or next((of_band[key] for key in _UNITS if key in of_band), "")).strip()
    return DeclaredValues(scale, offset, nodata, unit)


def _same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


def _stated(texts: Mapping[str, str], names: tuple[str, ...]) -> float | None:
    """The number that stands under the first of these names; None where none does, or no number."""
    for name in names:
        with suppress(ValueError):
            return float(texts.get(name, ""))
    return None


def has_mask(dataset: Any) -> bool:
    """Whether a rasterio dataset masks pixels of its first band by a mask or an alpha band, not by a nodata alone."""
    return MaskFlags.per_dataset in dataset.mask_flag_enums[0] or ColorInterp.alpha in dataset.colorinterp


def vertical_reference(crs: Any, name: str) -> str | None:
    """What a raster's CRS states of its heights, as in 'EGM96 height (EPSG:5773)'; None where it states nothing.

    A CRS of three dimensions without a vertical part has ellipsoidal heights. `name` stands for the raster in errors.

    Raises:
        SourceDataError: the heights are not in metres or not upwards.
    """
    try:
        found = CRS.from_user_input(crs)
    except CRSError:
        return None
    if len(found.axis_info) < 3:
        return None
    axis = found.axis_info[-1]
    if axis.direction.lower() != "up" or not math.isclose(axis.unit_conversion_factor, 1.0):
        raise SourceDataError(
            f"{name} has heights in {axis.unit_name!r}, {axis.direction} ({found.name}).",
            "Convert it to metres.",
        )
    part = next((one for one in found.sub_crs_list if one.is_vertical), None)
    if part is None:
        return f"{found.ellipsoid.name if found.ellipsoid else 'the'} ellipsoid"
    code = part.to_epsg()
    return part.name if code is None else f"{part.name} (EPSG:{code})"


def horizontal(crs: Any) -> Any:
    """The CRS without heights; as it is where it has none."""
    found = CRS.from_user_input(crs)
    if len(found.axis_info) < 3:
        return crs
    part = next((one for one in found.sub_crs_list if not one.is_vertical), found)
    return type(crs).from_user_input(part.to_2d().to_wkt())
