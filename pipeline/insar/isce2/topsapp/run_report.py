"""Reads topsProc.xml, the report that ISCE2 writes after every step.

Its tags contain colons without a namespace, which XML parsers reject, so it is searched as text.
"""

from __future__ import annotations

import re
from pathlib import Path

REPORT = "topsProc.xml"
_MOST_CHARACTERS = 2**22


def isce_version(work: Path) -> str | None:
    """The release of ISCE2, such as 2.6.5; None if the report does not state it."""
    found = re.search(r"<ISCE_VERSION>\s*Release:\s*([\w.]+)", _text(work))
    return found[1] if found else None


def kept_bursts(work: Path, acquisition: str) -> int:
    """Number of bursts in all swaths that the step preprocess kept of `acquisition`, reference or secondary."""
    return sum(
        int(number) for number in re.findall(r"<numberOfBursts_\d>(\d+)<", _section(_text(work), acquisition))
    )


def common_bursts(work: Path) -> dict[int, int]:
    """Number of common bursts of the acquisitions, by swath, from the step computeBaselines."""
    section = _section(_text(work), "baseline")
    found = re.findall(r"<IW-(\d)_Number_of_common_bursts>(\d+)<", section)
    return {int(swath): int(number) for swath, number in found}


def esd_median_px(work: Path) -> float | None:
    """Median azimuth offset of enhanced spectral diversity, pixels; None if it was not applied."""
    found = re.search(r"<Median>\s*([-+.\deE]+)\s*</Median>", _section(_text(work), "esd"))
    return float(found[1]) if found else None


def _text(work: Path) -> str:
    try:
        with (work / REPORT).open(encoding="utf-8", errors="replace") as file:
            return file.read(_MOST_CHARACTERS)
    except OSError:
        return ""


def _section(text: str, name: str) -> str:
    found = re.search(rf"<{name}>(.*?)</{name}>", text, re.DOTALL)
    return found[1] if found else ""
