"""The inputs of the best recipe that a cube has the variables for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import xarray as xr
from pydantic import ValidationError

from model.inputs import coherence_pairs
from model.inputs.channel_registry import variables_asked
from model.inputs.inputs import EventSpan, Inputs, served
from model.inputs.selection import Selection, absent_directions, lacking_pairs, select
from pipeline.errors import ModelError

BEST: dict[str, object] = {"change": ("log_ratio",)}
"""inputs of the best recipe that every cube has; docs/learning.md says what each contributes"""
ADDITIONS: tuple[tuple[dict[str, object], ...], ...] = (
    ({"track": "both", "views": "any"},),
    ({"coherence": ("before", "loss", "recovery")}, {"coherence": ("before", "loss")}),
)
"""what the best recipe adds if a cube has the data: from each group, the first choice that it has the data for"""


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
        asked: fields of `Inputs` with their values; this function chooses the others.

    Raises:
        ModelError: `asked` names an unknown field, or a value that its field cannot have.
    """
    notes: list[str] = []
    fields: dict[str, Any] = {}
    which = "a" if others else "the"
    groups: tuple[Literal["backscatter", "terrain"], ...] = ("backscatter", "terrain")
    for group in groups:
        wanted: tuple[str, ...] = Inputs.model_fields[group].default
        available = [served(one, group) for one in (cube, *others)]
        fields[group] = tuple(word for word in wanted if all(word in words for words in available))
        absent = [word for word in wanted if word not in fields[group]]
        notes += [f"{which} cube has no {variables_asked(group, word)[0]}" for word in absent]
    fields |= BEST
    fields |= dict(asked or {})
    if fields.get("track") == "both":
        fields.setdefault("views", "any")
    try:
        inputs = Inputs.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "inputs"
        raise ModelError(
            f"{where}: {first['msg']}.", "`slidecube train --help` lists the possible inputs."
        ) from error
    if inputs.views == "any" and {"track", "coherence"} & set(asked or {}):
        _refuse_what_none_has(inputs, _selections(inputs, cube, event, others))
    for choices in ADDITIONS:
        refused = ""
        for choice in choices:
            if any(name in (asked or {}) for name in choice):
                break
            better = Inputs.model_validate(fields | choice)
            try:
                _refuse_what_none_has(better, _selections(better, cube, event, others))
            except ModelError as error:
                refused = refused or error.message
                continue
            fields, inputs = fields | choice, better
            refused = ""
            break
        if refused:
            notes.append(f"without {'both directions' if 'track' in choices[0] else 'coherence'}: {refused}")
    return inputs, tuple(notes)


def _selections(
    inputs: Inputs, cube: xr.Dataset, event: EventSpan | None, others: Sequence[xr.Dataset]
) -> list[Selection]:
    return [select(cube, inputs, event), *(select(other, inputs) for other in others)]


def _refuse_what_none_has(inputs: Inputs, selections: Sequence[Selection]) -> None:
    """
    Raises:
        ModelError: none of the cubes has a view of one of the directions, or one of them has no view with the pairs.
    """
    views = [view for selection in selections for view in selection.every_view]
    if inputs.track == "both" and (absent := absent_directions(views)):
        raise ModelError(
            f"There is no usable track of {' and none of '.join(absent)} passes, and both are asked for.",
            "Build again with passes of both directions before and after the event, or train with --track best.",
        )
    for selection in selections:
        lacks = [lacking_pairs(inputs, view) for view in selection.every_view]
        if all(lacks):
            raise coherence_pairs.refused(selection.track, lacks[0])
