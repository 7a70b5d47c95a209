"""Offsets between satellites on slopes, measured in a cube to which they were added."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from pipeline.events.following.platform_offsets import platform_offsets
from tests.small_cube import small_cube


def cube_of_two_satellites(steep_db: float) -> xr.Dataset:
    """Five passes of track 46, the last two of another satellite, which sees steep ground brighter."""
    cube = small_cube(160, before=3, after=2)
    slope = np.degrees(cube["dem_slope_radians"].values)
    later = (cube["timestep"].values > cube["timestep"].values[-3]) & (cube["relative_orbit"].values == 46)
    platforms = np.where(later, "sentinel-1c", "sentinel-1a").astype(object)
    gain = np.where(later[:, None, None] & (slope >= 20)[None], 10 ** (steep_db / 10), 1.0)
    cube = cube.assign_coords(platform=("timestep", platforms))
    return cube.assign(vv=cube["vv"] * gain, vh=cube["vh"] * gain)


@pytest.mark.parametrize("steep_db", [0.0, 1.0])
def test_an_offset_on_steep_ground_is_found_there_and_nowhere_else(steep_db):
    found = {
        (one.polarisation, one.slope_deg[0]): one.offset_db
        for one in platform_offsets(cube_of_two_satellites(steep_db))
    }
    assert found["vh", 20.0] == pytest.approx(steep_db, abs=0.15)
    assert found["vh", 0.0] == pytest.approx(0.0, abs=0.15)


def test_what_it_rests_on_is_stated():
    (one, *_) = platform_offsets(cube_of_two_satellites(1.0))
    assert (one.relative_orbit, one.platform, one.reference) == (46, "sentinel-1c", "sentinel-1a")
    assert one.passes == (2, 3) and one.squares >= 50 and "S1C" in one.words


def test_one_satellite_or_no_terrain_gives_none():
    cube = cube_of_two_satellites(1.0)
    alone = cube.assign_coords(platform=("timestep", np.full(cube.sizes["timestep"], "sentinel-1a", object)))
    assert platform_offsets(alone) == () == platform_offsets(cube.drop_vars("dem_slope_radians"))
