"""The passes that a network's inputs mean on one cube: one track, before and after the event."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import product
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field

from model.cubes import shape_of
from model.inputs import EventSpan, Inputs, Polarisation
from model.windows import Box, starts
from pipeline.errors import ModelError
from pipeline.records import Frozen, Utc

SAMPLE_PX = 256
SAMPLES_PER_AXIS = 3
"""validity of a pass is judged on up to 3 x 3 boxes of 256 pixels, spread over the scene"""


class PassUsed(Frozen):
    """One pass that was chosen."""

    index: int = Field(ge=0, description="position on the cube's time axis")
    instant: Utc
    id: str
    platform: str = ""
    valid: float = Field(
        ge=0, le=1, description="share of the sampled pixels with data in every polarisation"
    )


class Selection(Frozen):
    """The passes that `Inputs` means on one cube, and why."""

    event: EventSpan
    track: str = Field(description="as in 'track 46 (descending)'")
    before: tuple[PassUsed, ...] = Field(min_length=1)
    after: tuple[PassUsed, ...] = Field(min_length=1)
    rule: str = Field(description="how the track and the passes were chosen")
    notes: tuple[str, ...] = ()

    @property
    def days_since_event(self) -> float:
        """Days from the end of the event to the newest pass that was used."""
        return (self.after[-1].instant - self.event.end).total_seconds() / 86400.0


def select(cube: xr.Dataset, inputs: Inputs, event: EventSpan | None = None) -> Selection:
    """Choose the passes of one track, strictly before and strictly after the event.

    A pass between the event's start and end is neither. Where the cube's times are dates without a time of day, a
    pass on a day of the event is neither. With `track="best"` the track is taken whose share of pixels seen on both
    sides, divided by sqrt(1/n_before + 1/n_after) (the noise of a difference of means), is largest.

    Raises:
        ModelError: a variable is missing; there is no event; no pass before or none after it on one track.
    """
    span = event or EventSpan.of_cube(cube)
    instants = [_utc(t) for t in cube.timestep.values]
    if not instants:
        raise ModelError("The cube holds no pass.", "Build it again with a wider time range.")
    sides, notes = _sides(instants, span)
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
    valid = _sampled_validity(cube, inputs.backscatter)
    share = valid.mean(axis=1)
    empty = [i for i in range(len(instants)) if sides[i] in ("before", "after") and share[i] == 0]
    if empty:
        notes.append(
            "without data in every polarisation, not used: " + ", ".join(_name(cube, i) for i in empty)
        )
    tracks = _tracks(cube, inputs.track)
    candidates: list[tuple[float, str, list[int], list[int]]] = []
    for track, members in tracks.items():
        usable = [i for i in members if share[i] > 0]
        before = sorted((i for i in usable if sides[i] == "before"), key=lambda i: instants[i])
        after = sorted((i for i in usable if sides[i] == "after"), key=lambda i: instants[i])
        before, after = before[-inputs.before :] if inputs.before else before, after[: inputs.after]
        if before and after:
            seen = (valid[before].any(axis=0) & valid[after].any(axis=0)).mean()
            merit = float(seen / np.sqrt(1 / len(before) + 1 / len(after)))
            candidates.append((merit, track, before, after))
    candidates = [c for c in candidates if c[0] > 0]
    if not candidates:
        raise ModelError(
            f"No track ({', '.join(tracks) or 'none as asked'}) has passes with data both before and after the event.",
            "Build again with more passes, or ask for another --track.",
        )
    _, track, before, after = min(candidates, key=lambda c: (-c[0], c[1]))
    if "relative_orbit" not in cube.coords:
        notes.append("the cube names no relative orbits: passes of one direction are taken as one track")
    short = [
        f"{len(got)} of {wanted} wanted passes {side}"
        for got, wanted, side in ((before, inputs.before, "before"), (after, inputs.after, "after"))
        if wanted is not None and len(got) < wanted
    ]
    return Selection(
        event=span,
        track=track,
        before=tuple(_used(cube, i, instants, share) for i in before),
        after=tuple(_used(cube, i, instants, share) for i in after),
        rule=(
            f"track={inputs.track!r}: largest share of pixels seen on both sides / sqrt(1/n_before + 1/n_after) among "
            + "; ".join(
                f"{name} {value:.3f} ({len(b)} before, {len(a)} after)" for value, name, b, a in candidates
            )
        ),
        notes=(*notes, *short),
    )


def _utc(value: Any) -> datetime:
    microseconds = int(np.datetime64(value, "us").astype(np.int64))
    return datetime.fromtimestamp(microseconds // 1_000_000, UTC).replace(
        microsecond=microseconds % 1_000_000
    )


def _sides(instants: list[datetime], span: EventSpan) -> tuple[list[str], list[str]]:
    """'before', 'after' or 'neither' for each timestep, and remarks."""
    notes: list[str] = []
    start, end = span.start, span.end
    if all(t.hour == t.minute == t.second == t.microsecond == 0 for t in instants):
        # a date may stand for any instant of its day
        start = start.replace(hour=0, minute=0, second=0, microsecond=0)
        end = end.replace(hour=23, minute=59, second=59, microsecond=999999)
        notes.append("the cube's times are dates: a pass on a day of the event is neither before nor after")
    sides = ["before" if t < start else "after" if t > end else "neither" for t in instants]
    within = [t.isoformat() for t, side in zip(instants, sides, strict=True) if side == "neither"]
    if within:
        notes.append("during the event, not used: " + ", ".join(within))
    return sides, notes


def _name(cube: xr.Dataset, index: int) -> str:
    if "pass_id" in cube.coords:
        return str(cube.pass_id.values[index])
    return f"pass of {_utc(cube.timestep.values[index]).strftime('%Y-%m-%dT%H:%M:%SZ')}"


def _used(cube: xr.Dataset, index: int, instants: list[datetime], share: NDArray[np.float64]) -> PassUsed:
    platform = str(cube.platform.values[index]) if "platform" in cube.coords else ""
    return PassUsed(
        index=index,
        instant=instants[index],
        id=_name(cube, index),
        platform=platform,
        valid=float(share[index]),
    )


def _tracks(cube: xr.Dataset, wanted: int | str) -> dict[str, list[int]]:
    """Indices by track, as asked for."""
    count = cube.sizes["timestep"]
    state = cube.coords.get("sat:orbit_state")
    directions = (
        [str(v) for v in state.values] if state is not None and state.ndim == 1 else ["unknown"] * count
    )
    orbits: list[int | None] = [None] * count
    if "relative_orbit" in cube.coords and cube.relative_orbit.dims == ("timestep",):
        orbits = [
            int(v) if np.isfinite(v) and v > 0 else None for v in cube.relative_orbit.values.astype(float)
        ]
    groups: dict[str, list[int]] = {}
    for index, (orbit, direction) in enumerate(zip(orbits, directions, strict=True)):
        if (isinstance(wanted, int) and orbit != wanted) or (
            wanted in ("ascending", "descending") and direction != wanted
        ):
            continue
        name = f"track {orbit} ({direction})" if orbit is not None else f"{direction} passes"
        groups.setdefault(name, []).append(index)
    return groups


def _sampled_validity(cube: xr.Dataset, polarisations: tuple[Polarisation, ...]) -> NDArray[np.bool_]:
    """(timestep, sampled pixel) whether every polarisation has a positive finite value."""
    height, width = shape_of(cube)

    def offsets(length: int) -> list[int]:
        blocks = starts(length, SAMPLE_PX, SAMPLE_PX)
        picked = np.unique(np.linspace(0, len(blocks) - 1, SAMPLES_PER_AXIS).round().astype(int))
        return [blocks[i] for i in picked]

    boxes = [
        Box(top=top, left=left, height=min(SAMPLE_PX, height), width=min(SAMPLE_PX, width))
        for top, left in product(offsets(height), offsets(width))
    ]
    rows = []
    for index in range(cube.sizes["timestep"]):
        parts = []
        for box in boxes:
            ys, xs = box.slices
            valid = np.ones((box.height, box.width), dtype=bool)
            for name in polarisations:
                values = np.asarray(cube[name].isel(timestep=index, y=ys, x=xs).values)
                valid &= np.isfinite(values) & (values > 0)
            parts.append(valid[::4, ::4].ravel())
        rows.append(np.concatenate(parts))
    return np.stack(rows)
