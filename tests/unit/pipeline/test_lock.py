"""A wait for a lock says for what, and ends by name."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline import lock
from pipeline.cube.local_store import LocalStore
from pipeline.errors import BusyError
from pipeline.lock import held, holder

HOLD = """
import sys
from pathlib import Path
from pipeline.lock import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_wait_that_is_too_long_names_what_is_held_and_by_whom(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "one.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdin is not None and other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        assert holder(path) == f"process {other.pid}"
        caplog.set_level(logging.WARNING)
        began = time.monotonic()
        with pytest.raises(BusyError) as caught, held(path, what="the cube here", longest_s=0.3):
            pass
        assert 0.3 <= time.monotonic() - began < 10
        assert all(word in caught.value.message for word in ("the cube here", str(other.pid)))
        assert caught.value.exit_code == 10 and caught.value.remedy
        assert any("the cube here" in line and str(other.pid) in line for line in caplog.messages)
        # a kill frees it
        other.kill()
        other.wait()
        with held(path, longest_s=30):
            assert holder(path) == f"process {os.getpid()}"


def test_a_long_wait_is_reported_again_and_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "REPORT_S", 0.1)
    caplog.set_level(logging.WARNING)
    waited: list[bool] = []

    def second() -> None:
        with LocalStore(tmp_path).lock("build.lock", wait=True) as having_waited:
            waited.append(having_waited)

    with held(tmp_path / "build.lock"):
        thread = threading.Thread(target=second)
        thread.start()
        deadline = time.monotonic() + 30
        while len(caplog.messages) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
    thread.join(30)
    assert waited == [True]
    assert len(caplog.messages) >= 3 and all(str(tmp_path) in line for line in caplog.messages)


def test_where_nobody_is_known_to_hold_a_lock(tmp_path: Path) -> None:
    (tmp_path / "free.lock").touch()
    assert holder(tmp_path / "free.lock") == holder(tmp_path / "absent.lock") == "another process"
