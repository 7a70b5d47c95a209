"""Files that are whole or absent, the lock, the digest of JSON, counts in words."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pipeline.errors import ArchiveError, DiskError, number_of
from pipeline.files import (
    UnreadableError,
    read_regular,
    temporary,
    whole_file,
    whole_folder,
    write_whole,
    writing,
)
from pipeline.lock import LockedError, held
from pipeline.records import digest_of_json


def test_a_file_appears_when_its_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.json"
    with whole_file(target) as partial:
        partial.write_text("{}")
        assert partial.suffix == ".json" and not target.exists()
    assert target.read_text() == "{}"
    assert [path.name for path in target.parent.iterdir()] == ["a.json"]


def test_an_error_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_whole(target, "before")
    with pytest.raises(RuntimeError), whole_file(target) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert target.read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_lock_has_one_holder_and_yields_whether_it_waited(tmp_path: Path) -> None:
    path, answers, began = tmp_path / "locks" / "one", [], threading.Event()

    def second() -> None:
        began.set()
        with held(path) as waited:
            answers.append(waited)

    with held(path) as waited:
        assert not waited
        with pytest.raises(LockedError), held(path, wait=False):
            pass
        thread = threading.Thread(target=second)
        thread.start()
        began.wait()
        thread.join(0.3)
        assert thread.is_alive()
    thread.join()
    assert answers == [True]


@pytest.mark.parametrize(
    ("compact", "digest"),
    [
        (False, "d8497d9d82770a70729261095aa98f7ef5154d7af499f8037b6ca250296785a6"),
        (True, "43258cff783fe7036d8a43033f830adfc60ec037382473548ac742b888292777"),
    ],
)
def test_the_order_of_keys_does_not_change_a_digest(compact: bool, digest: str) -> None:
    assert digest_of_json({"b": 2, "a": 1}, compact=compact) == digest_of_json(
        {"a": 1, "b": 2}, compact=compact
    )
    assert digest_of_json({"b": 2, "a": 1}, compact=compact) == digest


@pytest.mark.parametrize(("count", "text"), [(0, "0 layers"), (1, "1 layer"), (2, "2 layers")])
def test_a_count_agrees_with_its_noun(count: int, text: str) -> None:
    assert number_of(count, "layer") == text


KILLED = """
import os, signal, sys
from pathlib import Path
from pipeline.files import whole_folder
with whole_folder(Path(sys.argv[1]), "mark") as folder:
    (folder / "mark").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_scratch_folder_of_a_killed_run_is_removed_by_the_next_one(tmp_path: Path) -> None:
    target = tmp_path / "maps" / "v1-log-ratio"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(target)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert any(path.suffix == ".partial" for path in target.parent.iterdir())
    other = target.parent / ".v1.0123456789ab.partial"
    other.mkdir()  # of another target, whose next run removes it
    with whole_folder(target, "mark") as folder:
        (folder / "mark").write_text("whole")
    assert {path.name for path in target.parent.iterdir()} == {"v1-log-ratio", other.name}


def test_the_scratch_folder_of_a_run_in_work_stays(tmp_path: Path) -> None:
    target = tmp_path / "v1"
    with whole_folder(target, "mark") as first:
        (first / "mark").write_text("first")
        with whole_folder(target, "mark") as second:
            (second / "mark").write_text("second")
        assert (first / "mark").read_text() == "first"
    assert (target / "mark").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["v1"]


def test_a_result_that_a_killed_run_had_put_aside_is_put_back(tmp_path: Path) -> None:
    aside = tmp_path / ".v1.k3x.old" / "old"
    aside.mkdir(parents=True)
    (aside / "mark").write_text("reviewed")
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "v1", "mark"):
        raise RuntimeError
    assert (tmp_path / "v1" / "mark").read_text() == "reviewed"
    assert [path.name for path in tmp_path.iterdir()] == ["v1"]


def test_a_scratch_folder_without_a_lock_counts_as_left_over_after_a_day(tmp_path: Path) -> None:
    fresh, old = (tmp_path / f".v1.{digit * 12}.partial" for digit in "ab")
    for folder in (fresh, old):
        folder.mkdir()
    os.utime(old, (1e9, 1e9))
    with whole_folder(tmp_path / "v1", "mark") as folder:
        (folder / "mark").write_text("")
    assert {path.name for path in tmp_path.iterdir()} == {"v1", fresh.name}


def test_a_file_is_read_only_where_it_is_a_regular_one_of_a_known_size(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"12345")
    assert read_regular(path, 5) == b"12345"
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(2**40)
    (tmp_path / "device").symlink_to("/dev/zero")
    for name, most in (("x", 4), ("pipe", 9), ("large", 2**30), ("device", 9), (".", 9)):
        with pytest.raises(UnreadableError):
            read_regular(tmp_path / name, most)
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "none", 9)


@pytest.mark.parametrize(
    ("error", "alone", "is_disk"),
    [
        (OSError(errno.EIO, "failed"), True, True),
        (OSError(errno.EACCES, "no"), True, True),
        (OSError(errno.EACCES, "no"), False, False),
        (OSError(errno.ENOSPC, "full"), False, True),
        (FileNotFoundError(errno.ENOENT, "none", "/etc/other/file"), True, True),
        (ConnectionResetError(errno.ECONNRESET, "reset"), True, False),
        (TimeoutError(errno.ETIMEDOUT, "late"), True, False),
        (KeyError("ours"), True, False),
        (ArchiveError("gone"), True, False),
    ],
)
def test_only_an_error_of_the_disk_becomes_one(
    tmp_path: Path, error: Exception, alone: bool, is_disk: bool
) -> None:
    with pytest.raises(DiskError if is_disk else type(error)), writing(tmp_path / "x", alone=alone):
        raise error


def test_a_temporary_folder_that_is_full_is_named() -> None:
    with pytest.raises(DiskError) as told, temporary("A window of x"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert told.value.full and "TMPDIR" in told.value.remedy
