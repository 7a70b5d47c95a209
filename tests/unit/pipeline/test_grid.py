"""The lattice: edges on multiples of the pixel, the area inside, equal to odc-geo's GeoBox."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from shapely import box

from pipeline.areas.area import AreaOfInterest, Event
from pipeline.errors import GridError
from pipeline.grid import MOST_PIXELS, Grid

NOW = datetime(2018, 9, 5, 18, tzinfo=UTC)


def area(west: float, south: float, width: float, height: float, **more: object) -> AreaOfInterest:
    return AreaOfInterest.model_validate(
        {
            "name": "test", "bbox": (west, south, west + width, south + height), "start": "2018-08-01T00:00:00Z",
            "end": "2018-10-01T00:00:00Z", "event": Event(kind="earthquake", start=NOW, end=NOW, source="test"),
            **more,
        }
    )  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(
    west=st.floats(-178, 177),
    south=st.floats(-70, 75),
    width=st.floats(0.01, 0.3),
    height=st.floats(0.01, 0.3),
    pixel=st.sampled_from([10.0, 20.0, 30.0, 40.0]),
)
def test_edges_are_multiples_of_the_pixel_and_the_area_is_inside(
    west: float, south: float, width: float, height: float, pixel: float
) -> None:
    wanted = area(west, south, width, height, resolution_m=pixel)
    grid = Grid.of_area(wanted)
    left, bottom, right, top = grid.bounds
    assert all(edge % pixel == 0 for edge in (left, bottom, right, top))
    to_utm = Transformer.from_crs(4326, grid.epsg, always_xy=True)
    lon = np.linspace(west, west + width, 50)
    lat = np.linspace(south, south + height, 50)
    x, y = to_utm.transform(*(a.ravel() for a in np.meshgrid(lon, lat)))
    # an edge of the box is followed every hundredth of a degree
    assert x.min() >= left - 0.01
    assert x.max() <= right + 0.01
    assert y.min() >= bottom - 0.01
    assert y.max() <= top + 0.01


def test_coordinates_are_centres_and_agree_with_odc_geo() -> None:
    grid = Grid(epsg=32654, resolution_m=10, left=500000, top=4700000, width=7, height=5)
    box = GeoBox(grid.shape, grid.affine, f"EPSG:{grid.epsg}")
    assert tuple(box.boundingbox) == grid.bounds
    assert box.shape == (5, 7)
    np.testing.assert_array_equal(box.coords["x"].values, grid.x)
    np.testing.assert_array_equal(box.coords["y"].values, grid.y)
    assert grid.y[0] > grid.y[-1]


def test_a_padded_grid_is_the_same_lattice() -> None:
    grid = Grid(epsg=32654, resolution_m=10, left=500000, top=4700000, width=7, height=5)
    wide = grid.padded(3)
    np.testing.assert_array_equal(wide.x[3:-3], grid.x)
    np.testing.assert_array_equal(wide.y[3:-3], grid.y)
    assert wide.digest != grid.digest


def test_an_offset_lattice_is_honoured() -> None:
    grid = Grid.of_area(area(141.9, 42.7, 0.05, 0.05, resolution_m=30, lattice_offset_m=(15, 15)))
    assert grid.left % 30 == 15
    assert grid.top % 30 == 15


def test_the_smallest_area_still_has_pixels() -> None:
    height, width = Grid.of_area(area(141.9, 42.7, 1e-6, 1e-6)).shape
    assert 1 <= height <= 2
    assert 1 <= width <= 2


@pytest.mark.parametrize(("degrees", "resolution_m"), [(0.5, 1.0), (1.0, 2.0)])
def test_a_grid_of_a_billion_pixels_is_refused_before_memory_is_taken(
    degrees: float, resolution_m: float
) -> None:
    with pytest.raises(GridError) as caught:
        Grid.of_area(area(141.9, 42.7, degrees, degrees, resolution_m=resolution_m))
    assert caught.value.exit_code == 4 and f"{MOST_PIXELS:,}" in caught.value.message


def test_the_share_of_a_grid_inside_footprints() -> None:
    grid = Grid.of_area(area(141.9, 42.7, 0.1, 0.1))
    west, south, east, north = grid.bounds_deg()
    middle = (west + east) / 2
    whole, half = box(west, south, east, north), box(west, south, middle, north)
    assert grid.share_within([whole]) > 0.99
    assert abs(grid.share_within([half]) - 0.5) < 0.02
    assert grid.share_within([half, half]) == grid.share_within([half])
    assert grid.share_within([half, box(middle, south, east + 1, north)]) > 0.99
    assert grid.share_within([box(west + 5, south, east + 5, north)]) == 0
    assert grid.share_within([]) == 0
