"""Pairs of overflights, their perpendicular baselines, and the reason why an overflight is in no pair."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise

import numpy as np
from pydantic import Field
from pyproj import Transformer

from pipeline.areas.area import AreaOfInterest, Interferometry
from pipeline.catalogue.slc import Pair, SlcPass, StateVector
from pipeline.records import Frozen

FARTHEST_S = 60.0
"""State vectors are extrapolated by at most this: a minute beyond them the position errs by metres."""

FARTHEST_M = 1.5e6
"""A point farther from the satellite is not in its swath, which ends about 1000 km away."""


class PairList(Frozen):
    """The pairs of an area, ascending by track and time, and the passes that are in none, with the reason."""

    pairs: tuple[Pair, ...]
    unpaired: tuple[str, ...] = Field((), description="'sentinel-1a_023560 (track 46, 2018-09-05): why'")
    notes: tuple[str, ...] = ()


def choose_pairs(area: AreaOfInterest, passes: Sequence[SlcPass]) -> PairList:
    """The pairs that the area's rule makes of `passes`, each within one track, the earlier pass as reference.

    A pair has the bursts that both passes have; without one in common there is no pair. Of two passes of one track
    on one day (satellites that follow each other) the one with more bursts is used, the earlier of equals: days
    identify pairs.
    """
    rule = area.interferometry
    if rule is None:
        return PairList(pairs=())
    reasons: dict[str, str] = {}
    pairs: list[Pair] = []
    for track in sorted({one.relative_orbit for one in passes}):
        same = sorted((one for one in passes if one.relative_orbit == track), key=lambda p: (p.instant, p.id))
        usable = _usable(same, rule, reasons)
        for reference, secondary in _by_rule(area, rule, usable, reasons):
            pair = _pair(area, rule, reference, secondary)
            if pair is None:
                _add_reason(reasons, reference, secondary, "no burst over the area in common with")
            else:
                pairs.append(pair)
    paired = {one.id for pair in pairs for one in (pair.reference, pair.secondary)}
    unpaired = tuple(
        f"{one.id} (track {one.relative_orbit}, {one.instant:%Y-%m-%d}): {reasons[one.id]}"
        for one in sorted(passes, key=lambda p: (p.relative_orbit, p.instant, p.id))
        if one.id not in paired
    )
    return PairList(pairs=tuple(pairs), unpaired=unpaired)


def _usable(same: list[SlcPass], rule: Interferometry, reasons: dict[str, str]) -> list[SlcPass]:
    """The passes of a track that can be in a pair: with bursts, one a day."""
    by_day: dict[str, SlcPass] = {}
    for one in same:
        if not one.bursts:
            reasons[one.id] = (
                f"the archive lists no {rule.polarisation} burst of it over the area"
                if any(rule.polarisation in granule.polarisations for granule in one.granules)
                else f"it was not taken in {rule.polarisation}"
            )
            continue
        day = f"{one.instant:%Y%m%d}"
        other = by_day.get(day)
        if other is None or len(one.bursts) > len(other.bursts):
            by_day[day] = one
        if other is not None:
            kept, dropped = by_day[day], other if by_day[day] is one else one
            reasons[dropped.id] = f"{kept.id} of the same track and day counts instead"
    return [by_day[day] for day in sorted(by_day)]


def _by_rule(
    area: AreaOfInterest, rule: Interferometry, usable: list[SlcPass], reasons: dict[str, str]
) -> list[tuple[SlcPass, SlcPass]]:
    """Pairs of passes of one track, ascending in time; and why each other pass may be in none."""
    for one in usable:
        reasons[one.id] = "its track has no other pass" if len(usable) == 1 else ""
    before = [one for one in usable if area.when(one.instant) == "before"]
    after = [one for one in usable if area.when(one.instant) == "after"]
    if rule.pairs == "consecutive":
        candidates = list(pairwise(usable))
    elif rule.pairs == "within":
        candidates = list(combinations(usable, 2))
    elif rule.pairs == "reference":
        reference = before[-1:]
        candidates = [
            (min(one, other, key=lambda p: p.instant), max(one, other, key=lambda p: p.instant))
            for one in reference
            for other in usable
            if other is not one
        ]
    else:
        candidates = list(pairwise([*before[-2:], *after[:2]]))
    candidates.sort(key=lambda pair: (pair[0].instant, pair[1].instant))
    # whole days: slices are cut elsewhere at every repeat, so that 12 days may be some seconds more
    taken = [pair for pair in candidates if round(_days(*pair)) <= rule.most_days]
    for pair in candidates:
        if pair not in taken:
            _add_reason(reasons, *pair, f"{_days(*pair):.0f} days (most_days is {rule.most_days}) away from")
    for one in usable:
        if not reasons[one.id] and not any(one in pair for pair in taken):
            lacks = "no pass before the event to refer to" if rule.pairs == "reference" else ""
            reasons[one.id] = lacks or f"the rule {rule.pairs!r} does not ask for it"
    return taken


def _add_reason(reasons: dict[str, str], one: SlcPass, other: SlcPass, words: str) -> None:
    for this, that in ((one, other), (other, one)):
        reason = f"{words} {that.id}"
        former = reasons.get(this.id, "")
        if former.count("; ") < 1:
            reasons[this.id] = f"{former}; {reason}" if former else reason


def _days(one: SlcPass, other: SlcPass) -> float:
    return abs((other.instant - one.instant).total_seconds()) / 86400


def _pair(area: AreaOfInterest, rule: Interferometry, reference: SlcPass, secondary: SlcPass) -> Pair | None:
    common = {b.full_id for b in reference.bursts} & {b.full_id for b in secondary.bursts}
    if not common:
        return None
    centre = area.footprint.centroid
    return Pair(
        reference=reference,
        secondary=secondary,
        polarisation=rule.polarisation,
        burst_ids=tuple(sorted(common)),
        perpendicular_baseline_m=perpendicular_baseline_m(
            reference.state_vectors, secondary.state_vectors, centre.x, centre.y
        ),
    )


def perpendicular_baseline_m(
    reference: Sequence[StateVector], secondary: Sequence[StateVector], lon_deg: float, lat_deg: float
) -> float | None:
    """Distance of the secondary orbit from the reference's line of sight to a point on the ellipsoid, in metres.

    Computed where each satellite passes the place at zero Doppler, along the unit vector of velocity x (satellite minus
    ground), which is the convention of asf-search (`asf_search.baseline.calc`). asf-search instead takes both
    positions at the same time since the ascending node, and gives whole metres. Positions between and beyond the state
    vectors (ascending in time) are the cubic Hermite spline's. None without two vectors each, or where the place lies
    more than a minute beyond them.
    """
    to_ecef = Transformer.from_crs(4979, 4978, always_xy=True)
    ground = np.array(to_ecef.transform(lon_deg, lat_deg, 0.0))
    first, second = _passing(reference, ground), _passing(secondary, ground)
    if first is None or second is None:
        return None
    position, velocity = first
    up = np.cross(velocity, position - ground)
    return round(float(np.dot(up / np.linalg.norm(up), second[0] - position)), 2)


def _passing(vectors: Sequence[StateVector], ground: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Position and velocity at zero Doppler (Newton's method; the satellite's acceleration may be left out)."""
    if len(vectors) < 2:
        return None
    times = np.array([(v.time - vectors[0].time).total_seconds() for v in vectors])
    from scipy.interpolate import CubicHermiteSpline  # a second of a command that makes no pairs

    orbit = CubicHermiteSpline(times, [v.position_m for v in vectors], [v.velocity_m_s for v in vectors])
    flight = orbit.derivative()
    instant = float(times.mean())
    for _ in range(20):
        position, velocity = orbit(instant), flight(instant)
        step = float(np.dot(position - ground, velocity) / np.dot(velocity, velocity))
        instant -= step
        if not times[0] - 2 * FARTHEST_S <= instant <= times[-1] + 2 * FARTHEST_S:
            return None
        if abs(step) < 1e-6:
            break
    if not times[0] - FARTHEST_S <= instant <= times[-1] + FARTHEST_S:
        return None
    if (
        np.linalg.norm(orbit(instant) - ground) > FARTHEST_M
    ):  # the other side of the Earth has zero Doppler too
        return None
    return orbit(instant), flight(instant)
