"""Outlines on either side of 180 degrees are one landslide on each grid."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from pyproj import Transformer

from pipeline.areas.area import load_area
from pipeline.cube.layers import LayerData
from pipeline.grid import Grid
from pipeline.layers.label_rasters import rasterise_labels, read_inventory
from tests.unit.pipeline.layers.test_label_rasters import INVENTORY

# the meridian of 180 degrees runs through both
WEST_OF_IT = Grid(epsg=32760, resolution_m=10.0, left=819_000.0, top=8_136_000.0, width=300, height=200)
EAST_OF_IT = Grid(epsg=32701, resolution_m=10.0, left=178_000.0, top=8_136_000.0, width=300, height=200)


def labels(geometry: list[shapely.Geometry], grid: Grid, crs: int = 4326) -> LayerData:
    return rasterise_labels(gpd.GeoDataFrame(geometry=geometry, crs=crs), INVENTORY, grid, None)


@pytest.mark.parametrize("name", ["fiji-east", "fiji-west"])
def test_a_multipolygon_with_parts_on_either_side(shared_data: Path, name: str) -> None:
    folder = shared_data / "cases" / "antimeridian"
    grid = Grid.of_area(load_area(folder / f"{name}.yaml"))
    frame = read_inventory(folder / "am_rfc7946.geojson", INVENTORY)
    layer = rasterise_labels(frame, INVENTORY, grid, None)
    # of two equal squares of 0.005 degrees one lies in the area
    assert layer.report["landslide_pixels"] * 100 == pytest.approx(532 * 553, rel=0.02)
    assert layer.report["refused"] == 0


@pytest.mark.parametrize("grid", [WEST_OF_IT, EAST_OF_IT])
@pytest.mark.parametrize("kind", ["multi", "collection", "beyond 180", "below -180"])
def test_the_parts_of_one_outline_are_joined_at_180_degrees(grid: Grid, kind: str) -> None:
    to_degrees = Transformer.from_crs(grid.epsg, 4326, always_xy=True)
    middle = grid.left + 1500, grid.top - 1000
    longitude, latitude = to_degrees.transform(*middle)
    assert abs(abs(longitude) - 180) < 0.05
    west = shapely.box(179.995, latitude - 0.003, 180, latitude + 0.003)
    east = shapely.box(-180, latitude - 0.003, -179.995, latitude + 0.003)
    whole = shapely.box(179.995, latitude - 0.003, 180.005, latitude + 0.003)
    geometry = {
        "multi": shapely.MultiPolygon([west, east]),
        "collection": shapely.GeometryCollection([west, east]),
        "beyond 180": whole,
        "below -180": shapely.transform(whole, lambda xy: xy - np.array([360.0, 0.0])),
    }[kind]
    layer = labels([geometry], grid)
    expected = labels([whole], grid)
    assert layer.report["polygons_counted"] == 1
    assert np.array_equal(layer.arrays["landslides"], expected.arrays["landslides"])
    assert layer.report["union_area_m2"] == pytest.approx(expected.report["union_area_m2"], rel=1e-7)
    assert layer.arrays["landslides"].sum() * 100 == pytest.approx(1065 * 664, rel=0.02)
