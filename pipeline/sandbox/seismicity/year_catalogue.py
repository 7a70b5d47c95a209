"""A year of earthquakes of M >= 5 of the whole Earth, in the form of the USGS's catalogue, drawn from a seed.

Magnitudes follow Gutenberg and Richter (1944) with b = 1, from 5.0 to 8.8, so that of 1500 events some 150 reach 6 and
15 reach 7, as in a usual year. Places and depths: `plate_boundaries`. There are no aftershock sequences.

An event of M >= 6 has a ground-failure product (M 6 worldwide: earthquake.usgs.gov/data/ground-failure/background.php).
Its area exposed to landslides is the total landslide area of Malamud et al. (2004, "Landslides, earthquakes, and
erosion", doi:10.1016/j.epsl.2004.10.018): log N = 1.29 M - 5.65 landslides of 3.07e-3 km² on average. It falls with
depth by 1/e every 20 km below 15 km, is a twentieth at sea, and varies by a factor of 2.5 (one standard deviation);
these three are ours, as are the people exposed: 5 to 500 a km² of it.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from pipeline.sandbox.seismicity.plate_boundaries import BOUNDARIES, Boundary
from pipeline.sandbox.seismicity.scripted_events import (
    Box,
    GroundFailureState,
    Revision,
    ScriptedEvent,
    ShakeMapState,
)
from pipeline.sandbox.seismicity.usgs_documents import USGS_HOST, collection, detail, feature

USUAL_NUMBER = 1500
LEAST, MOST = 5.0, 8.8
_B = 1.0
_PRODUCTS_FROM = 6.0
_KM_PER_DEG = 111.2
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def year_catalogue(year: int, seed: int, number: int | None = None) -> dict[str, Any]:
    """The catalogue as a GeoJSON collection, the newest event first.

    An event with products is its detail document (`products` among the properties), any other one the feature of a
    search. `number` is the number of events; None: drawn around 1500 (Poisson).
    """
    rng = np.random.default_rng([seed, year, 51])
    count = int(rng.poisson(USUAL_NUMBER)) if number is None else number
    events = sorted(
        (_event(year, index, rng) for index in range(count)),
        key=lambda one: one.revisions[0].time,
        reverse=True,
    )
    features = [
        detail(one, one.revisions[0]) if one.revisions[0].ground_failure else feature(one, one.revisions[0])
        for one in events
    ]
    url = (
        f"https://{USGS_HOST}/fdsnws/event/1/query?format=geojson&starttime={year}-01-01&endtime={year + 1}-01-01"
        f"&minmagnitude={LEAST:g}"
    )
    return collection(features, url, "USGS Earthquakes", datetime(year + 1, 3, 1, tzinfo=UTC))


def total_landslide_area_km2(magnitude: float) -> float:
    """Of all landslides that an earthquake triggers, km² (Malamud et al. 2004)."""
    return float(3.07e-3 * 10 ** (1.29 * magnitude - 5.65))


def _event(year: int, index: int, rng: np.random.Generator) -> ScriptedEvent:
    shares = np.array([one.share for one in BOUNDARIES])
    line = BOUNDARIES[int(rng.choice(len(BOUNDARIES), p=shares / shares.sum()))]
    # from 4.95 on, so that the tenth 5.0 is whole
    share = 1 - float(rng.uniform()) * (1 - 10 ** (-_B * (MOST - LEAST)))
    magnitude = round(LEAST - 0.05 - math.log10(share) / _B, 1)
    inland = bool(rng.uniform() < line.inland)
    depth = _depth_km(line, rng)
    longitude, latitude = _place(line, inland, depth, rng)
    first = datetime(year, 1, 1, tzinfo=UTC)
    length_s = (datetime(year + 1, 1, 1, tzinfo=UTC) - first).total_seconds()
    time = first + timedelta(milliseconds=int(rng.uniform(0, length_s) * 1000))
    failure, shaking = None, None
    if magnitude >= _PRODUCTS_FROM:
        failure = _failure(magnitude, depth, inland, (longitude, latitude), rng)
        mmi = float(np.clip(1.5 * magnitude - 1.2 - depth / 40.0, 2.0, 9.8))
        shaking = ShakeMapState(
            bounds=_box((longitude, latitude), 60.0 * (magnitude - 4.5)), max_mmi=round(mmi, 1)
        )
    alert = None
    if failure is not None:
        people = failure.people
        alert = "red" if people > 3e4 else "orange" if people > 3e3 else "yellow" if people > 300 else "green"
    revision = Revision(
        at=time + timedelta(days=float(rng.uniform(30, 80))),
        magnitude=magnitude,
        magnitude_type="mww" if magnitude >= 5.5 else "mb",
        time=time,
        longitude=longitude,
        latitude=latitude,
        depth_km=depth,
        place=f"{line.region} region"
        if not inland
        else f"{int(rng.uniform(3, 90))} km from a town, {line.region}",
        status="reviewed",
        alert=alert,
        shakemap=shaking,
        ground_failure=failure,
    )
    return ScriptedEvent(code=f"7s{_code(index)}", revisions=(revision,))


def _code(number: int) -> str:
    text = ""
    for _ in range(4):
        number, rest = divmod(number, len(_DIGITS))
        text = _DIGITS[rest] + text
    return text


def _depth_km(line: Boundary, rng: np.random.Generator) -> float:
    """A depth; many shallow ones are fixed at 10 km, as the network does where it is not resolved."""
    kind = rng.uniform()
    if kind < line.deep[1]:
        return round(float(rng.uniform(300, 650)), 1)
    if kind < sum(line.deep):
        return round(float(min(70 + rng.exponential(60), 299)), 1)
    if line.kind == "ridge" or rng.uniform() < 0.35:
        return 10.0
    if line.kind == "trench":
        return round(float(np.clip(rng.lognormal(math.log(33), 0.5), 4, 69.9)), 1)
    return round(float(np.clip(rng.gamma(4.0, 3.5), 3, 45)), 1)


def _place(line: Boundary, inland: bool, depth_km: float, rng: np.random.Generator) -> tuple[float, float]:
    """Along the line by its length, aside by kind: towards land or the slab, or around a ridge."""
    points = np.array(line.points, dtype=float)
    steps = np.diff(points, axis=0)
    steps[:, 0] *= np.cos(np.radians((points[1:, 1] + points[:-1, 1]) / 2))
    lengths = np.hypot(*steps.T)
    part = int(rng.choice(len(lengths), p=lengths / lengths.sum()))
    longitude, latitude = points[part] + rng.uniform() * (points[part + 1] - points[part])
    unit = np.array(line.towards, dtype=float)
    unit /= np.hypot(*unit)
    if line.kind == "trench":
        aside_km = rng.uniform(90, 220) if inland else rng.uniform(-15, 90)
        aside_km = max(aside_km, depth_km) if depth_km > 70 else aside_km
    elif line.kind == "ridge":
        aside_km = rng.normal(0, 25)
    else:
        aside_km = rng.normal(40, 110)
    latitude = float(np.clip(latitude + unit[1] * aside_km / _KM_PER_DEG, -89, 89))
    longitude = float(longitude + unit[0] * aside_km / _KM_PER_DEG / math.cos(math.radians(latitude)))
    return round((longitude + 180.0) % 360.0 - 180.0, 4), round(latitude, 4)


def _failure(
    magnitude: float, depth_km: float, inland: bool, place: tuple[float, float], rng: np.random.Generator
) -> GroundFailureState:
    area = total_landslide_area_km2(magnitude) * math.exp(-max(0.0, depth_km - 15.0) / 20.0)
    area *= (1.0 if inland else 0.05) * 10 ** float(rng.normal(0, 0.4))
    people = area * 10 ** float(rng.uniform(math.log10(5), math.log10(500)))
    reach_km = 10 ** (0.5 * magnitude - 1.8)
    return GroundFailureState(
        hazard_km2=float(f"{area:.3g}"), people=float(round(people)), bounds=_box(place, reach_km)
    )


def _box(place: tuple[float, float], km: float) -> Box:
    """A box around a place, within the Earth; at the date line it ends there."""
    up = km / _KM_PER_DEG
    aside = up / max(0.05, math.cos(math.radians(place[1])))
    return (
        round(max(-180.0, place[0] - aside), 4),
        round(max(-90.0, place[1] - up), 4),
        round(min(180.0, place[0] + aside), 4),
        round(min(90.0, place[1] + up), 4),
    )
