"""A small simulated world behind the real host names, shared by the end-to-end tests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from pipeline.areas.area import load_area
from pipeline.sandbox.earth.parameters import TrackPlan, WorldParameters
from pipeline.sandbox.posing.server import Sandbox
from pipeline.sandbox.world import make_world

AREA = "small"
PARAMETERS = WorldParameters(
    tracks=(
        TrackPlan(relative_orbit=46, direction="descending", before=4, after=2, incidence_deg=35.9),
        TrackPlan(
            relative_orbit=68, direction="ascending", before=2, after=1, incidence_deg=38.6, offset_days=3
        ),
    ),
    slices=2,
)


@dataclass
class SmallWorld:
    """A finished world, the folder of its area file, and the files kept for one test run."""

    root: Path
    aoi_dir: Path

    def without(self, target: Path, *fragments: str) -> Path:
        """A copy (by hard link) that hides the items whose name holds one of `fragments`."""
        shutil.copytree(self.root, target, copy_function=os.link)
        path = target / "world.json"
        document = json.loads(path.read_text())
        document["order"] = [name for name in document["order"] if not any(f in name for f in fragments)]
        path.unlink()
        path.write_text(json.dumps(document))
        return target


@dataclass
class Command:
    """`slidecube` as a user runs it, led to a sandbox."""

    environment: dict[str, str]
    data: Path
    extra: dict[str, str] = field(default_factory=dict)

    def start(self, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.e2e.slidecube", *words]
        return subprocess.Popen(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def run(self, *words: str, code: int = 0) -> str:
        """Standard output; the exit status must be `code`."""
        process = self.start(*words)
        out, err = process.communicate(timeout=300)
        assert process.returncode == code, f"{words}: {process.returncode}\n{out}\n{err}"
        return out if code == 0 else out + err

    @property
    def cube(self) -> Path:
        return self.data / "cubes" / AREA


@pytest.fixture(scope="session")
def small_world(tmp_path_factory: pytest.TempPathFactory) -> SmallWorld:
    folder = tmp_path_factory.mktemp("small")
    aoi_dir = folder / "aoi"
    aoi_dir.mkdir()
    shipped = yaml.safe_load((Path(__file__).parents[2] / "aoi" / "sandbox.yaml").read_text())
    shipped |= {"name": AREA, "bbox": [142.03, 42.72, 142.06, 42.742], "title": "Small"}
    (aoi_dir / f"{AREA}.yaml").write_text(yaml.safe_dump(shipped))
    root = folder / "world"
    make_world(load_area(aoi_dir / f"{AREA}.yaml"), root, PARAMETERS)
    return SmallWorld(root, aoi_dir)


def command_for(sandbox: Sandbox, world: SmallWorld, data: Path, **more: str) -> Command:
    environment = {
        **os.environ,
        **sandbox.environment,
        "SLIDECUBE_AOI_DIR": str(world.aoi_dir),
        "SLIDECUBE_DATA_DIR": str(data),
        "SLIDECUBE_SEARCH_INTERVAL_S": "0",
        "SLIDECUBE_BACKOFF_S": "0.05",
        **more,
    }
    return Command(environment, data)


@pytest.fixture(scope="session")
def served(small_world: SmallWorld) -> Iterator[Sandbox]:
    """The archives before the small world, started once: a start takes two seconds of a processor."""
    with Sandbox(small_world.root) as sandbox:
        yield sandbox


@pytest.fixture
def archive(served: Sandbox) -> Sandbox:
    """The archives without a fault and with an empty log."""
    served.reset()
    return served


@pytest.fixture
def slidecube(archive: Sandbox, small_world: SmallWorld, tmp_path: Path) -> Command:
    return command_for(archive, small_world, tmp_path / "data")
