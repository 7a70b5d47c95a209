"""The user's own words, `--param aoi=hokkaido`, before archives that pose as the real ones over Hokkaido.

Pixels of 240 m keep it quick; the same at 40 m is described in the README.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import xarray as xr

from pipeline.areas.area import load_area
from pipeline.cube.verify import verify_cube
from pipeline.grid import Grid
from pipeline.sandbox.earth.parameters import TrackPlan, WorldParameters
from pipeline.sandbox.posing.server import Sandbox
from pipeline.sandbox.world import make_world
from tests.e2e.prefect_server import site_before

LITERAL = "prefect deployment run build-datacube --param aoi=hokkaido"
PARAMETERS = WorldParameters(
    resolution_m=240.0,
    tracks=(TrackPlan(relative_orbit=46, direction="descending", before=3, after=1, incidence_deg=35.9),),
)


@pytest.mark.slow
def test_the_literal_command_ends_in_a_verified_cube_of_hokkaido(tmp_path: Path) -> None:
    hokkaido = load_area("hokkaido")
    world = make_world(hokkaido, tmp_path / "world", PARAMETERS)
    with Sandbox(world) as archive, site_before(archive, world.root / "aoi", tmp_path) as site:
        run = site.typed(LITERAL)
        assert run.state is not None
        assert run.state.is_completed(), run.state.message
        version = site.version("hokkaido", 1)
        assert verify_cube(version).sound
        cube = xr.open_zarr(version)
        grid = Grid.of_area(hokkaido.model_copy(update={"resolution_m": 240.0}))
        assert cube["vv"].shape == (4, *grid.shape)
        assert cube.attrs["simulated"] == 1
        assert set(cube["relative_orbit"].values) == {46}
        assert float(cube["landslides"].mean()) > 0.01
