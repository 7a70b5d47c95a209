"""One overflight's acquisition: burst times, samples, and the azimuth carrier of the steered beam."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from pipeline.sandbox.slc.instrument import (
    LIGHT_M_S,
    LINE_S,
    OVERLAP_LINES,
    RANGE_SAMPLING_HZ,
    SAMPLE_M,
    STEERING_DEG_S,
    WAVELENGTH_M,
)
from pipeline.sandbox.slc.orbit import Orbit
from pipeline.sandbox.slc.wgs84 import Array


@dataclass(frozen=True)
class Frame:
    """The radar lattice that all overflights of a track share: bursts of `lines` by `samples`.

    Burst `b` starts `starts_s[b]` seconds after the orbit's epoch; sample 0 has the slant range `near_m`.
    `first_burst` is the relative burst number of burst 0.
    """

    starts_s: tuple[float, ...]
    lines: int
    samples: int
    near_m: float
    first_burst: int

    @property
    def near_s(self) -> float:
        """Two-way slant range time of sample 0."""
        return 2 * self.near_m / LIGHT_M_S

    @property
    def spacing_s(self) -> float:
        """Seconds from the start of a burst to the start of the next."""
        return (self.lines - OVERLAP_LINES) * LINE_S


@dataclass(frozen=True)
class Acquisition:
    """One overflight: its orbit, when its bursts begin, its Doppler centroid.

    `doppler_hz` are the coefficients of a polynomial in the two-way time since sample 0.
    """

    frame: Frame
    orbit: Orbit
    starts: tuple[datetime, ...]
    doppler_hz: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def start_s(self, burst: int) -> float:
        """Zero-Doppler time of a burst's first line, seconds since the orbit's epoch."""
        return (self.starts[burst] - self.orbit.epoch).total_seconds()

    def line(self, burst: int, t: Array) -> Array:
        """Fractional lines of a burst at seconds since the orbit's epoch."""
        return np.asarray((t - self.start_s(burst)) / LINE_S)

    def sample(self, range_m: Array) -> Array:
        """Fractional samples at slant ranges."""
        return np.asarray((range_m - self.frame.near_m) / SAMPLE_M)

    def middle_s(self, burst: int) -> float:
        """Zero-Doppler time of a burst's middle, seconds since the orbit's epoch."""
        return self.start_s(burst) + 0.5 * (self.frame.lines - 1) * LINE_S

    def middle(self, burst: int) -> datetime:
        """Zero-Doppler time of a burst's middle, as an instant."""
        return self.orbit.epoch + timedelta(seconds=self.middle_s(burst))

    def fm_rate(self, t: float) -> tuple[float, float, float]:
        """Azimuth FM rate around a time: coefficients of a polynomial in the two-way time since sample 0, Hz/s.

        The rate is -2/lambda times the second derivative of the range to a point, at zero Doppler.
        """
        delay = np.linspace(0.0, max(self.frame.samples, 1000) / RANGE_SAMPLING_HZ, 15)
        range_m = self.frame.near_m + delay * LIGHT_M_S / 2
        position, velocity, acceleration = self.orbit.state(np.array(t))
        down = -position / np.linalg.norm(position)
        right = np.cross(velocity, position)
        right /= np.linalg.norm(right)
        radius = float(np.linalg.norm(position))
        cosine = (radius**2 + range_m**2 - 6_369_000.0**2) / (2 * radius * range_m)
        away = range_m[:, None] * (
            cosine[:, None] * down + np.sqrt(1 - cosine**2)[:, None] * np.broadcast_to(right, (15, 3))
        )
        rate = -2 / WAVELENGTH_M * (velocity @ velocity - away @ acceleration) / range_m
        # in units of the swath's width, otherwise the fit is ill-conditioned
        scale = delay[-1]
        c2, c1, c0 = np.polyfit(delay / scale, rate, 2)
        return float(c0), float(c1 / scale), float(c2 / scale**2)

    def carrier_rad(self, burst: int, lines: Array, samples: Array) -> Array:
        """Phase of the TOPS azimuth carrier at fractional lines and samples of a burst.

        COPE-GSEG-EOPG-TN-14-0025: pi kt (eta - eta_ref)² + 2 pi fdc eta, with eta from the burst's middle.
        """
        middle = self.middle_s(burst)
        speed = float(np.linalg.norm(self.orbit.state(np.array(middle))[1]))
        steering = 2 * speed * np.radians(STEERING_DEG_S) / WAVELENGTH_M
        delay = samples / RANGE_SAMPLING_HZ
        k0, k1, k2 = self.fm_rate(middle)
        f0, f1, f2 = self.doppler_hz
        rate = k0 + delay * (k1 + delay * k2)
        centroid = f0 + delay * (f1 + delay * f2)
        chirp = rate * steering / (rate - steering)
        eta = (lines - 0.5 * (self.frame.lines - 1)) * LINE_S
        reference = f0 / k0 - centroid / rate
        return np.asarray(np.pi * chirp * (eta - reference) ** 2 + 2 * np.pi * centroid * eta)
