"""A writer killed at any operation on the disk: readers see a whole version, and the next run heals it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.cube.local_store import LocalStore
from pipeline.cube.read import open_cube
from pipeline.cube.verify import verify_cube
from pipeline.cube.versions import current_version, version_key
from tests.faults.budget import budget

WRITER = Path(__file__).parent / "writer.py"
POINTS = budget("KILLS", 11)


def run(root: Path, deadly: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(WRITER), str(root), str(deadly)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    root = tmp_path_factory.mktemp("undisturbed") / "cube"
    done = run(root, 0)
    assert done.returncode == 0, done.stderr
    return root, int(done.stdout)


def test_a_kill_at_any_operation_loses_nothing(undisturbed: tuple[Path, int], tmp_path: Path) -> None:
    whole, operations = undisturbed
    assert operations > POINTS
    expected = tree(whole / "versions" / "2.zarr")
    for deadly in sorted({1 + round(n * (operations - 1) / (POINTS - 1)) for n in range(POINTS)}):
        root = tmp_path / str(deadly)
        done = run(root, deadly)
        assert done.returncode == -signal.SIGKILL, done.stderr
        store = LocalStore(root)
        current = current_version(store) if root.exists() else None
        if current is not None:
            assert verify_cube(root).sound
            sizes = open_cube(root).sizes
            assert (sizes["timestep"], sizes["timepair"]) == {1: (2, 1), 2: (3, 2)}[current]
            if current == 1:
                assert tree(store.path(version_key(1))) == tree(whole / "versions" / "1.zarr")
        again = run(root, 0)
        assert again.returncode == 0, again.stderr
        number = current_version(store)
        assert number is not None
        assert tree(store.path(version_key(number))) == expected
        assert not list(root.rglob(".staging-*"))
        for name in ("vv", "coherence", "interferogram"):
            assert np.isfinite(open_cube(root)[name].values).all()
