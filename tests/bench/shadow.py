"""Share of ground that a radar with a shadow mask leaves without data: of steep terrain by geometry, of real products.

    python -m tests.bench.shadow [FOLDER]

`FOLDER` (`shared/data` beside the checkout, or BENCH_SHARED_DATA) has `dem_srtm_big_tujunga`, `dem_srtm_ventoux`
(elevation in UTM) and OPERA RTC-S1 crops in `rtc_*_opera`.
It prints Markdown. For each elevation model and incidence: the share of layover and of shadow, as the mean over looks
to east and west; of both in the worst square of 10 km; and how much of that square a build would take for empty.
For each set of crops: the share of each burst's outline (the convex hull of its pixels with data) that has data.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, QhullError
from shapely.geometry import Polygon

from pipeline.layers.rtc_mosaic import LEAST_SHARE
from pipeline.layers.rtc_mosaic import SQUARE_M as SQUARE_OF_RULE_M
from tests.bench import SHARED

INCIDENCES_DEG = (30.0, 33.0, 36.0, 39.0, 42.0, 45.0)
SQUARE_M = 10_000.0
LEAST_PIXELS = 1_000
Bools = NDArray[np.bool_]


def layover_and_shadow(
    height: NDArray[np.float64], posting_m: float, incidence_deg: float
) -> tuple[Bools, Bools]:
    """(y, x) layover, shadow for a plane wave that comes from the west at that incidence; columns are range lines.

    A point is in layover where its slant range is not larger than all before, or not smaller than all behind; in shadow
    where it is not farther from the ray through the sensor than all before (Kropatsch and Strobl, 1990).
    """
    angle = np.radians(incidence_deg)
    across = np.arange(height.shape[1]) * posting_m
    ranges = across * np.sin(angle) - height * np.cos(angle)
    rays = across * np.cos(angle) + height * np.sin(angle)
    before = np.maximum.accumulate(ranges, axis=1)[:, :-1]
    behind = np.minimum.accumulate(ranges[:, ::-1], axis=1)[:, ::-1][:, 1:]
    layover = np.zeros(height.shape, bool)
    layover[:, 1:] |= ranges[:, 1:] <= before
    layover[:, :-1] |= ranges[:, :-1] >= behind
    shadow = np.zeros(height.shape, bool)
    shadow[:, 1:] = rays[:, 1:] <= np.maximum.accumulate(rays, axis=1)[:, :-1]
    return layover, shadow


def worst_square(hidden: Bools, side: int) -> float:
    """The largest share in a square, in steps of half a square."""
    sums = np.pad(hidden.astype(float).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    side = min(side, *hidden.shape)
    rows = range(0, hidden.shape[0] - side + 1, max(1, side // 2))
    columns = range(0, hidden.shape[1] - side + 1, max(1, side // 2))
    return max(
        (sums[r + side, c + side] - sums[r, c + side] - sums[r + side, c] + sums[r, c]) / side**2
        for r in rows
        for c in columns
    )


def empty_squares(hidden: Bools, posting_m: float) -> Bools:
    """The pixels of squares without data, by the rule of a build."""
    side = max(1, round(SQUARE_OF_RULE_M / posting_m))
    empty = np.zeros(hidden.shape, bool)
    for row in range(0, hidden.shape[0], side):
        for column in range(0, hidden.shape[1], side):
            box = np.s_[row : row + side, column : column + side]
            empty[box] = (~hidden[box]).mean() < LEAST_SHARE
    return empty


def of_terrain(folder: Path) -> None:
    print("| terrain | incidence | layover | shadow | both, worst 10 km | of it no square with data |")
    print("|---|---|---|---|---|---|")
    for path in sorted((*folder.glob("dem_srtm_*/*utm*.tif"), *folder.glob("dem_srtm_*/*UTM*.tif"))):
        with rasterio.open(path) as file:
            read = file.read(1).astype(float)
            posting = abs(file.transform.a)
            if file.nodata is not None:
                read[read == file.nodata] = np.nan
        rows = np.isfinite(read).mean(1) > 0.9
        columns = np.isfinite(read[rows]).all(0)
        height = read[rows][:, columns]
        height = height[np.isfinite(height).all(1)]
        side = int(SQUARE_M / posting)
        for incidence in INCIDENCES_DEG:
            looks = [layover_and_shadow(h, posting, incidence) for h in (height, height[:, ::-1])]
            layover, shadow = (np.mean([look[i].mean() for look in looks]) for i in (0, 1))
            both = max(worst_square(look[0] | look[1], side) for look in looks)
            empty = max(worst_square(empty_squares(look[0] | look[1], posting), side) for look in looks)
            print(
                f"| {path.parent.name} | {incidence:.0f}° | {layover:.1%} | {shadow:.1%} | {both:.1%} | {empty:.1%} |"
            )


def share_with_data(path: Path) -> float | None:
    """Share of the outline of a burst's own pixels that has data; None where it has too few."""
    with rasterio.open(path) as file:
        values = file.read(1)
    valid = np.isfinite(values) & (values > 0)
    if valid.sum() < LEAST_PIXELS:
        return None
    # corners of the pixels at the ends of each row: the hull of all corners
    points = [
        (x, y)
        for row in np.flatnonzero(valid.any(1))
        for found in (np.flatnonzero(valid[row]),)
        for x in (found[0], found[-1] + 1)
        for y in (row, row + 1)
    ]
    try:
        hull = ConvexHull(points)
    except QhullError:
        return None
    return float(valid.sum() / Polygon(np.array(points)[hull.vertices]).area)


def of_products(folder: Path) -> None:
    print("\n| crops | files | mean | 5th percentile | least |")
    print("|---|---|---|---|---|")
    for crops in sorted(folder.glob("rtc_*_opera")):
        files = sorted((*crops.rglob("*_VV.tif"), *crops.rglob("*VH_cropped.tif")))
        shares = [share for path in files if (share := share_with_data(path)) is not None]
        low, least = np.percentile(shares, 5), min(shares)
        print(f"| {crops.name} | {len(shares)} | {np.mean(shares):.1%} | {low:.1%} | {least:.1%} |")


def main(folder: Path = SHARED) -> None:
    """Both tables."""
    if not folder.is_dir():
        print(f"{folder} is not there: elevation models and crops are left out")
        return
    of_terrain(folder)
    of_products(folder)


if __name__ == "__main__":
    main(*[Path(word) for word in sys.argv[1:2]])
