"""The interferometric processors that can fill a job folder, by the name that the setting gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from pipeline.errors import InterferometryError
from pipeline.insar.job import JobManifest, JobMetadata

Progress = Callable[[str, int, int | None], None]
"""Called with what is being done, how much of it is done, and out of how much if that is known."""


class InsarBackend(Protocol):
    """A processor: takes a job's inputs to its products (see `pipeline.insar.job`)."""

    def ready(self) -> None:
        """Find out in a moment, before anything is fetched, whether the processor is there.

        Raises:
            InterferometryError: it is not, and how it can be had.
        """
        ...

    def run(self, job: Path, manifest: JobManifest, progress: Progress | None = None) -> JobMetadata:
        """Process `job`, or go on with it, until products/metadata.json is there; returns what that says.

        Nothing of what it starts outlives the call, or the caller.

        Raises:
            InterferometryError: by its code; the job is unfinished then and can be run again.
        """
        ...


def backend_named(name: str) -> InsarBackend:
    """The backend of that name.

    Raises:
        InterferometryError: `backend-unknown` or `backend-none`.
    """
    if name == "isce2":
        from pipeline.insar.isce2.isce2_backend import Isce2Backend

        return Isce2Backend()
    if name == "pygmtsar":
        from pipeline.insar.pygmtsar import PygmtsarBackend

        return PygmtsarBackend()
    if name == "none":
        raise InterferometryError(
            "backend-none",
            "No interferometric processor is chosen (SLIDECUBE_INSAR_BACKEND=none).",
            "Set it to isce2 or pygmtsar, or leave `interferometry` out of the area file.",
        )
    raise InterferometryError(
        "backend-unknown",
        f"There is no interferometric processor {name!r}.",
        "Set SLIDECUBE_INSAR_BACKEND to isce2, pygmtsar or none.",
    )
