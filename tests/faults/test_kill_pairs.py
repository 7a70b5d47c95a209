"""A build of pairs killed at operations on the disk, then run again: the bytes of an undisturbed build."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cube.local_store import LocalStore
from pipeline.cube.read import open_cube
from pipeline.cube.verify import verify_cube
from pipeline.cube.versions import current_version, version_key
from tests.faults.test_kill_commit import tree

POINTS = 7
PAIRS = {1: ["20180812_20180905"], 2: ["20180812_20180824", "20180824_20180905"]}


def run(folder: Path, deadly: int, scratch: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.faults.pair_builder", str(folder), str(deadly)]
    scratch.mkdir(exist_ok=True)
    environment = {**os.environ, "TMPDIR": str(scratch)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
def test_a_kill_while_pairs_are_built_loses_nothing_and_shows_nothing_half_made(tmp_path: Path) -> None:
    whole, scratch = tmp_path / "whole", tmp_path / "scratch"
    done = run(whole, 0, scratch)
    assert done.returncode == 0, done.stderr
    operations = int(done.stdout)
    cubes = Path("data") / "cubes" / "here"
    expected = {n: tree(whole / cubes / "versions" / f"{n}.zarr") for n in (1, 2)}
    seen: set[int | None] = set()
    for deadly in sorted({1 + round(n * (operations - 1) / (POINTS - 1)) for n in range(POINTS)}):
        folder = tmp_path / str(deadly)
        done = run(folder, deadly, scratch)
        assert done.returncode == -signal.SIGKILL, done.stderr
        root = folder / cubes
        current = current_version(LocalStore(root)) if root.exists() else None
        seen.add(current)
        if current is not None:
            assert verify_cube(root).sound
            with open_cube(root) as cube:
                assert cube["timepair"].values.tolist() == PAIRS[current]
        again = run(folder, 0, scratch)
        assert again.returncode == 0, again.stderr
        for number in (1, 2):
            found = tree(root / version_key(number))
            assert sorted(found) == sorted(expected[number])
            assert [key for key in sorted(found) if found[key] != expected[number][key]] == []
        assert not list(root.rglob(".staging-*"))
    assert len(seen) > 1, "kills must fall into both builds"
