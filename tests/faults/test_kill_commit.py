"""A writer killed at any operation on the disk or in an object store: readers see a whole version, the next run heals.

In an object store the lock of the killed writer is removed, so that no test waits for the end of its lease.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.cube.addresses import open_store
from pipeline.cube.local_store import LocalStore
from pipeline.cube.objects import object_store
from pipeline.cube.read import open_cube
from pipeline.cube.store import Store
from pipeline.cube.verify import verify_cube
from pipeline.cube.versions import current_version, version_key
from pipeline.object_storage.bucket import Bucket
from tests.faults import writer
from tests.faults.budget import budget

WRITER = Path(__file__).parent / "writer.py"
POINTS = budget("KILLS", 11)
REMOTE_POINTS = budget("REMOTE_KILLS", 6)


def run(root: Path | str, deadly: int) -> subprocess.CompletedProcess[str]:
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


def folders(store: Store, number: int) -> dict[str, bytes | None]:
    return {key: store.read(f"{version_key(number)}/{key}") for key in store.files(version_key(number))}


def test_a_kill_at_any_request_to_an_object_store_loses_nothing(
    undisturbed: tuple[Path, int], s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "INLINE_BYTES", writer.INLINE_BYTES)
    expected = tree(undisturbed[0] / "versions" / "2.zarr")
    whole = run(f"{s3_bucket}/whole", 0)
    assert whole.returncode == 0, whole.stderr
    requests = int(whole.stdout)
    assert requests > REMOTE_POINTS
    for deadly in sorted({1 + round(n * (requests - 1) / (REMOTE_POINTS - 1)) for n in range(REMOTE_POINTS)}):
        root = f"{s3_bucket}/{deadly}"
        done = run(root, deadly)
        assert done.returncode == -signal.SIGKILL, done.stderr
        current = current_version(open_store(root))
        if current is not None:
            assert verify_cube(root).sound
            assert open_cube(root).sizes["timestep"] == {1: 2, 2: 3}[current]
        open_store(root).delete("writer.lock")  # as after a minute
        writer.write(root)  # here: a process more takes as long to start as all its requests
        number = current_version(open_store(root))
        assert number is not None
        assert folders(open_store(root), number) == expected
        with monkeypatch.context() as later:
            later.setattr(object_store, "GRACE_S", -60.0)
            store = open_store(root)
            for prefix in ("layers", "versions"):
                store.sweep(prefix)
        assert verify_cube(root).sound
        of_whole, of_healed = (
            len(Bucket(f"{s3_bucket}/{one}").states("objects")) for one in ("whole", deadly)
        )
        assert of_healed <= of_whole  # what the killed writer left is gone
