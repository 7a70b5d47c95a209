"""Labels: fractions agree with areas, the centre rule with shapely's, and every feature left out is reported."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyproj import Transformer

from pipeline.areas.area import Inventory
from pipeline.cube.layers import LayerData
from pipeline.errors import SourceDataError
from pipeline.grid import Grid
from pipeline.layers.label_rasters import LANDSLIDES_FILE, rasterise_labels, read_inventory
from pipeline.layers.outlines import coverage

GRID = Grid(epsg=32654, resolution_m=10.0, left=600_000.0, top=4_730_000.0, width=64, height=48)
INVENTORY = Inventory(name="made", citation="nobody", licence="CC0-1.0")
Polygon = shapely.Polygon


def local(x: float, y: float, size: float = 35.0) -> shapely.Geometry:
    """A square whose lower left corner is (x, y) metres from the grid's lower left corner."""
    left, bottom, _right, _top = GRID.bounds
    return shapely.box(left + x, bottom + y, left + x + size, bottom + y + size)


def frame_of(*geometry: shapely.Geometry | None, crs: Any = 32654, **columns: Any) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(columns, geometry=list(geometry), crs=crs)


def burn(*geometry: shapely.Geometry | None, grid: Grid = GRID, **changes: Any) -> LayerData:
    return rasterise_labels(frame_of(*geometry), INVENTORY.model_copy(update=changes), grid, None)


def table_of(layer: LayerData) -> gpd.GeoDataFrame:
    return gpd.read_parquet(io.BytesIO(layer.files[LANDSLIDES_FILE]))


@st.composite
def blobs(draw: st.DrawFn) -> list[shapely.Geometry]:
    """Overlapping star-shaped polygons, some with a hole, well inside the grid."""
    left, bottom, right, top = GRID.bounds
    made = []
    for _ in range(draw(st.integers(1, 6))):
        x, y = draw(st.floats(left + 130, right - 130)), draw(st.floats(bottom + 130, top - 130))
        radii = np.array(draw(st.lists(st.floats(1.0, 60.0), min_size=5, max_size=12)))
        angles = np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
        ring = np.column_stack([x + radii * np.cos(angles), y + radii * np.sin(angles)])
        holes = [np.column_stack([x, y]) + (ring - [x, y]) * 0.3] if draw(st.booleans()) else []
        made.append(Polygon(ring, holes))
    return made


@settings(max_examples=40, deadline=None)
@given(blobs())
def test_fractions_are_the_area_of_the_union(polygons: list[shapely.Geometry]) -> None:
    layer = burn(*polygons)
    fraction = layer.arrays["landslide_fraction"]
    union = shapely.union_all(polygons)
    assert fraction.min() >= 0 and fraction.max() <= 1
    # coverage is float32: an error of at most 1e-6 for each pixel that is met
    assert abs(fraction.sum(dtype=np.float64) * 100 - union.area) <= 1e-4 * np.count_nonzero(fraction)
    row, column = (int(v) for v in np.unravel_index(fraction.argmax(), fraction.shape))
    pixel = shapely.box(GRID.x[column] - 5, GRID.y[row] - 5, GRID.x[column] + 5, GRID.y[row] + 5)
    assert fraction[row, column] == pytest.approx(union.intersection(pixel).area / 100, abs=1e-5)


@settings(max_examples=40, deadline=None)
@given(blobs())
def test_centre_rule_and_identity_agree_with_the_polygons(polygons: list[shapely.Geometry]) -> None:
    layer = burn(*polygons)
    x, y = np.meshgrid(GRID.x, GRID.y)
    union = shapely.union_all(polygons)
    clear = shapely.distance(union.boundary, shapely.points(x, y)) > 1e-6
    inside = shapely.contains_xy(union, x, y)
    assert np.array_equal(layer.arrays["landslides"][clear], inside[clear].astype(np.float32))
    owner, fraction = layer.arrays["landslide_id"], layer.arrays["landslide_fraction"]
    assert np.all(owner[inside & clear] > 0)
    assert np.array_equal(owner > 0, fraction > 0)
    table = table_of(layer)
    assert table["id"].tolist() == list(range(1, len(table) + 1))
    rows, columns = np.nonzero(owner)
    pick = slice(None, None, max(1, len(rows) // 30))
    for row, column in zip(rows[pick], columns[pick], strict=True):
        pixel = shapely.box(GRID.x[column] - 5, GRID.y[row] - 5, GRID.x[column] + 5, GRID.y[row] + 5)
        shares = shapely.area(shapely.intersection(table.geometry.to_numpy(), pixel)) / 100
        assert shares[owner[row, column] - 1] == pytest.approx(shares.max(), abs=1e-5)


def test_equal_shares_go_to_the_lowest_id_and_overlaps_count_once() -> None:
    square = local(100, 100, 40)
    layer = burn(square, shapely.box(*square.bounds).union(local(300, 300)), square.buffer(0.0).segmentize(7))
    fraction, owner = layer.arrays["landslide_fraction"], layer.arrays["landslide_id"]
    assert fraction.max() == 1.0
    assert set(np.unique(owner)) == {0, 1, 2}
    assert fraction.sum() * 100 == pytest.approx(40 * 40 + 35 * 35, abs=0.01)


def test_a_slide_smaller_than_a_pixel_is_in_the_fraction() -> None:
    layer = burn(local(102, 102, 2), local(203, 203, 30))
    assert layer.report["landslides_without_a_pixel_centre"] == 1
    assert layer.arrays["landslide_fraction"].sum() * 100 == pytest.approx(4 + 900, abs=1e-3)
    assert layer.arrays["landslides"].sum() == 9


def test_pieces_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    left, bottom, right, top = GRID.bounds
    huge = Polygon([(left - 5e4, bottom - 2e4), (right + 4e4, bottom + 77), (left + 123, top + 3e4)])
    usual = burn(huge, local(7, 9, 111))
    monkeypatch.setattr(coverage, "PIECE_PIXELS", 7)
    monkeypatch.setattr(coverage, "MOST_CROSSINGS", 5)
    other = burn(huge, local(7, 9, 111))
    for name, values in usual.arrays.items():
        assert np.allclose(values, other.arrays[name], atol=1e-6), name
    assert abs(usual.report["fraction_area_relative_error"]) < 1e-7


def test_outside_the_mapped_extent_is_nan() -> None:
    to_degrees = Transformer.from_crs(GRID.epsg, 4326, always_xy=True)
    left, bottom, right, top = GRID.bounds
    half = shapely.box(left - 100, bottom - 100, (left + right) / 2, top + 100)
    extent = shapely.transform(
        half.segmentize(20), lambda p: np.column_stack(to_degrees.transform(p[:, 0], p[:, 1]))
    )
    frame = frame_of(local(100, 100), local(500, 100), local(300, 200, 40))
    layer = rasterise_labels(frame, INVENTORY, GRID, gpd.GeoSeries([extent], crs=4326))
    landslides = layer.arrays["landslides"]
    assert np.isnan(landslides[:, 32:]).all() and np.isfinite(landslides[:, :32]).all()
    assert np.array_equal(np.isnan(layer.arrays["landslide_fraction"]), np.isnan(landslides))
    assert np.all(layer.arrays["landslide_id"][:, 32:] == 0)
    assert layer.report["unmapped_pixels"] == 48 * 32
    whole = rasterise_labels(frame, INVENTORY, GRID, None)
    beyond = int(whole.arrays["landslides"][:, 32:].sum())
    assert layer.report["landslide_pixels_not_mapped"] == beyond > 0
    assert layer.report["landslide_pixels"] == np.nansum(landslides)
    assert len(table_of(layer)) == 3
    for wrong, words in (
        (half, "degrees"),
        (shapely.Point(141, 42), "polygon"),
        (shapely.box(0, 0, 1, 1), "meet"),
        (Polygon(), "geometry"),
    ):
        with pytest.raises(SourceDataError, match=words):
            rasterise_labels(frame, INVENTORY, GRID, gpd.GeoSeries([wrong], crs=4326))


def test_classes_decide_what_counts() -> None:
    squares = [local(x, 100) for x in (50, 150, 250, 350, 450)]
    kind = [1, "2", 1.0, None, "rockfall"]
    frame = frame_of(*squares, kind=np.array(kind, dtype=object))
    choice = INVENTORY.model_copy(
        update={"class_field": "kind", "classes": {"new": ("1",), "reactivated": (2,)}, "count": ("new",)}
    )
    layer = rasterise_labels(frame, choice, GRID, None)
    assert layer.report["by_class"] == {"new": 2, "reactivated": 1, "unlisted": 2}
    assert layer.report["unlisted_class_values"] == {"None": 1, "rockfall": 1}
    assert layer.report["polygons_counted"] == 2
    both = rasterise_labels(frame, choice.model_copy(update={"count": ("new", "reactivated")}), GRID, None)
    assert table_of(both)["class"].tolist() == ["new", "reactivated", "new"]
    with pytest.raises(SourceDataError, match="no attribute 'typ'"):
        rasterise_labels(frame, choice.model_copy(update={"class_field": "typ"}), GRID, None)
    with pytest.raises(SourceDataError, match="kind holds"):
        rasterise_labels(frame, choice.model_copy(update={"classes": {"new": ("x",)}}), GRID, None)


def test_every_feature_is_counted_once_with_its_outcome() -> None:
    left, bottom, _right, _top = GRID.bounds
    bow_tie = Polygon([(left + 100, bottom + 100), (left + 160, bottom + 160), (left + 160, bottom + 100),
                       (left + 100, bottom + 160)])  # fmt: skip
    spike = Polygon([(left, bottom), (left + 50, bottom), (left, bottom)])
    with np.errstate(invalid="ignore"):
        nan = Polygon([(left, bottom), (np.nan, bottom), (left, bottom + 20)])
        infinite = Polygon([(left, bottom), (np.inf, bottom), (left, bottom + 20)])
    monster = Polygon([(1e300, 0), (0, 1e300), (1, 1)])
    zigzag = Polygon([(i % 2 * 9e7, i) for i in range(5000)])
    mixed = shapely.GeometryCollection([local(300, 300), shapely.Point(left + 5, bottom + 5)])
    collapsed = shapely.GeometryCollection([shapely.LineString([(left, bottom), (left + 9, bottom)])])
    far = shapely.box(0, 0, 10, 10)
    good = local(200, 200)
    with_z = shapely.force_3d(local(400, 200), 77.0)
    frame = frame_of(
        bow_tie, spike, nan, infinite, monster, zigzag, mixed, collapsed, far, good, good.normalize(),
        shapely.MultiPolygon([local(500, 50), local(540, 100)]), None, Polygon(), with_z, shapely.force_2d(with_z),
    )  # fmt: skip
    layer = rasterise_labels(frame, INVENTORY, GRID, None)
    report = layer.report
    why = {r["feature"]: r["why"] for r in report["refused_features"]}
    assert set(why) == {"1", "2", "3", "4", "5", "7", "12", "13"}
    assert "not finite" in why["2"] and "not finite" in why["3"]
    assert "no area" in why["1"] and "no area" in why["7"]
    assert "outside" in why["4"] and "longer" in why["5"]
    assert report["repaired_features"] == ["0", "1"]
    assert report["duplicates_dropped"] == 2
    assert report["outside_the_area"] == 1
    assert report["collections_reduced_to_polygons"] == 1
    assert report["polygons_counted"] == 5
    assert report["features_read"] == 16 == 5 + 8 + 2 + 1
    table = table_of(layer)
    assert table["source_feature"].tolist() == ["0", "6", "9", "11", "14"]
    assert not shapely.has_z(table.geometry).any()
    assert table["area_m2"][0] == pytest.approx(2 * 60 * 30 / 2)  # both lobes of the bow tie
    json.dumps(report)
    json.dumps(layer.attributes)


def test_many_duplicates_are_one_landslide() -> None:
    layer = burn(*[local(100, 100)] * 5000)
    assert layer.report["duplicates_dropped"] == 4999
    assert layer.arrays["landslide_id"].max() == 1


def test_points_need_a_radius_and_lines_are_refused() -> None:
    left, bottom, _right, _top = GRID.bounds
    point = shapely.Point(left + 200, bottom + 200)
    with pytest.raises(SourceDataError, match="point"):
        burn(point, local(1, 1))
    layer = burn(
        point,
        shapely.MultiPoint([(left + 350, bottom + 100), (left + 500, bottom + 100)]),
        point_radius_m=40.0,
    )
    assert layer.report["points_given_radius"] == 2
    assert layer.report["polygon_area_m2"] == pytest.approx(3 * np.pi * 40**2, rel=1e-3)
    assert layer.attributes["landslides"]["point_radius_m"] == 40.0
    with pytest.raises(SourceDataError, match="line"):
        burn(shapely.LineString([(left, bottom), (left + 99, bottom)]), local(1, 1), point_radius_m=40.0)


def test_nothing_in_the_area_is_an_error() -> None:
    with pytest.raises(SourceDataError, match="made"):
        burn(shapely.box(0, 0, 10, 10))
    degrees_declared_metres = frame_of(shapely.box(142.1, 42.6, 142.2, 42.7))
    with pytest.raises(SourceDataError, match="made"):
        rasterise_labels(degrees_declared_metres, INVENTORY, GRID, None)
    metres_declared_degrees = frame_of(local(10, 10), crs=4326)
    with pytest.raises(SourceDataError, match="degrees"):
        rasterise_labels(metres_declared_degrees, INVENTORY, GRID, None)


def moved(square: shapely.Geometry, crs: int) -> shapely.Geometry:
    there = Transformer.from_crs(GRID.epsg, crs, always_xy=True)
    return shapely.transform(square, lambda p: np.column_stack(there.transform(p[:, 0], p[:, 1])))


@pytest.mark.parametrize("crs", [4326, 6668, 3857, 32653, 6680])
def test_other_crs_give_the_same_labels(crs: int) -> None:
    squares = [local(50, 60, 73), local(333, 222, 100)]
    here = burn(*squares)
    there = rasterise_labels(frame_of(*[moved(s, crs) for s in squares], crs=crs), INVENTORY, GRID, None)
    apart = here.arrays["landslide_fraction"] - there.arrays["landslide_fraction"]
    assert np.abs(apart).max() < 1e-4
    assert there.report["datum_transformation"]["accuracy_m"] <= 1.0


def test_the_datum_is_transformed_and_a_missing_transformation_refused() -> None:
    square = local(100, 100)
    tokyo = rasterise_labels(frame_of(moved(square, 4326), crs=4301), INVENTORY, GRID.padded(80), None)
    found = table_of(tokyo).geometry[0].centroid
    assert 300 < found.distance(square.centroid) < 700  # the old Japanese datum is about 450 m away
    assert "Tokyo to WGS 84" in tokyo.report["datum_transformation"]["operation"]
    with pytest.raises(SourceDataError, match="32654"):
        rasterise_labels(frame_of(square, crs=2120), INVENTORY, GRID, None)


def test_degrees_beyond_180_and_polygons_across_180_degrees() -> None:
    grid = Grid(epsg=32760, resolution_m=10.0, left=819_000.0, top=8_118_000.0, width=50, height=40)
    to_degrees = Transformer.from_crs(grid.epsg, 4326, always_xy=True)
    square = shapely.box(819_100, 8_117_800, 819_200, 8_117_900)
    degrees = shapely.transform(square, lambda p: np.column_stack(to_degrees.transform(p[:, 0], p[:, 1])))
    turned = shapely.affinity.translate(degrees, -360)
    layer = rasterise_labels(frame_of(turned, crs=4326), INVENTORY, grid, None)
    assert layer.report["polygon_area_m2"] == pytest.approx(1e4, rel=1e-6)
    belt = shapely.box(-179.9, -20, 179.9, -10)
    with pytest.raises(SourceDataError, match="180 degrees"):
        rasterise_labels(frame_of(belt, crs=4326), INVENTORY, grid, None)
    big = rasterise_labels(frame_of(shapely.box(100, -60, 200, 60), crs=4326), INVENTORY, grid, None)
    assert big.report["cut_far_from_the_area"] == 1
    assert np.all(big.arrays["landslide_fraction"] == 1)


def test_odd_attributes_can_be_stored_and_bytes_repeat() -> None:
    columns = {
        "id": [7, 8],
        "class": ["a", "b"],
        "list": [[1, 2], None],
        "mixed": [1, "zwei"],
        "bytes": [b"\x00\xff", None],
        "when": [pd.Timestamp("2018-09-05T18:07:59Z"), pd.NaT],
        "dict": [{"a": {1, 2}}, {}],
        "surrogate": ["\ud800", "ü"],
        "big": [2**70, 1],
        "nothing": [None, None],
        "geometry_": [1.5, np.nan],
    }
    frame = gpd.GeoDataFrame(
        {k: pd.Series(v, dtype=object) if k != "when" else v for k, v in columns.items()},
        geometry=[local(1, 1), local(99, 99)],
        crs=32654,
    )
    layer = rasterise_labels(frame, INVENTORY, GRID, None)
    table = table_of(layer)
    assert table["id"].tolist() == [1, 2] and table["source_id"].tolist() == [7, 8]
    assert table["class"].tolist() == ["new", "new"]
    assert table["mixed"].tolist() == ["1", "zwei"]
    assert table["bytes"][0] == "00ff"
    assert table.crs.to_epsg() == 32654
    assert rasterise_labels(frame, INVENTORY, GRID, None).files == layer.files


def test_the_arrays_state_their_rules() -> None:
    layer = rasterise_labels(
        frame_of(local(1, 1)), INVENTORY.model_copy(update={"extent_assumed": "all of it"}), GRID, None
    )
    assert "centre" in layer.attributes["landslides"]["rule"]
    assert layer.attributes["landslide_fraction"]["extent_assumed"] == "all of it"
    types: dict[str, NDArray[Any]] = layer.arrays
    assert {k: v.dtype.name for k, v in types.items()} == {
        "landslides": "float32", "landslide_fraction": "float32", "landslide_id": "int32",
    }  # fmt: skip


def test_an_inventory_that_found_nothing_labels_everything_0_if_the_area_file_says_so(tmp_path: Path) -> None:
    nothing = INVENTORY.model_copy(update={"class_field": "class", "classes": {"new": ("new",)}})
    allowed = nothing.model_copy(update={"may_be_empty": True})
    file = tmp_path / "none.gpkg"
    frame_of(**{"class": []}).to_file(file, layer="landslides", engine="pyogrio")
    with pytest.raises(SourceDataError):
        read_inventory(file, nothing)
    old = frame_of(local(100, 100), **{"class": ["old"]})
    elsewhere = frame_of(local(1e5, 100), **{"class": ["new"]})
    for frame in (read_inventory(file, allowed), old, elsewhere):
        with pytest.raises(SourceDataError):
            rasterise_labels(frame, nothing, GRID, None)
        half = gpd.GeoSeries([local(0, 0, 240.0)], crs=32654)
        layer = rasterise_labels(frame, allowed, GRID, half)
        mapped = np.isfinite(layer.arrays["landslides"])
        assert mapped.sum() == 24 * 24
        assert not layer.arrays["landslides"][mapped].any() and not layer.arrays["landslide_id"].any()
        assert not layer.arrays["landslide_fraction"][mapped].any()
        table = table_of(layer)
        assert len(table) == 0 and table.crs.to_epsg() == 32654 and {"id", "class", "area_m2"} <= set(table)
    assert "may_be_empty" not in INVENTORY.model_dump()
