"""The earthquakes that the feeds of a world state: that of its landslides, a second one beside it, and others."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np

from pipeline.areas.area import AreaOfInterest
from pipeline.sandbox.earth.parameters import SandboxError
from pipeline.sandbox.seismicity.scripted_events import (
    Box,
    GdacsReport,
    GroundFailureState,
    Revision,
    ScriptedEvent,
    ScriptedEvents,
    ShakeMapState,
)
from pipeline.sandbox.world import World

_KM_PER_DEG = 111.2
Magnitudes = tuple[float, float, float]
USUAL: Magnitudes = (6.3, 6.7, 6.6)
MODERATE: Magnitudes = (5.6, 5.9, 5.8)
"""Of an earthquake that its landslide alert alone makes worth a map."""


def events_of_world(
    world: World,
    seed: int = 1,
    *,
    magnitudes: Magnitudes = USUAL,
    second: bool = True,
    others: bool = True,
) -> ScriptedEvents:
    """Revisions of the world's own earthquake, and of others around it.

    The first: `magnitudes` after 6 minutes, 25 minutes and 3 hours. A ground-failure product is pending then; its alert
    comes after 7 hours, and grows after a day. `second` adds a shock two and a half days later, of the last magnitude
    less 0.5, whose hazard area is the northern half. `others` adds one of M 5.8 that is retracted after 40
    minutes, and a deep one of M 6.4, both some degrees away.

    Raises:
        SandboxError: the world does not say of which area it is, or its event is no earthquake.
    """
    if "area" not in world.document:
        raise SandboxError(f"{world.root} is of real files.", "Write its events.json by hand.")
    area = AreaOfInterest.model_validate(world.document["area"])
    if area.event.kind != "earthquake":
        raise SandboxError(f"The event of {area.name} is no earthquake.", "Take a world of an earthquake.")
    rng = np.random.default_rng([seed, 41])
    west, south, east, north = area.footprint.bounds
    middle = (south + north) / 2
    events = [_main(area.event.start, (west, south, east, north), magnitudes, rng)]
    if second:
        events.append(
            _second(
                area.event.start + timedelta(days=2.5), (west, middle, east, north), magnitudes[-1] - 0.5, rng
            )
        )
    if others:
        events.append(_retracted(area.event.start + timedelta(hours=30), (west - 3.0, south - 2.0)))
        events.append(_deep(area.event.start - timedelta(days=1), (west + 2.0, south - 4.0)))
    return ScriptedEvents(events=tuple(events))


def _main(start: datetime, box: Box, magnitudes: Magnitudes, rng: np.random.Generator) -> ScriptedEvent:
    longitude, latitude = _near(box, 3.0, rng)
    place = "12 km E of Sandbox"
    first = Revision(
        at=start + timedelta(minutes=6),
        magnitude=magnitudes[0],
        magnitude_type="mb",
        time=start,
        longitude=longitude,
        latitude=latitude,
        depth_km=10.0,
        place=place,
    )
    shaken = ShakeMapState(bounds=_around(box, 60.0), max_mmi=7.4)
    revised = first.model_copy(
        update={
            "at": start + timedelta(minutes=25),
            "magnitude": magnitudes[1],
            "magnitude_type": "mww",
            "depth_km": 33.4,
            "status": "reviewed",
            "longitude": round(longitude + 0.011, 4),
            "tsunami": True,
            "shakemap": shaken,
            "other_ids": ("at00sandbx",),
        }
    )
    pending = GroundFailureState(hazard_km2=8.2, people=640.0, bounds=box, pending=True)
    again = revised.model_copy(
        update={
            "at": start + timedelta(hours=3),
            "magnitude": magnitudes[2],
            "alert": "yellow",
            "felt": 212,
            "cdi": 6.8,
            "ground_failure": pending,
        }
    )
    alert = again.model_copy(
        update={
            "at": start + timedelta(hours=7),
            "ground_failure": pending.model_copy(update={"pending": False}),
        }
    )
    grown = alert.model_copy(
        update={
            "at": start + timedelta(days=1),
            "alert": "orange",
            "ground_failure": GroundFailureState(hazard_km2=17.5, people=1210.0, bounds=box),
        }
    )
    report = GdacsReport(number=1550421, country="Japan", iso3="JPN")
    return ScriptedEvent(code="6000sand", revisions=(first, revised, again, alert, grown), gdacs=report)


def _second(start: datetime, box: Box, magnitude: float, rng: np.random.Generator) -> ScriptedEvent:
    longitude, latitude = _near(box, 2.0, rng)
    first = Revision(
        at=start + timedelta(minutes=8),
        magnitude=round(magnitude, 1),
        time=start,
        longitude=longitude,
        latitude=latitude,
        depth_km=21.0,
        place="9 km NE of Sandbox",
    )
    reviewed = first.model_copy(
        update={
            "at": start + timedelta(hours=5),
            "status": "reviewed",
            "alert": "green",
            "shakemap": ShakeMapState(bounds=_around(box, 40.0), max_mmi=6.6),
            "ground_failure": GroundFailureState(hazard_km2=2.1, people=150.0, bounds=box),
        }
    )
    report = GdacsReport(
        number=1550587,
        east_km=-4.0,
        north_km=1.5,
        later_s=-3.0,
        country="Japan",
        iso3="JPN",
        states_source_id=False,
    )
    return ScriptedEvent(code="6000sanf", revisions=(first, reviewed), gdacs=report)


def _retracted(start: datetime, place: tuple[float, float]) -> ScriptedEvent:
    first = Revision(
        at=start + timedelta(minutes=5),
        magnitude=5.8,
        magnitude_type="mb",
        time=start,
        longitude=round(place[0], 4),
        latitude=round(place[1], 4),
        depth_km=10.0,
        place="an event that no station confirmed",
    )
    gone = first.model_copy(update={"at": start + timedelta(minutes=45), "status": "deleted"})
    return ScriptedEvent(code="6000sane", revisions=(first, gone))


def _deep(start: datetime, place: tuple[float, float]) -> ScriptedEvent:
    first = Revision(
        at=start + timedelta(minutes=12),
        magnitude=6.4,
        time=start,
        longitude=round(place[0], 4),
        latitude=round(place[1], 4),
        depth_km=387.0,
        place="a deep earthquake",
        status="reviewed",
    )
    return ScriptedEvent(code="6000sanb", revisions=(first,), gdacs=GdacsReport(number=1550302))


def _near(box: Box, km: float, rng: np.random.Generator) -> tuple[float, float]:
    """A place within `km` of the middle of a box."""
    west, south, east, north = box
    latitude = (south + north) / 2 + float(rng.uniform(-km, km)) / _KM_PER_DEG
    shrink = float(np.cos(np.radians(latitude)))
    longitude = (west + east) / 2 + float(rng.uniform(-km, km)) / _KM_PER_DEG / shrink
    return round(longitude, 4), round(latitude, 4)


def _around(box: Box, km: float) -> Box:
    """A box with a margin, within the Earth."""
    west, south, east, north = box
    up = km / _KM_PER_DEG
    aside = up / max(0.1, float(np.cos(np.radians((south + north) / 2))))
    return (
        max(-180.0, round(west - aside, 4)),
        max(-90.0, round(south - up, 4)),
        min(180.0, round(east + aside, 4)),
        min(90.0, round(north + up, 4)),
    )
