"""A raster of backscatter whose pixels in layover or shadow are masked by a second raster on its own lattice."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from pipeline.elevation.raster_values import DeclaredValues
from pipeline.errors import SourceDataError
from pipeline.layers.gamma0 import Raster

MASKED = "layover and shadow"
"""What a recipe states of a layer that was made with masks."""
SEEN = 0
"""The one value of a mask that a pixel has which the radar sees alone: 1 is shadow, 2 layover, 3 both, 255 outside the
burst (OPERA RTC-S1 Product Specification, JPL D-108758, layer `mask`)."""


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
