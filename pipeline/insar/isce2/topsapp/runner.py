"""Processes one job: runs topsApp step by step, checks each step, and writes the products."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

from pipeline.errors import DiskError, InterferometryError, disk_error_of
from pipeline.files import write_whole
from pipeline.insar.child import Watch
from pipeline.insar.isce2.topsapp.attempt import Attempts, ended_early
from pipeline.insar.isce2.topsapp.failures import ESD_TOO_STRICT
from pipeline.insar.isce2.topsapp.files.geocoded import write_products
from pipeline.insar.isce2.topsapp.preparation import (
    disable_esd,
    esd_enabled,
    esd_possible,
    find_topsapp,
    prepare,
)
from pipeline.insar.isce2.topsapp.run_report import common_bursts, esd_median_px, isce_version, kept_bursts
from pipeline.insar.isce2.topsapp.steps import STEPS, check_files, missing_files
from pipeline.insar.job import (
    METADATA,
    MOST_BURSTS,
    PRODUCTS,
    Esd,
    JobManifest,
    JobMetadata,
    Step,
    folder_of,
    read_manifest,
)
from pipeline.insar.job_state import State, fingerprint, read_state, write_state
from pipeline.insar.messages import send_event

FIRST_FOR_1C = (2, 6, 5)
"""The first release of ISCE2 that supports Sentinel-1C and 1D."""

_COHERENCE = (
    "5 x 5 pixels of full resolution, triangle weights, then averaged over the looks (mroipac cchz_wave)"
)


def run_job(job: Path, standard_input: int | None) -> JobMetadata:
    """Process the job in the folder `job`; returns the content of `metadata.json`.

    `standard_input` is the descriptor that is closed when the caller ends; None if there is no caller.

    Raises:
        InterferometryError: the code names the failure; the job is unfinished, and a later run resumes it.
    """
    start = time.monotonic()
    try:
        manifest = read_manifest(job)
        _clear(job / "products")
        with Watch(
            deadline=start + manifest.limits.time_s,
            memory_bytes=manifest.limits.memory_bytes,
            standard_input=standard_input,
        ) as watch:
            return _Runner(job, manifest, watch).run()
    except (OSError, DiskError) as error:
        raise _error_of_disk(error) from error


class _Runner:
    """One run of one job."""

    def __init__(self, job: Path, manifest: JobManifest, watch: Watch) -> None:
        self.job = job
        self.manifest = manifest
        self.watch = watch
        self.folders = folder_of(job)
        self.scratch = self.folders["scratch"]
        self.work = self.scratch / "topsapp"
        self.attempts = Attempts(find_topsapp(), self.work, self.scratch, manifest, watch)

    def run(self) -> JobMetadata:
        """Run the unfinished steps, write the products, then metadata.json."""
        state = self._resumed_state(fingerprint(self.job, self.manifest))
        for number, name in enumerate(STEPS, 1):
            if not state.done(name):
                send_event("step", name=name, number=number, of=len(STEPS))
                state = self._step(name, state)
                write_state(self.scratch, state)
        self._raise_if_stopped()
        written = write_products(self.work, self.folders["products"], self.manifest.bbox)
        self._raise_if_stopped()
        manifest = self.manifest
        metadata = JobMetadata(
            pair=manifest.pair,
            part=manifest.part,
            backend="isce2",
            versions={"isce2": isce_version(self.work) or "unknown", "python": sys.version.split()[0]},
            parameters={
                "azimuth_looks": manifest.azimuth_looks,
                "range_looks": manifest.range_looks,
                "posting_m": manifest.posting_m,
                "coherence": _COHERENCE,
                "swaths": list(manifest.swaths),
                "polarisation": manifest.polarisation,
                "geoid": manifest.geoid,
            },
            steps=state.steps,
            bursts=manifest.bursts,
            orbits={"reference": manifest.reference.orbit_kind, "secondary": manifest.secondary.orbit_kind},
            esd=state.esd or Esd(applied=False, reason="unknown"),
            products=written.products,
            valid_fraction=written.valid_fraction,
            coherence_mean=written.coherence_mean,
            peak_memory_bytes=state.peak_memory_bytes,
        )
        write_whole(self.folders["products"] / METADATA, metadata.model_dump_json(indent=1))
        return metadata

    def _resumed_state(self, mark: str) -> State:
        """The state to resume from. Files of another manifest or of other inputs are deleted."""
        state = read_state(self.scratch)
        if state is None or state.fingerprint != mark or not state.steps:
            prepare(self.job, self.manifest, self.work, self.attempts.logs)
            return State(fingerprint=mark)
        kept: list[Step] = []
        for name, step in zip(STEPS, state.steps, strict=False):
            if step.name != name or missing_files(name, self.work, self.manifest.swaths):
                break
            kept.append(step)
        if not kept:  # the folder itself may be absent
            prepare(self.job, self.manifest, self.work, self.attempts.logs)
            return State(fingerprint=mark)
        send_event("note", text=f"resumes after {len(kept)} of {len(STEPS)} steps")
        return state.model_copy(update={"steps": tuple(kept)})

    def _step(self, name: str, state: State) -> State:
        """Run one step and check its files; returns the new state."""
        step, esd = self._esd_step() if name == "esd" else (self._plain_step(name), state.esd)
        return state.model_copy(
            update={
                "steps": (*state.steps, step),
                "peak_memory_bytes": max(state.peak_memory_bytes, step.peak_memory_bytes or 0),
                "esd": esd,
            }
        )

    def _plain_step(self, name: str) -> Step:
        step, error = self.attempts.run(name)
        if error is not None:
            raise error
        check_files(name, self.work, self.manifest.swaths)
        if name == "startup":
            self._check_version()
        elif name == "preprocess":
            self._check_burst_count()
        elif name == "computeBaselines":
            self._check_overlap()
        return step

    def _esd_step(self) -> tuple[Step, Esd]:
        """Run enhanced spectral diversity. If the coherence is too low, repeat the step without it."""
        wanted = esd_enabled(self.work)
        step, error = self.attempts.run("esd")
        if error is None:
            check_files("esd", self.work, self.manifest.swaths)
            if wanted:
                return step, Esd(applied=True, azimuth_offset_px=esd_median_px(self.work))
            return step, Esd(applied=False, reason=self._why_no_esd())
        if not wanted or error.code != ESD_TOO_STRICT:
            raise error
        # the bursts are then aligned by orbits alone; the metadata records that, and the pair stays usable
        disable_esd(self.work)
        reason = self._why_no_esd()
        send_event("note", text=f"enhanced spectral diversity is not applied: {reason}")
        again = self._plain_step("esd")
        both = {
            "seconds": round(step.seconds + again.seconds, 3),
            "lines": tuple(dict.fromkeys((*step.lines, *again.lines))),
        }
        return again.model_copy(update=both), Esd(applied=False, reason=reason)

    def _why_no_esd(self) -> str:
        """Why topsApp.xml does not enable it: by the request, or after a failed attempt of this or an earlier run."""
        if not self.manifest.esd:
            return "not asked for"
        if not esd_possible(self.manifest):
            return "fewer than two bursts in every swath"
        return f"no point above a coherence of {self.manifest.esd_coherence}"

    def _check_version(self) -> None:
        version = isce_version(self.work)
        numbers = tuple(int(part) for part in re.findall(r"\d+", version or "")[:3])
        platforms = (self.manifest.reference.platform, self.manifest.secondary.platform)
        new = [platform for platform in platforms if platform.upper().endswith(("C", "D"))]
        if new and numbers and numbers < FIRST_FOR_1C:
            raise InterferometryError(
                "platform-unknown", f"ISCE2 {version} does not support {new[0]}.", "Use ISCE2 2.6.5 or later."
            )

    def _check_burst_count(self) -> None:
        """topsApp keeps one or two bursts outside the box. Many more mean that it ignored the box."""
        for name in ("reference", "secondary"):
            kept = kept_bursts(self.work, name)
            if kept > MOST_BURSTS + 2 * len(self.manifest.swaths):
                raise InterferometryError(
                    "too-many-bursts",
                    f"topsApp kept {kept} bursts of the {name} acquisition; more than {MOST_BURSTS} exceed the memory.",
                    "Choose a smaller box, or fetch single bursts instead of whole granules.",
                )

    def _check_overlap(self) -> None:
        found = common_bursts(self.work)
        if found and not any(found.values()):
            raise InterferometryError(
                "no-burst-overlap",
                "the two acquisitions have no burst in common.",
                "Choose another pair.",
            )

    def _raise_if_stopped(self) -> None:
        reason = self.watch.reason()
        if reason is not None:
            raise ended_early(reason, "while it wrote the products")


def _error_of_disk(error: OSError | DiskError) -> InterferometryError:
    disk = disk_error_of(error, writing=True)
    if disk is not None and disk.full:
        return InterferometryError(
            "disk-full",
            "the disk of the job's folder is full.",
            "Free disk space, or move the data folder to a larger disk; the pair then resumes.",
        )
    named = getattr(error, "filename", None)
    why = str(getattr(error, "strerror", None) or (disk.message if disk else error)).rstrip(".")
    return InterferometryError(
        "job-unusable",
        f"{Path(str(named)).name if named else 'the job folder'}: {why}.",
        "The runner must be able to read the job's inputs and write to its scratch and products.",
    )


def _clear(products: Path) -> None:
    """Delete the products of an earlier run, metadata.json first, so that none of them counts as finished."""
    products.mkdir(parents=True, exist_ok=True)
    for name in (METADATA, *(f"{product}.tif" for product in PRODUCTS)):
        (products / name).unlink(missing_ok=True)
    for partial in products.glob(".*.part*"):
        partial.unlink()
