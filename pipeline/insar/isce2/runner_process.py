"""The runner as a process: started, heard, and ended with all that it started, whatever happens here.

The caller holds the runner's standard input open and says nothing through it; when the caller dies, by whatever cause,
the system closes it and the runner ends.
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
from pipeline.insar.messages import LONGEST_LINE, MARK, error_of, heard

Progress = Callable[[str, int, int | None], None]
"""Called with the step's name, its number and the number of steps."""

GRACE_S = 60.0
"""The runner keeps the time limit itself; the engine, and then the caller, step in so much later each."""
RUNNER_LOG = "runner.log"
_END_S = 15.0
_TAIL_BYTES = 65_536

log = logging.getLogger(__name__)


def _plain_error(status: int, said: str) -> InterferometryError:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    words = f" It said: {lines[-1][:300]}" if lines else ""
    return InterferometryError(
        "runner-failed",
        f"the runner ended with {status}.{words}",
        f"Look at {RUNNER_LOG} in the job's scratch folder.",
    )


@dataclass(frozen=True)
class RunnerProcess:
    """A command that runs the runner over the job whose scratch folder this is."""

    command: tuple[str, ...]
    scratch: Path
    time_s: float
    error_by_status: Callable[[int, str], InterferometryError] = _plain_error
    """what an exit status means where the runner named no error: status, standard error"""
    remove: Callable[[], None] = field(default=lambda: None)
    """ends what the command may have left behind"""

    def wait(self, progress: Progress | None) -> None:
        """Start the command, pass its steps to `progress`, and return when it has ended well.

        Raises:
            InterferometryError: the runner's own, or one by the exit status, or `timeout`.
        """
        deadline = time.monotonic() + self.time_s + GRACE_S
        said_file = self.scratch / RUNNER_LOG
        said_file.unlink(missing_ok=True)  # it could be a link that a container left behind
        failed: InterferometryError | None = None
        status: int | None = None
        with (
            said_file.open("xb") as said,
            subprocess.Popen(
                self.command,
                # engines leave notes where they stand
                cwd=self.scratch,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            ) as process,
        ):
            try:
                for event in _events(process, deadline):
                    failed = _tell(event, progress) or failed
                # the runner is done; the engine clears up, which takes its time on a busy machine
                status = process.wait(max(1.0, min(GRACE_S, deadline - time.monotonic())))
            except subprocess.TimeoutExpired:
                status = None
            finally:
                self._end(process)
        if failed is not None:
            raise failed
        if status is None:
            raise InterferometryError(
                "timeout", "the job did not end in its time.", "Allow it more time; it goes on from there."
            )
        if status != 0:
            raise self.error_by_status(status, _tail(said_file))

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """Close the runner's input, which ends it; then ask the engine; then kill what was started here."""
        assert process.stdin is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_S)
        if process.returncode is None or process.returncode < 0:
            self.remove()
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _tell(event: dict[str, Any], progress: Progress | None) -> InterferometryError | None:
    """Pass one event on; the error where it is one."""
    kind = event[MARK]
    if kind == "failed":
        return error_of(event)
    if kind == "step" and progress is not None:
        number, of = event.get("number"), event.get("of")
        if isinstance(number, int) and isinstance(of, int):
            progress(str(event.get("name", ""))[:100], number, of)
    elif kind == "note":
        log.info("%s", str(event.get("text", ""))[:500])
    return None


def _events(process: subprocess.Popen[bytes], deadline: float) -> Iterator[dict[str, Any]]:
    """The runner's events until it closes its standard output. Raises subprocess.TimeoutExpired at the deadline."""
    assert process.stdout is not None
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
                event = heard(line.decode("utf-8", "replace"))
                if event is not None:
                    yield event
            if not data:
                return


def _tail(file: Path) -> str:
    with contextlib.suppress(OSError), open_plain(file) as opened:
        opened.seek(max(0, os.fstat(opened.fileno()).st_size - _TAIL_BYTES))
        return opened.read(_TAIL_BYTES).decode("utf-8", "replace")
    return ""
