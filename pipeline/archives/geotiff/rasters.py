"""Rasters of the archives: the bytes come by conditional range requests, GDAL decodes them from a local copy.

GDAL's own network layer reports a refused address as "not recognized as a supported file format", caches that failure,
and takes what it does not get for zeros. rasterio's openers, which would hand it the bytes from Python, keep their
state a thread (rasterio/rasterio#3636): a dataset that another thread closes or frees ends the process now and then. So
GDAL never asks for a byte here. The directories of the TIFF say which bytes a window needs; these are fetched, each
request repeated with a fresh token where that helps and tied to one content of the file by its ETag, and written to a
temporary file that holds only them, at their offsets. GDAL opens that file as GeoTIFF and nothing else, and it is gone
after the window was read.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.windows import Window as RasterWindow

from pipeline.archives.geotiff.local_copies import UNDECODABLE, mask_of, opened_copy
from pipeline.archives.geotiff.tiff_directories import Layout, TiffError, read_layout
from pipeline.archives.http import http_client
from pipeline.archives.http.ranges import HEADER_BYTES, RemoteFile
from pipeline.archives.local_files import LocalFile, check_allowed
from pipeline.archives.registry import archive_of
from pipeline.catalogue.assets import Asset, is_local, local_path
from pipeline.elevation.raster_values import (
    DeclaredValues,
    declared_values,
    has_mask,
    horizontal,
    vertical_reference,
)
from pipeline.errors import ArchiveError, SourceDataError
from pipeline.grid import Window

log = logging.getLogger(__name__)

MOST_WINDOW_BYTES = 2 * 2**30
"""Of the pixels of one window, decoded."""
MOST_RASTER_BYTES = 64 * 2**30
"""A scene of radar has 1 GB."""


class _File(Protocol):
    """Where the bytes come from."""

    @property
    def size(self) -> int: ...

    @property
    def etag(self) -> str | None: ...

    @property
    def bytes_read(self) -> int: ...

    def header(self, length: int) -> bytes: ...

    def fetch(self, offset: int, length: int) -> bytes: ...

    def fetch_ranges(self, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes | memoryview]: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class _Header:
    """What the file states of itself, as rasterio names it."""

    crs: Any
    transform: Any
    profile: dict[str, Any]
    width: int
    height: int
    count: int
    dtypes: tuple[str, ...]
    nodata: float | None
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    units: tuple[str | None, ...]
    colorinterp: tuple[Any, ...]
    mask_flag_enums: tuple[Any, ...]
    tags: dict[tuple[int, str | None], dict[str, str]]
    """by band (0: of the file) and name space"""
    vertical_reference: str | None


class RemoteRaster:
    """A TIFF behind https or on the local disk, read by windows; it has the names of a rasterio dataset for reading.

    The ETag and the size served must be the expected ones, when they are given. Several threads must not use one
    object at a time.

    Raises:
        ArchiveError: on opening or reading: refused, gone, changed since the catalogue was made, cut on the way.
        SourceDataError: it arrived whole and is no TIFF, is cut, or cannot be decoded.
    """

    def __init__(self, href: str, etag: str | None = None, size_bytes: int | None = None) -> None:
        self.href = href
        self.name = http_client.bare(href)
        self._expected = etag, size_bytes
        self._file, self._layout, self._header = self._opened()
        self._last: tuple[RasterWindow, NDArray[Any], NDArray[np.uint8]] | None = None

    def _opened(self) -> tuple[_File, Layout, _Header]:
        file = _open_file(self.href, *self._expected)
        try:
            layout = read_layout(file.fetch, file.size, file.header(HEADER_BYTES))
            with self._copy(file, layout, []) as dataset:
                return file, layout, self._read_header(dataset, layout)
        except (*UNDECODABLE, TiffError) as error:
            file.close()
            raise self._undecodable(error) from error
        except BaseException:
            file.close()
            raise

    def _copy(
        self, file: _File, layout: Layout, ranges: Sequence[tuple[int, int]]
    ) -> AbstractContextManager[Any]:
        """The dataset of a local file that holds the directories and these (offset, length) of the raster."""
        pieces: dict[int, bytes | memoryview] = dict(layout.pieces)
        pieces |= zip((offset for offset, _length in ranges), file.fetch_ranges(ranges), strict=True)
        return opened_copy(pieces, file.size, self.name)

    def _read_header(self, dataset: Any, layout: Layout) -> _Header:
        flags = [list(of_band) for of_band in dataset.mask_flag_enums]
        if _lacks_blocks(layout) and MaskFlags.per_dataset not in flags[0]:
            # pixels of blocks that were left out are masked, see `read_masks`
            flags = [[MaskFlags.per_dataset, *of_band] for of_band in flags]
        crs, transform = dataset.crs, dataset.transform
        if not all(map(math.isfinite, transform)) or transform.determinant == 0:
            raise TiffError("has pixels without a size or a place")
        return _Header(
            crs=horizontal(crs) if crs is not None else None,
            transform=transform,
            profile=dict(dataset.profile),
            width=dataset.width,
            height=dataset.height,
            count=dataset.count,
            dtypes=tuple(dataset.dtypes),
            nodata=dataset.nodata,
            scales=tuple(dataset.scales),
            offsets=tuple(dataset.offsets),
            units=tuple(dataset.units),
            colorinterp=tuple(dataset.colorinterp),
            mask_flag_enums=tuple(flags),
            tags={
                (0, None): dict(dataset.tags()),
                (1, None): dict(dataset.tags(1)),
                (0, "IMAGE_STRUCTURE"): dict(dataset.tags(ns="IMAGE_STRUCTURE")),
            },
            vertical_reference=vertical_reference(crs, self.name) if crs is not None else None,
        )

    def _undecodable(self, error: Exception) -> SourceDataError:
        problem = str(error) if isinstance(error, TiffError) else "cannot be decoded"
        detail = "" if isinstance(error, TiffError) else f" ({http_client.without_secrets(str(error))[:200]})"
        return SourceDataError(
            f"{self.name} {problem}{detail}.",
            "The archive serves a damaged file; report it there, or leave the item out.",
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._header, name)

    def __enter__(self) -> RemoteRaster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def tags(self, band: int = 0, ns: str | None = None) -> dict[str, str]:
        """Texts that the header states of the file (0), also under `IMAGE_STRUCTURE`, or of the first band (1)."""
        return dict(self._header.tags[band, ns])

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)"""
        return self._layout.image.shape

    @property
    def res(self) -> tuple[float, float]:
        """Size of a pixel along x and y, units of the CRS."""
        transform = self._header.transform
        return float(transform.a), float(-transform.e)

    @property
    def block_shape(self) -> tuple[int, int]:
        """(rows, columns) of the file's blocks."""
        return self._layout.image.block

    @property
    def has_mask(self) -> bool:
        """Whether the file masks pixels otherwise than by a nodata, see `read_masks`."""
        return has_mask(self)

    @property
    def bytes_read(self) -> int:
        """Bytes fetched so far."""
        return self._file.bytes_read

    def declared(self, units: Collection[str]) -> DeclaredValues:
        """What the header declares of the band's values; see `declared_values`."""
        return declared_values(self, self.name, units)

    def read(self, band: int = 1, *, window: Window | RasterWindow | None = None) -> NDArray[Any]:
        """Numbers of the first band in a window, (rows, columns), in the file's type; all without a window.

        `window` is a pair of slices (rows, columns) or a rasterio Window; it must lie inside. Scale, offset, nodata
        and mask are not applied.

        Raises:
            ArchiveError, SourceDataError: as for the class.
        """
        wanted = self._window(band, window)
        if not self.has_mask:
            return self._decoded(wanted, masked=False)[0]
        return self._remembered(wanted)[0].copy()

    def read_masks(self, band: int = 1, *, window: Window | RasterWindow | None = None) -> NDArray[np.uint8]:
        """0 where a pixel of the window is masked, transparent, or in a block that the file leaves out.

        Raises:
            ArchiveError, SourceDataError: as for the class.
        """
        wanted = self._window(band, window)
        if not self.has_mask:
            return np.full((int(wanted.height), int(wanted.width)), 255, np.uint8)
        return self._remembered(wanted)[1].copy()

    def _remembered(self, wanted: RasterWindow) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Numbers and mask of a window; those of the last one are kept, because they are asked for one by one."""
        if self._last is None or self._last[0] != wanted:
            self._last = None
            self._last = (wanted, *self._decoded(wanted, masked=True))
        return self._last[1:]

    def _decoded(self, wanted: RasterWindow, *, masked: bool) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Numbers and mask of a window; the mask is empty where it is not asked for."""
        try:
            return self._decoded_once(wanted, masked)
        except UNDECODABLE as error:
            # the bytes arrived but did not decode: read them again from the start, in case they were cut
            log.warning("%s Reading it once more.", self._undecodable(error).message)
        self._file.close()
        self._file, self._layout, self._header = self._opened()
        try:
            return self._decoded_once(wanted, masked)
        except UNDECODABLE as error:
            raise self._undecodable(error) from error

    def _decoded_once(self, wanted: RasterWindow, masked: bool) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        with self._copy(self._file, self._layout, self._ranges(wanted)) as dataset:
            data = dataset.read(1, window=wanted)
            mask = mask_of(dataset, wanted) if masked else np.empty((0, 0), np.uint8)
        if masked:
            self._mask_left_out(mask, wanted)
        return data, mask

    def _ranges(self, wanted: RasterWindow) -> list[tuple[int, int]]:
        rows, columns = _span(wanted)
        ranges: set[tuple[int, int]] = set()
        for directory in (self._layout.image, self._layout.mask):
            if directory is not None and rows[0] < rows[1] and columns[0] < columns[1]:
                ranges |= set(
                    self._layout.ranges(directory, directory.touched(rows, columns), self._file.size)
                )
        return sorted(ranges)

    def _mask_left_out(self, mask: NDArray[np.uint8], wanted: RasterWindow) -> None:
        """Mask the pixels of blocks that the file leaves out, which GDAL reads as nodata or, without one, as 0."""
        image = self._layout.image
        rows, columns = _span(wanted)
        for number in image.touched(rows, columns):
            if image.is_left_out(number):
                row, column = divmod(number % (image.blocks_across * image.blocks_down), image.blocks_across)
                top, left = row * image.block[0] - rows[0], column * image.block[1] - columns[0]
                mask[max(0, top) : top + image.block[0], max(0, left) : left + image.block[1]] = 0

    def _window(self, band: int, window: Window | RasterWindow | None) -> RasterWindow:
        if band != 1:
            raise ValueError(f"band {band} of {self.name}: only the first is read")
        rows, columns = self.shape
        if window is None:
            asked = RasterWindow(0, 0, columns, rows)
        elif isinstance(window, RasterWindow):
            asked = window
        else:
            asked = RasterWindow.from_slices(*window, height=rows, width=columns)
        top, left = asked.row_off, asked.col_off
        if top < 0 or left < 0 or top + asked.height > rows or left + asked.width > columns:
            raise ValueError(f"window {asked} leaves the raster of {rows} x {columns} pixels")
        if asked.height * asked.width * np.dtype(self._header.dtypes[0]).itemsize > MOST_WINDOW_BYTES:
            raise ValueError(f"window {asked} takes more than {MOST_WINDOW_BYTES / 2**30:.0f} GiB")
        return asked


def _span(window: RasterWindow) -> tuple[tuple[int, int], tuple[int, int]]:
    top, left = int(window.row_off), int(window.col_off)
    return (top, top + int(window.height)), (left, left + int(window.width))


def _lacks_blocks(layout: Layout) -> bool:
    return bool((layout.image.lengths == 0).any())


def _open_file(href: str, etag: str | None, size_bytes: int | None) -> _File:
    """The file, if it is the one that the catalogue saw."""
    file: _File
    if is_local(href):
        check_allowed(href)
        file = LocalFile(local_path(href))
    else:
        file = RemoteFile(href, archive_of(href), etag)
    if (etag is not None and is_local(href) and file.etag != etag) or (
        size_bytes is not None and file.size != size_bytes
    ):
        file.close()
        raise http_client.changed(http_client.bare(href))
    if file.size > MOST_RASTER_BYTES:
        file.close()
        raise ArchiveError(
            f"{http_client.bare(href)} has {file.size} bytes, more than any raster of these archives.",
            "Report it.",
        )
    return file


def open_asset(asset: Asset) -> RemoteRaster:
    """The raster of an asset, tied to the content that the catalogue saw.

    Raises:
        ArchiveError, SourceDataError: as for `RemoteRaster`.
    """
    # without an ETag the size is the item's own statement, which may be stale
    return RemoteRaster(asset.href, asset.etag, asset.size_bytes if asset.etag else None)
