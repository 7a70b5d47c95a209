"""Runs one command and ends it with the caller, at the time limit or above the memory limit.

The caller keeps its end of standard input open. When the caller dies, even by SIGKILL, the system closes it, and the
command is ended with every process that it started.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pipeline.records import Frozen

Reason = Literal["itself", "caller-gone", "stopped", "timeout", "memory"]

_LOOK_EVERY_S = 0.5
_GRACE_S = 2.0
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Ended(Frozen):
    """How a command ended: exit status (negative: the signal that ended it) and reason."""

    exit_status: int
    reason: Reason
    seconds: float
    peak_memory_bytes: int


@dataclass
class Watch:
    """The conditions that end a command early.

    `deadline` is in seconds of time.monotonic. With `standard_input` None there is no caller to watch.
    """

    deadline: float
    memory_bytes: int
    standard_input: int | None = None
    stopped: bool = False
    _before: dict[int, object] = field(default_factory=dict, repr=False)

    def __enter__(self) -> Watch:
        """Handle SIGTERM, SIGINT and SIGHUP as requests to stop."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self._before[number] = signal.signal(number, self._stop)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _stop(self, *_: object) -> None:
        self.stopped = True

    def caller_gone(self) -> bool:
        """Whether the caller closed its end of standard input. Data from the caller is read and discarded."""
        if self.standard_input is None:
            return False
        readable, _, _ = select.select([self.standard_input], [], [], 0)
        return bool(readable) and not os.read(self.standard_input, 4096)

    def reason(self) -> Reason | None:
        """Why a command must end now; None if it may continue."""
        if self.stopped:
            return "stopped"
        if self.caller_gone():
            return "caller-gone"
        if time.monotonic() >= self.deadline:
            return "timeout"
        return None


def run_watched(
    command: Sequence[str], folder: Path, log: Path, watch: Watch, environment: Mapping[str, str]
) -> Ended:
    """Run `command` in `folder`, with both outputs into `log`, until it ends or a condition of `watch` holds.

    The command runs in its own session. All processes of the session are ended with it.
    """
    start = time.monotonic()
    with log.open("wb") as output:
        child = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )
    reason: Reason = "itself"
    peak_bytes = 0
    try:
        with _ending(child.pid) as ended:
            while not ended(_LOOK_EVERY_S, watch.standard_input):
                used = _memory_bytes(child.pid)
                peak_bytes = max(peak_bytes, used)
                cause = watch.reason() or ("memory" if used > watch.memory_bytes else None)
                if cause is not None:
                    reason = cause
                    _end_session(child.pid, signal.SIGTERM)
                    ended(_GRACE_S, None)
                    break
    finally:
        _end_session(child.pid, signal.SIGKILL)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    return Ended(
        exit_status=child.returncode,
        reason=reason,
        seconds=round(time.monotonic() - start, 3),
        peak_memory_bytes=max(peak_bytes, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)),
    )


_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    """Runs in the child before exec: when the runner is killed, the kernel kills the command too."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextlib.contextmanager
def _ending(pid: int) -> Iterator[Callable[[float, int | None], bool]]:
    """Yields a function that waits for the process or for data on a descriptor.

    It returns whether the process ended.
    ."""
    try:
        handle: int | None = os.pidfd_open(pid)
    except (AttributeError, OSError):  # not Linux, or an old kernel
        handle = None

    def ended(seconds: float, also: int | None) -> bool:
        until = time.monotonic() + seconds
        watched = [number for number in (handle, also) if number is not None]
        while True:
            left = max(0.0, until - time.monotonic())
            with contextlib.suppress(InterruptedError):
                select.select(watched, [], [], left if handle is not None else min(left, 0.1))
            info = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if info is not None:
                return True
            if handle is not None or time.monotonic() >= until:
                return False

    try:
        yield ended
    finally:
        if handle is not None:
            os.close(handle)


def _session(leader: int) -> list[int]:
    """The running processes of a session; only its leader if /proc is absent."""
    members = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader and fields[0] not in "ZX":
                members.append(int(entry.name))
    return members or [leader]


def _memory_bytes(leader: int) -> int:
    """Anonymous memory of a session. Pages of mapped files do not count, since the system can drop them."""
    total = 0
    for pid in _session(leader):
        with contextlib.suppress(OSError, ValueError, IndexError):
            pages = Path(f"/proc/{pid}/statm").read_text().split()
            total += max(0, int(pages[1]) - int(pages[2])) * _PAGE_BYTES
    return total


def _end_session(leader: int, number: signal.Signals) -> None:
    """Signal every process of a session. SIGKILL is repeated until no process is left."""
    for _ in range(20 if number == signal.SIGKILL else 1):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, number)
        others = [pid for pid in _session(leader) if pid != leader]
        for pid in others:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        if not others:
            return
        time.sleep(0.01)
