"""Recognises failures in topsApp's logs, with a remedy for each.

topsApp prints "Generated error" and exits 0 where a swath cannot be read, prints "ERROR" and exits 0 at an unknown
step, and exits 1 with a traceback in other cases. Therefore the exit status alone is not reliable. The messages are
those of ISCE2 2.6.5 (isceobj/Sensor/TOPS, isceobj/TopsProc, iscesys/Component/Application.py).
"""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import Field

from pipeline.errors import InterferometryError
from pipeline.records import Frozen

MOST_LOG_BYTES = 16 * 2**20
"""Of a longer log only the first and the last half of so many bytes are read."""

_MOST_LINES = 12
_LONGEST_LINE = 300

ESD_TOO_STRICT = "esd-too-strict"


class KnownFailure(Frozen):
    """A known failure: its pattern in the log, code, meaning and remedy."""

    code: str
    pattern: str
    meaning: str
    remedy: str


class LogSummary(Frozen):
    """The failure and the important lines of a log."""

    lines: tuple[str, ...] = Field(description="important lines, shortened")
    known: KnownFailure | None = Field(description="the first known failure; None if there is none")
    error_line: str | None = Field(description="the first line that mentions an error")


KNOWN_FAILURES = (
    KnownFailure(
        code="orbit-missing",
        pattern=r"No suitable orbit file found",
        meaning="no orbit file of the job covers the acquisition",
        remedy="Fetch the orbit files again; a precise one is published about 20 days after the pass, a restituted "
        "one after some hours.",
    ),
    KnownFailure(
        code="swath-absent",
        pattern=r"No annotation xml file found|No annotation files found|No tiff file found",
        meaning="a SAFE of the job lacks the requested swath or polarisation",
        remedy="Ask for swaths and polarisation that both acquisitions hold, or fetch the granule again.",
    ),
    KnownFailure(
        code="step-unknown",
        pattern=r"is not one of the named steps",
        meaning="this topsApp does not support the step",
        remedy="Use ISCE2 2.6.5.",
    ),
    KnownFailure(
        code="state-missing",
        pattern=r"Cannot open PICKLE/",
        meaning="the state of the previous step is missing",
        remedy="Delete the job's scratch folder and run the pair again.",
    ),
    KnownFailure(
        code="nothing-to-geocode",
        pattern=r"No products found to geocode|Number of products to geocode:\s+0\b",
        meaning="topsApp found no products to geocode",
        remedy="Delete the job's scratch folder and run the pair again.",
    ),
    KnownFailure(
        code="no-burst-overlap",
        pattern=r"Could not determine a suitable burst offset|No common bursts found|There is no common region|"
        r"Skipping processing for swath number",
        meaning="the two acquisitions have no burst in common",
        remedy="Choose another pair.",
    ),
    KnownFailure(
        code=ESD_TOO_STRICT,
        pattern=r"Coherence threshold too strict",
        meaning="the coherence is too low for enhanced spectral diversity",
        remedy="Turn it off or lower its coherence threshold; it fails over vegetation.",
    ),
    KnownFailure(
        code="no-bursts",
        pattern=r"NODATA: No bursts to extract|There is no imagery to extract|Atleast 2 bursts must be present",
        meaning="no burst lies inside the requested box",
        remedy="Check that the requested box lies within the acquisitions.",
    ),
    KnownFailure(
        code="processor-versions-differ",
        pattern=r"SLC products from different IPF versions",
        meaning="slices of different processor versions cannot be joined",
        remedy="Fetch bursts, or choose slices of the same processor version.",
    ),
    KnownFailure(
        code="slices-apart",
        pattern=r"There appears to be a gap between slices|No Burst Overlap",
        meaning="there is a gap between slices or bursts",
        remedy="Fetch the missing slice or burst.",
    ),
    KnownFailure(
        code="bursts-differ",
        pattern=r"Trying to access shift for secondary burst index",
        meaning="the acquisitions hold different bursts",
        remedy="Request only the bursts that both have.",
    ),
    KnownFailure(
        code="calibration-missing",
        pattern=r"no suitable auxiliary file found",
        meaning="slices of processor version 002.36 need an auxiliary calibration file",
        remedy="Choose a reprocessed granule, or put the auxiliary calibration file into the folder of the orbits.",
    ),
    KnownFailure(
        code="platform-unknown",
        pattern=r"Encountered unknown mission id",
        meaning="this ISCE2 does not support the platform",
        remedy="Use ISCE2 2.6.5 or later, the first for Sentinel-1C and 1D.",
    ),
    KnownFailure(
        code="dem-missing",
        pattern=r"Unknown reference system for DEM|Something went wrong in determining bboxes|"
        r"reference set to EGM96|\bdownload(ing)? .*\bDEM\b|Could not create a stitched DEM",
        meaning="the DEM is unusable, and a job has no network to download another",
        remedy="Delete the job's scratch folder and run the pair again, so that the DEM is written again.",
    ),
    KnownFailure(
        code="disk-full",
        pattern=r"No space left on device|Disk quota exceeded",
        meaning="the disk of the job's folder is full",
        remedy="Free disk space, or move the data folder to a larger disk; the pair resumes at the step that failed.",
    ),
    KnownFailure(
        code="memory",
        pattern=r"\bMemoryError\b|std::bad_alloc|Cannot allocate memory|Unable to allocate|Allocation would exceed",
        meaning="the step needs more memory than the job may use",
        remedy="Allow the job more memory, or fewer bursts.",
    ),
    KnownFailure(
        code="isce2-broken",
        pattern=r"\bModuleNotFoundError\b|\bImportError\b|cannot open shared object file|/usr/bin/env: .* No such file",
        meaning="the installation of ISCE2 is incomplete",
        remedy="Install ISCE2 2.6.5 again from docker/isce2, whose packages are pinned.",
    ),
)

_KNOWN = tuple((re.compile(known.pattern), known) for known in KNOWN_FAILURES)
_ALARM = re.compile(r"Generated error|\bERROR\b|Traceback \(most recent call last\)")
_REMARK = re.compile(
    r"limit may be insufficient|tagged as|may not be accurate|Could not extract|Skipping|burst offset|Number of Bursts|"
    r"\besd\.|IPF version|COMBINED VERSION"
)
_EXCEPTION = re.compile(r"^[A-Za-z_][\w.]*(Error|Exception|Interrupt)\b")


def read_log(log: Path) -> LogSummary:
    """Summary of the log of one step; empty if the log is absent."""
    lines: list[str] = []
    known: KnownFailure | None = None
    error_line: str | None = None
    for line in _text(log).splitlines():
        line = line.strip()[:_LONGEST_LINE]
        match = next((candidate for pattern, candidate in _KNOWN if pattern.search(line)), None)
        is_error = bool(_ALARM.search(line) or _EXCEPTION.match(line))
        known = known or match
        if is_error and (error_line is None or error_line.startswith("Traceback")):
            error_line = line
        if (match or is_error or _REMARK.search(line)) and line not in lines:
            lines.append(line)
    if len(lines) > _MOST_LINES:
        lines = [*lines[: _MOST_LINES // 2], *lines[-(_MOST_LINES - _MOST_LINES // 2) :]]
    return LogSummary(lines=tuple(lines), known=known, error_line=error_line)


def failure(step: str, summary: LogSummary, exit_status: int) -> InterferometryError | None:
    """The error of a step from its log and exit status (negative: a signal); None if neither shows one."""
    if summary.known is not None:
        log_line = f" Its log: {summary.error_line}" if summary.error_line else ""
        return InterferometryError(
            summary.known.code,
            f"topsApp's step {step}: {summary.known.meaning}.{log_line}",
            summary.known.remedy,
        )
    if summary.error_line is None and exit_status == 0:
        return None
    log_line = f"logged: {summary.error_line}" if summary.error_line else "logged no error"
    how = f"was ended by signal {-exit_status}" if exit_status < 0 else f"exited with {exit_status}"
    return InterferometryError(
        "topsapp-failed" if exit_status >= 0 else "topsapp-crashed",
        f"topsApp's step {step} {how} and {log_line}.",
        f"Read {step}.log in the job's scratch folder; run the pair again to resume at this step.",
    )


def _text(log: Path) -> str:
    if not log.is_file():
        return ""
    half = MOST_LOG_BYTES // 2
    with log.open("rb") as file:
        data = file.read(half)
        rest = log.stat().st_size - half
        if rest > 0:
            file.seek(max(half, log.stat().st_size - half))
            data += b"\n" + file.read(half)
    return data.decode("utf-8", "replace")
