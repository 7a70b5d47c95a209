"""Makes one layer of the cube from the finished jobs of one pair: warps, joins and reports them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.cube.layers import LayerData
from pipeline.errors import InterferometryError
from pipeline.grid import Grid
from pipeline.insar.job import Backend, JobProducts
from pipeline.insar.products.warp import Warped, warp_products

ALGORITHM = "interferometry-1"
ESTIMATORS: dict[Backend, dict[str, str]] = {
    "isce2": {
        "processing": "topsapp-1",
        "estimator": "weighted magnitude of correlation, then mean over the looks",
        "window": "5 x 5 triangle",
    },
    "pygmtsar": {
        "processing": "pygmtsar-1",
        "estimator": "weighted magnitude of correlation after flattening, then mean over the looks",
        "window": "5 x 5 triangle",
    },
    "hyp3": {
        "processing": "hyp3-1",
        "estimator": "phase sigma correlation of the filtered interferogram; no magnitude of correlation",
        "window": "of ISCE2's phsig, after a Goldstein-Werner filter of strength 0.5",
    },
}
"""The method of each backend. It is part of a pair's recipe, so that another method makes another layer."""
OFFSET_SD_RAD = 0.1
"""Largest standard deviation of a phase offset between two parts that is removed."""
CORRELATED_PX = 25
"""Neighbouring pixels of a warped product are correlated: so many count as one independent sample."""

_TAKEN = {"long_name", "units", "grid_mapping"}
_OTHERS = {"interferogram": ("coherence",), "coherence": ("interferogram",)}
"""Prefixes of parameters that concern another product and are no attributes of this one."""


@dataclass(frozen=True)
class _Mosaic:
    """The joined parts of a pair."""

    coherence: NDArray[np.float32]
    phase: NDArray[np.float32]
    """radians, -pi to pi"""
    offsets_rad: dict[int, float | None]
    """offset subtracted from each part's phase, by position; None if unknown"""


def to_grid(jobs: Sequence[JobProducts], grid: Grid) -> LayerData:
    """`interferogram` and `coherence` of one pair on the grid, float32 (y, x), NaN for no data.

    Each product is warped once from its own geometry (`warp_products`); the phase is the angle of the
    warped interferogram. Overlapping parts of a divided pair are blended without a seam; a pixel's weight is its
    distance to the edge of its part. The phase of a part is determined except for a constant. Therefore the mean
    difference over the shared pixels is subtracted, if its standard deviation is small enough.

    Returns:
        LayerData; `report` has coverage and phase_coverage (0..1), coherence_mean, product_pixel_m, resampling, and of
        each part: backend, versions, parameters, bursts, orbits, ESD, phase_offset_rad.

    Raises:
        InterferometryError: a product cannot be used, or none meets the grid.
    """
    if not jobs:
        raise InterferometryError("no-product", "The pair has no finished product.", "Run the build again.")
    parts = sorted(jobs, key=lambda job: job.metadata.part)
    warped = [warp_products(job.product("coherence"), job.product("interferogram"), grid) for job in parts]
    joined = _join(warped)
    valid = ~np.isnan(joined.coherence)
    if not valid.any() or np.isnan(joined.phase).all():
        raise InterferometryError(
            "product-off-grid",
            f"The product of {parts[0].metadata.pair} has no valid pixel on the cube's grid.",
            "Check its quicklook and the chosen bursts; delete the job's folder to process it again.",
        )
    attributes = {name: _attributes(parts, warped, name) for name in _OTHERS}
    return LayerData(
        arrays={"interferogram": joined.phase, "coherence": joined.coherence},
        attributes=attributes,
        report={
            "coverage": float(valid.mean()),
            "phase_coverage": float(1 - np.isnan(joined.phase).mean()),
            "coherence_mean": round(float(joined.coherence[valid].mean(dtype=np.float64)), 6),
            "product_pixel_m": [round(part.pixel_m, 3) for part in warped],
            "resampling": attributes["coherence"]["resampling"],
            "parts": [_part_report(job, joined.offsets_rad[position]) for position, job in enumerate(parts)],
        },
    )


def _join(parts: list[Warped]) -> _Mosaic:
    """Join the parts: blend them by distance to their edges, and make their phase constants equal."""
    if len(parts) == 1:
        return _Mosaic(parts[0].coherence, _angle(parts[0].interferogram), {0: 0.0})
    units = [_unit(part.interferogram) for part in parts]
    shape = parts[0].coherence.shape
    level, level_weight = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    phasor, phasor_weight = np.zeros(shape, dtype=np.complex64), np.zeros(shape, dtype=np.float32)
    offsets: dict[int, float | None] = {}
    left = list(range(len(parts)))
    while left:
        # continue with the part that shares most pixels with the joined parts
        joined = phasor_weight > 0
        shared = {n: int(np.count_nonzero(joined & ~np.isnan(units[n].real))) for n in left}
        number = max(left, key=lambda n: (shared[n], -n))
        left.remove(number)
        part, unit = parts[number], units[number]
        offset = 0.0 if not offsets else _offset(unit, phasor, joined)
        offsets[number] = offset
        weight = _distance(~np.isnan(part.coherence))
        level += np.where(weight > 0, weight * part.coherence, 0)
        level_weight += weight
        weight = _distance(~np.isnan(unit.real))
        turned = unit * np.complex64(np.exp(-1j * (offset or 0.0)))
        phasor += np.where(weight > 0, weight * turned, 0)
        phasor_weight += weight
    covered = level_weight > 0
    coherence = np.full(shape, np.nan, dtype=np.float32)
    coherence[covered] = level[covered] / level_weight[covered]
    return _Mosaic(coherence, _angle(phasor), offsets)


def _offset(unit: NDArray[Any], joined: NDArray[Any], there: NDArray[np.bool_]) -> float | None:
    """Mean phase of a part relative to the joined parts, radians; None if the shared pixels do not determine it.

    The standard deviation of a mean phase of N looks of coherence c is sqrt((1 - c^2) / (2 N c^2)) (Rosen et al.
    2000, "Synthetic aperture radar interferometry", eq. 59).
    """
    shared = there & ~np.isnan(unit.real)
    count = int(np.count_nonzero(shared))
    if count == 0:
        return None
    total = complex(np.sum(unit[shared] * np.conj(_unit(joined[shared]))))
    coherence = min(1.0, abs(total) / count)
    looks = count / CORRELATED_PX
    if coherence == 0 or math.sqrt((1 - coherence**2) / (2 * looks)) / coherence > OFFSET_SD_RAD:
        return None
    return float(np.angle(total))


def _distance(valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Distance in pixels to the nearest invalid pixel, 0 for invalid pixels; the grid's edge does not count."""
    if valid.all():
        return np.full(valid.shape, max(valid.shape), dtype=np.float32)
    return np.asarray(ndimage.distance_transform_edt(valid), dtype=np.float32)


def _unit(values: NDArray[Any]) -> NDArray[np.complex64]:
    """The values with magnitude 1, since parts may be scaled differently; NaN for zero."""
    magnitude = np.abs(values)
    some = magnitude > 0
    unit = np.full(values.shape, np.nan, dtype=np.complex64)
    unit[some] = values[some] / magnitude[some]
    return unit


def _angle(values: NDArray[Any]) -> NDArray[np.float32]:
    """The phase, radians; NaN for zero."""
    return np.asarray(np.where(values != 0, np.angle(values), np.nan), dtype=np.float32)


def _attributes(jobs: list[JobProducts], warped: list[Warped], variable: str) -> dict[str, Any]:
    """The parameters that are equal in all parts, the backend, and the resampling."""
    first = jobs[0].metadata
    others = ("amplitude", "incidence", *_OTHERS[variable])
    agreed = {
        name: value
        for name, value in _plain(first.parameters).items()
        if name not in _TAKEN
        and not name.startswith(others)
        and all(_plain(job.metadata.parameters).get(name) == value for job in jobs)
    }
    points = sorted({part.points for part in warped})
    how = {n: "bilinear" if n == 1 else f"mean of {n} x {n} bilinear samples" for n in points}
    return {**agreed, "backend": first.backend, "resampling": "; ".join(how[n] for n in points)}


def _part_report(job: JobProducts, offset_rad: float | None) -> dict[str, Any]:
    """The report of one part. Times and memory are omitted, since they differ from run to run."""
    metadata = job.metadata
    report: dict[str, Any] = _plain(
        {
            "part": metadata.part,
            "backend": metadata.backend,
            "versions": metadata.versions,
            "parameters": metadata.parameters,
            "bursts": list(metadata.bursts),
            "orbits": metadata.orbits,
            "esd": metadata.esd.model_dump(mode="json"),
            "phase_offset_rad": None if offset_rad is None else round(offset_rad, 6),
        }
    )
    return report


def _plain(value: Any) -> Any:
    """The value with None for NaN and infinity, which JSON cannot represent."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
