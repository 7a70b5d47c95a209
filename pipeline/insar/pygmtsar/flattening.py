"""The exact phase of flat earth and topography, which replaces the processor's approximation.

insardev_pygmtsar computes this phase from the baseline at three instants of a burst, as GMTSAR does
(`flat_earth_topo_phase`). Its error against the path difference between both orbits and the ground is a constant and a
slope along the track (0.6 rad in 1000 lines at 150 m of baseline). The error differs from burst to burst, which leaves
a step of most of a radian at every seam. It also refuses pairs with a baseline so short that it changes by a tenth
within a burst. The processor needs one number a pixel, -4 pi / lambda (R2 - R1), which follows from orbits and heights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import xarray as xr
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from scipy.interpolate import KroghInterpolator

from pipeline.catalogue.slc import StateVector
from pipeline.errors import InterferometryError
from pipeline.insar.look.orbit_geometry import LIGHT_M_S, Orbit

DEGREES = (4, 8, 3)
"""Nodes of the polynomial of the path difference along azimuth, range and height."""
_NODES = (7, 13, 5)
WORST_RAD = 0.02
"""Largest accepted error of the polynomial between its nodes. A larger one means unusable orbits."""
_MARGIN_S = 60.0
_DENSE_S = 1.0
_BASELINE = (
    "B_parallel", "B_perpendicular", "baseline", "baseline_start", "baseline_center", "baseline_end", "alpha_start",
    "alpha_center", "alpha_end", "B_offset_start", "B_offset_center", "B_offset_end", "SC_height", "SC_height_start",
    "SC_height_end",
)  # fmt: skip

Array = NDArray[np.float64]


def dense_orbit(vectors: Sequence[StateVector], first: datetime, last: datetime) -> Orbit:
    """The orbit from a minute before `first` to a minute after `last`, with a state vector each second.

    Files have a state vector every ten seconds. A cubic through these errs by 0.2 mm, which is 0.05 rad at C band. A
    Hermite polynomial through eight vectors errs by less than a micrometre.
    """
    margin = timedelta(seconds=_MARGIN_S)
    begin = max(first - margin, vectors[0].time)
    end = min(last + margin, vectors[-1].time)
    times = np.array([(vector.time - begin).total_seconds() for vector in vectors])
    dense = []
    for second in np.arange(0.0, (end - begin).total_seconds() + 1e-9, _DENSE_S):
        middle = int(np.searchsorted(times, second))
        at = slice(max(0, min(middle - 4, len(times) - 8)), max(8, min(middle + 4, len(times))))
        near = vectors[at]
        nodes = np.repeat(times[at] - second, 2)
        values = np.array([v for vector in near for v in (vector.position_m, vector.velocity_m_s)])
        through = KroghInterpolator(nodes, values)
        position, velocity = through(0.0), through.derivative(0.0)
        dense.append(
            StateVector(
                time=begin + timedelta(seconds=float(second)),
                position_m=tuple(float(v) for v in position),
                velocity_m_s=tuple(float(v) for v in velocity),
            )
        )
    return Orbit.of(dense)


@dataclass(frozen=True)
class Flattening:
    """Replaces the processor's function of the same purpose, for one burst of a pair."""

    reference: Orbit
    secondary: Orbit
    midnight: datetime
    """of the reference's day; the processor's times are seconds after it"""

    def phase(
        self, topo: Any, prm_rep: Any, prm_ref: Any, _earth_radius: Any, **_baseline: Any
    ) -> xr.DataArray:
        """Phase (a, r), -4 pi / lambda (R2 - R1), radians; NaN where `topo` is NaN.

        `topo` (a, r) is the distance from the Earth's centre minus the processor's radius, metres; its coordinates
        count lines and samples from 0.5.
        """
        a, r = (np.asarray(topo[name], dtype=np.float64) for name in ("a", "r"))
        heights = np.asarray(topo.values)
        known = np.isfinite(heights)
        if not known.any():
            raise InterferometryError(
                "dem-unusable", "The DEM has no height on a burst.", "Run the pair again."
            )
        spans = (
            (float(a[0]), float(a[-1])),
            (float(r[0]), float(r[-1])),
            (float(heights[known].min()) - 1.0, float(heights[known].max()) + 1.0),
        )
        nodes = [_nodes(span, count) for span, count in zip(spans, _NODES, strict=True)]
        fitted = _fit(nodes, spans, self._difference_m(prm_ref, *np.meshgrid(*nodes, indexing="ij")))
        factor = -4 * math.pi / float(prm_ref.get("radar_wavelength"))
        between = [(points[1:] + points[:-1]) / 2 for points in nodes]
        exact = self._difference_m(prm_ref, *np.meshgrid(*between, indexing="ij"))
        worst = abs(factor) * float(np.abs(_evaluate(fitted, between, spans) - exact).max())
        if not worst < WORST_RAD:
            raise InterferometryError(
                "geometry-unusable",
                f"The path difference between the two orbits is not smooth ({worst:.3g} rad).",
                "Fetch the orbit files again.",
            )
        out = np.empty(heights.shape, np.float32)
        along, across = _basis(a, spans[0], DEGREES[0]), _basis(r, spans[1], DEGREES[1])
        by_height = [along @ fitted[:, :, power] for power in range(fitted.shape[2])]
        for first in range(0, len(a), 64):
            rows = slice(first, first + 64)
            scaled = _scaled(np.where(known[rows], heights[rows], spans[2][0]).astype(np.float64), spans[2])
            coefficients = np.stack([c[rows] @ across.T for c in by_height])
            # three additions a pixel, by Clenshaw's recurrence
            out[rows] = factor * chebyshev.chebval(scaled, coefficients, tensor=False)
        out[~known] = np.nan
        return xr.DataArray(out, coords=topo.coords, dims=topo.dims, name="phase")

    def _difference_m(self, prm_ref: Any, a: Array, r: Array, height: Array) -> Array:
        """R2 - R1 in metres, for lines, samples and heights of the reference."""
        second = float(prm_ref.get("clock_start")) % 1.0 * 86400 + (a - 0.5) / float(prm_ref.get("PRF"))
        step_m = LIGHT_M_S / (2 * float(prm_ref.get("rng_samp_rate")))
        range_m = float(prm_ref.get("near_range")) + (r + 0.5) * step_m
        # the processor subtracts its radius as a 32-bit number
        radius_m = float(np.float32(prm_ref.get("earth_radius"))) + height
        ground = ground_at(self.reference, second + self.reference.seconds(self.midnight), range_m, radius_m)
        return np.asarray(self.secondary.zero_doppler(ground)[1] - range_m)


def ground_at(orbit: Orbit, t: Array, range_m: Array, radius_m: Array) -> Array:
    """(..., 3) earth-fixed points to the right at zero-Doppler times `t` (s).

    They are determined by slant range and by distance from the Earth's centre.

    In the plane normal to the velocity the point is P + R (cos a n + sin a c). P is the satellite, n points from it to
    the Earth's centre within that plane, and c points to the right. The distance from the centre gives the angle a.
    """
    position, velocity = orbit.position_m(t), orbit.velocity_m_s(t)
    ahead = velocity / np.linalg.norm(velocity, axis=-1, keepdims=True)
    across = position - (position * ahead).sum(-1, keepdims=True) * ahead
    height_m = np.linalg.norm(across, axis=-1)
    down = -across / height_m[..., None]
    right = np.cross(down, ahead)
    cosine = ((position * position).sum(-1) + range_m**2 - radius_m**2) / (2 * range_m * height_m)
    sine = np.sqrt(1 - cosine**2)
    return np.asarray(position + range_m[..., None] * (cosine[..., None] * down + sine[..., None] * right))


def no_baseline(*_values: Any, **_named: Any) -> dict[str, float]:
    """Replaces the processor's baseline, which is not used any more and fails for short baselines."""
    return dict.fromkeys(_BASELINE, 0.0)


def _nodes(span: tuple[float, float], count: int) -> Array:
    return np.asarray(
        (span[0] + span[1]) / 2 + (span[1] - span[0]) / 2 * -np.cos(np.pi * np.arange(count) / (count - 1))
    )


def _scaled(values: Array, span: tuple[float, float]) -> Array:
    return np.asarray((2 * values - span[0] - span[1]) / (span[1] - span[0]))


def _basis(values: Array, span: tuple[float, float], degree: int) -> Array:
    return np.asarray(chebyshev.chebvander(_scaled(values, span), degree))


def _fit(nodes: Sequence[Array], spans: Sequence[tuple[float, float]], values: Array) -> Array:
    """Chebyshev coefficients, with one axis for each variable."""
    for axis, (points, span, degree) in enumerate(zip(nodes, spans, DEGREES, strict=True)):
        inverse = np.linalg.pinv(_basis(points, span, degree))
        values = np.moveaxis(np.tensordot(inverse, values, axes=(1, axis)), 0, axis)
    return values


def _evaluate(coefficients: Array, points: Sequence[Array], spans: Sequence[tuple[float, float]]) -> Array:
    for axis, (values, span, degree) in enumerate(zip(points, spans, DEGREES, strict=True)):
        coefficients = np.moveaxis(
            np.tensordot(_basis(values, span, degree), coefficients, axes=(1, axis)), 0, axis
        )
    return coefficients
