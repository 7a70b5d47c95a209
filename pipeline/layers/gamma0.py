"""The values of one raster of backscatter: linear gamma0, NaN where it is not valid."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from pipeline.elevation.raster_values import DeclaredValues
from pipeline.errors import SourceDataError

UNITS = frozenset(
    {"1", "linear", "power", "linear power", "natural", "gamma0", "unitless", "dimensionless", "m2/m2"}
)
"""Units of linear gamma0, in lower case, as products name them."""
MOST_MEDIAN = 5.0
"""Median of linear gamma0 over a slice, 7 dB: forest has 0.2, towns 1; single pixels have up to 1000."""
LEAST_JUDGED = 64
"""Values by which a slice is judged; fewer say nothing of it."""
_SAMPLED = 8
"""Every eighth row and column is sampled for the median."""

MASKED = "layover and shadow"
"""What a recipe states of a layer that was made with masks."""
SEEN = 0
"""The one value of a mask that a pixel has which the radar sees alone: 1 is shadow, 2 layover, 3 both, 255 outside the
burst (OPERA RTC-S1 Product Specification, JPL D-108758, layer `mask`)."""

FloatImage = NDArray[np.float32]
Mask = NDArray[np.bool_]


class Raster(Protocol):
    """An opened single-band raster, local or remote."""

    @property
    def crs(self) -> Any:
        """Reference system; None where the file names none."""

    @property
    def transform(self) -> Affine:
        """From (column, row) of pixel corners to coordinates."""

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)"""

    @property
    def block_shape(self) -> tuple[int, int]:
        """(rows, columns) of the blocks in the file."""

    def declared(self, units: Collection[str]) -> DeclaredValues:
        """What the header declares of the first band's values, one of these units or none."""

    @property
    def has_mask(self) -> bool:
        """Whether the file masks pixels otherwise than by a nodata."""

    def read(self, band: int = 1, *, window: Window) -> NDArray[Any]:
        """(rows, columns) of the first band, as the file holds it."""

    def read_masks(self, band: int = 1, *, window: Window) -> NDArray[np.uint8]:
        """(rows, columns): 0 where the file says that there is nothing."""


class MaskedRaster:
    """The values of `raster`, with `mask` as one more reason to leave a pixel out.

    Raises:
        SourceDataError: the two do not lie on one lattice.
    """

    def __init__(self, raster: Raster, mask: Raster, item: str) -> None:
        if mask.crs != raster.crs or mask.transform != raster.transform or mask.shape != raster.shape:
            raise SourceDataError(
                f"The mask of layover and shadow of {item} lies on another lattice than its backscatter.",
                "Report it to the archive, or exclude the item.",
            )
        self._raster, self._mask = raster, mask

    @property
    def crs(self) -> Any:
        """Reference system of the backscatter."""
        return self._raster.crs

    @property
    def transform(self) -> Affine:
        """From (column, row) of pixel corners to coordinates."""
        return self._raster.transform

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)"""
        return self._raster.shape

    @property
    def block_shape(self) -> tuple[int, int]:
        """(rows, columns) of the blocks of the backscatter."""
        return self._raster.block_shape

    def declared(self, units: Collection[str]) -> DeclaredValues:
        """What the header of the backscatter declares."""
        return self._raster.declared(units)

    @property
    def has_mask(self) -> bool:
        """True."""
        return True

    def read(self, band: int = 1, *, window: Window) -> NDArray[Any]:
        """(rows, columns) of the backscatter, as the file holds it."""
        return self._raster.read(band, window=window)

    def read_masks(self, band: int = 1, *, window: Window) -> NDArray[np.uint8]:
        """(rows, columns): 0 where the backscatter's file has nothing, or the mask has not `SEEN`."""
        seen: NDArray[np.uint8] = np.where(self._mask.read(1, window=window) == SEEN, 255, 0).astype(np.uint8)
        if self._raster.has_mask:
            seen &= self._raster.read_masks(band, window=window)
        if self._mask.has_mask:
            seen &= self._mask.read_masks(1, window=window)
        return seen


class Gamma0:
    """The values of one raster: scale, offset, nodata and mask applied, NaN where they are no valid gamma0."""

    def __init__(self, raster: Raster, item: str) -> None:
        self.raster = raster
        self._item = item
        self._declared = raster.declared(UNITS)
        self._negative = self._positive = 0
        self._samples: list[FloatImage] = []

    def read(self, window: Window) -> FloatImage:
        """(rows, columns) float32, NaN where invalid: borders of real scenes are filled with 0."""
        numbers = self.raster.read(1, window=window)
        hidden = self.raster.read_masks(1, window=window) == 0 if self.raster.has_mask else None
        # the values may take the place of the numbers
        nodata = self._declared.is_stated_nodata(numbers)
        with np.errstate(over="ignore"):  # beyond float32 it is infinite, and so not valid
            values: FloatImage = self._declared.values(numbers).astype(np.float32, copy=False)
        for unusable in (nodata, hidden):
            if unusable is not None:
                values[unusable] = np.nan
        # NaN compares as false, without a warning
        valid: Mask = values > 0
        valid &= values < np.inf
        positive = int(np.count_nonzero(valid))
        self._positive += positive
        if positive < values.size:
            self._negative += int(np.count_nonzero((values < 0) & (values > -np.inf)))
            np.copyto(values, np.float32(np.nan), where=~valid)
        sample = values[::_SAMPLED, ::_SAMPLED]
        self._samples.append(sample[sample > 0])
        return values

    def check(self) -> None:
        """Refuse values that cannot be linear gamma0, after all of them were read.

        Raises:
            SourceDataError: most are negative, or their median is larger than any scene's.
        """
        judged = self._negative + self._positive
        if judged < LEAST_JUDGED:
            return
        if self._negative > self._positive:
            raise SourceDataError(
                f"The raster of {self._item} holds no linear gamma0: {self._negative / judged:.0%} of its values are "
                "negative.",
                "Decibels are not read: leave the item out of the search, or choose a collection of linear power.",
            )
        samples = np.concatenate(self._samples)
        if samples.size and (median := float(np.median(samples))) > MOST_MEDIAN:
            raise SourceDataError(
                f"The raster of {self._item} holds no linear gamma0: the median of its values is {median:.4g}.",
                "Digital numbers and decibels are not read: leave the item out of the search, or choose a collection "
                "of linear power.",
            )
