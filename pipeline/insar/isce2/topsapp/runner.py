"""One job from its manifest to its products: topsApp step by step, each watched, read and checked."""

from __future__ import annotations

import errno
import re
import sys
import time
from pathlib import Path

from pipeline.errors import InterferometryError
from pipeline.insar.child import Watch
from pipeline.insar.isce2.topsapp.attempt import Attempts, ended_early
from pipeline.insar.isce2.topsapp.failures import ESD_TOO_STRICT
from pipeline.insar.isce2.topsapp.files.geocoded import write_products
from pipeline.insar.isce2.topsapp.preparation import (
    esd_chosen,
    esd_possible,
    find_topsapp,
    leave_out_esd,
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
from pipeline.insar.job_state import State, fingerprint, read_state, write_state, write_text
from pipeline.insar.messages import say

FIRST_FOR_1C = (2, 6, 5)
"""The first ISCE2 that knows Sentinel-1C and 1D."""

_COHERENCE = (
    "5 x 5 pixels of full resolution, triangle weights, then averaged over the looks (mroipac cchz_wave)"
)


def run_job(job: Path, standard_input: int | None) -> JobMetadata:
    """Process the job in the folder `job` and return what `metadata.json` says.

    `standard_input` is the descriptor whose end tells that the caller is gone; None: run on without a caller.

    Raises:
        InterferometryError: by its code; nothing of it counts as a product then, and a later run goes on from there.
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
    except OSError as error:
        raise _of_system(error) from error


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
        """All steps that are not done, then the products, then metadata.json."""
        state = self._start_or_go_on(fingerprint(self.job, self.manifest))
        for number, name in enumerate(STEPS, 1):
            if not state.done(name):
                say("step", name=name, number=number, of=len(STEPS))
                state = self._step(name, state)
                write_state(self.scratch, state)
        self._go_on_or_raise()
        written = write_products(self.work, self.folders["products"], self.manifest.bbox)
        self._go_on_or_raise()
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
        write_text(self.folders["products"] / METADATA, metadata.model_dump_json(indent=1))
        return metadata

    def _start_or_go_on(self, mark: str) -> State:
        """The state to go on from; what belongs to another manifest or to other inputs is deleted."""
        state = read_state(self.scratch)
        if state is None or state.fingerprint != mark or not state.steps:
            prepare(self.job, self.manifest, self.work, self.attempts.logs)
            return State(fingerprint=mark)
        kept: list[Step] = []
        for name, step in zip(STEPS, state.steps, strict=False):
            if step.name != name or missing_files(name, self.work, self.manifest.swaths):
                break
            kept.append(step)
        if not kept:  # the folder itself may be gone
            prepare(self.job, self.manifest, self.work, self.attempts.logs)
            return State(fingerprint=mark)
        say("note", text=f"goes on after {len(kept)} of {len(STEPS)} steps")
        return state.model_copy(update={"steps": tuple(kept)})

    def _step(self, name: str, state: State) -> State:
        """The state after one more step, its files checked."""
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
        """Enhanced spectral diversity, or why it was left out; its failure for want of coherence is no failure."""
        wanted = esd_chosen(self.work)
        step, error = self.attempts.run("esd")
        if error is None:
            check_files("esd", self.work, self.manifest.swaths)
            if wanted:
                return step, Esd(applied=True, azimuth_offset_px=esd_median_px(self.work))
            return step, Esd(applied=False, reason=self._why_no_esd())
        if not wanted or error.code != ESD_TOO_STRICT:
            raise error
        # the orbits alone align the bursts then, which is recorded, and the pair is still of use
        leave_out_esd(self.work)
        reason = self._why_no_esd()
        say("note", text=f"enhanced spectral diversity is left out: {reason}")
        again = self._plain_step("esd")
        both = {
            "seconds": round(step.seconds + again.seconds, 3),
            "lines": tuple(dict.fromkeys((*step.lines, *again.lines))),
        }
        return again.model_copy(update=both), Esd(applied=False, reason=reason)

    def _why_no_esd(self) -> str:
        """Why topsApp.xml does not ask for it: by the request, or because an attempt failed, of this run or another."""
        if not self.manifest.esd:
            return "not asked for"
        if not esd_possible(self.manifest):
            return "fewer than two bursts in every swath"
        return f"no point above a coherence of {self.manifest.esd_coherence}"

    def _check_version(self) -> None:
        version = isce_version(self.work)
        numbers = tuple(int(part) for part in re.findall(r"\d+", version or "")[:3])
        sides = (self.manifest.reference, self.manifest.secondary)
        new = [side.platform for side in sides if side.platform.upper().endswith(("C", "D"))]
        if new and numbers and numbers < FIRST_FOR_1C:
            raise InterferometryError(
                "platform-unknown", f"ISCE2 {version} does not know {new[0]}.", "Use ISCE2 2.6.5 or later."
            )

    def _check_burst_count(self) -> None:
        """topsApp keeps a burst or two beyond the box; far more means that the box did not cut."""
        for side in ("reference", "secondary"):
            kept = kept_bursts(self.work, side)
            if kept > MOST_BURSTS + 2 * len(self.manifest.swaths):
                raise InterferometryError(
                    "too-many-bursts",
                    f"of the {side} acquisition {kept} bursts were kept; more than {MOST_BURSTS} are beyond memory.",
                    "Cut the wanted box, or fetch single bursts in place of whole granules.",
                )

    def _check_overlap(self) -> None:
        found = common_bursts(self.work)
        if found and not any(found.values()):
            raise InterferometryError(
                "no-burst-overlap",
                "the two acquisitions have no burst in common.",
                "Choose another pair: these two do not look at the same ground.",
            )

    def _go_on_or_raise(self) -> None:
        reason = self.watch.reason()
        if reason is not None:
            raise ended_early(reason, "while the products were written")


def _of_system(error: OSError) -> InterferometryError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return InterferometryError(
            "disk-full",
            "the disk of the job's folder is full.",
            "Free room, or put the data folder on a larger disk; the pair goes on where it stopped.",
        )
    where = Path(str(error.filename)).name if error.filename else "the job's folder"
    return InterferometryError(
        "job-unusable",
        f"{where}: {error.strerror or error}.",
        "The runner must be able to read the job's inputs and write to its scratch and products.",
    )


def _clear(products: Path) -> None:
    """Of an earlier run nothing must look finished; metadata.json goes first."""
    products.mkdir(parents=True, exist_ok=True)
    for name in (METADATA, *(f"{product}.tif" for product in PRODUCTS)):
        (products / name).unlink(missing_ok=True)
    for partial in products.glob("*.part"):
        partial.unlink()
