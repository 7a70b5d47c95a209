"""Remote rasters: GDAL decodes, the bytes come by conditional range requests that are signed, limited and retried.

GDAL's own network layer reports a refused or expired address as "not recognized as a supported file format", keeps
that failure in a cache which rasterio cannot clear, and continues to read after the file was replaced. Here each
range is one request whose status is known, repeated with a fresh token where that helps, and tied to one content of
the file by its ETag.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import rasterio
from numpy.typing import NDArray
from rasterio.abc import MultiByteRangeResourceContainer
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterWindow

from pipeline.archives.http import http_client
from pipeline.archives.http.ranges import MOST_RANGE_BYTES, RemoteFile
from pipeline.archives.registry import archive_of
from pipeline.catalogue.assets import Asset, is_local, local_asset, local_path
from pipeline.errors import ArchiveError, SourceDataError
from pipeline.grid import Window

log = logging.getLogger(__name__)

GDAL_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    # a window of 2048 x 2048 float32 with its surrounding blocks is requested at once, not in pieces of 10 MB
    "GDAL_MAX_RAW_BLOCK_CACHE_SIZE": str(MOST_RANGE_BYTES),
}


class _OneFile(MultiByteRangeResourceContainer):  # type: ignore[misc]
    """A folder, for GDAL, that holds one file and nothing else."""

    def __init__(self, file: RemoteFile) -> None:
        self._file = file

    def open(self, path: str, mode: str = "rb", **options: Any) -> RemoteFile:
        self._file.seek(0)
        return self._file

    def isfile(self, path: str) -> bool:
        return True

    def isdir(self, path: str) -> bool:
        return False

    def ls(self, path: str) -> list[str]:
        return []

    def mtime(self, path: str) -> int:
        return 0

    def size(self, path: str) -> int:
        return self._file.size

    def rm(self, path: str) -> None:
        raise PermissionError("archives are only read")


class RemoteRaster:
    """A raster behind https or on the local disk, opened for reading by windows.

    Use it in one thread only: open one per thread. The ETag served must be the expected one, when one is given.

    Raises:
        ArchiveError: on opening or reading: refused, gone, cut, changed since the catalogue was made.
        SourceDataError: it arrived whole and is no raster that GDAL can decode.
    """

    def __init__(self, href: str, etag: str | None = None) -> None:
        self.href = href
        self.expected_etag = etag
        self._stack = ExitStack()
        self._file: RemoteFile | None = None
        self._dataset: Any = None
        self._open()

    def _open(self) -> None:
        self._stack = ExitStack()
        try:
            if is_local(self.href):
                path = local_path(self.href)
                if self.expected_etag is not None and local_asset(self.href).etag != self.expected_etag:
                    raise http_client.changed(str(path))
                source: Any = path
                options: dict[str, Any] = {}
            else:
                self._file = RemoteFile(self.href, archive_of(self.href), self.expected_etag)
                # rasterio allows one opener per name at a time
                source = f"{uuid.uuid4().hex}/{Path(urlsplit(self.href).path).name or 'raster'}"
                options = {"opener": _OneFile(self._file)}
            with rasterio.Env(**GDAL_OPTIONS):
                self._dataset = self._stack.enter_context(rasterio.open(source, **options))
        except BaseException as error:
            self._stack.close()
            if isinstance(error, RasterioError):
                raise self._failed(error) from error
            raise

    def _failed(self, error: Exception) -> ArchiveError | SourceDataError:
        if self._file is not None and self._file.failure is not None:
            return self._file.failure
        return SourceDataError(
            f"{http_client.bare(self.href)} cannot be decoded ({http_client.without_secrets(str(error))[:200]}).",
            "The archive serves a damaged file; report it there, or leave the item out.",
        )

    def __enter__(self) -> RemoteRaster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the dataset."""
        self._stack.close()

    @property
    def dataset(self) -> Any:
        """The rasterio dataset, for what this class lacks; its errors do not name the server's status."""
        return self._dataset

    @property
    def profile(self) -> dict[str, Any]:
        """rasterio's profile: driver, dtype, nodata, width, height, count, crs, transform, blocks."""
        return dict(self._dataset.profile)

    @property
    def transform(self) -> Any:
        """Affine from (column, row) of pixel corners to coordinates, as the file's header states."""
        return self._dataset.transform

    @property
    def crs(self) -> Any:
        """rasterio CRS, as the file's header states."""
        return self._dataset.crs

    @property
    def nodata(self) -> float | None:
        """Nodata of the first band."""
        value: float | None = self._dataset.nodata
        return value

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)"""
        return int(self._dataset.height), int(self._dataset.width)

    @property
    def block_shape(self) -> tuple[int, int]:
        """(rows, columns) of the file's blocks."""
        rows, columns = self._dataset.block_shapes[0]
        return int(rows), int(columns)

    @property
    def bytes_read(self) -> int:
        """Bytes fetched so far; 0 for a local file."""
        return self._file.bytes_read if self._file is not None else 0

    def read(self, window: Window | RasterWindow | None = None, band: int = 1) -> NDArray[Any]:
        """Pixels of a window, (rows, columns), in the file's type; the whole raster without one.

        `window` is a pair of slices (rows, columns) or a rasterio Window; it must lie inside.

        Raises:
            ArchiveError, SourceDataError: as for the class.
        """
        wanted = self._window(window)
        for attempt in (1, 2):
            if self._file is not None:
                self._file.failure = None
            try:
                with rasterio.Env(**GDAL_OPTIONS):
                    data: NDArray[Any] = self._dataset.read(band, window=wanted)
                if self._file is not None and self._file.failure is not None:
                    raise self._file.failure
                return data
            except RasterioError as error:
                problem = self._failed(error)
                if isinstance(problem, ArchiveError) or attempt == 2 or self._file is None:
                    raise problem from error
                # the bytes arrived but did not decode: read them again from the start, in case they were cut
                log.warning("%s Reading it once more.", problem.message)
                self.close()
                self._open()
        raise AssertionError("unreachable")

    def _window(self, window: Window | RasterWindow | None) -> RasterWindow:
        rows, columns = self.shape
        if window is None:
            return RasterWindow(0, 0, columns, rows)
        if isinstance(window, RasterWindow):
            asked = window
        else:
            asked = RasterWindow.from_slices(*window, height=rows, width=columns)
        top, left = asked.row_off, asked.col_off
        if top < 0 or left < 0 or top + asked.height > rows or left + asked.width > columns:
            raise ValueError(f"window {asked} leaves the raster of {rows} x {columns} pixels")
        return asked


def open_asset(asset: Asset) -> RemoteRaster:
    """The raster of an asset, tied to the content that the catalogue saw.

    Raises:
        ArchiveError, SourceDataError: as for `RemoteRaster`.
    """
    return RemoteRaster(asset.href, asset.etag)


@contextmanager
def open_raster(source: Asset | str) -> Iterator[Any]:
    """The rasterio dataset of an asset or address, for the length of the block.

    A failure inside the block is raised with the server's status.

    Raises:
        ArchiveError, SourceDataError: as for `RemoteRaster`.
    """
    with open_asset(source) if isinstance(source, Asset) else RemoteRaster(source) as raster:
        try:
            with rasterio.Env(**GDAL_OPTIONS):
                yield raster.dataset
        except RasterioError as error:
            raise raster._failed(error) from error
