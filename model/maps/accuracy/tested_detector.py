"""What was measured of the detector: on simulated events, on one real landslide, and where nothing happened.

`docs/detector.md` has the commands and tables.
"""

from __future__ import annotations

from dataclasses import dataclass

from model.inputs.selection import Selection
from model.maps.accuracy.map_statements import shares_in_words
from model.scores.case_evidence import MapAccuracy, OverEvents
from pipeline.errors import number_of


@dataclass(frozen=True)
class TestedMap:
    """A map by the detector's defaults of an event with labels, of the first pass after the event of each track."""

    polygons: int
    false: int
    """polygons that hold no landslide"""
    mapped_km2: float
    false_km2: float
    landslide_km2: float
    missed_km2: float

    @property
    def false_polygons(self) -> float | None:
        """Share of the polygons; None: there is none."""
        return self.false / self.polygons if self.polygons else None

    @property
    def false_area(self) -> float | None:
        """Share of the mapped area."""
        return self.false_km2 / self.mapped_km2 if self.mapped_km2 else None

    @property
    def missed_area(self) -> float:
        """Share of the landslide area."""
        return self.missed_km2 / self.landslide_km2


EVENTS: dict[str, TestedMap] = {
    "random-arid-4": TestedMap(10, 10, 0.0385, 0.0385, 0.0315, 0.0315),
    "random-arid-5": TestedMap(14, 12, 0.0779, 0.0672, 0.1277, 0.1170),
    "random-forest-1": TestedMap(26, 24, 0.1251, 0.1154, 0.2656, 0.2559),
    "random-forest-2": TestedMap(33, 31, 0.1546, 0.1528, 0.1283, 0.1265),
    "random-forest-3": TestedMap(44, 26, 0.2461, 0.1620, 0.7266, 0.6425),
    "random-forest-8": TestedMap(27, 25, 0.1238, 0.1033, 0.1735, 0.1530),
    "random-snow-7": TestedMap(24, 24, 0.1640, 0.1640, 0.0514, 0.0514),
    "random-tropical-6": TestedMap(35, 13, 0.2651, 0.1244, 1.5464, 1.4057),
}
"""simulated events of 5 x 5 km, 10 m, two tracks of six passes before the event (`python -m tests.bench.detector
events`)"""
TESTED_BEFORE = 6
"""passes of each track before the simulated events"""
ENGA_MISSED, ENGA_FALSE = 0.25, 0.13
"""shares of the landslide's and of the mapped area, on the one real landslide with an outline (30 m)"""
QUIET = (
    "0.5 to 1.1 km² of 1000 km² on four bursts in California (30 m, 13 dates each; at most 4.6 on one date), 1.5 km² "
    "on a simulated forest in rain (10 m), and 7.3 km² where trees were felled in the simulation"
)
"""false area a pass where nothing happened: the means of each series"""


@dataclass(frozen=True)
class TestedDetector:
    """What is known of the worth of a detector's map."""

    accuracy: MapAccuracy | None
    statements: tuple[str, ...]


def tested_detector(
    selection: Selection, pixel_m: float, smallest_m2: float, *, default: bool, slope: bool
) -> TestedDetector:
    """What the measurements say of a map.

    Args:
        pixel_m: size of a pixel.
        smallest_m2: smallest mapped unit.
        default: whether the detector has its default settings, the smallest mapped unit among them.
        slope: whether the slope is known.
    """
    if not default:
        return TestedDetector(
            None,
            (
                "What this map is worth is not known: the detector was tested with its default settings alone.",
            ),
        )
    found = _accuracy(selection, smallest_m2)
    sentences = [
        "The detector was tested with the first pass of each track after the event. Where nothing happened it mapped "
        f"{QUIET}.",
        f"On one real landslide (Enga, 30 m) {100 * ENGA_MISSED:.0f} % of its area was not mapped, and "
        f"{100 * ENGA_FALSE:.0f} % of the mapped area lay beside it. It is one event: no range over events "
        "is known, and the detector's settings were chosen with it in view.",
    ]
    if found is not None:
        words = "; ".join(shares_in_words(found))
        sentences.append(f"On {number_of(found.events, 'event')} (SIMULATED, 10 m): {words}.")
    different = []
    after = [len(view.after) for view in selection.every_view]
    if max(after) > 1:
        different.append(f"it has up to {max(after)} passes of a track after the event")
    if len(after) != 2:
        different.append(f"it has {number_of(len(after), 'track')}, the simulated events had two")
    before = sorted({len(view.before) for view in selection.every_view})
    if before[0] < TESTED_BEFORE:
        words = number_of(before[0], "pass")
        different.append(
            f"a track of it has {words} before the event, the simulated events had {TESTED_BEFORE}"
        )
    if not slope:
        different.append("its slopes are not known")
    if abs(pixel_m - 10) > 1:
        different.append(f"its pixels have {pixel_m:.0f} m")
    if different:
        sentences.append(f"This map differs from the simulated ones: {'; '.join(different)}.")
    return TestedDetector(found, tuple(sentences))


def _accuracy(selection: Selection, smallest_m2: float) -> MapAccuracy | None:
    rows = tuple(EVENTS.values())
    if not rows:
        return None
    view = selection.every_view[0]
    return MapAccuracy(
        before=len(view.before),
        after=1,
        threshold=None,
        part="untrained",
        events=len(rows),
        simulated=len(rows),
        smallest_m2=smallest_m2,
        false_polygons=OverEvents.of([row.false_polygons for row in rows]),
        false_area=OverEvents.of([row.false_area for row in rows]),
        missed_area=OverEvents.of([row.missed_area for row in rows]),
        unmapped_events=sum(row.false_polygons is None for row in rows),
    )
