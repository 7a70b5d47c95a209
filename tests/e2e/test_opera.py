"""Cubes of OPERA RTC-S1: simulated bursts through CMR and Earthdata's login, mixed sources, and ten real passes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr
import yaml
from numpy.typing import NDArray

from pipeline.areas.area import load_area
from pipeline.areas.backscatter_sources import OPERA_RTC, PLANETARY_RTC
from pipeline.cube.read import open_cube
from pipeline.sandbox.earth.parameters import OperaPlan, TrackPlan, WorldParameters
from pipeline.sandbox.folder_world import FolderSources, make_folder_world
from pipeline.sandbox.opera.opera_index import FOLDER, HOST, read_opera_index
from pipeline.sandbox.posing.faults import Fault
from pipeline.sandbox.posing.server import Sandbox
from pipeline.sandbox.posing.server_options import ServerOptions
from pipeline.sandbox.world import make_world
from tests.e2e.conftest import Command, SmallWorld, command_for
from tests.e2e.test_real_enga import AREAS, assert_pixels_are_those_of_the_file

AREA, CUBE = "few", "few-opera-rtc-s1"
HOSTS = {
    "cmr.earthdata.nasa.gov", "datapool.asf.alaska.edu", "sentinel1.asf.alaska.edu", "urs.earthdata.nasa.gov",
    "dy4owt9f80bz7.cloudfront.net", "planetarycomputer.microsoft.com", "nasademeuwest.blob.core.windows.net",
    "inventories.slidecube.example",
}  # fmt: skip
"""every host that such a build may ask"""
PARAMETERS = WorldParameters(
    tracks=(TrackPlan(relative_orbit=46, direction="descending", before=2, after=2, incidence_deg=35.9),),
    slices=1,
    dem_collections=("nasadem",),
    opera=OperaPlan(bursts=1, subswaths=2, alone=1, neighbour_zone=True),
)


@dataclass
class Few:
    """The world, and the command that reaches it."""

    world: SmallWorld
    command: Command

    def cube_of(self, *words: str) -> str:
        """Address of the version that a build makes."""
        return str(json.loads(self.command.run("build", *words, "--no-quicklook", "--json"))["uri"])


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Few]:
    folder = tmp_path_factory.mktemp("few")
    aoi = folder / "aoi"
    aoi.mkdir()
    shipped = yaml.safe_load((Path(__file__).parents[2] / "aoi" / "sandbox.yaml").read_text())
    shipped.pop("interferometry")
    shipped |= {"name": AREA, "bbox": [142.03, 42.72, 142.05, 42.735], "title": "Few"}
    (aoi / f"{AREA}.yaml").write_text(yaml.safe_dump(shipped))
    shipped.pop("resolution_m", None)
    mixed = shipped | {"name": "mixed", "sources": [PLANETARY_RTC, OPERA_RTC], "mixed_sources": True}
    (aoi / "mixed.yaml").write_text(yaml.safe_dump(mixed))
    make_world(load_area(aoi / f"{AREA}.yaml"), folder / "world", PARAMETERS)
    world = SmallWorld(folder / "world", aoi)
    with Sandbox(world.root) as sandbox:
        yield Few(world, command_for(sandbox, world, folder / "data"))


def test_a_plan_proposes_the_source_that_has_more_passes(few: Few) -> None:
    rows = json.loads(few.command.run("plan", AREA, "--json"))
    assert len(rows["passes"]) == 3 and {one["source"] for one in rows["passes"]} == {PLANETARY_RTC}
    assert rows["proposed"]["source"] == OPERA_RTC
    (lacking,) = rows["proposed"]["passes"]
    assert lacking["relative_orbit"] == 46 and lacking["coverage"] > 0.99
    assert lacking["id"] not in {one["pass"] for one in rows["passes"]}
    assert len(rows["proposals"]) == 1


def mosaic_of_bursts(root: Path, cube: xr.Dataset, step: np.datetime64) -> NDArray[Any] | None:
    """VV of one pass by plain array work: the newest processing of each burst, the first valid pixel counts.

    None where a burst lies in another zone than the cube.
    """
    of_pass = {}
    for burst in sorted(read_opera_index(root), key=lambda one: one.processed):
        since = (np.datetime64(burst.start.replace(tzinfo=None)) - step) / np.timedelta64(1, "s")
        if -1 <= since < 60:
            of_pass[burst.burst_id] = burst
    expected: NDArray[Any] = np.full(cube["vv"].shape[1:], np.nan, np.float32)
    for burst in sorted(of_pass.values(), key=lambda one: one.start):
        folder = root / "blobs" / HOST / FOLDER
        with rasterio.open(folder / burst.files["VV"].name) as source:
            values, at, epsg = source.read(1), source.transform, source.crs.to_epsg()
        with rasterio.open(folder / burst.files["mask"].name) as source:
            seen = source.read(1) == 0
        if epsg != int(cube["spatial_ref"]):
            return None
        y = at.f + at.e * (np.arange(values.shape[0]) + 0.5)
        x = at.c + at.a * (np.arange(values.shape[1]) + 0.5)
        rows, columns = np.isin(y, cube.y.values), np.isin(x, cube.x.values)
        part = np.where(seen & (values > 0), values, np.nan)[np.ix_(rows, columns)]
        top = int(np.searchsorted(-cube.y.values, -y[rows][0]))
        left = int(np.searchsorted(cube.x.values, x[columns][0]))
        window = expected[top : top + part.shape[0], left : left + part.shape[1]]
        np.copyto(window, part, where=np.isnan(window) & np.isfinite(part))
    return expected


def test_bursts_become_a_cube_of_their_own_and_its_pixels_are_the_files(few: Few) -> None:
    cube = open_cube(few.cube_of(AREA, "--source", OPERA_RTC))
    assert cube.sizes["timestep"] == 4 and set(cube["source"].values) == {OPERA_RTC}
    assert abs(float(cube.x[1] - cube.x[0])) == 30
    bursts = read_opera_index(few.world.root)
    assert len(bursts) == 4 * 2 + 1  # one was processed again
    own_zone = []
    for index, step in enumerate(cube["timestep"].values):
        expected = mosaic_of_bursts(few.world.root, cube, step)
        found = cube["vv"][index].values
        assert np.isfinite(found).mean() > 0.9
        if expected is not None:
            np.testing.assert_array_equal(found, expected)
            own_zone.append(index)
    assert own_zone == [0, 1, 2]  # the last pass has a burst in the next zone
    assert json.loads(few.command.run("verify", CUBE, "--json"))["problems"] == []
    again = json.loads(few.command.run("build", CUBE, "--no-quicklook", "--json"))
    assert again["new"] is False


def test_an_area_that_says_so_mixes_its_sources_and_each_pass_says_which(few: Few) -> None:
    cube = open_cube(few.cube_of("mixed"))
    assert cube["source"].values.tolist() == [PLANETARY_RTC] * 3 + [OPERA_RTC]
    assert abs(float(cube.x[1] - cube.x[0])) == 30
    assert float(cube["vv_coverage"].min()) > 0.9
    assert any(f"{PLANETARY_RTC} and {OPERA_RTC}" in line for line in cube.attrs["sources"].splitlines())
    # one scene in both: the level of all passes is alike
    medians = [float(np.nanmedian(cube["vv"][index].values)) for index in range(4)]
    assert max(medians) < 2 * min(medians)


def test_troubles_of_the_archive_change_nothing_but_the_time(few: Few, tmp_path: Path) -> None:
    """A result less in the search, an expired login and address, a cut and a damaged file: once each."""
    asf, store, cmr = "sentinel1.asf.*", "*.cloudfront.net", "cmr.*"
    with Sandbox(few.world.root) as sandbox:
        sandbox.add_fault(
            Fault(action="incomplete", host=cmr),
            Fault(action="stale_login", host=asf, method="GET"),
            Fault(action="stale_token", host=asf, method="GET", path="*_VH.tif"),
            Fault(action="cut", host=store, method="GET", path="*_VV.tif"),
            Fault(action="corrupt", host=store, method="GET", path="*_mask.tif", after_bytes=700),
        )
        command = command_for(sandbox, few.world, tmp_path / "data")
        made = json.loads(command.run("build", AREA, "--source", OPERA_RTC, "--no-quicklook", "--json"))
        seen = {one.fault for one in sandbox.log if one.fault}
        assert {one.host for one in sandbox.log} <= HOSTS
    assert {"incomplete", "stale_login", "cut", "corrupt"} <= seen
    found, honest = open_cube(made["uri"]), open_cube(few.cube_of(AREA, "--source", OPERA_RTC))
    for name in ("vv", "vh"):
        np.testing.assert_array_equal(found[name].values, honest[name].values)


def test_a_burst_whose_mask_is_gone_is_left_out_and_the_rest_is_built(few: Few, tmp_path: Path) -> None:
    with Sandbox(few.world.root) as sandbox:
        sandbox.add_fault(Fault(action="status", status=404, path="*IW2_*_mask.tif", times=None))
        command = command_for(sandbox, few.world, tmp_path / "data")
        said = command.run("build", AREA, "--source", OPERA_RTC, "--no-quicklook", code=6)
    assert "Traceback" not in said
    cube = open_cube(tmp_path / "data" / "cubes" / CUBE)
    assert cube.sizes["timestep"] == 4
    assert float(cube["vv_coverage"].max()) < 0.9


def test_without_a_login_no_cube_is_made_and_the_reason_names_it(few: Few, tmp_path: Path) -> None:
    with Sandbox(few.world.root, options=ServerOptions(login="none")) as sandbox:
        command = command_for(sandbox, few.world, tmp_path / "data", NETRC=str(tmp_path / "netrc"))
        said = command.run("build", AREA, "--source", OPERA_RTC, "--no-quicklook", code=5)
    assert "Earthdata" in said and "Traceback" not in said


def test_ten_real_passes_are_read_pixel_by_pixel(shared_data: Path, tmp_path: Path) -> None:
    raw = shared_data / "rtc_enga_opera/tests/test_data/T009_019294_IW2_cropped"
    elsewhere = shared_data / "dem_srtm_big_tujunga/srtm_bigtujunga30m_utm11.tif"
    inventory = shared_data / "inventory_enga_2024"
    name = "papau_new_guinea_landslide_2024.geojson"
    served = {
        "https://inventories.slidecube.example/enga/landslide.geojson": inventory
        / "external_validation_data_db"
        / name,
        "https://inventories.slidecube.example/enga/extent.geojson": inventory
        / "external_validation_data_extents_db"
        / name,
    }
    if not all(path.exists() for path in (raw, elsewhere, *served.values())):
        pytest.skip("real passes of OPERA RTC-S1 are not present beside the checkout")
    sources = FolderSources(opera=(raw,), dem=(elsewhere,), served=served)
    with Sandbox(make_folder_world(sources, tmp_path / "world")) as sandbox:
        command = command_for(sandbox, SmallWorld(AREAS, AREAS), tmp_path / "data")
        made = json.loads(command.run("build", "enga", "--source", OPERA_RTC, "--no-quicklook", "--json"))
    cube = open_cube(made["uri"])
    files = sorted(raw.glob("*_VH_*.tif"))
    assert len(files) == cube.sizes["timestep"] == 10
    for file in files:
        assert 0.3 * 250 * 350 < assert_pixels_are_those_of_the_file(cube, file, "vh") < 0.4 * 250 * 350
    assert set(cube["source"].values) == {OPERA_RTC}
