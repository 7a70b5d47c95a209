"""Chooses the lattice of a track's bursts: their starts, and the lines and samples that the area needs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from shapely.geometry import box

from pipeline.elevation.geoid import undulation_m
from pipeline.sandbox.earth.overflights import Flight
from pipeline.sandbox.earth.parameters import SandboxError, SlcPlan, TrackPlan
from pipeline.sandbox.earth.scene import Scene
from pipeline.sandbox.slc.acquisition import Frame
from pipeline.sandbox.slc.instrument import (
    INVALID_LINES,
    INVALID_SAMPLES,
    LINE_S,
    MOST_LINES,
    OVERLAP_LINES,
    SAMPLE_M,
)
from pipeline.sandbox.slc.orbit import PERIOD_S, Orbit, find_orbit
from pipeline.sandbox.slc.wgs84 import earth_fixed, zero_doppler

_MARGIN_LINES, _MARGIN_SAMPLES = 24, 60
_LEAST_LINES = 420
NO_DAY = datetime(2014, 4, 3, tzinfo=UTC)

# "Sentinel-1 burst ID map", S1-RS-MDA-52-7445: duration of the preamble and of a cycle of the three beams
_PREAMBLE_S, _BEAMS_S = 2.299849, 2.758273


@dataclass(frozen=True)
class Survey:
    """The common geometry of the simulated overflights of one track, and the overflights."""

    plan: SlcPlan
    track: TrackPlan
    orbit: Orbit
    frame: Frame
    flights: tuple[Flight, ...]
    height_m: tuple[float, float]
    """lowest and highest ground above the ellipsoid"""


def survey_of(scene: Scene) -> Survey | None:
    """The survey of a scene; None if its parameters have no plan for single look complex products.

    Raises:
        SandboxError: the plan matches no track or too few passes, or its sub-area lies outside the area.
    """
    plan = scene.parameters.slc
    if plan is None:
        return None
    track, flights = _flights(scene, plan)
    west, south, east, north = plan.sub_area or scene.area.footprint.bounds
    if not scene.area.footprint.covers(box(west, south, east, north).centroid):
        raise SandboxError("The sub-area lies outside the area.", "Give west, south, east, north in degrees.")
    longitude, latitude = (west + east) / 2, (south + north) / 2
    orbit = find_orbit(track, longitude, latitude, NO_DAY)
    low, high = _heights(scene, longitude, latitude)
    first, last, near, far = _reach(orbit, (west, south, east, north), (low, high))
    samples = int((far - near) / SAMPLE_M) + 2 * (_MARGIN_SAMPLES + INVALID_SAMPLES)
    samples += -samples % 4
    wanted = int((last - first) / LINE_S) + 2 * (_MARGIN_LINES + INVALID_LINES)
    bursts, lines = _share(wanted, plan)
    total = bursts * lines - (bursts - 1) * OVERLAP_LINES
    begin = (first + last) / 2 - total / 2 * LINE_S
    starts = tuple(begin + b * (lines - OVERLAP_LINES) * LINE_S for b in range(bursts))
    since = orbit.since_node_s + starts[0] + (track.relative_orbit - 1) * PERIOD_S
    return Survey(
        plan=plan,
        track=track,
        orbit=orbit,
        frame=Frame(
            starts_s=starts,
            lines=lines,
            samples=samples,
            near_m=(near + far) / 2 - samples / 2 * SAMPLE_M,
            first_burst=1 + int((since - _PREAMBLE_S) // _BEAMS_S),
        ),
        flights=flights,
        height_m=(low, high),
    )


def _flights(scene: Scene, plan: SlcPlan) -> tuple[TrackPlan, tuple[Flight, ...]]:
    """The plan's track, and its passes closest to the event."""
    tracks = [swath.track for swath in scene.swaths]
    track = next((t for t in tracks if t.relative_orbit == plan.relative_orbit), None)
    if plan.relative_orbit is None:
        track = tracks[0]
    if track is None:
        raise SandboxError(
            f"Track {plan.relative_orbit} is not simulated.",
            f"Choose one of {', '.join(str(t.relative_orbit) for t in tracks)}.",
        )
    of_track = [f for f in scene.flights if f.track.relative_orbit == track.relative_orbit]
    before, after = [f for f in of_track if not f.slid], [f for f in of_track if f.slid]
    flights = tuple(before[max(0, len(before) - plan.before) :] + after[: plan.after])
    if len(flights) < 2:
        raise SandboxError(
            f"A survey needs two passes; of track {track.relative_orbit} the plan selects {len(flights)}.",
            "Request two or more.",
        )
    return track, flights


def _reach(
    orbit: Orbit, bounds_deg: tuple[float, float, float, float], heights_m: tuple[float, float]
) -> tuple[float, float, float, float]:
    """First and last zero-Doppler time, seconds, and nearest and farthest range, metres, of a box at both heights."""
    west, south, east, north = bounds_deg
    corners = np.array([(x, y) for x in (west, east) for y in (south, north)])
    times, ranges = [], []
    for height in heights_m:
        points = earth_fixed(corners[:, 0], corners[:, 1], np.full(4, height))
        t, range_m = zero_doppler(orbit, points, np.array(0.0))
        times.append(t)
        ranges.append(range_m)
    return float(np.min(times)), float(np.max(times)), float(np.min(ranges)), float(np.max(ranges))


def _share(wanted: int, plan: SlcPlan) -> tuple[int, int]:
    """Number of bursts, and lines of each, for the requested lines in total."""
    if plan.lines_per_burst is not None:
        lines = plan.lines_per_burst
        return max(plan.bursts, -(-(wanted - OVERLAP_LINES) // (lines - OVERLAP_LINES))), lines
    bursts = max(plan.bursts, -(-(wanted - OVERLAP_LINES) // (MOST_LINES - 3 - OVERLAP_LINES)))
    lines = max(_LEAST_LINES, -(-(wanted + (bursts - 1) * OVERLAP_LINES) // bursts))
    return bursts, lines + -lines % 4


def _heights(scene: Scene, longitude: float, latitude: float) -> tuple[float, float]:
    undulation = float(undulation_m(latitude, longitude))
    elevation = scene.relief.elevation_m
    return float(elevation.min()) + undulation, float(elevation.max()) + undulation
