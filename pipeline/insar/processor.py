"""The protocol of an interferometric processor, which makes the products of a job from its inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from pipeline.insar.job import JobManifest, JobMetadata
from pipeline.progress import Progress, no_progress


class InsarBackend(Protocol):
    """Makes the products of a job from its inputs (see `pipeline.insar.job`)."""

    def ready(self) -> None:
        """Check quickly that the processor is installed. Callers do so before they fetch inputs.

        Raises:
            InterferometryError: it is not installed; the remedy names how to install it.
        """
        ...

    def run(self, job: Path, manifest: JobManifest, progress: Progress = no_progress) -> JobMetadata:
        """Process `job`, or resume it, until products/metadata.json exists; returns its content.

        Every process that the processor starts ends with the call, or with the caller.

        Raises:
            InterferometryError: the code names the failure; the job is unfinished and can be run again.
        """
        ...
