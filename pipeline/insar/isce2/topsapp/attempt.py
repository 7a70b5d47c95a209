"""One step of topsApp run once: its command under watch, its log read, the error that came of it."""

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
    """Runs steps of one job. `command` starts topsApp in the folder `work`; logs go below `scratch`."""

    command: tuple[str, ...]
    work: Path
    scratch: Path
    manifest: JobManifest
    watch: Watch

    @property
    def logs(self) -> Path:
        """One log for each step."""
        return self.scratch / "logs"

    def run(self, name: str) -> tuple[Step, InterferometryError | None]:
        """Run a step and give what it took and what failed.

        Raises InterferometryError where it was ended from outside: `timeout`, `caller-gone`, `stopped`.
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
        reading = read_log(log)
        step = Step(
            name=name, seconds=ended.seconds, lines=reading.lines, peak_memory_bytes=ended.peak_memory_bytes
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
                f"after topsApp's step {name} {free} bytes are free on the disk of the job's folder.",
                "Free room, or put the data folder on a larger disk; the pair goes on from this step.",
            )
        return step, failure(name, reading, ended.exit_status)

    def _too_much_memory(self, name: str) -> InterferometryError:
        allowed = self.manifest.limits.memory_bytes / 2**30
        return InterferometryError(
            "memory",
            f"topsApp's step {name} wanted more than the {allowed:.1f} GiB of memory that the job may use.",
            "Allow the job more memory, or fewer bursts; the pair goes on from this step.",
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
    """The error of a job that was ended from outside."""
    meanings = {
        "timeout": ("the job's time was up", "Allow it more time; the pair goes on from this step."),
        "caller-gone": ("the caller was gone", "Run the pair again; it goes on from this step."),
        "stopped": ("the job was told to stop", "Run the pair again; it goes on from this step."),
    }
    what, remedy = meanings[reason]
    return InterferometryError(reason, f"{what} {when}.", remedy)


def _out_of_memory_kills() -> int:
    """How often the system killed in this control group for want of memory; 0 where that cannot be known."""
    for name in ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"):
        try:
            found = re.search(r"^oom_kill (\d+)$", Path(name).read_text("ascii"), re.MULTILINE)
        except OSError:
            continue
        if found:
            return int(found[1])
    return 0
