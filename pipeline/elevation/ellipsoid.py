"""The elevation model for interferometry: heights above the WGS 84 ellipsoid, without voids."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pydantic import Field
from pyproj import CRS
from rasterio.errors import RasterioError
from rasterio.fill import fillnodata
from scipy import ndimage
from shapely.geometry import box

from pipeline.elevation.dem_on_grid import source_of
from pipeline.elevation.dem_spline import MAX_VOID_M, void_side
from pipeline.elevation.dem_tiles import DemSource, Lattice, Samples, assume_sea, missing_tiles, read_samples
from pipeline.elevation.geoid import Model, geoid_grid, model_of, undulation_m
from pipeline.errors import SourceDataError
from pipeline.files import whole_file
from pipeline.records import Frozen

__all__ = ["DemReport", "Model", "undulation_m", "write_dem"]

log = logging.getLogger(__name__)

MARGIN_DEG = 0.1
"""Around the box: topsApp rounds its bounds outwards, and layover reaches beyond the footprint."""
MOST_SAMPLES = 400_000_000
"""20,000 x 20,000 samples, 1.6 GB: 5.5 degrees by 5.5 at one second of arc."""
MOST_WIDE_VOIDS = 0.05
"""Share of the box that may lie in wide voids, whose fill is a guess."""
_ROWS_AT_ONCE = 512

Bbox = tuple[float, float, float, float]


class DemReport(Frozen):
    """The report of a written elevation model: its sources, its extent and counts."""

    collection: str
    geoid: Model = Field(description="the model that turned the heights into ellipsoidal ones")
    geoid_source: str
    tiles: tuple[str, ...]
    tiles_assumed_sea: tuple[str, ...]
    bounds: Bbox = Field(description="west, south, east, north of the pixels' edges, degrees")
    shape: tuple[int, int]
    voids_filled: int = Field(description="samples without a height that were filled, the margin included")
    wide_voids_filled: int = Field(description="those among them that lie in voids wider than 1 km: a guess")
    margin_filled: int = Field(
        description="samples of the margin that lie in no tile, filled from the nearest"
    )
    undulation_m: tuple[float, float] = Field(description="smallest and largest that was added")
    height_m: tuple[float, float] = Field(description="smallest and largest height above the ellipsoid")


def write_dem(
    tiles: Sequence[rasterio.DatasetReader],
    collection: str,
    bbox: Bbox,
    path: Path,
    margin_deg: float = MARGIN_DEG,
) -> DemReport:
    """Write a GeoTIFF (EPSG:4326, float32, metres above the WGS 84 ellipsoid) over `bbox` and a margin.

    `tiles` are open, in degrees and on one lattice; its samples are kept as they are (no resampling), a pixel's centre
    is a sample. The undulation of the tiles' geoid at its position is added to each. Sea is 0 m above the geoid. Voids
    are filled (inverse distance where narrow, else from the nearest sample) and counted, so that the file has none.
    `bbox` is west, south, east, north in degrees.

    Raises:
        SourceDataError: no tiles; tiles that do not fit together; `bbox` not covered (tiles named); too many voids;
            an unknown vertical datum; no grid of its geoid (heights above a geoid are never written as ellipsoidal).
        ArchiveError: a tile cannot be read.
    """
    source = source_of(tiles, collection)
    model = model_of(source.vertical_datum)
    grid = geoid_grid(model)  # before anything is read
    lattice = _lattice(tiles, collection, bbox)
    window, outer = _window(lattice, bbox, 0.0), _window(lattice, bbox, margin_deg)
    samples, assumed = _covering_samples(tiles, lattice, window, outer, source)
    inner = np.s_[window[0] - outer[0] : window[2] - outer[0], window[1] - outer[1] : window[3] - outer[1]]
    heights, wide = _filled(samples, inner, collection)
    undulations = _add_undulation(heights, lattice, outer, model)
    bounds = _write(path, heights, lattice, outer, {
        "VERTICAL_DATUM": "WGS 84 ellipsoid",
        "HEIGHTS": "metres above the WGS 84 ellipsoid",
        "GEOID": f"{model} ({grid.source}), added to heights above the {source.vertical_datum}",
        "SOURCE": collection,
    })  # fmt: skip
    report = DemReport(
        collection=collection,
        geoid=model,
        geoid_source=grid.source,
        tiles=tuple(samples.notes["tiles"]),
        tiles_assumed_sea=tuple(assumed),
        bounds=bounds,
        shape=(heights.shape[0], heights.shape[1]),
        voids_filled=int((samples.void & samples.covered).sum()),
        wide_voids_filled=int((wide & samples.covered).sum()),
        margin_filled=int((~samples.covered).sum()),
        undulation_m=undulations,
        height_m=(float(heights.min()), float(heights.max())),
    )
    _log_guesses(report)
    return report


def _covering_samples(
    tiles: Sequence[rasterio.DatasetReader],
    lattice: Lattice,
    window: tuple[int, int, int, int],
    outer: tuple[int, int, int, int],
    source: DemSource,
) -> tuple[Samples, list[str]]:
    """The samples of the outer window and the tiles assumed to be sea; `window`, inside it, must be covered."""
    samples = read_samples(tiles, lattice, outer)
    assumed = assume_sea(samples, source)
    missing = missing_tiles(samples, box(window[1], window[0], window[3] - 1, window[2] - 1))
    if missing:
        raise SourceDataError(
            f"Elevation tiles of {source.name} are missing: {', '.join(missing)}.",
            "Plan again without --catalogue, or choose another collection (dem.collection) in the area file.",
        )
    return samples, assumed


def _log_guesses(report: DemReport) -> None:
    if report.wide_voids_filled:
        log.warning(
            "%d samples of the elevation model are guessed: they lie in voids wider than %.0f m.",
            report.wide_voids_filled, MAX_VOID_M,
        )  # fmt: skip
    if report.margin_filled:  # common, since tiles are searched for the box: no reason to warn
        log.info(
            "%d samples of the elevation model's margin lie in no tile and take the nearest height.",
            report.margin_filled,
        )


def _lattice(tiles: Sequence[rasterio.DatasetReader], collection: str, bbox: Bbox) -> Lattice:
    west, south, east, north = bbox
    if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
        raise SourceDataError(
            f"{bbox} is no box of west, south, east, north in degrees.", "Correct the area."
        )
    if not tiles:
        raise SourceDataError(
            f"There are no elevation tiles of {collection} for the area.",
            "Choose another collection in the area file (dem.collection).",
        )
    lattice = Lattice.of_tiles(tiles, middle=(west + east) / 2)
    if not lattice.geographic or CRS.from_user_input(lattice.crs).to_2d().to_epsg() != 4326:
        raise SourceDataError(
            f"The elevation tiles of {collection} are not in degrees of WGS 84 (EPSG:4326).",
            "Choose nasadem or cop-dem-glo-30 (dem.collection in the area file).",
        )
    return lattice


def _window(lattice: Lattice, bbox: Bbox, margin_deg: float) -> tuple[int, int, int, int]:
    """First row, first column, end row, end column of the samples that enclose the box and its margin."""
    west, south, east, north = bbox
    south, north = max(south - margin_deg, -89.9), min(north + margin_deg, 89.9)
    rows, columns = lattice.index(
        np.asarray([west - margin_deg, east + margin_deg]), np.asarray([north, south])
    )
    window = math.floor(rows[0]), math.floor(columns[0]), math.ceil(rows[1]) + 1, math.ceil(columns[1]) + 1
    if (window[2] - window[0]) * (window[3] - window[1]) > MOST_SAMPLES:
        raise SourceDataError("The box is too large for one elevation model.", "Make the area smaller.")
    return window


def _filled(samples: Samples, inner: Any, collection: str) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The samples without a void, and which of the voids were wide."""
    values, void = samples.values, samples.void
    wide = np.zeros_like(void)
    if not void.any():
        return values, wide
    if void.all():
        raise SourceDataError(
            f"The elevation tiles of {collection} hold no height in the area.", "Choose another."
        )
    size = void_side(samples.lattice)
    eroded = ndimage.minimum_filter(void.view(np.uint8), size, mode="nearest")
    wide = np.asarray(ndimage.maximum_filter(eroded, size, mode="nearest")).astype(bool) & void
    guessed = float((wide & samples.covered)[inner].mean())
    if guessed > MOST_WIDE_VOIDS:
        raise SourceDataError(
            f"{guessed:.0%} of the area lie in voids of {collection} wider than {MAX_VOID_M:.0f} m.",
            "Choose another collection (dem.collection in the area file).",
        )
    _far, (rows, columns) = ndimage.distance_transform_edt(void, return_indices=True)
    nearest = values[rows, columns]
    narrow = fillnodata(values.copy(), mask=~void, max_search_distance=max(size), smoothing_iterations=0)
    return np.where(wide, nearest, np.where(void, narrow, values)).astype(np.float32), wide


def _add_undulation(
    heights: NDArray[np.float32], lattice: Lattice, window: tuple[int, int, int, int], model: Model
) -> tuple[float, float]:
    """Add the geoid's undulation to `heights` itself; returns its smallest and largest value."""
    longitude = lattice.left + np.arange(window[1], window[3]) / lattice.columns_per_unit
    smallest, largest = math.inf, -math.inf
    for first in range(0, heights.shape[0], _ROWS_AT_ONCE):
        part = heights[first : first + _ROWS_AT_ONCE]
        rows = window[0] + first + np.arange(part.shape[0])
        latitude = lattice.top - rows / lattice.rows_per_unit
        added = undulation_m(latitude[:, None], longitude, model)
        part += added
        smallest, largest = min(smallest, float(added.min())), max(largest, float(added.max()))
    return smallest, largest


def _write(
    path: Path,
    heights: NDArray[np.float32],
    lattice: Lattice,
    window: tuple[int, int, int, int],
    tags: dict[str, str],
) -> Bbox:
    if not np.isfinite(heights).all():
        raise SourceDataError(
            "The elevation model has voids left.", "Choose another collection (dem.collection)."
        )
    west, north = lattice.point(window[0] - 0.5, window[1] - 0.5)
    transform = Affine(1 / lattice.columns_per_unit, 0.0, west, 0.0, -1 / lattice.rows_per_unit, north)
    profile = {
        "driver": "GTiff", "width": heights.shape[1], "height": heights.shape[0], "count": 1, "dtype": "float32",
        "crs": "EPSG:4326", "transform": transform, "compress": "deflate", "predictor": 3, "tiled": True,
    }  # fmt: skip
    try:
        with whole_file(path) as partial, rasterio.open(partial, "w", **profile) as image:
            image.write(heights, 1)
            image.units = ("metre",)
            image.update_tags(**tags)
    except RasterioError as error:
        raise SourceDataError(
            f"{path.name} could not be written ({type(error).__name__}).", "Check the free space of the disk."
        ) from error
    height, width = heights.shape
    return west, north - height / lattice.rows_per_unit, west + width / lattice.columns_per_unit, north
