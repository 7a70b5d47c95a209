"""The inputs of the best recipe, as far as a cube can serve them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import xarray as xr
from pydantic import ValidationError

from model.inputs.channel_registry import variables_asked
from model.inputs.inputs import EventSpan, Inputs, served
from model.inputs.selection import Selection, select
from pipeline.errors import ModelError

BEST: dict[str, object] = {"change": ("log_ratio",)}
"""inputs of the best recipe that any cube can serve; docs/learning.md has what each is worth"""
WISHES: tuple[tuple[dict[str, object], ...], ...] = (
    ({"track": "both"},),
    ({"coherence": ("before", "loss", "recovery")}, {"coherence": ("before", "loss")}),
)
"""what the best recipe adds where a cube can serve it: of each the first that it can"""
SEEN_BY_BOTH = 0.9
"""Share of the scene that some pass of each direction must see on each side of the event, so that two directions are
worth the ground that one of them does not see."""


def best_inputs(
    cube: xr.Dataset,
    event: EventSpan | None = None,
    asked: Mapping[str, object] | None = None,
    others: Sequence[xr.Dataset] = (),
) -> tuple[Inputs, tuple[str, ...]]:
    """The inputs of the best recipe as far as a cube has them, and what it lacks, in words.

    Args:
        event: of the first cube; None: the one that it records.
        others: further cubes that must have them too.
        asked: fields of `Inputs` that are settled; the rest is chosen here.

    Raises:
        ModelError: a settled field is none of `Inputs` or has no such value.
    """
    notes: list[str] = []
    fields: dict[str, Any] = {}
    which = "a" if others else "the"
    groups: tuple[Literal["backscatter", "terrain"], ...] = ("backscatter", "terrain")
    for group in groups:
        wanted: tuple[str, ...] = Inputs.model_fields[group].default
        held = [served(one, group) for one in (cube, *others)]
        fields[group] = tuple(word for word in wanted if all(word in words for words in held))
        absent = [word for word in wanted if word not in fields[group]]
        notes += [f"{which} cube has no {variables_asked(group, word)[0]}" for word in absent]
    fields |= BEST
    fields |= dict(asked or {})
    try:
        inputs = Inputs.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "inputs"
        raise ModelError(
            f"{where}: {first['msg']}.", "See `slidecube train --help` for what inputs can be."
        ) from error
    for wishes in WISHES:
        refused = ""
        for wish in wishes:
            if any(name in (asked or {}) for name in wish):
                break
            better = Inputs.model_validate(fields | wish)
            try:
                for one, when in ((cube, event), *((other, None) for other in others)):
                    _sees_enough(select(one, better, when))
            except ModelError as error:
                refused = refused or error.message
                continue
            fields, inputs = fields | wish, better
            refused = ""
            break
        if refused:
            notes.append(f"without {'both directions' if 'track' in wishes[0] else 'coherence'}: {refused}")
    return inputs, tuple(notes)


def _sees_enough(selection: Selection) -> None:
    if len(selection.every_view) < 2:
        return
    for view in selection.every_view:
        for side in (view.before, view.after):
            seen = max(used.valid for used in side)
            if seen < SEEN_BY_BOTH:
                raise ModelError(f"{view.track} sees {seen:.0%} of the scene, less than {SEEN_BY_BOTH:.0%}.")
