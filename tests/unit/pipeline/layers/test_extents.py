"""The mapped extent: from the area, from GeoJSON, from a vector file of any container."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from shapely.geometry import box, mapping

from pipeline.areas.area import AreaOfInterest, Inventory
from pipeline.cube.layers import LayerData
from pipeline.errors import SlidecubeError, SourceDataError
from pipeline.layers.extents import mapped_extent
from pipeline.layers.label_rasters import rasterise_labels
from tests.unit.pipeline.catalogue.test_passes import area
from tests.unit.pipeline.layers.test_label_rasters import GRID, frame_of, local, moved

FIELDS = {"name": "i", "citation": "c", "licence": "l"}


def extent_of(tmp_path: Path, extent: Any, **more: Any) -> gpd.GeoSeries:
    source = str(extent) if isinstance(extent, Path) else extent
    where: AreaOfInterest = area(inventory={**FIELDS, "extent": source, **more})
    assert where.inventory is not None
    return mapped_extent(where, where.inventory, tmp_path / "downloads")


def labels(extent: gpd.GeoSeries) -> LayerData:
    inventory = Inventory.model_validate(FIELDS)
    return rasterise_labels(frame_of(local(100, 100)), inventory, GRID, extent)


def test_the_area_itself_and_geojson(tmp_path: Path) -> None:
    assert extent_of(tmp_path, "area").iloc[0].equals(area().footprint)
    part = mapping(box(141.9, 42.6, 142.0, 42.8))
    feature = {"type": "Feature", "properties": {}, "geometry": part}
    for document in (part, feature, {"type": "FeatureCollection", "features": [feature]}):
        assert shapely.area(extent_of(tmp_path, document).to_numpy()).sum() == pytest.approx(0.02)
    for broken in ({"type": "Polygon"}, {"type": "FeatureCollection", "features": [{}]}, {}):
        with pytest.raises(SourceDataError, match="GeoJSON"):
            extent_of(tmp_path, broken)


def test_the_polygon_of_a_collection_counts_and_its_points_do_not(tmp_path: Path) -> None:
    half = local(-100, -100, 420)
    collection = shapely.GeometryCollection(
        [moved(half, 4326), moved(shapely.Point(GRID.left, GRID.top), 4326)]
    )
    expected = labels(gpd.GeoSeries([half], crs=32654)).arrays["landslides"]
    assert np.isnan(expected).any() and np.isfinite(expected).any()
    path = tmp_path / "gc.geojson"
    document = {"type": "Feature", "properties": {}, "geometry": mapping(collection)}
    path.write_text(
        json.dumps({"type": "FeatureCollection", "features": [document, {**document, "geometry": None}]})
    )
    for given in (path, mapping(collection)):
        found = labels(extent_of(tmp_path, given)).arrays["landslides"]
        assert np.array_equal(found, expected, equal_nan=True)
    points = mapping(shapely.GeometryCollection([shapely.Point(142, 42.7)]))
    with pytest.raises(SourceDataError, match="polygon"):
        labels(extent_of(tmp_path, points))


def test_the_recorded_extents(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "cases" / "extents"
    assert len(extent_of(tmp_path, folder / "gc.geojson")) == 1
    with pytest.raises(SourceDataError, match="extent_layer") as caught:
        extent_of(tmp_path, folder / "two.gpkg")
    names = caught.value.message.rsplit(": ", 1)[1].rstrip(".").split(", ")
    assert len(names) == 2
    for name in names:
        assert len(extent_of(tmp_path, folder / "two.gpkg", extent_layer=name)) >= 1


def test_containers_and_the_reference_system_are_those_of_an_inventory(
    shared_data: Path, tmp_path: Path
) -> None:
    assert len(extent_of(tmp_path, shared_data / "cases" / "containers" / "gdb.zip")) == 98
    path = tmp_path / "in_metres.gpkg"
    frame_of(local(-100, -100, 420)).to_file(path)
    assert extent_of(tmp_path, path).crs.to_epsg() == 32654
    for name in ("nested.zip", "trunc.zip", "absent.gpkg"):
        with pytest.raises(SlidecubeError, match=name):
            extent_of(tmp_path, shared_data / "cases" / "containers" / name)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_an_extent_with_an_unreadable_feature_is_refused_by_its_number() -> None:
    with np.errstate(invalid="ignore"):
        broken = shapely.Polygon([(GRID.left, GRID.top), (np.nan, GRID.top), (GRID.left, GRID.top - 9)])
    with pytest.raises(SourceDataError, match="1: "):
        labels(gpd.GeoSeries([local(0, 0), broken], crs=32654))
