"""Where a cube lies, as it and other programs record it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rioxarray  # noqa: F401  # registers `.rio`
import xarray as xr
from affine import Affine

from pipeline.cube.encoding.georeference import recorded_crs, transform_of
from pipeline.cube.local_store import LocalStore
from pipeline.cube.read import open_cube
from pipeline.cube.versions import publish
from tests.unit.pipeline.cube.test_cube import GRID, layer, manifest


def bare(**attributes: Any) -> xr.Dataset:
    return xr.Dataset(
        {"vv": (("y", "x"), np.ones((4, 3), "float32"))},
        coords={"y": 4_700_000.0 - 5 - 10 * np.arange(4), "x": 500_005.0 + 10 * np.arange(3)},
        attrs=attributes,
    )


def test_a_version_lies_on_its_grid_for_this_program_and_for_rioxarray(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "cube")
    publish(store, manifest([layer(store, 1)]))
    with open_cube(store.uri) as cube:
        assert recorded_crs(cube) == cube.rio.crs
        assert cube.rio.crs.to_epsg() == GRID.epsg
        # as written in GeoTransform, and as the coordinates state
        assert cube.rio.transform() == transform_of(cube) == GRID.affine
        assert cube["vv"].rio.crs == cube.rio.crs


@pytest.mark.parametrize(
    "cube",
    [
        bare().rio.write_crs("EPSG:32654"),
        bare().rio.write_crs("EPSG:32654", grid_mapping_name="utm"),
        bare().assign_coords(epsg=32654),
        bare(crs="EPSG:32654"),
        bare(**{"crs": "nonsense", "proj:code": "EPSG:32654"}),
        bare(epsg=32654),
    ],
    ids=["spatial_ref", "another name", "epsg", "crs", "proj:code", "epsg attribute"],
)
def test_the_ways_to_record_a_reference_system(cube: xr.Dataset) -> None:
    found = recorded_crs(cube)
    assert found is not None and found.to_epsg() == 32654
    assert transform_of(cube) == Affine(10, 0, 500_000, 0, -10, 4_700_000)


def test_a_cube_that_records_none_has_none() -> None:
    assert recorded_crs(bare()) is None
    assert recorded_crs(bare(epsg="nonsense")) is None
