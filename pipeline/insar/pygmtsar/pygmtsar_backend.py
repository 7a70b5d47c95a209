"""The caller's side: starts the processor in a child process, watches over it, and tells what came of it."""

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
from pipeline.insar.messages import error_of, heard
from pipeline.insar.processor import Progress
from pipeline.insar.products.validate import read_finished

PACKAGE = "insardev_pygmtsar"
LOG = "pygmtsar.log"
WAY_OUT = "Install the extra: pip install 'slidecube[insar]'; or set SLIDECUBE_INSAR_BACKEND=isce2."

_SECRET = re.compile(r"(?i)token|password|passwd|secret|(^|_)key($|_)|earthdata|netrc|proxy|credential")
_LAST_LINES = 3


class PygmtsarBackend:
    """insardev_pygmtsar, in a process of its own with limits, without network, writing inside the job folder alone."""

    @property
    def name(self) -> Backend:
        """As in the manifest and the setting."""
        return "pygmtsar"

    def ready(self) -> None:
        """Whether the package is installed.

        Raises:
            InterferometryError: `backend-missing`.
        """
        if find_spec(PACKAGE) is None:
            raise InterferometryError("backend-missing", f"The package {PACKAGE} is not installed.", WAY_OUT)

    def run(self, job: Path, manifest: JobManifest, progress: Progress | None = None) -> JobMetadata:
        """Process the job or go on with it: bursts that are done are not done again.

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
        watch = _Listener(
            deadline=time.monotonic() + limits.time_s,
            memory_bytes=limits.memory_bytes,
            log=path,
            progress=progress,
        )
        command = [sys.executable, "-m", "pipeline.insar.pygmtsar", str(job)]
        ended = run_watched(command, scratch, path, watch, _environment(scratch, limits.cpus))
        watch.listen()
        metadata = read_finished(job, manifest)
        if ended.exit_status != 0 or ended.reason != "itself" or metadata is None:
            raise _failure(job, manifest, ended, watch, path)
        return metadata


@dataclass
class _Listener(Watch):
    """Reads what the child says of its progress whenever the watch looks."""

    log: Path = Path()
    progress: Progress | None = None
    failure: dict[str, Any] | None = None
    last: list[str] = field(default_factory=list)
    _read: int = 0

    def reason(self) -> Any:
        """As `Watch`, having listened."""
        self.listen()
        return super().reason()

    def listen(self) -> None:
        """Take in the whole lines that are new in the log."""
        with self.log.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        whole = data.rfind(b"\n") + 1
        self._read += whole
        for line in data[:whole].decode("utf-8", "replace").splitlines():
            event = heard(line)
            if event is None:
                self.last = [*self.last, line.strip()][-_LAST_LINES:] if line.strip() else self.last
            elif event["slidecube"] == "failed":
                self.failure = event
            elif self.progress is not None and event["slidecube"] == "step":
                self.progress(
                    str(event.get("name", "")), int(event.get("number", 0)), int(event.get("of", 0))
                )


def _environment(scratch: Path, cpus: int) -> dict[str, str]:
    """The caller's environment without secrets and proxies; caches and temporary files go to the job's scratch."""
    home = scratch / "home"
    home.mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not _SECRET.search(name)}
    root = str(Path(pipeline.__file__).resolve().parents[1])
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(cpus))
    places = dict.fromkeys(
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
        **kept, **threads, **places,
        "PYTHONPATH": os.pathsep.join(filter(None, (root, kept.get("PYTHONPATH", "")))),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "MPLBACKEND": "agg",
    }  # fmt: skip


def _failure(
    job: Path, manifest: JobManifest, ended: Ended, watch: _Listener, path: Path
) -> InterferometryError:
    limits = manifest.limits
    if ended.reason == "memory":
        return InterferometryError(
            "memory",
            f"{job.name} took more than its {limits.memory_bytes / 1e9:.1f} GB of memory.",
            "Allow more (SLIDECUBE_INSAR_MEMORY_GB), or process fewer pairs at once (SLIDECUBE_INSAR_CONCURRENCY).",
        )
    if ended.reason == "timeout":
        return InterferometryError(
            "time-limit",
            f"{job.name} was not finished in {limits.time_s / 3600:.3g} hours.",
            "Allow more (SLIDECUBE_INSAR_HOURS); it goes on with the burst that was in work.",
        )
    if ended.reason != "itself":
        return InterferometryError(
            "stopped", f"{job.name} was stopped ({ended.reason}).", "Run the build again."
        )
    if watch.failure is not None:
        return error_of(watch.failure)
    said = " / ".join(watch.last)[-600:]
    how = f"signal {-ended.exit_status}" if ended.exit_status < 0 else f"exit status {ended.exit_status}"
    return InterferometryError(
        "processor-died",
        f"The processor ended with {how} and no product of {job.name}. Its last words: {said or 'none'}",
        f"Read {path.relative_to(job)} in the job's folder {job}; {MANIFEST} there says what was asked. "
        "Where it was killed from outside, memory may have run out: free some and run the build again.",
    )
