"""The passes that the inputs of a network select from one cube: of one or two tracks, before and after the event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field

from model.inputs import coherence_pairs as pairs
from model.inputs.before_after import Rule, rule_of, utc
from model.inputs.channel import DIRECTIONS, Direction, Place
from model.inputs.coherence_pairs import PairUsed
from model.inputs.cubes import coherence
from model.inputs.inputs import EventSpan, Inputs
from model.inputs.tracks import (
    Track,
    azimuth_to_sensor_deg,
    deciding_polarisations,
    sample_boxes,
    sampled_validity,
    tracks_of,
)
from pipeline.errors import ModelError, number_of
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
    relative_orbit: int | None = Field(None, description="None: the cube does not record it")
    before: tuple[PassUsed, ...] = Field(min_length=1)
    after: tuple[PassUsed, ...] = Field(min_length=1)
    pairs: tuple[PairUsed, ...] = Field((), description="none ends after the newest pass that is used")


class Selection(Frozen):
    """The passes that `Inputs` selects from one cube, and how they were chosen."""

    event: EventSpan
    track: str = Field(
        description="as in 'track 46 (descending)', or 'track 46 (descending) and track 68 (ascending)'"
    )
    before: tuple[PassUsed, ...] = Field(min_length=1, description="of the first view")
    after: tuple[PassUsed, ...] = Field(min_length=1, description="of the first view")
    rule: str = Field(description="how the track and the passes were chosen")
    notes: tuple[str, ...] = ()
    views: tuple[View, ...] = Field(
        (), description="one for each track, the better one first; empty: in older documents"
    )

    @property
    def every_view(self) -> tuple[View, ...]:
        """The views; for an older document without views, one view of its passes."""
        if self.views:
            return self.views
        return (View(track=self.track, direction="unknown", before=self.before, after=self.after),)

    @property
    def days_since_event(self) -> float:
        """Days from the end of the event to the newest pass that was used."""
        newest = max(view.after[-1].instant for view in self.every_view)
        return (newest - self.event.end).total_seconds() / 86400.0


def select(
    cube: xr.Dataset, inputs: Inputs, event: EventSpan | None = None, track: int | str | None = None
) -> Selection:
    """Choose the passes of one track, or of one track of each direction, before and after the event.

    Passes are strictly before or strictly after: one between the event's start and end is neither. Where the cube's
    times are dates without a time of day, a pass on a day of the event is neither. `compare` and `newest_before` of the
    inputs choose the rules of the published code instead. With `track="best"`, and for each direction of
    `track="both"`, the track with the largest merit is chosen among those that have the geometry and the pairs that the
    inputs need. The merit is the share of pixels with data before and after, divided by sqrt(1/n_before + 1/n_after),
    the noise of a difference of means. With `views="any"` a direction without a usable track is absent, and a track
    without pairs is taken where no other one has them.

    Args:
        track: choose among these tracks alone: a relative orbit, a direction, `best` or `both` (all); None: those of
            the inputs.

    Raises:
        ModelError: a variable, a pair or a look's geometry is missing; there is no event; no pass before or none after
            it on one track; a direction is needed and unknown.
    """
    times = _times_of(cube, inputs, event)
    inputs.require(cube)  # after the check of the passes: a missing pass is the first thing to report
    if inputs.needs_pairs and ("coherence" in cube or inputs.views == "every"):
        coherence(cube)  # checks that one processor made it
    valid = sampled_validity(cube, deciding_polarisations(cube, inputs))
    tracks = tracks_of(cube, inputs.track if track is None else track)
    candidates, remarks = _candidates(cube, inputs, times, (tracks, valid))
    views = _chosen_views(candidates, inputs)
    share = valid.mean(axis=1)
    empty = [i for i, side in enumerate(times.sides) if side != "neither" and share[i] == 0]
    notes = [*times.notes]
    if empty:
        names = ", ".join(_name(cube, i) for i in empty)
        notes.append(f"without data in every polarisation, not used: {names}")
    if inputs.newest_before == "dropped":
        used = {view.track for view in views}
        notes += [_note_on_newest(inputs, t, times) for t in tracks if t.name in used]
    notes += remarks
    if "relative_orbit" not in cube.coords:
        notes.append("the cube names no relative orbits: passes of one direction are taken as one track")
    if inputs.track == "both" and (absent := absent_directions(views)):
        notes.append(f"no usable track of {' and none of '.join(absent)} passes: that view is absent")
    for view in views:
        notes += _remarks_on(cube, inputs, view, f" of {view.track}" if len(views) > 1 else "")
    return Selection(
        event=times.span,
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


@dataclass(frozen=True)
class _Times:
    """The instants of a cube's passes, and whether each is before or after the event."""

    span: EventSpan
    instants: list[datetime]
    rule: Rule
    sides: list[Literal["before", "after", "neither"]]
    notes: list[str]


def _times_of(cube: xr.Dataset, inputs: Inputs, event: EventSpan | None) -> _Times:
    """
    Raises:
        ModelError: there is no event, no pass, none before or none after it.
    """
    span = event or EventSpan.of_cube(cube)
    instants = [utc(t) for t in cube.timestep.values]
    if not instants:
        raise ModelError("The cube holds no pass.", "Build it again with a wider time range.")
    rule, remark = rule_of(instants, span, inputs.compare)
    sides = [rule.when(t) for t in instants]
    notes = [remark] if remark else []
    if event is None and (assumed := cube.attrs.get("event_assumed")):
        notes.append(str(assumed))
    within = [t.isoformat() for t, side in zip(instants, sides, strict=True) if side == "neither"]
    if within:
        notes.append("during the event, not used: " + ", ".join(within))
    if "after" not in sides:
        raise ModelError(
            f"The cube has no pass after the event ({span.end.isoformat()}); its newest pass is of "
            f"{max(instants).isoformat()}.",
            "Build again once a pass after the event is in the archive.",
        )
    if "before" not in sides:
        raise ModelError(
            f"The cube has no pass before the event ({span.start.isoformat()}).",
            "Let the area file's time range start earlier and build again.",
        )
    return _Times(span, instants, rule, sides, notes)


def _candidates(
    cube: xr.Dataset, inputs: Inputs, times: _Times, seen: tuple[list[Track], NDArray[np.bool_]]
) -> tuple[list[tuple[float, View]], list[str]]:
    """The usable views, each with its merit, best first; and remarks on the others.

    Args:
        seen: the tracks to choose from; (timestep, sampled pixel) where the passes have data.

    Raises:
        ModelError: no view is usable.
    """
    tracks, valid = seen
    candidates: list[tuple[float, View]] = []
    refusals: list[ModelError] = []
    for track in tracks:
        found = _view_of(cube, inputs, track, times, valid)
        if found is None:
            continue
        try:
            check_view(cube, inputs, found[1])
        except ModelError as refusal:
            refusals.append(refusal)
            continue
        candidates.append(found)
    if refusals and not candidates:
        raise refusals[0]
    if not candidates:
        more = ", once the newest before is dropped" if inputs.newest_before == "dropped" else ""
        raise ModelError(
            f"No track ({', '.join(t.name for t in tracks) or 'none as asked'}) has passes with data both before and "
            f"after the event{more}.",
            "Build again with more passes, or ask for another --track.",
        )
    candidates.sort(key=lambda c: (bool(lacking_pairs(inputs, c[1])), -c[0], c[1].track))
    return candidates, [f"not used: {refusal.message}" for refusal in refusals]


def _view_of(
    cube: xr.Dataset, inputs: Inputs, track: Track, times: _Times, valid: NDArray[np.bool_]
) -> tuple[float, View] | None:
    """The passes and pairs of one track, and their merit; None: no pixel has data before and after the event."""
    instants, share = times.instants, valid.mean(axis=1)
    members = sorted(track.members, key=lambda i: instants[i])
    before = _before_of([i for i in members if times.sides[i] == "before"], inputs, share)
    after = [i for i in members if share[i] > 0 and times.sides[i] == "after"][: inputs.after]
    if not (before and after):
        return None
    seen = (valid[before].any(axis=0) & valid[after].any(axis=0)).mean()
    merit = float(seen / np.sqrt(1 / len(before) + 1 / len(after)))
    if merit == 0:
        return None
    found: tuple[PairUsed, ...] = ()
    if inputs.needs_pairs:
        every = [instants[i] for i in track.members]
        found = pairs.until(
            pairs.pairs_of(cube, track.relative_orbit, every, times.rule), instants[after[-1]]
        )
    view = View(
        track=track.name,
        direction=track.direction,
        relative_orbit=track.relative_orbit,
        before=tuple(_used(cube, i, instants, share) for i in before),
        after=tuple(_used(cube, i, instants, share) for i in after),
        pairs=found,
    )
    return merit, view


def _drops_newest(inputs: Inputs, earlier: int) -> bool:
    """Whether the newest of so many passes before the event is dropped.

    The published code (`before_after_ds` in src/datamodule.py) takes the n passes before the newest one where a track
    has more than n passes before the event; where it has n or fewer, it takes all of them.
    """
    return inputs.newest_before == "dropped" and inputs.before is not None and inputs.before < earlier


def _before_of(earlier: Sequence[int], inputs: Inputs, share: NDArray[np.float64]) -> list[int]:
    """The passes before the event that the inputs take, oldest first.

    Args:
        earlier: every pass of the track before the event, also those without data, which the published code counts too.
        share: (timestep,) share of the sampled pixels with data.
    """
    count = inputs.before
    if count is not None and _drops_newest(inputs, len(earlier)):
        return [i for i in earlier[-1 - count : -1] if share[i] > 0]
    usable = [i for i in earlier if share[i] > 0]
    return usable[-count:] if count else usable


def _note_on_newest(inputs: Inputs, track: Track, times: _Times) -> str:
    """What becomes of the newest pass before the event under the rule of the published code."""
    earlier = sum(times.sides[i] == "before" for i in track.members)
    if _drops_newest(inputs, earlier):
        return f"the newest pass before the event of {track.name} is dropped, as in the published code"
    return (
        f"the newest pass before the event of {track.name} is used: the published code drops it only where there are "
        "more passes before than it takes"
    )


def _remarks_on(cube: xr.Dataset, inputs: Inputs, view: View, of: str) -> list[str]:
    """Notes on what the inputs ask for and the view lacks."""
    notes = [
        f"{len(got)} of {wanted} wanted passes {side}{of}"
        for got, wanted, side in (
            (view.before, inputs.before, "before"),
            (view.after, inputs.after, "after"),
        )
        if wanted is not None and len(got) < wanted
    ]
    if any(channel.passes_before > len(view.before) for channel, _ in inputs.requested):
        notes.append(
            f"one pass before{of}: its standard deviation is unknown, the channel carries no information"
        )
    if inputs.needs_pairs:
        notes.append(_coverage(cube, view))
    return notes


def check_view(cube: xr.Dataset, inputs: Inputs, view: View) -> None:
    """Check that a view has what the inputs need in addition to passes.

    Raises:
        ModelError: no geometry of its track; no pair of a kind that is needed; its direction is unknown.
    """
    channels = [channel for channel, _ in inputs.requested]
    if any(channel.look for channel in channels):
        tracks = [int(v) for v in cube["track"].values] if "track" in cube.coords else []
        if view.relative_orbit not in tracks:
            raise ModelError(
                f"The cube has no look geometry of {view.track}; it has that of the tracks "
                f"{', '.join(map(str, tracks)) or 'none'}.",
                "Build again with interferometry on this track, or ask for another --track.",
            )
    if inputs.views == "every" and (places := lacking_pairs(inputs, view)):
        raise pairs.refused(view.track, places)
    if any(channel.direction for channel in channels):
        azimuth_to_sensor_deg(view.direction)


def lacking_pairs(inputs: Inputs, view: View) -> tuple[Place, ...]:
    """The places in time at which the inputs use a pair and the view has none."""
    return pairs.lacking(view.pairs, [place for channel, _ in inputs.requested for place in channel.pairs])


def absent_directions(views: Sequence[View]) -> tuple[Direction, ...]:
    """The directions that none of the views has."""
    present = {view.direction for view in views}
    return tuple(name for name in DIRECTIONS if name not in present)


def _chosen_views(candidates: Sequence[tuple[float, View]], inputs: Inputs) -> tuple[View, ...]:
    """The best view, or the best of each direction, the better one first."""
    if inputs.track != "both":
        return (candidates[0][1],)
    best: dict[str, View] = {}
    for _, view in candidates:
        best.setdefault(view.direction, view)
    absent = absent_directions(tuple(best.values()))
    if absent and (inputs.views == "every" or len(absent) == len(DIRECTIONS)):
        raise ModelError(
            f"The cube has no usable track of {' and none of '.join(absent)} passes, and both are asked for; it "
            f"has {', '.join(view.track for _, view in candidates)}.",
            "Build again with passes of both directions before and after the event, or train with --track best.",
        )
    return tuple(view for view in best.values() if view.direction in DIRECTIONS)


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
        f"coherence of {view.track}: {number_of(len(view.pairs), 'pair')}, on {known / max(total, 1):.1%} of the "
        "sampled pixels; elsewhere the mean of the training pixels replaces it"
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
