"""The backend pygmtsar: runs the processor in a child process and enforces the job's limits."""

from __future__ import annotations

import os
import re
import sys
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pipeline
from pipeline.errors import InterferometryError
from pipeline.insar.child import Ended, Watch, run_watched
from pipeline.insar.job import MANIFEST, Backend, JobManifest, JobMetadata, folder_of
from pipeline.insar.messages import error_of, parse_event
from pipeline.insar.products.validate import read_finished
from pipeline.progress import Progress, no_progress

PACKAGE = "insardev_pygmtsar"
LOG = "pygmtsar.log"
REMEDY = "Install the extra: pip install 'slidecube[insar]'; or set SLIDECUBE_INSAR_BACKEND=isce2."

_SECRET = re.compile(r"(?i)token|password|passwd|secret|(^|_)key($|_)|earthdata|netrc|proxy|credential")
_LAST_LINES = 3


class PygmtsarBackend:
    """Runs insardev_pygmtsar in its own process, with limits, without network, writing only to the job's folder."""

    @property
    def name(self) -> Backend:
        """The backend's name in the manifest and the settings."""
        return "pygmtsar"

    def ready(self) -> None:
        """Check that the package is installed.

        Raises:
            InterferometryError: `backend-missing`.
        """
        if find_spec(PACKAGE) is None:
            raise InterferometryError("backend-missing", f"The package {PACKAGE} is not installed.", REMEDY)

    def run(self, job: Path, manifest: JobManifest, progress: Progress = no_progress) -> JobMetadata:
        """Process the job, or resume it; finished bursts are not processed again.

        Raises:
            InterferometryError: `backend-missing`, `memory`, `time-limit`, `processor-died`, `processor-failed`,
                `inputs-missing` and others of the inputs, `product-...` of the products.
        """
        self.ready()
        job = job.resolve()
        scratch = folder_of(job)["scratch"]
        scratch.mkdir(parents=True, exist_ok=True)
        path = scratch / LOG
        limits = manifest.limits
        watch = _EventReader(
            deadline=time.monotonic() + limits.time_s,
            memory_bytes=limits.memory_bytes,
            log=path,
            progress=progress,
        )
        command = [sys.executable, "-m", "pipeline.insar.pygmtsar", str(job)]
        ended = run_watched(command, scratch, path, watch, _environment(scratch, limits.cpus))
        watch.read_events()
        metadata = read_finished(job, manifest)
        if ended.exit_status != 0 or ended.reason != "itself" or metadata is None:
            raise _failure(job, manifest, ended, watch, path)
        return metadata


@dataclass
class _EventReader(Watch):
    """A watch that also reads the child's events from its log."""

    log: Path = Path()
    progress: Progress = no_progress
    failure: dict[str, Any] | None = None
    last: list[str] = field(default_factory=list)
    _read: int = 0

    def reason(self) -> Any:
        """Read new events, then as `Watch`."""
        self.read_events()
        return super().reason()

    def read_events(self) -> None:
        """Read the new complete lines of the log."""
        with self.log.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        whole = data.rfind(b"\n") + 1
        self._read += whole
        for line in data[:whole].decode("utf-8", "replace").splitlines():
            event = parse_event(line)
            if event is None:
                self.last = [*self.last, line.strip()][-_LAST_LINES:] if line.strip() else self.last
            elif event["slidecube"] == "failed":
                self.failure = event
            elif event["slidecube"] == "step":
                self.progress(
                    str(event.get("name", "")), int(event.get("number", 0)), int(event.get("of", 0))
                )


def _environment(scratch: Path, cpus: int) -> dict[str, str]:
    """The caller's environment without secrets and proxies; caches and temporary files are below the job's scratch."""
    home = scratch / "home"
    home.mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not _SECRET.search(name)}
    root = str(Path(pipeline.__file__).resolve().parents[1])
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(cpus))
    caches = dict.fromkeys(
        (
            "HOME",
            "TMPDIR",
            "XDG_CACHE_HOME",
            "XDG_CONFIG_HOME",
            "MPLCONFIGDIR",
            "NUMBA_CACHE_DIR",
            "JOBLIB_TEMP_FOLDER",
        ),
        str(home),
    )
    return {
        **kept, **threads, **caches,
        "PYTHONPATH": os.pathsep.join(filter(None, (root, kept.get("PYTHONPATH", "")))),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "MPLBACKEND": "agg",
    }  # fmt: skip


def _failure(
    job: Path, manifest: JobManifest, ended: Ended, watch: _EventReader, path: Path
) -> InterferometryError:
    limits = manifest.limits
    if ended.reason == "memory":
        return InterferometryError(
            "memory",
            f"{job.name} exceeded its {limits.memory_bytes / 1e9:.1f} GB of memory.",
            "Allow more (SLIDECUBE_INSAR_MEMORY_GB), or process fewer pairs at once (SLIDECUBE_INSAR_CONCURRENCY).",
        )
    if ended.reason == "timeout":
        return InterferometryError(
            "time-limit",
            f"{job.name} was not finished in {limits.time_s / 3600:.3g} hours.",
            "Allow more (SLIDECUBE_INSAR_HOURS); it resumes at the interrupted burst.",
        )
    if ended.reason != "itself":
        return InterferometryError(
            "stopped", f"{job.name} was stopped ({ended.reason}).", "Run the build again."
        )
    if watch.failure is not None:
        return error_of(watch.failure)
    messages = " / ".join(watch.last)[-600:]
    how = f"signal {-ended.exit_status}" if ended.exit_status < 0 else f"exit status {ended.exit_status}"
    return InterferometryError(
        "processor-died",
        f"The processor ended with {how} and without products of {job.name}. Its last messages: {messages or 'none'}",
        f"Read {path.relative_to(job)} in the job's folder {job}; {MANIFEST} there is the request. "
        "If another process killed it, the machine may be out of memory: free some and run the build again.",
    )
