"""Land forms: low hills with valley floors instead of broad massifs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.sandbox.earth.realism.switches import LandForms

Heights = NDArray[np.float64]
_FLOOR_TILT = 0.03
_SHOULDER_M = 6.0
_ROUNDS = 4


def shape_valleys(height: Heights, step_m: float, mean_slope_deg: float, forms: LandForms) -> Heights:
    """Heights (y, x) in metres above the lowest ground, the broad relief levelled and the valleys filled.

    The lowest `valley_share` of the ground becomes floors that keep 3 per cent of their relief, with shoulders of some
    metres; the mean slope of the ground above the floors is `mean_slope_deg`.
    """
    broad = _gaussian(height, forms.broad_m / 2 / step_m)
    hills = height - forms.levelled * (broad - broad.mean())
    floor = np.quantile(hills, forms.valley_share)
    for _ in range(_ROUNDS):  # slopes are not a linear function of the factor
        raised = _fill(hills - floor)
        gradient = np.hypot(*np.gradient(raised, step_m))
        slope = np.arctan(gradient[hills > floor]).mean()
        hills, floor = _scaled(hills, floor, np.tan(np.radians(mean_slope_deg)) / np.tan(slope))
    found = _fill(hills - floor)
    return np.asarray(found - found.min(), dtype=np.float64)


def _scaled(hills: Heights, floor: float, factor: float) -> tuple[Heights, float]:
    return hills * factor, floor * factor


def _fill(above_m: Heights) -> Heights:
    """A smooth ramp: the height above the floor, or 3 per cent of the depth below it."""
    ramp = _SHOULDER_M * np.logaddexp(0.0, above_m / _SHOULDER_M)
    return np.asarray(ramp + _FLOOR_TILT * np.minimum(above_m, 0.0), dtype=np.float64)


def _gaussian(field: Heights, sigma_px: float) -> Heights:
    """The field filtered by a wide Gaussian, on a coarser lattice."""
    step = max(1, int(sigma_px // 4))
    coarse = ndimage.uniform_filter(field, step)[::step, ::step] if step > 1 else field
    smooth = ndimage.gaussian_filter(coarse, sigma_px / step)
    if step == 1:
        return np.asarray(smooth, dtype=np.float64)
    rows, columns = (np.arange(n) / step for n in field.shape)
    at = np.meshgrid(
        np.minimum(rows, smooth.shape[0] - 1), np.minimum(columns, smooth.shape[1] - 1), indexing="ij"
    )
    return np.asarray(ndimage.map_coordinates(smooth, at, order=1, mode="nearest"), dtype=np.float64)
