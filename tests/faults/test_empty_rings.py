"""A hole of no points, on which GEOS ends the process: read as no hole, wherever polygons come in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import shapely
import yaml

from pipeline.areas.area import Inventory, parse_area, without_empty_rings
from pipeline.catalogue.item_fields import footprint_of
from pipeline.grid import Grid
from pipeline.layers.outlines.polygons import counted_polygons
from pipeline.layers.outlines.vectors import read_inventory

RING = [[142.031, 42.721], [142.032, 42.721], [142.032, 42.722], [142.031, 42.721]]
AREA = {
    "name": "here", "bbox": [142.03, 42.72, 142.042, 42.729], "start": "2018-06-01T00:00:00Z",
    "end": "2018-11-01T00:00:00Z",
    "event": {"kind": "earthquake", "start": "2018-09-05T18:07:59Z", "end": "2018-09-05T18:07:59Z", "source": "x"},
}  # fmt: skip


@pytest.fixture(params=["Polygon", "MultiPolygon"])
def polygon(request: pytest.FixtureRequest) -> dict[str, Any]:
    rings = [RING, []]
    return {
        "type": request.param,
        "coordinates": rings if request.param == "Polygon" else [rings, rings[:1]][:1],
    }


def has_empty_ring(geometry: shapely.Geometry) -> bool:
    return any(hole.is_empty for part in shapely.get_parts(geometry) for hole in part.interiors)


def test_a_footprint_of_an_item(polygon: dict[str, Any]) -> None:
    found = shapely.geometry.shape(footprint_of(polygon))
    assert not has_empty_ring(found)
    assert shapely.segmentize(found, 0.01).equals(shapely.Polygon(RING))


def test_an_area(polygon: dict[str, Any]) -> None:
    fields = {key: value for key, value in AREA.items() if key != "bbox"} | {"geometry": polygon}
    area = parse_area(yaml.safe_dump(fields), Path("here.yaml"))
    assert not has_empty_ring(area.footprint)
    assert Grid.of_area(area).width > 0


def test_a_landslide_of_an_inventory(polygon: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "slides.geojson"
    feature = {"type": "Feature", "properties": {}, "geometry": polygon}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    inventory = Inventory(name="slides", url=str(path), citation="none", licence="CC0-1.0")
    grid = Grid.of_area(parse_area(yaml.safe_dump(AREA), Path("here.yaml")))
    found, report = counted_polygons(read_inventory(path, inventory), inventory, grid)
    assert len(found) == 1 and report["refused"] == 0
    assert 4000 < float(found.geometry.area.sum()) < 5000


def test_polygons_without_empty_rings_are_not_touched() -> None:
    whole = shapely.Polygon(RING)
    holed = shapely.box(0, 0, 3, 3) - shapely.box(1, 1, 2, 2)
    assert without_empty_rings(whole) is whole and without_empty_rings(holed) is holed
