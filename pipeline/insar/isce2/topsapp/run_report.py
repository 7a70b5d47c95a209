"""What ISCE2 reports of its own work in topsProc.xml, which it writes after every step.

Its tags hold colons, so that no parser of XML takes it; what is wanted of it is looked for as text.
"""

from __future__ import annotations

import re
from pathlib import Path

REPORT = "topsProc.xml"
_MOST_CHARACTERS = 2**22


def isce_version(work: Path) -> str | None:
    """The release of ISCE2, as in 2.6.5."""
    found = re.search(r"<ISCE_VERSION>\s*Release:\s*([\w.]+)", _text(work))
    return found[1] if found else None


def kept_bursts(work: Path, side: str) -> int:
    """How many bursts of all swaths the step preprocess kept of `side`, reference or secondary."""
    return sum(
        int(number) for number in re.findall(r"<numberOfBursts_\d>(\d+)<", _section(_text(work), side))
    )


def common_bursts(work: Path) -> dict[int, int]:
    """By swath, how many bursts the acquisitions have in common, as the step computeBaselines found."""
    section = _section(_text(work), "baseline")
    found = re.findall(r"<IW-(\d)_Number_of_common_bursts>(\d+)<", section)
    return {int(swath): int(number) for swath, number in found}


def esd_median_px(work: Path) -> float | None:
    """The azimuth offset that enhanced spectral diversity found, pixels; None where it was not done."""
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
