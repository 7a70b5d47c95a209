"""Simulated pairs from the search at ASF into the cube, in-process: coherence and phase against the truth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr
import yaml
from numpy.typing import NDArray
from scipy import ndimage

from flows.serving.limits import INTERFEROMETRY
from pipeline.areas.area import load_area
from pipeline.cube.read import open_cube
from pipeline.cube.verify import verify_cube
from pipeline.sandbox.earth.parameters import SlcPlan, TrackPlan, WorldParameters
from pipeline.sandbox.posing.faults import Fault
from pipeline.sandbox.posing.server import Sandbox
from pipeline.sandbox.world import make_world
from tests.e2e.conftest import AREA, Command, SmallWorld, command_for
from tests.e2e.prefect_server import site_before
from tests.e2e.test_build import tree

pytestmark = pytest.mark.slow

WAVELENGTH_M = 299_792_458 / 5.405000454e9
PAIRS = ["20180812_20180824", "20180824_20180905"]
"""the second one holds the event"""
PARAMETERS = WorldParameters(
    tracks=(TrackPlan(relative_orbit=46, direction="descending", before=3, after=1, incidence_deg=35.9),),
    slices=1,
    missing_pass=False,
    partial_pass=False,
    slc=SlcPlan(before=2, after=1, bursts=2),
)


@pytest.fixture(scope="module")
def slc_world(tmp_path_factory: pytest.TempPathFactory) -> SmallWorld:
    """Three passes of single look complex data, of two bursts, over 2.5 km."""
    pytest.importorskip("insardev_pygmtsar", reason="the in-process processor is not installed")
    folder = tmp_path_factory.mktemp("slc")
    aoi_dir = folder / "aoi"
    aoi_dir.mkdir()
    shipped = yaml.safe_load((Path(__file__).parents[2] / "aoi" / "sandbox.yaml").read_text())
    shipped |= {"name": AREA, "bbox": [142.03, 42.72, 142.06, 42.742], "title": "Small"}
    (aoi_dir / f"{AREA}.yaml").write_text(yaml.safe_dump(shipped))
    make_world(load_area(aoi_dir / f"{AREA}.yaml"), folder / "world", PARAMETERS)
    return SmallWorld(folder / "world", aoi_dir)


@pytest.fixture(scope="module")
def archives(slc_world: SmallWorld) -> Iterator[Sandbox]:
    with Sandbox(slc_world.root) as sandbox:
        yield sandbox


def from_asf(archives: Sandbox) -> list[str]:
    """What was asked of ASF's stores since the log was emptied."""
    return [entry.path for entry in archives.log if "burst" in entry.host or "orbits" in entry.host]


class Built:
    """The output of the builds, and the data folder."""

    def __init__(self, command: Command, archives: Sandbox) -> None:
        self.command = command
        self.planned = json.loads(command.run("plan", AREA, "--json"))
        # the newest pass cannot be had at first
        newest = "*20180905*"
        archives.add_fault(
            Fault(action="status", host="sentinel1-burst*", path=newest, status=404, times=None)
        )
        self.cut = command.run("build", AREA, "--json", code=6)
        self.cut_pairs = open_cube(command.cube)["timepair"].values.tolist()
        archives.reset()
        process = command.start("-v", "build", AREA, "--json")
        self.out, self.log = process.communicate(timeout=300)
        assert process.returncode == 0, self.log
        self.fetched = from_asf(archives)
        self.healed = json.loads(self.out)


@pytest.fixture(scope="module")
def built(slc_world: SmallWorld, archives: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Built:
    data = tmp_path_factory.mktemp("data")
    return Built(command_for(archives, slc_world, data, SLIDECUBE_INSAR_BACKEND="pygmtsar"), archives)


@pytest.fixture(scope="module")
def cube(built: Built) -> Iterator[xr.Dataset]:
    with open_cube(built.command.cube) as opened:
        yield opened


def truth(world: SmallWorld, name: str, cube: xr.Dataset) -> NDArray[Any]:
    """(y, x) of a truth raster on the cube's pixels."""
    with rasterio.open(world.root / "truth" / f"{name}.tif") as file:
        column, row = ~file.transform @ (float(cube.x[0]), float(cube.y[0]))
        top, left = round(row - 0.5), round(column - 0.5)
        assert (row, column) == (top + 0.5, left + 0.5), "one lattice"
        return file.read(1)[top : top + cube.sizes["y"], left : left + cube.sizes["x"]]


def test_the_plan_tells_pairs_costs_and_login(built: Built) -> None:
    pairs = built.planned["pairs"]
    assert [pair["pair"] for pair in pairs] == [f"T046_{name}" for name in PAIRS]
    assert [pair["when"] for pair in pairs] == ["before-before", "before-after"]
    assert all(len(pair["bursts"]) == 2 and pair["days"] == 12.0 for pair in pairs)
    assert all(20 < abs(pair["perpendicular_baseline_m"]) < 120 for pair in pairs)
    assert not any(pair["held"] for pair in pairs)
    assert built.planned["interferometry"]["fetch_bytes"] < sum(pair["fetch_bytes"] for pair in pairs)


def test_a_pair_that_cannot_be_fetched_is_named_and_the_rest_is_built(built: Built) -> None:
    assert built.cut_pairs == PAIRS[:1]
    assert f"pair T046_{PAIRS[1]}: left out" in built.cut
    assert built.healed["version"] == 2
    assert not [line for line in built.healed["missing"] if "pair" in line]
    assert any("20180905" in path for path in built.fetched)
    assert not [path for path in built.fetched if "20180812" in path], "what was there is not fetched again"


def test_no_login_is_told(built: Built, archives: Sandbox) -> None:
    words = set(Path(archives.environment["NETRC"]).read_text().split())
    secret = archives.environment.get("EARTHDATA_TOKEN", "")
    output = built.cut + built.out + built.log
    password = max(words - {"machine", "login", "password", "urs.earthdata.nasa.gov"}, key=len)
    assert password not in output
    assert not secret or secret not in output


def test_the_cube_is_whole_and_a_second_build_does_nothing(built: Built, archives: Sandbox) -> None:
    verdict = verify_cube(built.command.cube)
    assert verdict.sound, verdict.problems
    archives.reset()
    again = json.loads(built.command.run("build", AREA, "--json"))
    assert (again["new"], again["version"]) == (False, 2)
    assert from_asf(archives) == []


def test_pairs_have_their_coordinates(cube: xr.Dataset) -> None:
    assert cube["timepair"].values.tolist() == PAIRS
    assert cube["timepair_relative_orbit"].values.tolist() == [46, 46]
    assert cube["timepair_backend"].values.tolist() == ["pygmtsar"] * 2
    days = (cube["timepair_end"] - cube["timepair_start"]) / np.timedelta64(1, "D")
    np.testing.assert_allclose(days, 12, atol=1e-3)
    assert np.isfinite(cube["perpendicular_baseline_m"]).all()
    assert cube["coherence_coverage"].values.tolist() == [1.0, 1.0]
    manifest = json.loads((Path(cube.encoding["source"]) / "manifest.json").read_text())
    parts = [
        record["report"]["parts"][0]
        for record in manifest["records"].values()
        if record["recipe"]["kind"] == "interferometry"
    ]
    assert all(len(part["bursts"]) == 2 and "insardev_pygmtsar" in part["versions"] for part in parts)
    assert {part["orbits"]["secondary"] for part in parts} == {"precise", "restituted"}


@pytest.mark.parametrize("pair", PAIRS)
def test_coherence_is_the_truth_where_it_can_be_seen(
    slc_world: SmallWorld, cube: xr.Dataset, pair: str
) -> None:
    true = truth(slc_world, f"coherence_T046_{pair}", cube)
    found = cube["coherence"].sel(timepair=pair).values
    # away from edges, which the estimator's window and the warping mix
    high, low = (
        ndimage.binary_erosion(where, iterations=3) for where in (true > 0.55, (true > 0.1) & (true < 0.25))
    )
    assert min(high.sum(), low.sum()) > 500
    error = float((found[high] - true[high]).mean())
    above = float((found[high] > np.median(found[low])).mean())
    correlation = float(np.corrcoef(found.ravel(), true.ravel())[0, 1])
    print(
        f"{pair}: {high.sum()} pixels above 0.55: found - true {error:+.3f}, {100 * above:.1f} % above the median of "
        f"forest ({np.median(found[low]):.3f} for {np.median(true[low]):.3f}); correlation {correlation:.3f}"
    )
    assert abs(error) < 0.05
    assert above > 0.97
    assert correlation > 0.35


def test_coherence_falls_over_fresh_slides_and_clearings(slc_world: SmallWorld, cube: xr.Dataset) -> None:
    before, event = (truth(slc_world, f"coherence_T046_{pair}", cube) for pair in PAIRS)
    lost = ndimage.binary_erosion((before > 0.4) & (event < 0.05), iterations=1)
    change = cube["coherence"].values[1] - cube["coherence"].values[0]
    kept = ndimage.binary_erosion((before > 0.4) & (event > 0.4), iterations=1)
    fell, stayed = float(change[lost].mean()), float(change[kept].mean())
    print(f"change over {lost.sum()} lost pixels {fell:+.3f}, over {kept.sum()} kept {stayed:+.3f}")
    assert fell < -0.15
    assert abs(stayed) < 0.03


@pytest.mark.parametrize(("pair", "moved"), list(zip(PAIRS, (False, True), strict=True)))
def test_phase_is_the_displacement(slc_world: SmallWorld, cube: xr.Dataset, pair: str, moved: bool) -> None:
    """Flat where nothing moved; where the ground moved d towards the sensor, -4 pi d / wavelength."""
    displacement = truth(slc_world, "displacement_los_m_T046", cube)
    steady = truth(slc_world, f"coherence_T046_{pair}", cube) > 0.4
    expected = -4 * np.pi / WAVELENGTH_M * displacement * moved
    phasor = np.exp(1j * (cube["interferogram"].sel(timepair=pair).values - expected))[steady]
    raw = np.exp(1j * cube["interferogram"].sel(timepair=pair).values)[steady]
    mean, spread = float(np.angle(phasor.mean())), float(np.std(np.angle(phasor * np.conj(phasor.mean()))))
    print(
        f"{pair}: {steady.sum()} pixels: phase - truth {mean:+.3f} rad, sd {spread:.2f} rad, "
        f"length of the mean phasor {abs(phasor.mean()):.3f} ({abs(raw.mean()):.3f} with the displacement in it)"
    )
    assert abs(mean) < 0.1
    assert abs(phasor.mean()) > 0.75
    if moved:
        assert np.ptp(expected) > 2 * np.pi, "more than a fringe"
        assert abs(raw.mean()) < 0.6


def test_the_look_geometry_is_that_of_the_track(cube: xr.Dataset) -> None:
    assert cube["track"].values.tolist() == [46]
    incidence = cube["local_incidence_deg"].sel(track=46).values
    slope = np.degrees(cube["dem_slope_radians"].values)
    flat = slope < 3
    print(f"local incidence on {flat.sum()} level pixels: {incidence[flat].mean():.2f} degrees")
    assert np.isfinite(incidence).all()
    assert abs(float(incidence[flat].mean()) - 35.9) < 1
    assert np.abs(incidence - 35.9).max() < slope.max() + 5


def test_the_flow_builds_pairs_as_tasks_of_their_own_with_the_same_bytes(
    slc_world: SmallWorld, archives: Sandbox, built: Built, tmp_path: Path
) -> None:
    archives.reset()
    with site_before(archives, slc_world.aoi_dir, tmp_path, SLIDECUBE_INSAR_BACKEND="pygmtsar") as site:
        run = site.run("build-datacube", aoi=AREA)
        assert run.state is not None
        assert run.state.is_completed(), run.state.message
        names = [task.name for task in site.tasks(run)]
        assert sorted(name for name in names if name.startswith("pair")) == [f"pair T046_{p}" for p in PAIRS]
        assert "look geometry of track 46" in names
        rows = json.loads(site.artifact(f"passes-{AREA}"))
        assert [row["kind"] for row in rows] == ["pass"] * 4 + ["pair, wanted"] * 2
        with site.client() as client:
            assert client.read_global_concurrency_limit_by_name(INTERFEROMETRY).limit == 1
        found = tree(Path(site.version(AREA, 1)))
    expected = tree(built.command.cube / "versions" / "2.zarr")
    assert [key for key in sorted(expected) if found.get(key) != expected[key]] == []
