"""The finished steps of a job, written after every step, so that a run resumes at the step that failed.

Finished steps are valid only for the same request, inputs and folder; otherwise the job starts again. Limits are not
part of the request, so that a failed job resumes with more memory or time.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import ValidationError

from pipeline.files import read_regular, write_whole
from pipeline.insar.job import MOST_BYTES, Esd, JobManifest, Step
from pipeline.records import Frozen

STATE = "state.json"
_SAMPLE_BYTES = 2**16


class State(Frozen):
    """The finished steps of the job that `fingerprint` identifies."""

    fingerprint: str
    steps: tuple[Step, ...] = ()
    esd: Esd | None = None
    peak_memory_bytes: int = 0

    def done(self, name: str) -> bool:
        """Whether a step is finished."""
        return any(step.name == name for step in self.steps)


def read_state(folder: Path) -> State | None:
    """The state in `folder`; None if it is absent or unreadable."""
    try:
        return State.model_validate_json(read_regular(folder / STATE, MOST_BYTES))
    except (OSError, ValidationError):
        return None


def write_state(folder: Path, state: State) -> None:
    """Write the state. A reader finds the former state or this one, never a part."""
    write_whole(folder / STATE, state.model_dump_json(indent=1))


def fingerprint(job: Path, manifest: JobManifest) -> str:
    """Digest of the manifest without its limits, of the job's path, and of the inputs.

    Of each input file the digest covers the name, the size, and the first and last bytes.
    """
    digest = hashlib.sha256(manifest.model_dump_json(exclude={"limits"}).encode())
    digest.update(str(job.resolve()).encode())
    for file in sorted(path for path in (job / "inputs").rglob("*") if path.is_file()):
        size = file.stat().st_size
        digest.update(f"\n{file.relative_to(job)} {size} ".encode())
        with file.open("rb") as source:
            digest.update(source.read(_SAMPLE_BYTES))
            if size > _SAMPLE_BYTES:
                source.seek(max(_SAMPLE_BYTES, size - _SAMPLE_BYTES))
                digest.update(source.read(_SAMPLE_BYTES))
    return digest.hexdigest()
