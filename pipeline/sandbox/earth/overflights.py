"""Passes of the satellite: times, orbit numbers, and the ground that their slices cover."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray
from shapely import Polygon

from pipeline.areas.area import AreaOfInterest, Event
from pipeline.grid import Grid
from pipeline.sandbox.earth.parameters import TrackPlan, WorldParameters

FIRST_SATELLITE, SECOND_SATELLITE = "S1A", "S1B"
REPEAT = timedelta(days=12)
ORBITS_PER_REPEAT = 175
SLICE = timedelta(seconds=25)
GAP = timedelta(
    microseconds=1544
)  # between the end of a slice and the start of the next, as in recorded items

# One overflight of each platform with recorded numbers: (instant, absolute orbit, relative orbit).
_KNOWN = {
    "S1A": (datetime(2024, 4, 19, 4, 58, 39, tzinfo=UTC), 53498, 51),
    "S1B": (datetime(2021, 4, 1, 5, 26, 22, tzinfo=UTC), 26269, 168),
}


def absolute_orbit(platform: str, relative_orbit: int, instant: datetime) -> int:
    """An absolute orbit of that track near the true number, counted from a recorded overflight.

    Platforms without a recorded overflight are counted from S1A's, so their numbers are unique but not true.
    """
    known_instant, known_absolute, known_relative = _KNOWN.get(platform, _KNOWN["S1A"])
    near = known_absolute + round((instant - known_instant) / REPEAT * ORBITS_PER_REPEAT)
    off = (relative_orbit - known_relative - (near - known_absolute)) % ORBITS_PER_REPEAT
    return max(1, near + (off if off <= ORBITS_PER_REPEAT // 2 else off - ORBITS_PER_REPEAT))


def datatake_of(absolute: int) -> int:
    """A datatake number that is unique to the orbit and near the real ones (orbit 53498: 0x067DF2)."""
    return absolute * 8 - 2526


@dataclass(frozen=True)
class Flight:
    """One overflight of the simulated area."""

    index: int
    track: TrackPlan
    instant: datetime
    absolute_orbit: int
    slid: bool  # the event has happened
    slices: tuple[int, ...]  # the slices that the archive holds, numbered along the flight from 0
    zero_filled: bool = False
    platform: str = FIRST_SATELLITE

    @property
    def datatake(self) -> int:
        return datatake_of(self.absolute_orbit)

    def span(self, number: int) -> tuple[datetime, datetime]:
        """Start and end of a slice. The scene is small, so the simulated satellite is slow."""
        start = self.instant + number * (SLICE + GAP)
        return start, start + SLICE


def plan_flights(area: AreaOfInterest, parameters: WorldParameters) -> list[Flight]:
    """The passes of every track, ascending in time."""
    longitude = area.footprint.centroid.x
    found: list[tuple[datetime, TrackPlan, bool, tuple[int, ...]]] = []
    everything = tuple(range(parameters.slices))
    for position, track in enumerate(wanted_tracks(area, parameters)):
        first = _first_after(area.event, track, longitude)
        instants = [first + k * REPEAT for k in range(track.after)]
        back = 1
        earlier: list[datetime] = []
        while len(earlier) < track.before:
            instant = first - back * REPEAT
            missing = parameters.missing_pass and position == 0 and len(earlier) == 2 and back == 3
            if not missing:
                if instant < area.event.start:
                    earlier.append(instant)
                else:
                    instants.append(instant)  # while the event lasts
            back += 1
        middle = area.event.start + (area.event.end - area.event.start) / 2
        oldest = min(earlier, default=None)
        for instant in instants + earlier:
            partial = parameters.partial_pass and instant == oldest and position == len(parameters.tracks) - 1
            stored = everything[:-1] if partial and parameters.slices > 1 else everything
            found.append((instant, track, instant > middle, stored))
    found.sort(key=lambda flight: flight[0])
    turns: dict[TrackPlan, int] = {}
    platforms = []
    for _, track, _, _ in found:
        turns[track] = turns.get(track, -1) + 1
        second = parameters.second_satellite and turns[track] % 2 == 1
        platforms.append(SECOND_SATELLITE if second else FIRST_SATELLITE)
    return [
        Flight(
            index=index,
            track=track,
            instant=instant,
            absolute_orbit=absolute_orbit(platform, track.relative_orbit, instant),
            slid=slid,
            slices=stored,
            zero_filled=parameters.zero_filled_pass and index == 1,
            platform=platform,
        )
        for index, ((instant, track, slid, stored), platform) in enumerate(zip(found, platforms, strict=True))
    ]


def wanted_tracks(area: AreaOfInterest, parameters: WorldParameters) -> tuple[TrackPlan, ...]:
    """The planned tracks, under the relative orbits that the area names, in order."""
    names = list(area.tracks or ())
    free = [n for n in range(1, 176) if n not in names]
    tracks = []
    for position, track in enumerate(parameters.tracks):
        number = track.relative_orbit
        if names:
            number = names[position] if position < len(names) else number if number in free else free[0]
        tracks.append(track.model_copy(update={"relative_orbit": number}))
    return tuple(tracks)


def _first_after(event: Event, track: TrackPlan, longitude_deg: float) -> datetime:
    """First pass after the event: Sentinel-1 passes at about 6 h (descending) and 18 h local solar time."""
    hours = ((6.0 if track.direction == "descending" else 18.0) - longitude_deg / 15.0) % 24.0
    midnight = event.end.replace(hour=0, minute=0, second=0, microsecond=0)
    instant = midnight + timedelta(seconds=round(hours * 3600), microseconds=220_006)
    while instant <= event.end:
        instant += timedelta(days=1)
    return instant + timedelta(days=track.offset_days)


@dataclass(frozen=True)
class Swath:
    """The slanted strip of ground that a track's passes cover: a rectangle along the flight direction.

    `reach_m` is (half length along, half width across) around `centre`, in metres of the grid's projection.
    """

    track: TrackPlan
    centre: tuple[float, float]
    reach_m: tuple[float, float]
    slices: int

    @classmethod
    def over(cls, grid: Grid, track: TrackPlan, parameters: WorldParameters) -> Swath:
        """The smallest swath that holds the area's grid and the margin."""
        left, bottom, right, top = grid.bounds
        heading = np.radians(track.heading_deg)
        width, height = right - left, top - bottom
        sine, cosine = abs(np.sin(heading)), abs(np.cos(heading))
        margin = parameters.margin_px * grid.resolution_m
        along = (height * cosine + width * sine) / 2 + margin
        across = (width * cosine + height * sine) / 2 + margin
        return cls(track, ((left + right) / 2, (bottom + top) / 2), (along, across), parameters.slices)

    def frame(self, grid: Grid) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(y, x) metres along the flight direction and across it, to the right, from the swath's centre."""
        east = (grid.x - self.centre[0])[None, :]
        north = (grid.y - self.centre[1])[:, None]
        heading = np.radians(self.track.heading_deg)
        along = east * np.sin(heading) + north * np.cos(heading)
        across = east * np.cos(heading) - north * np.sin(heading)
        return along.astype(np.float32), across.astype(np.float32)

    def cuts_m(self, flight: Flight) -> list[float]:
        """Where slices begin and end along the flight, metres; inner limits vary from pass to pass."""
        reach = self.reach_m[0]
        cuts = np.linspace(-reach, reach, self.slices + 1)
        wander = 0.06 * (cuts[1] - cuts[0]) * np.sin(1.7 * flight.index + np.arange(1, self.slices))
        cuts[1:-1] += wander
        return [float(cut) for cut in cuts]

    def outline(self, flight: Flight, number: int, beyond_m: float = 0.0) -> Polygon:
        """Footprint of a slice, `beyond_m` larger on each side, in the grid's projection."""
        cuts = self.cuts_m(flight)
        begin, end = cuts[number] - beyond_m, cuts[number + 1] + beyond_m
        side = self.reach_m[1] + beyond_m
        heading = np.radians(self.track.heading_deg)
        forward = np.array([np.sin(heading), np.cos(heading)])
        right = np.array([np.cos(heading), -np.sin(heading)])
        corners = [(begin, -side), (begin, side), (end, side), (end, -side)]
        return Polygon([tuple(np.asarray(self.centre) + a * forward + c * right) for a, c in corners])


def scene_grid(area_lattice: Grid, swaths: list[Swath]) -> Grid:
    """The lattice that contains every swath."""
    bounds = np.array([Polygon(_corners(swath)).bounds for swath in swaths])
    (left, bottom), (right, top) = bounds[:, :2].min(axis=0), bounds[:, 2:].max(axis=0)
    step = area_lattice.resolution_m
    west, south, east, north = area_lattice.bounds
    beyond = max(west - left, south - bottom, right - east, top - north)
    return area_lattice.padded(int(np.ceil(beyond / step)) + 2)


def _corners(swath: Swath) -> list[tuple[float, float]]:
    heading = np.radians(swath.track.heading_deg)
    (x, y), (length, width) = swath.centre, swath.reach_m
    return [
        (
            x + a * length * np.sin(heading) + c * width * np.cos(heading),
            y + a * length * np.cos(heading) - c * width * np.sin(heading),
        )
        for a, c in ((-1, -1), (-1, 1), (1, 1), (1, -1))
    ]
