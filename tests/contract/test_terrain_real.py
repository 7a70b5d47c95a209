"""Terrain from real SRTM elevation, against independent implementations and an independent reprojection."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.grid import Grid
from pipeline.layers.dem_derivatives import derive_terrain

Array = NDArray[np.float64]


def horn_and_zevenbergen_thorne(z: Array, cell_m: float) -> tuple[Array, Array, Array]:
    """Slope (radians), aspect (degrees from north) after Horn 1981, curvature x 100 after Zevenbergen, Thorne 1987."""
    nw, n, ne = z[:-2, :-2], z[:-2, 1:-1], z[:-2, 2:]
    w, c, e = z[1:-1, :-2], z[1:-1, 1:-1], z[1:-1, 2:]
    sw, s, se = z[2:, :-2], z[2:, 1:-1], z[2:, 2:]
    to_east = ((ne + 2 * e + se) - (nw + 2 * w + sw)) / (8 * cell_m)
    to_north = ((nw + 2 * n + ne) - (sw + 2 * s + se)) / (8 * cell_m)
    slope = np.arctan(np.hypot(to_east, to_north))
    aspect = np.degrees(np.arctan2(-to_east, -to_north)) % 360
    d = ((w + e) / 2 - c) / cell_m**2
    e_ = ((n + s) / 2 - c) / cell_m**2
    return slope, aspect, -2 * (d + e_) * 100


def test_derivatives_equal_an_independent_implementation(shared_data: Path) -> None:
    grid = Grid(epsg=32611, resolution_m=10.0, left=380_000.0, top=3_805_000.0, width=1200, height=900)
    with rasterio.open(shared_data / "dem_srtm_big_tujunga" / "srtm_bigtujunga30m_utm11.tif") as tile:
        layer = derive_terrain([tile], grid, collection="srtm", vertical_datum="EGM96 geoid")
    slope, aspect, curvature = horn_and_zevenbergen_thorne(layer.arrays["dem"].astype(np.float64), 10.0)
    inner = np.s_[1:-1, 1:-1]
    ours = {name: values[inner].astype(np.float64) for name, values in layer.arrays.items()}
    assert np.abs(ours["dem_slope_radians"] - slope).max() < 2e-6
    assert np.abs(ours["dem_curvature"] - curvature).max() < 2e-5
    turn = np.abs((ours["dem_aspect"] - aspect + 180) % 360 - 180)
    assert turn[slope > 0.01].max() < 2e-3
    assert layer.arrays["dem"].min() >= 315 and layer.arrays["dem"].max() <= 2310
    assert np.median(slope) > 0.3  # the San Gabriel Mountains


def test_on_the_tiles_own_lattice_nothing_changes(shared_data: Path) -> None:
    with rasterio.open(shared_data / "dem_srtm_big_tujunga" / "srtm_bigtujunga30m_utm11.tif") as tile:
        t = tile.transform
        grid = Grid(
            epsg=32611, resolution_m=30.0, left=t.c + 100 * 30, top=t.f - 50 * 30, width=300, height=200
        )
        layer = derive_terrain([tile], grid, collection="srtm", vertical_datum="EGM96 geoid")
        expected = tile.read(1)[50:250, 100:400]
    assert np.array_equal(layer.arrays["dem"], expected)


def test_zero_curvature_comes_from_bilinear_not_from_the_spline(shared_data: Path) -> None:
    """Field measurement: 46 % of cells in a 3-pixel pattern for bilinear, about 1 % for a cubic spline."""
    with rasterio.open(shared_data / "dem_srtm_big_tujunga" / "srtm_bigtujunga30m_utm11.tif") as tile:
        t = tile.transform
        # every third pixel's centre is a sample
        grid = Grid(epsg=32611, resolution_m=10.0, left=t.c + 3010, top=t.f - 3010, width=900, height=900)
        layer = derive_terrain([tile], grid, collection="srtm", vertical_datum="EGM96 geoid")
        rows, columns = np.meshgrid((t.f - 15 - grid.y) / 30, (grid.x - t.c - 15) / 30, indexing="ij")
        bilinear = ndimage.map_coordinates(tile.read(1).astype(np.float64), [rows, columns], order=1)

    def zero_by_column(curvature: Array) -> Array:
        zero = np.abs(curvature) < 1e-3
        return np.array([zero[:, phase::3].mean() for phase in range(3)])

    flat = zero_by_column(horn_and_zevenbergen_thorne(bilinear, 10.0)[2])
    ours = zero_by_column(layer.arrays["dem_curvature"])
    assert flat.mean() > 0.4 and flat.max() - flat.min() > 0.5
    assert ours.max() < 0.01 and ours.max() - ours.min() < 0.005


def test_voids_of_a_raw_tile_and_its_independent_reprojection(shared_data: Path) -> None:
    folder = shared_data / "dem_srtm_ventoux"
    with rasterio.open(folder / "N44E005_UTM.tif") as warped:
        expected = warped.read(1).astype(np.float64)
        t = warped.transform
        whole = Grid(
            epsg=32631, resolution_m=90.0, left=t.c, top=t.f, width=warped.width, height=warped.height
        )
    inside = np.s_[40:-60, 60:-60]
    grid = Grid(
        epsg=32631,
        resolution_m=90.0,
        left=whole.left + 60 * 90,
        top=whole.top - 40 * 90,
        width=whole.width - 120,
        height=whole.height - 100,
    )
    with rasterio.open(folder / "N44E005.hgt") as tile:
        layer = derive_terrain([tile], grid, collection="srtm", vertical_datum="EGM96 geoid")
    assert layer.report["void_samples_filled"] > 1000
    dem = layer.arrays["dem"]
    known = (expected[inside] != -32768) & ~ndimage.binary_dilation(expected[inside] == -32768, iterations=2)
    assert known.mean() > 0.9
    apart = np.abs(dem - expected[inside])[known]
    assert np.isfinite(apart).all()
    # the other file was warped by another kernel and rounded to metres, in cliffs of the Alps at 90 m
    assert np.median(apart) < 2
    assert np.quantile(apart, 0.99) < 12
    # a shift by one pixel in any direction fits worse: positions agree
    here = (apart**2).mean()
    for shift in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        moved = np.roll(dem, shift, (0, 1))
        assert ((moved - expected[inside])[known] ** 2).mean() > 5 * here


def test_declared_nodata_of_zero_is_sea_level(shared_data: Path) -> None:
    path = shared_data / "dem_puerto_rico_srtm" / "SRTMGL3_18.0_-66.8_18.4_-66.2.tif"
    with rasterio.open(path) as tile:
        assert tile.nodata == 0
        values = tile.read(1)
        rows, columns = np.nonzero(values == 0)
        assert rows.size == 69
        to_utm = rasterio.warp.transform("EPSG:4326", "EPSG:32619", *tile.xy(rows, columns))
        x, y = (np.asarray(v) for v in to_utm)
        grid = Grid(epsg=32619, resolution_m=30.0, left=734_010.0, top=1_995_000.0, width=150, height=98)
        within = (x > grid.bounds[0]) & (x < grid.bounds[2]) & (y > grid.bounds[1]) & (y < grid.bounds[3])
        layer = derive_terrain([tile], grid, collection="srtm", vertical_datum="EGM96 geoid")
    assert within.sum() >= 5
    assert layer.report["nodata_of_0_not_believed"] == [path.name]
    assert layer.report["void_samples_filled"] == 0
    assert np.isfinite(layer.arrays["dem"]).all()
    found = layer.arrays["dem"][
        ((grid.top - y[within]) / 30).astype(int), ((x[within] - grid.left) / 30).astype(int)
    ]
    assert np.abs(found).max() < 20
    assert np.median(np.abs(found)) < 3


@pytest.mark.parametrize("margin_px", [1, 40])
def test_the_edge_of_the_cube_has_no_artefacts(shared_data: Path, margin_px: int) -> None:
    grid = Grid(epsg=32631, resolution_m=30.0, left=690_000.0, top=4_950_000.0, width=300, height=250)
    with rasterio.open(shared_data / "dem_srtm_ventoux" / "N44E005.hgt") as tile:
        small = derive_terrain([tile], grid, collection="srtm", vertical_datum="EGM96 geoid")
        large = derive_terrain(
            [tile], grid.padded(margin_px), collection="srtm", vertical_datum="EGM96 geoid"
        )
    for name, values in small.arrays.items():
        crop = large.arrays[name][margin_px:-margin_px, margin_px:-margin_px]
        assert np.array_equal(values, crop, equal_nan=True), name
