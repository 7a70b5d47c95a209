"""The passes that the detector uses: of every track that has enough of them before and one after the event."""

from __future__ import annotations

from datetime import datetime

import xarray as xr

from model.detector.detector_plan import MINIMUM_BEFORE
from model.inputs.inputs import EventSpan, Inputs
from model.inputs.selection import PassUsed, Selection, View, select
from model.inputs.tracks import sampled_validity, tracks_of
from pipeline.cube.schema import BACKSCATTER
from pipeline.errors import ModelError

YEAR_DAYS = 365.2425
SEASON_DAYS = 60.0
"""A pass is of the event's season if its time of the year is at most this far from that of the first pass after."""
ENOUGH_OF_SEASON = 8
"""with fewer passes of the season every pass before the event is used"""


def polarisations_of(cube: xr.Dataset) -> tuple[str, ...]:
    """The polarisations of which at least one pass has data.

    Raises:
        ModelError: there is none.
    """
    named = [name for name in BACKSCATTER if name in cube]
    found = tuple(name for name in named if _has_data(cube, name))
    if not found:
        raise ModelError(
            "The cube has no backscatter (vv, vh) with data, in which the detector looks for change.",
            "Build a cube that has it.",
        )
    return found


def _has_data(cube: xr.Dataset, name: str) -> bool:
    """Whether a pass has a valid pixel among the sampled ones; most often the first one has."""
    return any(
        sampled_validity(cube.isel(timestep=slice(index, index + 1)), (name,)).any()
        for index in range(cube.sizes["timestep"])
    )


def every_view(cube: xr.Dataset, inputs: Inputs, event: EventSpan | None) -> Selection:
    """One view for each track that has `MINIMUM_BEFORE` passes before the event and one after it.

    Where a track has `ENOUGH_OF_SEASON` passes of the event's season, those of other seasons are left out: a year of
    leaves, moisture and snow is no spread of the days around an event. `inputs.before` chooses the newest passes
    whatever their season.

    Args:
        inputs: its polarisations; numbers of passes before and after; `best` and `both` mean every track, a relative
            orbit or a direction those of it.

    Raises:
        ModelError: there is no event; no pass before, or none after it; every track has too few passes before.
    """
    wanted = "both" if inputs.track == "best" else inputs.track
    found: list[Selection] = []
    refused: list[ModelError] = []
    for track in tracks_of(cube, wanted):
        asked = track.relative_orbit or (track.direction if track.direction != "unknown" else "best")
        try:
            found.append(
                select(
                    cube, Inputs.model_validate({**inputs.model_dump(), "track": asked, "terrain": ()}), event
                )
            )
        except ModelError as error:
            refused.append(error)
    if not found:
        if refused:
            raise refused[0]
        return select(cube, inputs, event)  # no such track: its error names those that there are
    enough = [each for each in found if len(each.before) >= MINIMUM_BEFORE]
    if not enough:
        most = max(found, key=lambda each: len(each.before))
        raise ModelError(
            f"The detector needs {MINIMUM_BEFORE} passes before the event on one track; {most.track} has "
            f"{len(most.before)}.",
            "Let the area file's time range start earlier and build again; 8 passes before or more are better.",
        )
    views = tuple(view for each in enough for view in each.every_view)
    notes = [note for each in enough for note in each.notes]
    if inputs.before is None:
        notes += [note for view in views if (note := _season_note(view))]
        views = tuple(_of_season(view) for view in views)
    left_out = [
        f"not used: {each.track} has {len(each.before)} of {MINIMUM_BEFORE} passes before"
        for each in found
        if each not in enough
    ] + [f"not used: {error.message}" for error in refused]
    return Selection(
        event=enough[0].event,
        track=" and ".join(view.track for view in views),
        before=views[0].before,
        after=views[0].after,
        rule=f"track={inputs.track!r}: every track with {MINIMUM_BEFORE} passes before and one after the event",
        notes=tuple(dict.fromkeys([*notes, *left_out])),
        views=views,
    )


def _of_season(view: View) -> View:
    """The view with the passes before the event of the event's season, where there are enough of them."""
    kept = tuple(used for used in view.before if _same_season(used, view.after[0].instant))
    return view.model_copy(update={"before": kept}) if len(kept) >= ENOUGH_OF_SEASON else view


def _same_season(used: PassUsed, instant: datetime) -> bool:
    days = (instant - used.instant).total_seconds() / 86400.0 % YEAR_DAYS
    return min(days, YEAR_DAYS - days) <= SEASON_DAYS


def _season_note(view: View) -> str | None:
    left_out = len(view.before) - len(_of_season(view).before)
    if not left_out:
        return None
    return f"{view.track}: {left_out} of {len(view.before)} passes before the event are of other seasons and not used"


def in_order(selection: Selection) -> tuple[tuple[int, int], ...]:
    """The passes after the event of all views by their instants: (number of the view, position in its `after`)."""
    passes = [
        (used.instant, number, position)
        for number, view in enumerate(selection.every_view)
        for position, used in enumerate(view.after)
    ]
    return tuple((number, position) for _, number, position in sorted(passes))
