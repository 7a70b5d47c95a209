"""The passes that a network's inputs mean on one cube: one track or two, before and after the event."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field

from model.inputs import coherence_pairs as pairs
from model.inputs.before_after import Rule, rule_of, utc
from model.inputs.coherence_pairs import PairUsed
from model.inputs.cubes import coherence
from model.inputs.inputs import DIRECTIONS_OF_BOTH, EventSpan, Inputs
from model.inputs.look_azimuth import azimuth_to_sensor_deg
from model.inputs.tracks import Track, judged_on, sample_boxes, sampled_validity, tracks_of
from pipeline.errors import ModelError
from pipeline.records import Frozen, Utc


class PassUsed(Frozen):
    """One pass that was chosen."""

    index: int = Field(ge=0, description="position on the cube's time axis")
    instant: Utc
    id: str
    platform: str = ""
    valid: float = Field(
        ge=0, le=1, description="share of the sampled pixels with data in every polarisation"
    )


class View(Frozen):
    """What one track contributes: its passes, and its pairs where coherence is asked for."""

    track: str = Field(description="as in 'track 46 (descending)'")
    direction: str = Field(description="ascending, descending or unknown")
    relative_orbit: int | None = Field(None, description="None: the cube does not say")
    before: tuple[PassUsed, ...] = Field(min_length=1)
    after: tuple[PassUsed, ...] = Field(min_length=1)
    pairs: tuple[PairUsed, ...] = Field((), description="end at the latest with the newest pass that is used")


class Selection(Frozen):
    """The passes that `Inputs` means on one cube, and why."""

    event: EventSpan
    track: str = Field(
        description="as in 'track 46 (descending)', or 'track 46 (descending) and track 68 (ascending)'"
    )
    before: tuple[PassUsed, ...] = Field(min_length=1, description="of the first view")
    after: tuple[PassUsed, ...] = Field(min_length=1, description="of the first view")
    rule: str = Field(description="how the track and the passes were chosen")
    notes: tuple[str, ...] = ()
    views: tuple[View, ...] = Field(
        (), max_length=2, description="one for each track, the better one first; empty: in older documents"
    )

    @property
    def every_view(self) -> tuple[View, ...]:
        """The views; that of the passes before and after where the document names none."""
        if self.views:
            return self.views
        return (View(track=self.track, direction="unknown", before=self.before, after=self.after),)

    @property
    def days_since_event(self) -> float:
        """Days from the end of the event to the newest pass that was used."""
        newest = max(view.after[-1].instant for view in self.every_view)
        return (newest - self.event.end).total_seconds() / 86400.0


def narrowed(selection: Selection, before: int | None, after: int | None) -> Selection:
    """The selection with the newest `before` of its passes before and the first `after` of those after, in each view.

    A view that has fewer keeps what it has. Pairs that end after the newest pass left are dropped with it; pairs before
    the event stay. None: all.

    Raises:
        ModelError: a number below 1 is asked for.
    """
    if min(n for n in (before, after, 1) if n is not None) < 1:
        raise ModelError("At least one pass before and one after the event is needed.")
    views = []
    for view in selection.every_view:
        later = view.after[:after]
        views.append(
            view.model_copy(
                update={
                    "before": view.before[-before:] if before else view.before,
                    "after": later,
                    "pairs": pairs.until(view.pairs, later[-1].instant),
                }
            )
        )
    words = f"{before or 'all'} newest before and {after or 'all'} first after of these"
    return selection.model_copy(
        update={
            "before": views[0].before,
            "after": views[0].after,
            "views": tuple(views),
            "rule": f"{selection.rule}; {words}",
        }
    )


def select(cube: xr.Dataset, inputs: Inputs, event: EventSpan | None = None) -> Selection:
    """Choose the passes of one track, or of one track of each direction, before and after the event.

    Passes are strictly before or strictly after: one between the event's start and end is neither. Where the cube's
    times are dates without a time of day, a pass on a day of the event is neither. `compare` and `newest_before` of the
    inputs bring back what the published code does instead. With `track="best"`, and for each direction of
    `track="both"`, the track is taken whose share of pixels seen on both sides, divided by
    sqrt(1/n_before + 1/n_after) (the noise of a difference of means), is largest, among those that have the geometry
    and the pairs that the inputs need.

    Raises:
        ModelError: a variable, a pair or a look's geometry is missing; there is no event; no pass before or none after
            it on one track; a direction is needed and unknown.
    """
    span = event or EventSpan.of_cube(cube)
    instants = [utc(t) for t in cube.timestep.values]
    if not instants:
        raise ModelError("The cube holds no pass.", "Build it again with a wider time range.")
    rule, remark = rule_of(instants, span, inputs.compare)
    sides = [rule.side(t) for t in instants]
    notes = [remark] if remark else []
    if event is None and (assumed := cube.attrs.get("event_assumed")):
        notes.append(str(assumed))
    within = [t.isoformat() for t, side in zip(instants, sides, strict=True) if side == "neither"]
    if within:
        notes.append("during the event, not used: " + ", ".join(within))
    if "after" not in sides:
        raise ModelError(
            f"The cube has no pass after the event ({span.end.isoformat()}); its newest is of "
            f"{max(instants).isoformat()}.",
            "Build again once a pass after the event is in the archive.",
        )
    if "before" not in sides:
        raise ModelError(
            f"The cube has no pass before the event ({span.start.isoformat()}).",
            "Let the area file's time range start earlier and build again.",
        )
    # after the passes: what only time can bring is not told of as a lack of variables
    inputs.require(cube)
    if inputs.coherence:
        coherence(cube)  # of one processor
    valid = sampled_validity(cube, judged_on(cube, inputs))
    share = valid.mean(axis=1)
    empty = [i for i in range(len(instants)) if sides[i] in ("before", "after") and share[i] == 0]
    if empty:
        notes.append(
            "without data in every polarisation, not used: " + ", ".join(_name(cube, i) for i in empty)
        )
    if inputs.newest_before == "dropped":
        notes.append("the newest pass before the event is dropped, as in the published code")
    tracks = tracks_of(cube, inputs.track)
    candidates: list[tuple[float, View]] = []
    refusals: list[ModelError] = []
    for track in tracks:
        usable = sorted((i for i in track.members if share[i] > 0), key=lambda i: instants[i])
        before = [i for i in usable if sides[i] == "before"]
        after = [i for i in usable if sides[i] == "after"][: inputs.after]
        if inputs.newest_before == "dropped":
            before = before[:-1]
        before = before[-inputs.before :] if inputs.before else before
        if not (before and after):
            continue
        seen = (valid[before].any(axis=0) & valid[after].any(axis=0)).mean()
        merit = float(seen / np.sqrt(1 / len(before) + 1 / len(after)))
        if merit == 0:
            continue
        view = View(
            track=track.name,
            direction=track.direction,
            relative_orbit=track.relative_orbit,
            before=tuple(_used(cube, i, instants, share) for i in before),
            after=tuple(_used(cube, i, instants, share) for i in after),
            pairs=_pairs(cube, inputs, track, instants, rule, instants[after[-1]]),
        )
        try:
            check_view(cube, inputs, view)
        except ModelError as refusal:
            refusals.append(refusal)
            continue
        candidates.append((merit, view))
    if refusals and candidates:
        notes += [f"not used: {refusal.message}" for refusal in refusals]
    if refusals and not candidates:
        raise refusals[0]
    if not candidates:
        more = ", after the newest before was dropped" if inputs.newest_before == "dropped" else ""
        raise ModelError(
            f"No track ({', '.join(t.name for t in tracks) or 'none as asked'}) has passes with data both before and "
            f"after the event{more}.",
            "Build again with more passes, or ask for another --track.",
        )
    candidates.sort(key=lambda c: (-c[0], c[1].track))
    views = _chosen_views(candidates, inputs)
    if "relative_orbit" not in cube.coords:
        notes.append("the cube names no relative orbits: passes of one direction are taken as one track")
    for view in views:
        of = f" of {view.track}" if len(views) > 1 else ""
        notes += [
            f"{len(got)} of {wanted} wanted passes {side}{of}"
            for got, wanted, side in (
                (view.before, inputs.before, "before"),
                (view.after, inputs.after, "after"),
            )
            if wanted is not None and len(got) < wanted
        ]
        if "before_sd" in inputs.change and len(view.before) < 2:
            notes.append(
                f"one pass before{of}: its standard deviation is unknown, the channel carries nothing"
            )
        if inputs.coherence:
            notes.append(_coverage(cube, view))
    return Selection(
        event=span,
        track=" and ".join(view.track for view in views),
        before=views[0].before,
        after=views[0].after,
        rule=(
            f"track={inputs.track!r}: largest share of pixels seen on both sides / sqrt(1/n_before + 1/n_after) among "
            + "; ".join(
                f"{v.track} {value:.3f} ({len(v.before)} before, {len(v.after)} after)"
                for value, v in sorted(candidates, key=lambda c: c[1].before[0].index)
            )
        ),
        notes=tuple(notes),
        views=views,
    )


def check_view(cube: xr.Dataset, inputs: Inputs, view: View) -> None:
    """Check that a view has what the inputs need beside passes.

    Raises:
        ModelError: no geometry of its track; no pair of a kind that is needed; its direction is unknown.
    """
    if inputs.geometry:
        tracks = [int(v) for v in cube["track"].values] if "track" in cube.coords else []
        if view.relative_orbit not in tracks:
            raise ModelError(
                f"The cube has no look geometry of {view.track}; it has that of the tracks "
                f"{', '.join(map(str, tracks)) or 'none'}.",
                "Build again with interferometry on this track, or ask for another --track.",
            )
    if places := pairs.lacking(view.pairs, inputs.coherence):
        raise pairs.refused(view.track, places)
    if inputs.aspect == "to sensor" and "aspect" in inputs.terrain:
        azimuth_to_sensor_deg(view.direction)


def _chosen_views(candidates: Sequence[tuple[float, View]], inputs: Inputs) -> tuple[View, ...]:
    """The best view, or the best of each direction, the better one first."""
    if inputs.track != "both":
        return (candidates[0][1],)
    best: dict[str, View] = {}
    for _, view in candidates:
        best.setdefault(view.direction, view)
    absent = [name for name in DIRECTIONS_OF_BOTH if name not in best]
    if absent:
        raise ModelError(
            f"The cube has no track of {' and none of '.join(absent)} passes that serves, and both are asked for; it "
            f"has {', '.join(view.track for _, view in candidates)}.",
            "Build again with passes of both directions before and after the event, or ask for --track best.",
        )
    return tuple(view for view in best.values() if view.direction in DIRECTIONS_OF_BOTH)


def _pairs(
    cube: xr.Dataset, inputs: Inputs, track: Track, instants: list[datetime], rule: Rule, newest: datetime
) -> tuple[PairUsed, ...]:
    if not inputs.coherence:
        return ()
    found = pairs.pairs_of(cube, track.relative_orbit, [instants[i] for i in track.members], rule)
    return pairs.until(found, newest)


def _coverage(cube: xr.Dataset, view: View) -> str:
    """How much of the sampled pixels has coherence in every pair of the view."""
    boxes = sample_boxes(cube)
    known = total = 0
    for box in boxes:
        rows, columns = box.slices
        for pair in view.pairs:
            values = cube["coherence"].isel(timepair=pair.index, y=rows, x=columns).values[::4, ::4]
            known, total = known + int(np.isfinite(values).sum()), total + values.size
    return (
        f"coherence of {view.track}: {len(view.pairs)} pairs, on {known / max(total, 1):.1%} of the sampled pixels; "
        "elsewhere the mean of the training pixels stands for it"
    )


def _name(cube: xr.Dataset, index: int) -> str:
    if "pass_id" in cube.coords:
        return str(cube.pass_id.values[index])
    return f"pass of {utc(cube.timestep.values[index]).strftime('%Y-%m-%dT%H:%M:%SZ')}"


def _used(cube: xr.Dataset, index: int, instants: list[datetime], share: NDArray[np.float64]) -> PassUsed:
    platform = str(cube.platform.values[index]) if "platform" in cube.coords else ""
    return PassUsed(
        index=index,
        instant=instants[index],
        id=_name(cube, index),
        platform=platform,
        valid=float(share[index]),
    )
