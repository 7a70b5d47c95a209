"""Child processes that are started, checked and ended, and the stages that are printed."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from rich.console import Console

from flows.serving.deployments import set_up
from flows.serving.local_server import Child, LocalPrefect, free_port
from flows.serving.terminal import Stages
from pipeline.errors import SettingsError, SlidecubeError

FAMILY = """
import os, subprocess, sys, time
from pathlib import Path
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
Path(sys.argv[1]).write_text(f"{os.getpid()} {child.pid}")
time.sleep(300)
"""


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition) -> bool:
    deadline = time.monotonic() + 60
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture
def family(tmp_path):
    """A child that has a child of its own, and the file with both numbers."""
    numbers = tmp_path / "pids"
    command = [sys.executable, "-c", FAMILY, str(numbers)]
    child = Child.start("family", command, os.environ, tmp_path / "logs" / "family.log")
    assert wait_until(lambda: numbers.is_file() and len(numbers.read_text().split()) == 2)
    yield child, [int(n) for n in numbers.read_text().split()]
    child.stop()


def test_stopping_ends_the_whole_family(family):
    child, pids = family
    assert all(alive(pid) for pid in pids)
    child.stop()
    assert wait_until(lambda: not any(alive(pid) for pid in pids))


def test_stopping_twice_is_harmless(family):
    child, pids = family
    child.stop()
    child.stop()
    assert wait_until(lambda: not any(alive(pid) for pid in pids))


def test_a_living_child_passes_the_check(family):
    child, pids = family
    child.check()
    assert all(alive(pid) for pid in pids)


def test_a_child_that_ended_is_reported_with_the_end_of_its_log(tmp_path):
    command = [sys.executable, "-c", "print('out of cheese'); raise SystemExit(3)"]
    child = Child.start("mouse", command, os.environ, tmp_path / "mouse.log")
    child.process.wait()
    with pytest.raises(SlidecubeError, match=r"mouse .*\b3\b.*out of cheese"):
        child.check()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals a child when its parent dies")
def test_a_child_does_not_outlive_a_killed_parent(tmp_path):
    numbers = tmp_path / "pid"
    script = (
        "import os, sys, time\nfrom pathlib import Path\nfrom flows.serving.local_server import Child\n"
        f"child = Child.start('c', [sys.executable, '-c', 'import time; time.sleep(300)'], os.environ,"
        f" Path({str(tmp_path / 'c.log')!r}))\n"
        f"Path({str(numbers)!r}).write_text(str(child.process.pid))\ntime.sleep(300)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script])
    try:
        assert wait_until(lambda: numbers.is_file() and numbers.read_text().isdigit())
        time.sleep(0.5)  # the child replaces itself with its command
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert wait_until(lambda: not alive(int(numbers.read_text())))


def test_settings_of_the_caller_do_not_leak_into_the_children(tmp_path, monkeypatch):
    monkeypatch.setenv("SLIDECUBE_STAC_URL", "https://elsewhere.example")
    monkeypatch.setenv("PREFECT_API_KEY", "theirs")
    local = LocalPrefect(tmp_path / "home", tmp_path / "logs", {"SLIDECUBE_DATA_DIR": "here"})
    variables = local.variables
    assert "SLIDECUBE_STAC_URL" not in variables
    assert "PREFECT_API_KEY" not in variables
    assert variables["SLIDECUBE_DATA_DIR"] == "here"
    assert variables["NO_PROXY"] == "127.0.0.1,localhost"


@pytest.mark.parametrize(
    ("error", "ends_as"),
    [(httpx.ConnectError("refused"), SlidecubeError), (ValueError("ours"), None), (None, None)],
)
def test_a_server_that_is_away_ends_the_block_by_name(tmp_path, error, ends_as):
    local = LocalPrefect(tmp_path / "home", tmp_path / "logs")
    with nullcontext() if ends_as is None else pytest.raises(ends_as) as caught:
        local.__exit__(type(error), error, None)
    assert ends_as is None or caught.value.__cause__ is error


def test_free_ports_differ_while_they_are_held():
    import socket

    with socket.socket() as held:
        held.bind(("127.0.0.1", free_port()))
        assert free_port() != held.getsockname()[1]


def test_the_set_up_without_a_server_says_how_to_get_one():
    with (
        temporary_settings({PREFECT_API_URL: None}),
        pytest.raises(SettingsError, match="PREFECT_API_URL"),
    ):
        list(set_up())


def test_stages_are_plain_lines_where_nobody_watches():
    text = io.StringIO()
    with Stages(Console(file=text, force_terminal=False)) as stages:
        stages.begin("Building")
        stages.note("3 of 9")
        stages.begin("Mapping")
    assert [line.split("] ")[1] for line in text.getvalue().splitlines() if "] " in line] == [
        "Building",
        "Mapping",
    ]
