"""The runner's process: starts it, reads its events, and ends it with all of its child processes.

The caller keeps the runner's standard input open and writes nothing to it. When the caller dies, the system closes it
and the runner ends.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import InterferometryError
from pipeline.insar.isce2.plain_files import open_plain
from pipeline.insar.messages import LONGEST_LINE, MARK, error_of, parse_event
from pipeline.progress import Progress, no_progress

GRACE_S = 60.0
"""The runner enforces the time limit. The engine ends the job so much later, and the caller later again."""
RUNNER_LOG = "runner.log"
_END_S = 15.0
_TAIL_BYTES = 65_536

log = logging.getLogger(__name__)


def _plain_error(status: int, stderr: str) -> InterferometryError:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    tail = f" Its last message: {lines[-1][:300]}" if lines else ""
    return InterferometryError(
        "runner-failed",
        f"the runner ended with exit status {status}.{tail}",
        f"Read {RUNNER_LOG} in the job's scratch folder.",
    )


@dataclass(frozen=True)
class RunnerProcess:
    """A command that starts the runner for the job with the folder `scratch`."""

    command: tuple[str, ...]
    scratch: Path
    time_s: float
    error_by_status: Callable[[int, str], InterferometryError] = _plain_error
    """error for an exit status and standard error, if the runner reported none"""
    remove: Callable[[], None] = field(default=lambda: None)
    """removes a container that the command may have left"""

    def wait(self, progress: Progress = no_progress) -> None:
        """Start the command, report its steps to `progress`, and return when it has succeeded.

        Raises:
            InterferometryError: reported by the runner, derived from the exit status, or `timeout`.
        """
        deadline = time.monotonic() + self.time_s + GRACE_S
        log_file = self.scratch / RUNNER_LOG
        log_file.unlink(missing_ok=True)  # it could be a link that a container created
        failed: InterferometryError | None = None
        status: int | None = None
        with (
            log_file.open("xb") as errors,
            subprocess.Popen(
                self.command,
                # engines write files to their working directory
                cwd=self.scratch,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            ) as process,
        ):
            try:
                for event in _events(process, deadline):
                    failed = _handle(event, progress) or failed
                # the runner has ended; the engine removes the container, which takes long on a busy machine
                status = process.wait(max(1.0, min(GRACE_S, deadline - time.monotonic())))
            except subprocess.TimeoutExpired:
                status = None
            finally:
                self._end(process)
        if failed is not None:
            raise failed
        if status is None:
            raise InterferometryError(
                "timeout", "the job reached its time limit.", "Allow it more time; it then resumes."
            )
        if status != 0:
            raise self.error_by_status(status, _tail(log_file))

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """Close the runner's input, which ends it. If that fails, remove the container and kill the process group."""
        with contextlib.suppress(OSError):
            if process.stdin is not None:
                process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_S)
        if process.returncode is None or process.returncode < 0:
            self.remove()
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _handle(event: dict[str, Any], progress: Progress) -> InterferometryError | None:
    """Report or log one event; returns the error of an event `failed`."""
    kind = event[MARK]
    if kind == "failed":
        return error_of(event)
    if kind == "step":
        number, of = event.get("number"), event.get("of")
        if isinstance(number, int) and isinstance(of, int):
            progress(str(event.get("name", ""))[:100], number, of)
    elif kind == "note":
        log.info("%s", str(event.get("text", ""))[:500])
    return None


def _events(process: subprocess.Popen[bytes], deadline: float) -> Iterator[dict[str, Any]]:
    """The runner's events until it closes its standard output. Raises subprocess.TimeoutExpired at the deadline."""
    if process.stdout is None:
        return
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise subprocess.TimeoutExpired(process.args, 0)
            if not selector.select(left):
                continue
            data = os.read(process.stdout.fileno(), 65_536)
            *lines, rest = (rest + data).split(b"\n")
            rest = rest[-LONGEST_LINE:]
            for line in lines:
                event = parse_event(line.decode("utf-8", "replace"))
                if event is not None:
                    yield event
            if not data:
                return


def _tail(file: Path) -> str:
    with contextlib.suppress(OSError), open_plain(file) as opened:
        opened.seek(max(0, os.fstat(opened.fileno()).st_size - _TAIL_BYTES))
        return opened.read(_TAIL_BYTES).decode("utf-8", "replace")
    return ""
