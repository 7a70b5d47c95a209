"""The steps of topsApp in their order, and the files that each must write.

Order and names: applications/topsApp.py of ISCE2 2.6.5. No step can be skipped, since each reads the state that the
previous step wrote below PICKLE/. Steps that are turned off return at once.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import InterferometryError

STEPS = (
    "startup",
    "preprocess",
    "computeBaselines",
    "verifyDEM",
    "topo",
    "subsetoverlaps",
    "coarseoffsets",
    "coarseresamp",
    "overlapifg",
    "prepesd",
    "esd",
    "rangecoreg",
    "fineoffsets",
    "fineresamp",
    "ion",
    "burstifg",
    "mergebursts",
    "filter",
    "unwrap",
    "unwrap2stage",
    "geocode",
)

GEOCODED = ("merged/topophase.cor", "merged/topophase.flat", "merged/los.rdr")
"""The geocoded files; the other files of the merged folder stay in radar geometry."""

_FILES = {
    "preprocess": ("reference/IW{swath}.xml", "secondary/IW{swath}.xml"),
    "topo": ("geom_reference/IW{swath}/lat_*.rdr", "geom_reference/IW{swath}/los_*.rdr"),
    "fineresamp": ("fine_coreg/IW{swath}.xml", "fine_coreg/IW{swath}/burst_*.slc"),
    "burstifg": ("fine_interferogram/IW{swath}.xml", "fine_interferogram/IW{swath}/burst_*.cor"),
    "mergebursts": tuple(f"{name}{suffix}" for name in GEOCODED for suffix in ("", ".xml")),
    "filter": ("merged/filt_topophase.flat",),
    "geocode": tuple(f"{name}.geo{suffix}" for name in GEOCODED for suffix in ("", ".xml", ".vrt")),
}


def missing_files(step: str, work: Path, swaths: tuple[int, ...]) -> tuple[str, ...]:
    """The patterns, relative to `work`, for which the finished `step` wrote no file with content."""
    wanted = [f"PICKLE/{step}*"]
    for pattern in _FILES.get(step, ()):
        wanted += [pattern.format(swath=swath) for swath in swaths] if "{swath}" in pattern else [pattern]
    return tuple(
        pattern
        for pattern in wanted
        if not any(found.is_file() and found.stat().st_size > 0 for found in work.glob(pattern))
    )


def check_files(step: str, work: Path, swaths: tuple[int, ...]) -> None:
    """Raise InterferometryError `file-missing` if a finished step did not write its files."""
    missing = missing_files(step, work, swaths)
    if missing:
        raise InterferometryError(
            "file-missing",
            f"topsApp's step {step} ended without an error, but did not write {', '.join(missing)}.",
            f"Read the step's log in the job's scratch folder, {step}.log; run the pair again to resume at {step}.",
        )
