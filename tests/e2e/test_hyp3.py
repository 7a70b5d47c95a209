"""A cube whose pair HyP3 made, from the plan with its credits to the cube, against the sandbox."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

from pipeline.areas.area import load_area
from pipeline.cube.read import open_cube
from pipeline.cube.verify import verify_cube
from pipeline.sandbox.earth.parameters import SlcPlan, TrackPlan, WorldParameters
from pipeline.sandbox.posing.faults import Fault
from pipeline.sandbox.posing.server import Sandbox
from pipeline.sandbox.posing.server_options import ServerOptions
from pipeline.sandbox.world import make_world
from tests.e2e.conftest import AREA, Command, SmallWorld, command_for

pytestmark = pytest.mark.slow

PAIR = "20180824_20180905"
SERVICE = "hyp3-api.asf.alaska.edu"
PARAMETERS = WorldParameters(
    tracks=(TrackPlan(relative_orbit=46, direction="descending", before=2, after=1, incidence_deg=35.9),),
    slices=1,
    missing_pass=False,
    partial_pass=False,
    slc=SlcPlan(before=1, after=1, bursts=1),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> SmallWorld:
    """Two passes of single look complex data, of one burst, over 2 km."""
    folder = tmp_path_factory.mktemp("hyp3")
    (folder / "aoi").mkdir()
    shipped = yaml.safe_load((Path(__file__).parents[2] / "aoi" / "sandbox.yaml").read_text())
    shipped |= {"name": AREA, "bbox": [142.03, 42.72, 142.055, 42.738], "title": "Small"}
    path = folder / "aoi" / f"{AREA}.yaml"
    path.write_text(yaml.safe_dump(shipped))
    make_world(load_area(path), folder / "world", PARAMETERS)
    return SmallWorld(folder / "world", folder / "aoi")


@pytest.fixture(scope="module")
def archives(world: SmallWorld) -> Iterator[Sandbox]:
    options = ServerOptions(hyp3_job_s=0.5, hyp3_credits=3.0)
    with Sandbox(world.root, options=options) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def command(world: SmallWorld, archives: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Command:
    more = {"SLIDECUBE_INSAR_BACKEND": "hyp3", "SLIDECUBE_HYP3_POLL_S": "0.2"}
    return command_for(archives, world, tmp_path_factory.mktemp("data"), **more)


def paid(archives: Sandbox) -> int:
    """Submissions since the log was emptied."""
    return sum(seen.method == "POST" and seen.host == SERVICE for seen in archives.log)


def test_a_cube_with_a_pair_of_hyp3(command: Command, archives: Sandbox) -> None:
    planned = json.loads(command.run("plan", AREA, "--json"))
    assert [pair["credits"] for pair in planned["pairs"]] == [1.0]
    costs = planned["interferometry"]
    assert (costs["backend"], costs["credits"], costs["credits_left"]) == ("hyp3", 1.0, 3.0)
    assert "credits: at most 1 at HyP3, of 3 that are left" in command.run("plan", AREA)
    assert paid(archives) == 0

    archives.add_fault(Fault(action="no_credits", host=SERVICE, path="/user", times=None))
    cut = command.run("build", AREA, "--json", code=6)
    assert "0 are left" in cut and paid(archives) == 0, "the rest of the cube is built"
    archives.reset()
    built = json.loads(command.run("build", AREA, "--json"))
    assert built["version"] == 2 and not [line for line in built["missing"] if "pair" in line]
    assert paid(archives) == 1
    fetched = [seen.host for seen in archives.log if "burst" in seen.host or "orbits" in seen.host]
    assert not fetched, "HyP3 fetches them"
    verdict = verify_cube(command.cube)
    assert verdict.sound, verdict.problems

    with open_cube(command.cube) as cube:
        assert cube["timepair"].values.tolist() == [PAIR]
        assert cube["timepair_backend"].values.tolist() == ["hyp3"]
        coherence = cube["coherence"].isel(timepair=0).values
        assert np.isfinite(coherence).mean() > 0.9 and np.nanstd(coherence) > 0.02
        assert "phsig" in cube["coherence"].attrs["coherence"]
        manifest = json.loads((Path(cube.encoding["source"]) / "manifest.json").read_text())
    records = [r for r in manifest["records"].values() if r["recipe"]["kind"] == "interferometry"]
    (part,) = records[0]["report"]["parts"]
    assert part["parameters"]["service_job"] and part["versions"]["hyp3_isce2"]

    archives.reset()
    again = json.loads(command.run("build", AREA, "--json"))
    assert (again["new"], paid(archives)) == (False, 0)


def test_a_second_machine_pays_nothing(
    command: Command, world: SmallWorld, archives: Sandbox, tmp_path: Path
) -> None:
    elsewhere = {
        name: value
        for name, value in command.environment.items()
        if name.startswith(("SLIDECUBE_INSAR", "SLIDECUBE_HYP3"))
    }
    other = command_for(archives, world, tmp_path / "data", **elsewhere)
    archives.reset()
    built = json.loads(other.run("build", AREA, "--json"))
    assert built["version"] == 1 and not [line for line in built["missing"] if "pair" in line]
    assert paid(archives) == 0
