"""How far a job has come: written after every step, so that a run goes on at the step that failed.

What is done counts only for the same request, the same inputs and the same folder; anything else starts over. Limits
are no part of the request: who allows a failed job more memory or time wants it to go on.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from pydantic import ValidationError

from pipeline.insar.job import Esd, JobManifest, Step
from pipeline.records import Frozen

STATE = "state.json"
_SAMPLE_BYTES = 2**16


class State(Frozen):
    """What is done of the job that `fingerprint` stands for."""

    fingerprint: str
    steps: tuple[Step, ...] = ()
    esd: Esd | None = None
    peak_memory_bytes: int = 0

    def done(self, name: str) -> bool:
        """Whether a step is done."""
        return any(step.name == name for step in self.steps)


def read_state(folder: Path) -> State | None:
    """The state in `folder`; None where there is none that can be read."""
    try:
        return State.model_validate_json((folder / STATE).read_bytes())
    except (OSError, ValidationError):
        return None


def write_state(folder: Path, state: State) -> None:
    """Write the state so that a reader finds the former one or this one, never a part."""
    write_text(folder / STATE, state.model_dump_json(indent=1))


def write_text(path: Path, text: str) -> None:
    """Write a small file in one piece: to a partial name, to the disk, then renamed."""
    partial = path.with_name(f"{path.name}.part")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def fingerprint(job: Path, manifest: JobManifest) -> str:
    """Of the manifest but its limits, the job's place, and its inputs by name, size and samples of their content."""
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
