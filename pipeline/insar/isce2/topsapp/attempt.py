"""Runs one step of topsApp once, reads its log, and derives its error."""

from __future__ import annotations

import os
import re
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import InterferometryError
from pipeline.insar.child import Reason, Watch, run_watched
from pipeline.insar.isce2.topsapp.configuration import CONFIGURATION
from pipeline.insar.isce2.topsapp.failures import failure, read_log
from pipeline.insar.job import JobManifest, Step

_LEAST_FREE_BYTES = 2**20


@dataclass(frozen=True)
class Attempts:
    """Runs steps of one job. `command` starts topsApp in the folder `work`; logs are written below `scratch`."""

    command: tuple[str, ...]
    work: Path
    scratch: Path
    manifest: JobManifest
    watch: Watch

    @property
    def logs(self) -> Path:
        """Folder of the logs, one for each step."""
        return self.scratch / "logs"

    def run(self, name: str) -> tuple[Step, InterferometryError | None]:
        """Run a step; returns its record and its error.

        Raises InterferometryError if it was ended early: `timeout`, `caller-gone`, `stopped`.
        """
        reason = self.watch.reason()
        if reason is not None:
            raise ended_early(reason, f"before topsApp's step {name}")
        for former in self.work.glob(f"PICKLE/{name}*"):
            former.unlink()
        log = self.logs / f"{name}.log"
        kills_before = _out_of_memory_kills()
        command = (*self.command, CONFIGURATION, f"--dostep={name}")
        ended = run_watched(command, self.work, log, self.watch, self._environment())
        summary = read_log(log)
        step = Step(
            name=name, seconds=ended.seconds, lines=summary.lines, peak_memory_bytes=ended.peak_memory_bytes
        )
        if ended.reason == "memory" or (
            ended.exit_status == -signal.SIGKILL and _out_of_memory_kills() > kills_before
        ):
            return step, self._too_much_memory(name)
        if ended.reason != "itself":
            raise ended_early(ended.reason, f"during topsApp's step {name}")
        free = shutil.disk_usage(self.work).free
        if free < _LEAST_FREE_BYTES:
            return step, InterferometryError(
                "disk-full",
                f"only {free} bytes are free on the disk of the job's folder after topsApp's step {name}.",
                "Free disk space, or move the data folder to a larger disk; the pair resumes at this step.",
            )
        return step, failure(name, summary, ended.exit_status)

    def _too_much_memory(self, name: str) -> InterferometryError:
        allowed = self.manifest.limits.memory_bytes / 2**30
        return InterferometryError(
            "memory",
            f"topsApp's step {name} exceeded the {allowed:.1f} GiB of memory that the job may use.",
            "Allow the job more memory, or fewer bursts; the pair resumes at this step.",
        )

    def _environment(self) -> dict[str, str]:
        temporary = self.scratch / "tmp"
        temporary.mkdir(exist_ok=True)
        return {
            **os.environ,
            "OMP_NUM_THREADS": str(self.manifest.limits.cpus),
            "MPLBACKEND": "Agg",
            "PYTHONUNBUFFERED": "1",
            "HOME": str(temporary),
            "TMPDIR": str(temporary),
        }


def ended_early(reason: Reason, when: str) -> InterferometryError:
    """The error of a job that was ended early."""
    meanings = {
        "timeout": ("the job reached its time limit", "Allow it more time; the pair resumes at this step."),
        "caller-gone": ("the caller had ended", "Run the pair again; it resumes at this step."),
        "stopped": ("the job received a signal to stop", "Run the pair again; it resumes at this step."),
    }
    what, remedy = meanings[reason]
    return InterferometryError(reason, f"{what} {when}.", remedy)


def _out_of_memory_kills() -> int:
    """Number of out-of-memory kills in this control group; 0 if unknown."""
    for name in ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"):
        try:
            found = re.search(r"^oom_kill (\d+)$", Path(name).read_text("ascii"), re.MULTILINE)
        except OSError:
            continue
        if found:
            return int(found[1])
    return 0
