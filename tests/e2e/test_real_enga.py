"""Ten real passes of OPERA RTC-S1 and a real landslide, served by the archive from their folders.

Two stacks of the same dates: as processed (VH alone, two thirds of it without data) and despeckled (VV and VH,
smaller). All dates precede the landslide.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
import xarray as xr
from matplotlib.colors import to_rgb

from pipeline.cube.cube_quicklook import NO_DATA, draw
from pipeline.cube.read import open_cube
from pipeline.sandbox.folder_world import FolderSources, make_folder_world
from pipeline.sandbox.posing.server import Sandbox
from tests.e2e.conftest import Command, SmallWorld, command_for

AREA = "enga"
AREAS = Path(__file__).parent / "areas"
INVENTORIES = "https://inventories.slidecube.example/enga"
FLOWS = """
from prefect.client.orchestration import get_client
from flows.build_datacube import build_datacube
from flows.serving.deployments import make_limits
from flows.train_model import train_model
from pipeline.places import cube_root
from pipeline.settings import settings

with get_client(sync_client=True) as client:
    make_limits(client)
for run in (build_datacube("enga", return_state=True),
            train_model(str(cube_root("enga")), return_state=True)):
    print(f"{run.name}: {run.message}")
"""
"""the flows themselves, on a server that Prefect starts for them and ends after them"""
LATE = "20240311"
"""day of the pass whose VV reaches the archive later"""


@dataclass
class Real:
    """The recorded files."""

    raw: Path
    despeckled: Path
    landslide: Path
    extent: Path
    elsewhere: Path
    """an elevation tile of another continent: the archive has the collection, and nothing of it here"""

    def sources(self, *rtc: Path) -> FolderSources:
        served = {
            f"{INVENTORIES}/landslide.geojson": self.landslide,
            f"{INVENTORIES}/extent.geojson": self.extent,
        }
        return FolderSources(rtc=rtc, dem=(self.elsewhere,), served=served)


@dataclass
class Built:
    """A cube, the JSON of `slidecube build --json`, and the command that still reaches its archive."""

    command: Command
    report: dict[str, Any]

    @property
    def cube(self) -> xr.Dataset:
        return open_cube(self.report["uri"])


@pytest.fixture(scope="module")
def real(shared_data: Path) -> Real:
    passes = shared_data / "rtc_enga_opera/tests/test_data"
    inventory, name = shared_data / "inventory_enga_2024", "papau_new_guinea_landslide_2024.geojson"
    found = Real(
        raw=passes / "T009_019294_IW2_cropped",
        despeckled=passes / "T009_019294_IW2_cropped_tv",
        landslide=inventory / "external_validation_data_db" / name,
        extent=inventory / "external_validation_data_extents_db" / name,
        elsewhere=shared_data / "dem_srtm_big_tujunga/srtm_bigtujunga30m_utm11.tif",
    )
    absent = [path.relative_to(shared_data) for path in vars(found).values() if not path.exists()]
    if absent:
        pytest.skip(f"real recorded data not present beside the checkout: {', '.join(map(str, absent))}")
    return found


def built(sandbox: Sandbox, data: Path) -> Built:
    command = command_for(sandbox, SmallWorld(AREAS, AREAS), data)
    return Built(command, json.loads(command.run("build", AREA, "--json")))


@pytest.fixture(scope="module")
def raw(real: Real, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    folder = tmp_path_factory.mktemp("raw")
    with Sandbox(make_folder_world(real.sources(real.raw), folder / "world")) as sandbox:
        yield built(sandbox, folder / "data")


@pytest.fixture(scope="module")
def despeckled(real: Real, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Built, Built]]:
    """The cube before and after the VV file of one pass came to the archive."""
    folder = tmp_path_factory.mktemp("despeckled")
    early = [path for path in sorted(real.despeckled.glob("*.tif")) if f"_{LATE}T" not in path.name]
    early += sorted(real.despeckled.glob(f"*_{LATE}T*_VH_*.tif"))
    with Sandbox(make_folder_world(real.sources(*early), folder / "early")) as sandbox:
        first = built(sandbox, folder / "data")
    with Sandbox(make_folder_world(real.sources(real.despeckled), folder / "whole")) as sandbox:
        yield first, built(sandbox, folder / "data")


def start_of(file: Path) -> np.datetime64:
    """The start of the pass as OPERA's file name has it."""
    text = file.name.split("_")[4]
    return np.datetime64(f"{text[:4]}-{text[4:6]}-{text[6:8]}T{text[9:11]}:{text[11:13]}:{text[13:15]}", "us")


def assert_pixels_are_those_of_the_file(cube: xr.Dataset, file: Path, polarisation: str) -> int:
    """Bit for bit at the same coordinates, NaN where the file has no data and beyond it; how many are valid."""
    with rasterio.open(file) as source:
        values, at = source.read(1), source.transform
    y, x = at.f + at.e * (np.arange(values.shape[0]) + 0.5), at.c + at.a * (np.arange(values.shape[1]) + 0.5)
    layer = cube[polarisation].sel(timestep=start_of(file)).load()
    ours = layer.sel(y=y, x=x).values
    valid = np.isfinite(values) & (values > 0)
    assert np.array_equal(np.isfinite(ours), valid)
    assert np.array_equal(ours[valid].view(np.uint32), values[valid].view(np.uint32))
    assert np.isnan(ours[~valid]).all()
    assert int(np.isfinite(layer.values).sum()) == int(valid.sum())
    return int(valid.sum())


def test_raw_pixels_are_those_of_the_files(raw: Built, real: Real) -> None:
    files = sorted(real.raw.glob("*_VH_*.tif"))
    assert len(files) == 10
    for index, file in enumerate(files):
        valid = assert_pixels_are_those_of_the_file(raw.cube, file, "vh")
        assert 0.3 * 250 * 350 < valid < 0.4 * 250 * 350
        assert float(raw.cube["vh_coverage"][index]) == valid / raw.cube["vh"][0].size


def test_despeckled_pixels_are_those_of_the_files(despeckled: tuple[Built, Built], real: Real) -> None:
    cube = despeckled[1].cube
    for polarisation in ("vv", "vh"):
        files = sorted(real.despeckled.glob(f"*_{polarisation.upper()}_*.tif"))
        assert len(files) == 10
        for file in files:
            assert assert_pixels_are_those_of_the_file(cube, file, polarisation) == 100 * 150


def test_instants_track_direction_and_platform_are_the_files(
    raw: Built, despeckled: tuple[Built, Built], real: Real
) -> None:
    for cube, folder in ((raw.cube, real.raw), (despeckled[1].cube, real.despeckled)):
        starts = sorted(start_of(file) for file in folder.glob("*_VH_*.tif"))
        assert np.array_equal(cube["timestep"].values, np.array(starts))
        assert set(cube["relative_orbit"].values.tolist()) == {9}
        assert set(cube["platform"].values.tolist()) == {"sentinel-1a"}
        # the evening pass at this place
        assert set(cube["sat:orbit_state"].values.tolist()) == {"ascending"}
        # ESA's relation for Sentinel-1A, whose repeat of 12 days is 175 orbits
        orbits = cube["absolute_orbit"].values
        assert set(((orbits - 73) % 175 + 1).tolist()) == {9}
        days = np.diff(cube["timestep"].values) / np.timedelta64(1, "D")
        assert np.diff(orbits).tolist() == [round(d / 12) * 175 for d in days]


def test_a_polarisation_that_no_pass_has_is_absent_and_named(raw: Built) -> None:
    assert "vv" not in raw.cube
    assert "vv_coverage" not in raw.cube.coords
    assert "vv: no pass has it" in raw.report["missing"]
    assert raw.report["missing"] == raw.cube.attrs["missing"].splitlines()


def test_a_polarisation_that_a_pass_lacks_is_nan_until_it_comes(
    despeckled: tuple[Built, Built], real: Real
) -> None:
    first, second = despeckled
    cube = first.cube
    lacking = [f"{LATE[:4]}-{LATE[4:6]}-{LATE[6:]}" in str(t) for t in cube["timestep"].values]
    assert sum(lacking) == 1
    assert np.isnan(cube["vv"].values[lacking]).all()
    assert cube["vv_coverage"].values[lacking].tolist() == [0]
    assert (cube["vv_coverage"].values[~np.array(lacking)] > 0).all()
    assert (cube["vh_coverage"].values > 0).all()
    (line,) = [line for line in first.report["missing"] if line.startswith("vv: ")]
    assert str(cube["pass_id"].values[lacking][0]) in line and "NaN, coverage 0" in line
    for file in real.despeckled.glob("*_VV_*.tif"):
        if f"_{LATE}T" not in file.name:
            assert_pixels_are_those_of_the_file(cube, file, "vv")

    assert (first.report["version"], second.report["version"]) == (1, 2)
    assert second.report["layers_built"] == 1
    assert not [line for line in second.report["missing"] if line.startswith("vv")]


def test_without_an_elevation_tile_the_cube_stands_and_says_so(raw: Built) -> None:
    assert raw.report["failed"] == []
    assert "terrain: nasadem has no tile here" in raw.report["missing"]
    assert not [name for name in raw.cube.data_vars if str(name).startswith("dem")]
    planned = json.loads(raw.command.run("plan", AREA, "--json"))
    assert planned["missing"] == raw.report["missing"]
    assert [row["layer"] for row in planned["layers"]] == ["labels from Enga landslide, dist-s1-events"]


def test_labels_are_the_polygon_inside_the_mapped_extent(raw: Built, real: Real) -> None:
    cube = raw.cube
    landslide = gpd.read_file(real.landslide).to_crs(32754).union_all()
    extent = gpd.read_file(real.extent).to_crs(32754).union_all()
    x, y = np.meshgrid(cube["x"].values, cube["y"].values)
    mapped = shapely.contains_xy(extent, x, y)
    assert 0 < mapped.sum() < mapped.size
    fraction = cube["landslide_fraction"].values
    assert np.array_equal(np.isfinite(fraction), mapped)
    assert np.nansum(fraction, dtype=np.float64) * 30**2 == pytest.approx(landslide.area, rel=1e-6)
    labels = cube["landslides"].values
    assert np.array_equal(np.isfinite(labels), mapped)
    assert np.array_equal(labels == 1, shapely.contains_xy(landslide, x, y))
    assert np.array_equal(cube["landslide_id"].values > 0, fraction > 0)
    table = gpd.read_parquet(Path(raw.report["uri"]) / "landslides.parquet")
    assert table["source_id"].tolist() == ["Al Handwerger derived from Planet 3m"]


def test_it_is_sound_and_a_second_build_does_nothing(raw: Built) -> None:
    assert "sound" in raw.command.run("verify", AREA)
    again = json.loads(raw.command.run("build", AREA, "--json"))
    assert (again["version"], again["new"], again["layers_built"]) == (1, False, 0)
    assert again["missing"] == raw.report["missing"]


def test_both_versions_of_the_despeckled_cube_are_sound(despeckled: tuple[Built, Built]) -> None:
    first, second = despeckled
    for report in (first.report, second.report):
        assert "sound" in second.command.run("verify", report["uri"])


def test_its_picture_tells_what_is_there_and_what_is_not(raw: Built) -> None:
    labels, first, *_ = draw(raw.cube).axes
    assert labels.get_title() == "mapped extent and landslides"
    assert first.get_title() == "vh 2024-01-23 08:47\ntrack 9 asc., before"
    (image,) = first.images
    painted = image.to_rgba(image.get_array())[..., :3]
    step = -(-raw.cube.sizes["y"] // painted.shape[0])
    absent = np.isnan(raw.cube["vh"][0, ::step, ::step].values)
    assert np.array_equal((painted == to_rgb(NO_DATA)).all(axis=-1), absent)


@pytest.mark.parametrize("words", [("train", AREA), ("map", "--log-ratio", AREA)], ids=["train", "map"])
def test_training_and_mapping_refuse_a_cube_without_a_pass_after_the_event(
    raw: Built, words: tuple[str, ...]
) -> None:
    output = raw.command.run(*words, code=7)
    assert (
        "no pass after the event (2024-05-24T14:00:00+00:00); its newest pass is of 2024-05-22T08:47:48"
        in output
    )
    assert not (raw.command.data / "models" / AREA).exists()
    assert not (raw.command.data / "maps" / AREA).exists()


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.slow
def test_the_flows_make_the_same_bytes_and_end_by_name(raw: Built, tmp_path: Path) -> None:
    environment = {k: v for k, v in raw.command.environment.items() if not k.startswith("PREFECT_")}
    environment |= {
        "SLIDECUBE_DATA_DIR": str(tmp_path / "data"),
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", FLOWS],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    published, refused = done.stdout.strip().splitlines()[-2:]
    assert published.startswith("Completed: Published enga version 1")
    assert published.endswith("Missing: terrain: nasadem has no tile here; vv: no pass has it.")
    assert refused.startswith("Refused: ") and "no pass after the event" in refused
    assert files_of(tmp_path / "data/cubes/enga/versions/1.zarr") == files_of(Path(raw.report["uri"]))
    why = json.loads((tmp_path / "data/models/enga/v1.refused.json").read_text())
    assert set(why) == {"model", "map"} and all("no pass after the event" in words for words in why.values())
