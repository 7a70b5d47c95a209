"""What topsApp's log says of a failure, and the way out of each.

topsApp prints "Generated error" and exits 0 where a swath cannot be read, prints "ERROR" and exits 0 at an unknown
step, and exits 1 with a traceback at others; the exit status alone proves nothing either way. The words are those of
ISCE2 2.6.5 (isceobj/Sensor/TOPS, isceobj/TopsProc, iscesys/Component/Application.py).
"""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import Field

from pipeline.errors import InterferometryError
from pipeline.records import Frozen

MOST_LOG_BYTES = 16 * 2**20
"""Of a longer log the first and the last half of so much is read."""

_MOST_LINES = 12
_LONGEST_LINE = 300

ESD_TOO_STRICT = "esd-too-strict"


class Sign(Frozen):
    """One way to fail: how the log shows it, its code, what it means, the way out."""

    code: str
    pattern: str
    meaning: str
    remedy: str


class Reading(Frozen):
    """What a log says."""

    lines: tuple[str, ...] = Field(description="those that matter, shortened")
    sign: Sign | None = Field(description="the first known failure; None: none")
    alarm: str | None = Field(description="the first line that speaks of an error at all")


SIGNS = (
    Sign(
        code="orbit-missing",
        pattern=r"No suitable orbit file found",
        meaning="no orbit file of the job spans the acquisition",
        remedy="Fetch the orbit files again; a precise one appears about 20 days after the pass, a restituted one "
        "after some hours.",
    ),
    Sign(
        code="swath-absent",
        pattern=r"No annotation xml file found|No annotation files found|No tiff file found",
        meaning="a SAFE of the job lacks the swath or the polarisation that was asked for",
        remedy="Ask for swaths and polarisation that both acquisitions hold, or fetch the granule again.",
    ),
    Sign(
        code="step-unknown",
        pattern=r"is not one of the named steps",
        meaning="this topsApp does not know the step",
        remedy="Use ISCE2 2.6.5, whose steps the runner knows.",
    ),
    Sign(
        code="state-missing",
        pattern=r"Cannot open PICKLE/",
        meaning="the state of the step before is missing",
        remedy="Delete the job's scratch folder and run the pair again.",
    ),
    Sign(
        code="nothing-to-geocode",
        pattern=r"No products found to geocode|Number of products to geocode:\s+0\b",
        meaning="there was nothing to geocode",
        remedy="Delete the job's scratch folder and run the pair again.",
    ),
    Sign(
        code="no-burst-overlap",
        pattern=r"Could not determine a suitable burst offset|No common bursts found|There is no common region|"
        r"Skipping processing for swath number",
        meaning="the two acquisitions have no burst in common",
        remedy="Choose another pair: these two do not look at the same ground.",
    ),
    Sign(
        code=ESD_TOO_STRICT,
        pattern=r"Coherence threshold too strict",
        meaning="no point is coherent enough for enhanced spectral diversity",
        remedy="Leave it out or lower its coherence threshold; over vegetation it cannot be done.",
    ),
    Sign(
        code="no-bursts",
        pattern=r"NODATA: No bursts to extract|There is no imagery to extract|Atleast 2 bursts must be present",
        meaning="no burst is left inside the wanted box",
        remedy="Check that the wanted box lies within the acquisitions.",
    ),
    Sign(
        code="processor-versions-differ",
        pattern=r"SLC products from different IPF versions",
        meaning="slices of different processor versions cannot be joined",
        remedy="Work by bursts, or choose slices that were processed alike.",
    ),
    Sign(
        code="slices-apart",
        pattern=r"There appears to be a gap between slices|No Burst Overlap",
        meaning="there is a gap between slices or bursts",
        remedy="Fetch the slice or burst in between.",
    ),
    Sign(
        code="bursts-differ",
        pattern=r"Trying to access shift for secondary burst index",
        meaning="the acquisitions hold different bursts",
        remedy="Cut both to the bursts that they have in common.",
    ),
    Sign(
        code="calibration-missing",
        pattern=r"no suitable auxiliary file found",
        meaning="slices of processor version 002.36 need an auxiliary calibration file",
        remedy="Choose a reprocessed granule, or put the auxiliary calibration beside the orbits.",
    ),
    Sign(
        code="platform-unknown",
        pattern=r"Encountered unknown mission id",
        meaning="this ISCE2 does not know the platform",
        remedy="Use ISCE2 2.6.5 or later, the first for Sentinel-1C and 1D.",
    ),
    Sign(
        code="dem-missing",
        pattern=r"Unknown reference system for DEM|Something went wrong in determining bboxes|"
        r"reference set to EGM96|\bdownload(ing)? .*\bDEM\b|Could not create a stitched DEM",
        meaning="the DEM cannot be used, and another cannot be downloaded from inside the job",
        remedy="Delete the job's scratch folder and run the pair again, so that the DEM is written anew.",
    ),
    Sign(
        code="disk-full",
        pattern=r"No space left on device|Disk quota exceeded",
        meaning="the disk of the job's folder is full",
        remedy="Free room, or put the data folder on a larger disk; the pair goes on from the step that failed.",
    ),
    Sign(
        code="memory",
        pattern=r"\bMemoryError\b|std::bad_alloc|Cannot allocate memory|Unable to allocate|Allocation would exceed",
        meaning="the step wanted more memory than the job may use",
        remedy="Allow the job more memory, or fewer bursts.",
    ),
    Sign(
        code="isce2-broken",
        pattern=r"\bModuleNotFoundError\b|\bImportError\b|cannot open shared object file|/usr/bin/env: .* No such file",
        meaning="the installation of ISCE2 is not whole",
        remedy="Install ISCE2 2.6.5 again from docker/isce2, whose packages are pinned.",
    ),
)

_KNOWN = tuple((re.compile(sign.pattern), sign) for sign in SIGNS)
_ALARM = re.compile(r"Generated error|\bERROR\b|Traceback \(most recent call last\)")
_REMARK = re.compile(
    r"limit may be insufficient|tagged as|may not be accurate|Could not extract|Skipping|burst offset|Number of Bursts|"
    r"\besd\.|IPF version|COMBINED VERSION"
)
_EXCEPTION = re.compile(r"^[A-Za-z_][\w.]*(Error|Exception|Interrupt)\b")


def read_log(log: Path) -> Reading:
    """What the log of one step says; an absent log says nothing."""
    lines: list[str] = []
    sign: Sign | None = None
    alarm: str | None = None
    for line in _text(log).splitlines():
        line = line.strip()[:_LONGEST_LINE]
        known = next((candidate for pattern, candidate in _KNOWN if pattern.search(line)), None)
        loud = bool(_ALARM.search(line) or _EXCEPTION.match(line))
        sign = sign or known
        if loud and (alarm is None or alarm.startswith("Traceback")):
            alarm = line
        if (known or loud or _REMARK.search(line)) and line not in lines:
            lines.append(line)
    if len(lines) > _MOST_LINES:
        lines = [*lines[: _MOST_LINES // 2], *lines[-(_MOST_LINES - _MOST_LINES // 2) :]]
    return Reading(lines=tuple(lines), sign=sign, alarm=alarm)


def failure(step: str, reading: Reading, exit_status: int) -> InterferometryError | None:
    """The error of a step by its log and its exit (negative: by that signal); None where neither objects."""
    if reading.sign is not None:
        said = f" It said: {reading.alarm}" if reading.alarm else ""
        return InterferometryError(
            reading.sign.code, f"topsApp's step {step}: {reading.sign.meaning}.{said}", reading.sign.remedy
        )
    if reading.alarm is None and exit_status == 0:
        return None
    said = f"said: {reading.alarm}" if reading.alarm else "said nothing of why"
    how = f"was ended by signal {-exit_status}" if exit_status < 0 else f"exited with {exit_status}"
    return InterferometryError(
        "topsapp-failed" if exit_status >= 0 else "topsapp-crashed",
        f"topsApp's step {step} {how} and {said}.",
        f"Read {step}.log in the job's scratch folder; start the pair again to go on from this step.",
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
