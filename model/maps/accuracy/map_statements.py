"""What the report of a map says of its worth, in sentences that hold for this map: its views, passes and threshold."""

from __future__ import annotations

from model.bundle.expected_scores import passes_in_words
from model.inputs.selection import Selection
from model.maps.accuracy.scene_findings import TestedModel
from model.scores.case_evidence import AreaEstimate, MapAccuracy, OverEvents
from model.scores.map_findings import LabelComparison, SceneFindings
from pipeline.errors import number_of

ESTIMATOR = (
    "Estimator: the mapped area times the ratio of landslide area to mapped area on the tested events (geometric "
    "mean), which takes away what was false and adds what was missed in proportion to what is mapped; the range is the "
    "prediction interval of the next event's ratio, Student's t on logarithms. It is the area adjustment by an error "
    "matrix of Olofsson et al. (2014, doi:10.1016/j.rse.2014.02.015), with matrices of other events."
)
SHIFT = (
    "by expectation maximisation over the calibrated probabilities, Saerens et al. 2002, "
    "doi:10.1162/089976602753284446"
)


UNTOLD_SHARE = 1e-4
"""an event with landslides of which less is estimated shows that the estimate cannot tell"""


def percent(share: float) -> str:
    """A share as a person reads it, as in `3.2 %` or `31 %`."""
    value = 100 * share
    if 0 < value < 0.01:
        return "below 0.01 %"
    return f"{value:.0f} %" if value >= 10 or value == 0 else f"{value:.2g} %"


def shares_in_words(found: MapAccuracy) -> list[str]:
    """What was false and missed on the tested events, each that is known."""
    return [
        f"{over_events(share)} of {what}"
        for share, what in (
            (found.false_polygons, "the polygons held no landslide"),
            (found.false_area, "the mapped area was no landslide"),
            (found.missed_area, "the landslide area was not mapped"),
        )
        if share is not None
    ]


def model_statements(tested: TestedModel, selection: Selection, smallest_m2: float) -> tuple[str, ...]:
    """What the events that the model was tested on say of this map, without full stops at the end."""
    found = tested.accuracy
    chosen = f"The threshold {tested.threshold:.3f} is {tested.chosen_by}." if tested.chosen_by else ""
    if found is None:
        views = selection.every_view
        words = " and ".join(
            f"{number_of(len(view.after), f'{view.direction} pass')} after the event" for view in views
        )
        unknown = f"What a map with {words} is worth is not known: the model was not tested with them."
        return (chosen, unknown) if chosen else (unknown,)
    case = passes_in_words(found.views, found.before, found.after)
    sentences = [f"{_where(found)}, with {case} and this map's threshold of {tested.threshold:.3f}:"]
    parts = shares_in_words(found)
    sentences[0] += f" {'; '.join(parts)}." if parts else " nothing was mapped."
    if found.events == 1:
        sentences.append("It is one event: no range over events is known.")
    if found.unmapped_events and parts:
        sentences.append(
            f"On {found.unmapped_events} of the {found.events} events nothing was mapped at this threshold; the shares "
            "of what is false are of the others."
        )
    if found.part == "test area":
        sentences.append(
            "The model was trained on other parts of the same scenes: on another event it may be worse."
        )
    sentences.append(_difference(found, selection, smallest_m2))
    return tuple(sentence for sentence in (chosen, *sentences) if sentence)


def over_events(share: OverEvents) -> str:
    """A share with its range over events."""
    if share.lower is None or share.upper is None:
        return percent(share.mean)
    return (
        f"{percent(share.mean)} ({share.events} events from {percent(share.lowest)} to {percent(share.highest)}; 95 % "
        f"interval of their mean {percent(share.lower)} to {percent(share.upper)})"
    )


def short_words(found: MapAccuracy | None) -> str:
    """The same in short, for tags of rasters; empty where nothing is known."""
    if found is None or found.false_polygons is None or found.missed_area is None:
        return ""
    kind = "event" if found.part == "untrained" else found.part
    threshold = f"threshold {found.threshold:.3f}; " if found.threshold is not None else ""
    return (
        f"{threshold}on {number_of(found.events, kind)}"
        f"{' (simulated)' if found.simulated == found.events else ''}: "
        f"{_short(found.false_polygons)} of polygons false, {_short(found.missed_area)} of landslide area missed"
    )


def scene_statements(found: SceneFindings, tested: TestedModel, mapped_km2: float) -> tuple[str, ...]:
    """What the map says of its own scene."""
    sentences = [f"Mapped: {mapped_km2:.3f} km²."]
    if found.landslide_km2 is not None:
        sentences[0] += f" {_area(found.landslide_km2)}"
    sentences.append(
        f"By the calibrated probabilities {found.probable_km2:.3f} km² of the scene are landslides, "
        f"{found.probable_inside_km2:.3f} km² of them inside the polygons. They hold for a scene with as many "
        f"landslides as the calibration's ({percent(tested.prior)} of the area)."
    )
    share = f"Without labels, {percent(found.estimated_share)} of this scene's pixels are estimated to be landslides"
    if tested.prevalences:
        estimated, true = ([pair[n] for pair in tested.prevalences] for n in (0, 1))
        share += (
            f"; on the {len(estimated)} tested events with landslides the estimates were {_range(estimated)}, where "
            f"{_range(true)} were"
        )
    sentences.append(f"{share} ({SHIFT}).")
    if found.lowest_known is not None and found.lowest_known < UNTOLD_SHARE:
        sentences.append(
            "On a tested event with landslides nothing was estimated either: the estimate cannot tell whether anything "
            "happened here."
        )
    if found.perhaps_nothing:
        sentences.insert(
            0,
            "PERHAPS NOTHING HAPPENED HERE: the estimated share of landslides is below a tenth of the lowest one of "
            "a tested event with landslides. What is mapped may all be false, and the areas below hold only if "
            "something did happen.",
        )
    sentences += _outside(found)
    return tuple(sentences)


def detector_statements(mapped_km2: float, searched_km2: float, *, tested: bool) -> tuple[str, ...]:
    """What a detector's map says of its own scene.

    Args:
        tested: whether the settings of this map are those that were tested.
    """
    share = "follows from the tests above alone" if tested else "is not known"
    return (
        f"Mapped: {mapped_km2:.3f} km², of {searched_km2:.3f} km² that were searched. The score is no probability: how "
        f"much of it is landslide {share}.",
    )


def label_statement(found: LabelComparison) -> str:
    """What the labels of this scene say of the map."""
    false = f"{found.false_polygons} of {number_of(found.polygons, 'polygon')} hold no labelled landslide"
    area = percent(found.false_km2 / found.mapped_km2) if found.mapped_km2 else None
    missed = percent(found.missed_km2 / found.landslide_km2) if found.landslide_km2 else None
    return (
        f"Beside the labels of the scored area: {false}"
        + (f"; {area} of the mapped area is no labelled landslide" if area else "")
        + (f"; {missed} of the labelled landslide area is not mapped" if missed else "")
        + "."
    )


def _where(found: MapAccuracy) -> str:
    simulated = ""
    if found.simulated:
        every = found.simulated == found.events
        simulated = " (SIMULATED)" if every else f" ({found.simulated} of them SIMULATED)"
    if found.part == "left-out event":
        return f"On {number_of(found.events, 'event')}{simulated} left out of training"
    if found.events == 1:
        return f"On the model's test area in one event{simulated}"
    return f"On the model's test areas in {found.events} events{simulated}"


def _difference(found: MapAccuracy, selection: Selection, smallest_m2: float) -> str:
    """Where this map differs from the maps that were tested, but for its scene."""
    different = []
    before = {view.direction: view.before for view in found.views}
    own = {view.direction: len(view.before) for view in selection.every_view}
    if before != own if before else found.before != len(selection.before):
        counts = " and ".join(f"{count} {name}" for name, count in own.items())
        different.append(f"it has {counts} passes before the event")
    if abs(found.smallest_m2 - smallest_m2) > 1e-6:
        different.append(
            f"its polygons have at least {smallest_m2:g} m², those that were counted {found.smallest_m2:g} m²"
        )
    return f"This map differs from those that were tested: {'; '.join(different)}." if different else ""


def _short(share: OverEvents) -> str:
    if share.events == 1:
        return percent(share.mean)
    return f"{percent(share.mean)} ({percent(share.lowest)} to {percent(share.highest)})"


def _area(found: AreaEstimate) -> str:
    words = f"By what was false and missed on the tested events {found.km2:.3f} km² are landslides"
    if found.lower is None or found.upper is None:
        events = f"{'is' if found.events == 1 else 'are'} {number_of(found.events, 'event')}"
        return f"{words}; a range needs three events with landslides, and there {events}."
    return f"{words}; of 100 further events like them 95 lie between {found.lower:.3f} and {found.upper:.3f} km²."


def _range(shares: list[float]) -> str:
    low, high = percent(min(shares)), percent(max(shares))
    return low if low == high else f"{low} to {high}"


def _outside(found: SceneFindings) -> list[str]:
    """How far the inputs are from those of the training set."""
    if not found.outside_ranges:
        return [
            "How far this scene lies from the training set is not known: the bundle keeps no ranges of its inputs."
        ]
    if not found.unlike:
        name, share = max(found.outside_ranges.items(), key=lambda pair: pair[1])
        return [
            f"The inputs lie in the range of the training set: of no channel more than {percent(share)} ({name}) lies "
            "outside of what holds 98 % of it."
        ]
    shown = [f"{percent(found.outside_ranges[name])} of {name}" for name in found.unlike[:5]]
    more = len(found.unlike) - len(shown)
    others = f" and {number_of(more, 'more channel')}" if more else ""
    return [
        f"UNLIKE THE TRAINING SET: {', '.join(shown)}{others} lie outside of what holds 98 % of the training set. The "
        "shares above need not hold here."
    ]
