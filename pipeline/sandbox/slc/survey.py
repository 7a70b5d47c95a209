"""The overflights of a survey: displaced orbits, timing jitter, Doppler centroids, names."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from pipeline.sandbox.earth.overflights import Flight
from pipeline.sandbox.slc.acquisition import Acquisition
from pipeline.sandbox.slc.frame import Survey
from pipeline.sandbox.slc.instrument import LINE_S, SWATH
from pipeline.sandbox.slc.orbit import Orbit

_ABEAM = timedelta(seconds=12.7)
"""From the start of a flight's first slice to the middle of the simulated acquisition."""
_BASELINE_M = (15.0, 55.0)
"""Displacement of an overflight from the middle of the tube, with alternating sign; baselines of 30 to 110 m."""


@dataclass(frozen=True)
class SlcFlight:
    """One overflight with its acquisition; `perpendicular_m` is its displacement across the line of sight."""

    flight: Flight
    acquisition: Acquisition
    perpendicular_m: float

    @property
    def start(self) -> datetime:
        """Time of the first line of the first burst."""
        return self.acquisition.starts[0]

    @property
    def end(self) -> datetime:
        """Time of the last line of the last burst."""
        return self.acquisition.starts[-1] + timedelta(seconds=(self.acquisition.frame.lines - 1) * LINE_S)

    @property
    def granule(self) -> str:
        """Name of the product, such as S1A_IW_SLC__1SSV_20180724T204131_20180724T204133_022933_027CF2_A1B2."""
        flight = self.flight
        name = (
            f"{flight.platform}_IW_SLC__1SSV_{self.start:%Y%m%dT%H%M%S}_{self.end:%Y%m%dT%H%M%S}"
            f"_{flight.absolute_orbit:06d}_{flight.datatake:06X}"
        )
        return f"{name}_{zlib.crc32(name.encode()) & 0xFFFF:04X}"

    @property
    def stem(self) -> str:
        """Name of the annotation and of the measurement without the suffix."""
        flight = self.flight
        return (
            f"{flight.platform.lower()}-{SWATH.lower()}-slc-vv-{self.start:%Y%m%dt%H%M%S}-{self.end:%Y%m%dt%H%M%S}"
            f"-{flight.absolute_orbit:06d}-{flight.datatake:06x}-001"
        )

    def burst_number(self, burst: int) -> int:
        """Number of a burst within its track, the same at every repeat."""
        return self.acquisition.frame.first_burst + burst

    def full_id(self, burst: int) -> str:
        """ASF's id of the burst on the ground, such as 064_136231_IW2."""
        return f"{self.flight.track.relative_orbit:03d}_{self.burst_number(burst):06d}_{SWATH}"

    def burst_id(self, burst: int) -> str:
        """ASF's name of the burst's file, such as S1_136231_IW2_20200604T022312_VV_7C85-BURST."""
        start = self.acquisition.starts[burst]
        return f"S1_{self.burst_number(burst):06d}_{SWATH}_{start:%Y%m%dT%H%M%S}_VV_{self.granule[-4:]}-BURST"


def displaced(orbit: Orbit, flight: Flight, odd: bool, seed: int) -> tuple[Orbit, float]:
    """The orbit of a flight with a random displacement in the tube, and its part across the line of sight, metres.

    The sign alternates between the passes of a track: `odd` marks every second pass.
    """
    rng = np.random.default_rng([seed, 22, flight.absolute_orbit])
    across = float(rng.uniform(*_BASELINE_M)) * (1 if odd else -1)
    along = float(rng.uniform(-8.0, 8.0))
    # the line of sight points down and to the right; its angle from the nadir is a few degrees less than the incidence
    look = np.radians(flight.track.incidence_deg - 4.0)
    radial_m = across * np.sin(look) - along * np.cos(look)
    right_m = across * np.cos(look) + along * np.sin(look)
    return orbit.at(flight.instant + _ABEAM, round(float(radial_m), 3), round(float(-right_m), 3)), across


def overflights(survey: Survey, seed: int) -> tuple[SlcFlight, ...]:
    """The overflights of a survey with their acquisitions, ascending in time."""
    found = []
    for number, flight in enumerate(survey.flights):
        orbit, across = displaced(survey.orbit, flight, number % 2 == 1, seed)
        rng = np.random.default_rng([seed, 23, flight.absolute_orbit])
        late_s = float(
            rng.uniform(-0.003, 0.003)
        )  # bursts of a track are synchronised to within milliseconds
        starts = tuple(orbit.epoch + timedelta(seconds=s + late_s) for s in survey.frame.starts_s)
        doppler = float(rng.normal(-6.0, 2.0)), float(rng.normal(0, 1.5e4)), float(rng.normal(0, 1e7))
        found.append(SlcFlight(flight, Acquisition(survey.frame, orbit, starts, doppler), across))
    return tuple(found)


def middle_of_tube(survey: Survey) -> Acquisition:
    """The common reference of the passes: nominal orbit, no jitter, no Doppler centroid."""
    epoch = survey.orbit.epoch
    starts = tuple(epoch + timedelta(seconds=s) for s in survey.frame.starts_s)
    return Acquisition(survey.frame, survey.orbit, starts)
