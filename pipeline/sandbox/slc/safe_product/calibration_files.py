"""Calibration and noise annotation with constant values, because the simulated counts need no calibration."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pipeline.sandbox.elements import build, listed, numbers
from pipeline.sandbox.slc import instrument as iw
from pipeline.sandbox.slc.safe_product.annotation_files import header
from pipeline.sandbox.slc.survey import SlcFlight

_CALIBRATION_PIXELS = 40
_SIGMA_NOUGHT = 334.0


def calibration(overflight: SlcFlight) -> Any:
    """Calibration annotation with constant values."""
    pixels = _pixels(overflight)
    flat = numbers("sigmaNought", [_SIGMA_NOUGHT] * len(pixels))[1:]
    vectors = [
        (
            "calibrationVector",
            [
                ("azimuthTime", t),
                ("line", line),
                numbers("pixel", pixels),
                *[(name, *flat) for name in ("sigmaNought", "betaNought", "gamma", "dn")],
            ],
        )
        for line, t in _rows(overflight)
    ]
    return build(
        (
            "calibration",
            [
                header(overflight),
                ("calibrationInformation", [("absoluteCalibrationConstant", "1.000000e+00")]),
                listed("calibrationVectorList", vectors),
            ],
        )
    )


def noise(overflight: SlcFlight) -> Any:
    """Noise annotation with constant values."""
    frame, pixels = overflight.acquisition.frame, _pixels(overflight)
    last = frame.lines * len(overflight.acquisition.starts) - 1
    across = [
        (
            "noiseRangeVector",
            [
                ("azimuthTime", t),
                ("line", line),
                numbers("pixel", pixels),
                numbers("noiseRangeLut", [100.0] * len(pixels)),
            ],
        )
        for line, t in _rows(overflight)
    ]
    along = (
        "noiseAzimuthVector",
        [
            ("swath", iw.SWATH),
            ("firstAzimuthLine", 0),
            ("firstRangeSample", 0),
            ("lastAzimuthLine", last),
            ("lastRangeSample", frame.samples - 1),
            numbers("line", [0, last]),
            numbers("noiseAzimuthLut", [1.0, 1.0]),
        ],
    )
    return build(
        (
            "noise",
            [
                header(overflight),
                listed("noiseRangeVectorList", across),
                listed("noiseAzimuthVectorList", [along]),
            ],
        )
    )


def _pixels(overflight: SlcFlight) -> list[int]:
    samples = overflight.acquisition.frame.samples
    return [*range(0, samples - 1, _CALIBRATION_PIXELS), samples - 1]


def _rows(overflight: SlcFlight) -> list[tuple[int, datetime]]:
    lines = overflight.acquisition.frame.lines
    rows = [(b * lines, start) for b, start in enumerate(overflight.acquisition.starts)]
    return [*rows, (len(rows) * lines - 1, overflight.end)]
