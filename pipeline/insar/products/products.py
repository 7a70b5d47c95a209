"""Finished jobs of one pair to one layer of the cube: warped, joined, and told of."""

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
}
"""How each backend processes and estimates: part of a pair's recipe, so that another way makes another layer."""
OFFSET_SD_RAD = 0.1
"""A phase offset between two parts is removed where it is known to this or better."""
CORRELATED_PX = 25
"""Neighbouring pixels of a warped product say the same: so many count as one independent sample."""

_TAKEN = {"long_name", "units", "grid_mapping"}
_OTHERS = {"interferogram": ("coherence",), "coherence": ("interferogram",)}
"""What a processor says of one product is no attribute of the other."""


@dataclass(frozen=True)
class _Mosaic:
    """The parts of a pair as one."""

    coherence: NDArray[np.float32]
    phase: NDArray[np.float32]
    """radians, -pi to pi"""
    offsets_rad: dict[int, float | None]
    """by position: what was taken off a part's phase; None where nothing is known of it"""


def to_grid(jobs: Sequence[JobProducts], grid: Grid) -> LayerData:
    """`interferogram` and `coherence` of one pair on the grid, float32 (y, x), NaN where there is none.

    Each product is warped once from its own geometry (`warp_products`); the angle of the interferogram is taken
    afterwards. Parts of a split pair are blended over what they share, each by its pixels' distance to its own edge, so
    that no seam is left. A processor fixes the phase of a part but for a constant: the mean difference over the shared
    pixels is taken off, where they tell it well enough.

    Returns:
        LayerData; `report` has coverage and phase_coverage (0..1), coherence_mean, product_pixel_m, resampling, and of
        each part what its processor said: backend, versions, parameters, bursts, orbits, ESD, phase_offset_rad.

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
            "Look at its quicklook and at the bursts that were chosen; delete the job's folder to process it again.",
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
            "parts": [_told(job, joined.offsets_rad[position]) for position, job in enumerate(parts)],
        },
    )


def _join(parts: list[Warped]) -> _Mosaic:
    """The parts as one: blended by distance to their own edges, the phase's constants made equal."""
    if len(parts) == 1:
        return _Mosaic(parts[0].coherence, _angle(parts[0].interferogram), {0: 0.0})
    units = [_unit(part.interferogram) for part in parts]
    shape = parts[0].coherence.shape
    level, level_weight = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    phasor, phasor_weight = np.zeros(shape, dtype=np.complex64), np.zeros(shape, dtype=np.float32)
    offsets: dict[int, float | None] = {}
    left = list(range(len(parts)))
    while left:
        # the part next that shares most with what is joined already
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
    """Mean phase of a part against what is joined, radians; None where the shared pixels do not tell it.

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
    """Pixels to the nearest invalid one, 0 where invalid; the grid's own edge is none."""
    if valid.all():
        return np.full(valid.shape, max(valid.shape), dtype=np.float32)
    return np.asarray(ndimage.distance_transform_edt(valid), dtype=np.float32)


def _unit(values: NDArray[Any]) -> NDArray[np.complex64]:
    """Of magnitude 1, for parts may be scaled differently; NaN where there is no magnitude."""
    magnitude = np.abs(values)
    some = magnitude > 0
    unit = np.full(values.shape, np.nan, dtype=np.complex64)
    unit[some] = values[some] / magnitude[some]
    return unit


def _angle(values: NDArray[Any]) -> NDArray[np.float32]:
    """Radians; NaN where there is no magnitude."""
    return np.asarray(np.where(values != 0, np.angle(values), np.nan), dtype=np.float32)


def _attributes(jobs: list[JobProducts], warped: list[Warped], variable: str) -> dict[str, Any]:
    """What all parts agree on: backend, looks, window and estimator; and how the product came to the grid."""
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


def _told(job: JobProducts, offset_rad: float | None) -> dict[str, Any]:
    """What the processor said of one part. Times and memory are left out: they differ from run to run."""
    metadata = job.metadata
    told: dict[str, Any] = _plain(
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
    return told


def _plain(value: Any) -> Any:
    """The value with what JSON cannot say made None: a processor may tell of a NaN."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
