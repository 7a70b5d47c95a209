"""What an interferometric processor is: it takes a job's inputs to its products."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from pipeline.insar.job import JobManifest, JobMetadata
from pipeline.progress import Progress as Progress


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
