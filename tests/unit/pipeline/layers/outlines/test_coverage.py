"""The centre rule is half-open and unbiased; shares are exact wherever the grid lies."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyproj import Transformer

from pipeline.areas.area import Inventory
from pipeline.errors import SourceDataError
from pipeline.grid import Grid
from pipeline.layers import label_rasters
from pipeline.layers.label_rasters import rasterise_labels
from pipeline.layers.outlines import coverage
from pipeline.layers.outlines.coverage import centres_in, shares_of

GRID = Grid(epsg=32654, resolution_m=10.0, left=600_000.0, top=4_730_000.0, width=64, height=48)
INVENTORY = Inventory(name="made", citation="nobody", licence="CC0-1.0")
Geometries = NDArray[np.object_]


def squares(grid: Grid, offset: float, size: float, apart: int = 4, count: int = 11) -> Geometries:
    """count x count squares; offset, size and distance are in pixels, from the grid's upper left corner."""
    step = grid.resolution_m
    corners = [
        (grid.left + (offset + apart * column) * step, grid.top - (offset + apart * row) * step)
        for row in range(count)
        for column in range(count)
    ]
    return np.array([shapely.box(x, y - size * step, x + size * step, y) for x, y in corners], dtype=object)


def in_degrees(geometry: Geometries, epsg: int) -> Geometries:
    to_degrees = Transformer.from_crs(epsg, 4326, always_xy=True)
    moved: Geometries = shapely.transform(
        geometry, lambda p: np.column_stack(to_degrees.transform(p[:, 0], p[:, 1]))
    )
    return moved


@pytest.mark.parametrize("resolution", [10.0, 30.0, 12.5])
@pytest.mark.parametrize("half_pixels", [1, 2, 3, 4, 5, 7])
@pytest.mark.parametrize("offset", [0.0, 0.5, 1.0, 1.5])
def test_squares_on_half_pixels_have_as_many_pixels_as_their_area(
    resolution: float, half_pixels: int, offset: float
) -> None:
    grid = GRID.model_copy(update={"resolution_m": resolution})
    size = half_pixels / 2
    found = np.count_nonzero(centres_in(squares(grid, offset, size, apart=5, count=8), grid))
    # a length of n and a half covers n or n + 1 centres: the one eastwards, the other southwards
    assert found == 64 * int(np.floor(size)) * int(np.ceil(size))


def test_squares_that_begin_on_edges_and_on_centres_are_unbiased_together() -> None:
    step = 5.0  # half a pixel
    rng = np.random.default_rng(0)
    area = pixels = 0.0
    for _ in range(400):
        x, y = GRID.left + step * rng.integers(10, 80), GRID.top - step * rng.integers(30, 80)
        width, height = step * rng.integers(1, 20, 2)
        area += width * height / 100
        pixels += np.count_nonzero(centres_in(np.array([shapely.box(x, y, x + width, y + height)]), GRID))
    assert pixels == pytest.approx(area, rel=0.01)


def test_labels_of_121_squares_of_20_m_are_484_pixels_in_metres_and_in_degrees() -> None:
    made = squares(GRID, 0.5, 2)
    for geometry, crs in ((made, 32654), (in_degrees(made, 32654), 4326), (in_degrees(made, 32654), 6668)):
        layer = rasterise_labels(gpd.GeoDataFrame(geometry=geometry, crs=crs), INVENTORY, GRID, None)
        assert layer.arrays["landslides"].sum() == 484
        assert layer.report["centre_area_m2"] == pytest.approx(layer.report["union_area_m2"], rel=1e-4)


@st.composite
def divisions(draw: st.DrawFn) -> tuple[shapely.Geometry, Geometries]:
    """A rectangle on multiples of half a pixel, and the triangles that divide it at such points."""
    lattice = st.tuples(st.integers(0, 40), st.integers(0, 40))
    points = draw(st.lists(lattice, min_size=1, max_size=25, unique=True))
    corners = [(0, 0), (40, 0), (0, 40), (40, 40)]
    xy = np.array([*corners, *points], dtype=float) * 5 + [GRID.left + 45, GRID.top - 345]
    triangles = shapely.delaunay_triangles(shapely.MultiPoint(xy))
    return shapely.MultiPoint(xy).envelope, np.array(list(triangles.geoms), dtype=object)


@settings(max_examples=60, deadline=None)
@given(divisions())
def test_parts_that_share_edges_share_no_pixel_and_lose_none(
    made: tuple[shapely.Geometry, Geometries],
) -> None:
    whole, parts = made
    each = sum(centres_in(np.array([part]), GRID).astype(int) for part in parts)
    rectangle = centres_in(np.array([whole]), GRID)
    assert np.array_equal(each, rectangle.astype(int))
    assert np.array_equal(centres_in(parts, GRID), rectangle)
    assert np.count_nonzero(rectangle) == 400


def test_holes_overlaps_and_outlines_beyond_the_grid() -> None:
    left, bottom, right, top = GRID.bounds
    around = shapely.box(left - 1e5, bottom - 1e5, right + 1e5, top + 1e5)
    hole = shapely.box(left + 105, bottom + 105, left + 205, bottom + 205)
    inside = centres_in(np.array([around.difference(hole)]), GRID)
    assert np.count_nonzero(~inside) == 100
    both = centres_in(np.array([around.difference(hole), hole, hole.buffer(3)]), GRID)
    assert both.all()
    assert not centres_in(np.array([], dtype=object), GRID).any()


@pytest.mark.parametrize(("left", "top"), [(600_000.0, 9_330_000.0), (166_020.0, 4_730_000.0), (0.0, 480.0)])
@pytest.mark.parametrize("seed", range(4))
def test_shares_equal_those_of_geos_wherever_the_grid_lies(left: float, top: float, seed: int) -> None:
    grid = GRID.model_copy(update={"left": left, "top": top})
    rng = np.random.default_rng(seed)
    # the outline of pixels of 3.54 m, as a model's raster gives
    lattice = rng.random((60, 70)) < 0.6
    rows, columns = np.nonzero(lattice)
    x, y = left + 101.3 + columns * 3.543847431, top - 333.3 + rows * 3.543847431
    polygon = shapely.union_all(shapely.box(x, y, x + 3.543847431, y + 3.543847431))
    shares = np.zeros(grid.shape)
    for cells, share in shares_of(polygon, grid):
        shares.flat[cells] += share
    x, y = np.meshgrid(grid.x, grid.y)
    expected = shapely.area(shapely.intersection(polygon, shapely.box(x - 5, y - 5, x + 5, y + 5))) / 100
    assert np.abs(shares - expected).max() < 1e-6


def test_a_real_outline_of_which_utm_coordinates_lose_a_pixel(shared_data: Path) -> None:
    path = shared_data / "cases" / "labels" / "exact_extra_pixel_real_polygon.geojson"
    frame = gpd.read_file(path)
    west, south, east, north = frame.total_bounds
    left, top = np.floor(west / 10) * 10 - 50, np.ceil(north / 10) * 10 + 50
    shape = {"width": int((east - left) // 10) + 6, "height": int((top - south) // 10) + 6}
    grid = Grid(epsg=32754, resolution_m=10.0, left=left, top=top, **shape)
    layer = rasterise_labels(frame, INVENTORY, grid, None)
    assert layer.report["fraction_area_m2"] == pytest.approx(frame.area.sum(), abs=0.01)
    assert abs(layer.report["fraction_area_relative_error"]) < 1e-7


def test_where_exactextract_errs_geos_computes_the_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    polygon = shapely.Point(GRID.left + 300.7, GRID.top - 200.3).buffer(93.1)
    right = list(shares_of(polygon, GRID))
    exact = coverage.exact_extract

    def with_a_pixel_too_much(*arguments: object) -> object:
        found = exact(*arguments)
        found[0]["properties"]["coverage"][0] = 1.0
        return found

    def broken(*arguments: object) -> object:
        raise RuntimeError("seen of exactextract 0.3.0 on outlines of rasters")

    for replacement in (with_a_pixel_too_much, broken):
        monkeypatch.setattr(coverage, "exact_extract", replacement)
        apart = np.zeros(GRID.shape)
        for (cells, share), (cells_before, share_before) in zip(shares_of(polygon, GRID), right, strict=True):
            apart.flat[cells] += share
            apart.flat[cells_before] -= share_before
        assert np.abs(apart).max() < 1e-6


def test_fractions_that_do_not_have_the_area_of_the_polygons_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(label_rasters, "shares_of", lambda polygon, grid: [])
    with pytest.raises(SourceDataError, match="m²"):
        rasterise_labels(gpd.GeoDataFrame(geometry=squares(GRID, 1, 2), crs=32654), INVENTORY, GRID, None)


def test_the_mapped_extent_follows_the_same_rule() -> None:
    left, _, _, top = GRID.bounds
    slides = gpd.GeoDataFrame(geometry=squares(GRID, 0.5, 2), crs=32654)
    # 40 x 30 pixels whose outline runs through centres; a long edge straight in metres is not straight in degrees
    extent = gpd.GeoSeries([shapely.box(left + 5, top - 305, left + 405, top - 5)], crs=32654)
    for mapped in (extent, gpd.GeoSeries(in_degrees(extent.to_numpy(), 32654), crs=4326)):
        layer = rasterise_labels(slides, INVENTORY, GRID, mapped)
        assert np.count_nonzero(np.isfinite(layer.arrays["landslides"])) == 40 * 30
        assert layer.report["landslide_pixels"] + layer.report["landslide_pixels_not_mapped"] == 484
    far = shapely.box(left - 90_000, top - 200_000, left + 90_000, top - 240)
    layer = rasterise_labels(slides, INVENTORY, GRID, gpd.GeoSeries([far], crs=32654))
    assert (
        np.isnan(layer.arrays["landslides"][:24]).all() and np.isfinite(layer.arrays["landslides"][24:]).all()
    )
