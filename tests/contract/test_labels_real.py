"""Labels from real inventories: Noto 2024 (GSI), Kaikoura 2016, Enga 2024."""

from __future__ import annotations

import io
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely

from pipeline.areas.area import Inventory
from pipeline.cube.layers import LayerData
from pipeline.grid import Grid
from pipeline.layers.label_rasters import LANDSLIDES_FILE, rasterise_labels, read_inventory

INVENTORY = Inventory(name="real", citation="see SOURCE.md", licence="see SOURCE.md")
NOTO = (
    "hokai_20240104_wajimaCENTRAL.fgb",
    "hokai_all_20240106_merge.fgb",
    "hokai_all_20240112_wajimaWEST.fgb",
    "hokai_all_20240115_wajimaCENTRAL_Re2.fgb",
    "hokai_all_20240118_nanao.fgb",
)


def grid_around(frame: gpd.GeoDataFrame, epsg: int) -> Grid:
    west, south, east, north = frame.to_crs(epsg).total_bounds
    left, top = np.floor(west / 10) * 10 - 50, np.ceil(north / 10) * 10 + 50
    return Grid(
        epsg=epsg,
        resolution_m=10.0,
        left=left,
        top=top,
        width=int((east - left) // 10) + 6,
        height=int((top - south) // 10) + 6,
    )


def check_areas(frame: gpd.GeoDataFrame, layer: LayerData, grid: Grid) -> None:
    """Against shapely alone, with geopandas' own reprojection."""
    valid = shapely.make_valid(frame.geometry.to_crs(grid.epsg).to_numpy(), method="structure")
    union_m2 = shapely.union_all(valid).area
    fraction = layer.arrays["landslide_fraction"]
    assert fraction.sum(dtype=np.float64) * 100 == pytest.approx(union_m2, rel=1e-8)
    assert layer.report["polygon_area_m2"] == pytest.approx(shapely.area(valid).sum(), rel=1e-8)
    assert fraction.min() >= 0 and fraction.max() <= 1
    # the centre rule is unbiased: a boundary of n pixels errs by about sqrt(n) of them
    boundary = np.count_nonzero((fraction > 0) & (fraction < 1))
    assert abs(layer.arrays["landslides"].sum() * 100 - union_m2) < 3 * 100 * np.sqrt(boundary)
    table = gpd.read_parquet(io.BytesIO(layer.files[LANDSLIDES_FILE]))
    assert len(table) == layer.report["polygons_counted"]
    owner = layer.arrays["landslide_id"]
    assert owner.max() <= len(table)
    assert np.array_equal(owner > 0, fraction > 0)
    left_out = layer.report["refused"] + layer.report["duplicates_dropped"] + layer.report["outside_the_area"]
    assert len(table) + left_out == len(frame)


@pytest.mark.parametrize("name", NOTO)
def test_areas_of_noto(shared_data: Path, name: str) -> None:
    frame = read_inventory(shared_data / "inventory_noto_2024" / name, INVENTORY)
    grid = grid_around(frame, 32653)
    layer = rasterise_labels(frame, INVENTORY, grid, None)
    check_areas(frame, layer, grid)
    assert layer.report["repaired"] == int((~frame.geometry.is_valid).sum())
    assert layer.report["datum_transformation"]["accuracy_m"] <= 1.0
    if frame.crs.to_epsg() == 6668:
        assert "JGD2011 to WGS 84" in layer.report["datum_transformation"]["operation"]


def test_invalid_polygons_are_among_them(shared_data: Path) -> None:
    frame = read_inventory(shared_data / "inventory_noto_2024" / NOTO[1], INVENTORY)
    assert (~frame.geometry.is_valid).sum() == 3


def test_areas_of_kaikoura(shared_data: Path) -> None:
    frame = read_inventory(shared_data / "inventory_kaikoura_2016" / "clipped_inventory.gpkg", INVENTORY)
    grid = grid_around(frame, 32759)
    layer = rasterise_labels(frame, INVENTORY, grid, None)
    check_areas(frame, layer, grid)
    # the producers' own areas, of polygons that were not cut at the study area's edge
    table = gpd.read_parquet(io.BytesIO(layer.files[LANDSLIDES_FILE]))
    ratio = table["area_m2"] / table["Shape_Area"]
    assert ratio.median() == pytest.approx(1, abs=2e-3)
    assert ratio.max() < 1.01


def test_a_real_mapped_extent(shared_data: Path) -> None:
    folder = shared_data / "inventory_enga_2024"
    name = "papau_new_guinea_landslide_2024.geojson"
    frame = read_inventory(folder / "external_validation_data_db" / name, INVENTORY)
    extent = read_inventory(folder / "external_validation_data_extents_db" / name, INVENTORY)
    grid = grid_around(extent, 32754).padded(20)
    layer = rasterise_labels(frame, INVENTORY, grid, extent.geometry)
    mapped_m2 = np.isfinite(layer.arrays["landslides"]).sum() * 100
    assert mapped_m2 == pytest.approx(extent.to_crs(32754).area.sum(), rel=0.01)
    assert layer.report["unmapped_pixels"] > 0
    assert layer.report["landslide_pixels_not_mapped"] == 0
    assert layer.report["fraction_area_m2"] == pytest.approx(frame.to_crs(32754).area.sum(), rel=1e-6)
