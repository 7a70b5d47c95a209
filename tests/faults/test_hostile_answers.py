"""Answers that no honest archive gives: each ends in a named error or does no harm, within a bound of seconds.

`slidecube plan` and `slidecube build` run in this process against a small world, of which one host answers as it
should not. Whatever the answer: an exit status of the project's errors with one sentence, or a result that is that of
an honest archive or names what it lacks; no traceback; no secret in the output or sent to another host; nothing
written outside the data folder.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result

from pipeline import errors
from pipeline.archives import inventories
from pipeline.areas.area import load_area
from pipeline.cli import main
from pipeline.cube.read import open_cube
from pipeline.cube.verify import verify_cube
from pipeline.sandbox.earth.parameters import TrackPlan, WorldParameters
from pipeline.sandbox.posing.server import Sandbox
from pipeline.sandbox.world import make_world
from pipeline.settings import settings
from tests.faults.hostile_archive import ANSWERS, ELSEWHERE, MIB, HostileArchive
from tests.faults.outcomes import HARMLESS, note
from tests.faults.outcomes import NAMED as NAMED_ERROR

# filters of warnings are not safe in threads, and the build uses threads
pytestmark = pytest.mark.filterwarnings("default")

AREA = "tiny"
KEY = "subscription-key-that-nobody-may-see"
BOUND_S = 30.0
"""longest that one command may take: some tries of `TIMEOUT_S`, on a loaded machine"""
TIMEOUT_S = 1.0
STAC = "planetarycomputer.microsoft.com"
NAMED = {
    error.exit_code
    for error in vars(errors).values()
    if isinstance(error, type)
    and issubclass(error, errors.SlidecubeError)
    and error is not errors.SlidecubeError
}
"""exit status of the errors that name what is wrong; 1 is that of anything else"""
PARAMETERS = WorldParameters(
    tracks=(TrackPlan(relative_orbit=46, direction="descending", before=1, after=1, incidence_deg=35.9),),
    slices=1,
)


@dataclass
class World:
    """A world, the archive before it, and the cube that an honest archive gives."""

    archive: HostileArchive
    folder: Path
    aoi: Path
    secrets: tuple[str, ...]
    planned: dict[str, Any]
    catalogue: Path
    expected: dict[str, np.ndarray]
    layers: dict[str, str]
    """by digest: the layer's variables"""

    def lacking(self, variable: str, cube: Path) -> None:
        """A copy of the layers that an honest archive gives, without those of one variable and without a version."""
        shutil.copytree(
            self.folder / "honest" / "cubes" / AREA / "layers", cube / "layers", copy_function=os.link
        )
        for digest, variables in self.layers.items():
            if variable in variables.split():
                shutil.rmtree(cube / "layers" / digest)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "aoi").mkdir()
    shipped = yaml.safe_load((Path(__file__).parents[2] / "aoi" / "sandbox.yaml").read_text())
    shipped |= {"name": AREA, "bbox": [142.03, 42.72, 142.042, 42.729]}
    del shipped["interferometry"]
    (folder / "aoi" / f"{AREA}.yaml").write_text(yaml.safe_dump(shipped))
    make_world(load_area(folder / "aoi" / f"{AREA}.yaml"), folder / "world", PARAMETERS)
    with Sandbox(folder / "world") as sandbox, HostileArchive(sandbox.environment) as archive:
        login = Path(sandbox.environment["NETRC"]).read_text().split()
        secrets = (KEY, login[login.index("password") + 1], sandbox.environment["EARTHDATA_TOKEN"])
        with pytest.MonkeyPatch.context() as patch:
            direct(patch, archive, folder, folder / "honest")
            patch.setenv("SLIDECUBE_TIMEOUT_S", "60")
            planned, built = (run(command, AREA, "--json") for command in ("plan", "build"))
            assert (planned.exit_code, built.exit_code) == (0, 0), planned.output + built.output
        cube = open_cube(json.loads(built.stdout)["uri"])
        expected = {str(name): cube[name].values for name in cube.data_vars}
        manifest = json.loads((Path(cube.encoding["source"]) / "manifest.json").read_text())
        layers = {key: " ".join(each["recipe"]["variables"]) for key, each in manifest["records"].items()}
        snapshot = next((folder / "honest" / "cubes" / AREA / "catalogues").glob("*.json"))
        found = tuple(filter(None, secrets))
        plan = json.loads(planned.stdout)
        yield World(archive, folder, folder / "aoi", found, plan, snapshot, expected, layers)
    settings.cache_clear()


def direct(patch: pytest.MonkeyPatch, archive: HostileArchive, folder: Path, data: Path) -> None:
    """Direct this process to the archive, with short waits and a key."""
    for name, value in archive.environment.items():
        patch.setenv(name, value)
    own = {
        "AOI_DIR": str(folder / "aoi"), "DATA_DIR": str(data), "SEARCH_INTERVAL_S": "0", "BACKOFF_S": "0.01",
        "TIMEOUT_S": str(TIMEOUT_S), "RETRIES": "1", "SUBSCRIPTION_KEY": KEY,
    }  # fmt: skip
    for name, value in own.items():
        patch.setenv(f"SLIDECUBE_{name}", value)
    settings.cache_clear()


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


@pytest.fixture
def work(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder; the data folder is in it."""
    (tmp_path / "work").mkdir()
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(inventories, "MOST_BYTES", 64 * MIB)
    direct(monkeypatch, world.archive, world.folder, tmp_path / "work" / "data")
    yield tmp_path / "work"
    world.archive.honest()
    settings.cache_clear()


def files(folder: Path) -> set[str]:
    return {os.path.relpath(path, folder) for path in folder.rglob("*")}


def harmless(world: World, work: Path, *words: str) -> Result:
    """The command's end, which is a named error or a success, soon, without a secret, and written nowhere else."""
    elsewhere = files(world.folder)
    began = time.monotonic()
    # a timeout of pytest ends no thread of the build; without their connections they end by themselves
    limit = threading.Timer(BOUND_S + 5, world.archive.hang_up)
    limit.start()
    result = run(*words)
    limit.cancel()
    took_s = time.monotonic() - began
    told = "".join(traceback.format_exception(*result.exc_info)) if result.exc_info else ""
    assert result.exit_code in NAMED | {0}, f"{result.exit_code}\n{result.output}\n{told}"
    assert took_s < BOUND_S
    assert "Traceback" not in result.output
    if result.exit_code:
        (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
        assert len(line) < 2000
    kept = [path.read_bytes() for path in work.rglob("*") if path.is_file()]
    for secret in world.secrets:
        assert secret not in result.output
        assert not any(secret.encode() in content for content in kept)
        for request in world.archive.seen:
            if request["host"] == ELSEWHERE:
                assert secret not in json.dumps(request)
    assert files(world.folder) == elsewhere
    note(NAMED_ERROR if result.exit_code else HARMLESS)
    assert {path.name for path in work.iterdir()} <= {"data"}
    assert not list((work.parent / "home").iterdir())
    return result


def is_honest_or_named(world: World, work: Path) -> None:
    """What the cube holds is what the archive holds, or it is named as missing; no byte of an answer is in it."""
    root = work / "data" / "cubes" / AREA
    if not (root / "latest").exists():
        return
    verdict = verify_cube(root)
    assert verdict.sound, verdict.problems
    cube = open_cube(root)
    manifest = json.loads((Path(cube.encoding["source"]) / "manifest.json").read_text())
    for name, whole in world.expected.items():
        if name not in cube or cube[name].shape != whole.shape:
            assert manifest["missing"], name
            continue
        found = cube[name].values
        if not np.array_equal(found, whole, equal_nan=found.dtype.kind == "f"):
            assert manifest["missing"], name
            assert not np.isfinite(found[~np.isclose(found, whole, equal_nan=True)]).any(), name


OF_JSON = {name for name in ANSWERS if name.startswith("json-")}


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_search(world: World, work: Path, answer: str) -> None:
    world.archive.answers(answer, host=STAC, path="*/search")
    result = harmless(world, work, "plan", AREA, "--json")
    if result.exit_code == 0:
        assert json.loads(result.stdout) == world.planned | {"cube": str(work / "data" / "cubes" / AREA)}


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_token(world: World, work: Path, answer: str) -> None:
    """All other layers exist, so that the build needs the token for one file and publishes."""
    world.lacking("vv", work / "data" / "cubes" / AREA)
    world.archive.answers(answer, host=STAC, path="/api/sas/*")
    harmless(world, work, "build", AREA, "--json", "--no-quicklook", "--catalogue", str(world.catalogue))
    is_honest_or_named(world, work)


@pytest.mark.parametrize("answer", [name for name in ANSWERS if name not in OF_JSON])
@pytest.mark.parametrize(
    ("host", "path", "variable"),
    [
        ("sentinel1euwestrtc.blob*", "*vv.rtc.tiff", "vv"),
        ("nasademeuwest.blob*", "*.tif", "dem"),
        ("inventories.*", "*", "landslides"),
    ],
    ids=["backscatter", "elevation", "inventory"],
)
def test_a_file(world: World, work: Path, host: str, path: str, variable: str, answer: str) -> None:
    """All other layers exist, so that the build reads this file and publishes."""
    world.lacking(variable, work / "data" / "cubes" / AREA)
    world.archive.answers(answer, host=host, path=path)
    harmless(world, work, "build", AREA, "--json", "--catalogue", str(world.catalogue))
    is_honest_or_named(world, work)


def test_an_honest_archive_gives_the_cube(world: World, work: Path) -> None:
    """What the other tests compare with: no answer, and only the layers of one variable are read."""
    world.lacking("vv", work / "data" / "cubes" / AREA)
    world.archive.honest()
    assert harmless(world, work, "build", AREA, "--catalogue", str(world.catalogue)).exit_code == 0
    is_honest_or_named(world, work)
    read = [request["path"].split("?")[0] for request in world.archive.seen if request["method"] == "GET"]
    rasters = {path.rsplit("/", 1)[1] for path in read if path.endswith((".tiff", ".tif"))}
    assert rasters == {"iw-vv.rtc.tiff"}
