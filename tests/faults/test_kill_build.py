"""`slidecube build` killed at many moments, then run again: the bytes of an undisturbed build."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.cube.read import open_cube
from pipeline.cube.verify import verify_cube
from pipeline.sandbox.posing.server import Sandbox
from tests.e2e.conftest import AREA, SmallWorld, command_for
from tests.e2e.test_build import tree
from tests.faults.budget import budget

KILLS = budget("BUILD_KILLS", 5)
ASCENDING = ("T0831", "T0832")
"""when the passes of one of the two tracks begin; without them a build has every kind of layer in half the time"""


@pytest.fixture
def one_track(small_world: SmallWorld, tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(small_world.without(tmp_path / "world", *ASCENDING)) as sandbox:
        yield sandbox


def test_a_build_killed_at_many_moments_ends_with_the_bytes_of_an_undisturbed_one(
    one_track: Sandbox, small_world: SmallWorld, tmp_path: Path
) -> None:
    slidecube = command_for(one_track, small_world, tmp_path / "data")
    started = time.monotonic()
    slidecube.run("build", AREA)
    whole_s = time.monotonic() - started
    with open_cube(slidecube.cube) as whole:
        assert {int(track) for track in whole["relative_orbit"].values} == {46}
    expected = tree(slidecube.cube / "versions" / "1.zarr")
    killed = 0
    for number in range(KILLS):
        victim = command_for(one_track, small_world, tmp_path / f"victim-{number}")
        # the first third is the interpreter's start; the kills fall from there to the end
        moment_s = whole_s * (0.3 + 0.7 * (number + 0.5) / KILLS)
        process = victim.start("build", AREA)
        time.sleep(moment_s)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        if (victim.cube / "latest").exists():
            assert verify_cube(victim.cube).sound
            assert open_cube(victim.cube).sizes["timestep"] > 0
        victim.run("build", AREA)
        found = tree(victim.cube / "versions" / "1.zarr")
        assert sorted(found) == sorted(expected)
        assert [key for key in sorted(found) if found[key] != expected[key]] == []
        assert not list(victim.cube.rglob(".staging-*"))
    assert killed >= KILLS // 2, "most kills must fall inside the build to mean anything"
