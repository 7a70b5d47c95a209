"""The inputs of the best recipe that a cube has the variables for."""

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
"""inputs of the best recipe that every cube has; docs/learning.md says what each contributes"""
ADDITIONS: tuple[tuple[dict[str, object], ...], ...] = (
    ({"track": "both"},),
    ({"coherence": ("before", "loss", "recovery")}, {"coherence": ("before", "loss")}),
)
"""what the best recipe adds if a cube has the data: from each group, the first choice that it has the data for"""
SEEN_BY_BOTH = 0.9
"""Both directions are used only if each has a pass before the event and one after it that cover at least this share of
the scene. Otherwise too many pixels would be invalid for lack of one direction."""


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
    try:
        inputs = Inputs.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "inputs"
        raise ModelError(
            f"{where}: {first['msg']}.", "`slidecube train --help` lists the possible inputs."
        ) from error
    for choices in ADDITIONS:
        refused = ""
        for choice in choices:
            if any(name in (asked or {}) for name in choice):
                break
            better = Inputs.model_validate(fields | choice)
            try:
                for one, when in ((cube, event), *((other, None) for other in others)):
                    _sees_enough(select(one, better, when))
            except ModelError as error:
                refused = refused or error.message
                continue
            fields, inputs = fields | choice, better
            refused = ""
            break
        if refused:
            notes.append(f"without {'both directions' if 'track' in choices[0] else 'coherence'}: {refused}")
    return inputs, tuple(notes)


def _sees_enough(selection: Selection) -> None:
    if len(selection.every_view) < 2:
        return
    for view in selection.every_view:
        for side in (view.before, view.after):
            seen = max(used.valid for used in side)
            if seen < SEEN_BY_BOTH:
                raise ModelError(
                    f"{view.track} covers {seen:.0%} of the scene, less than {SEEN_BY_BOTH:.0%}."
                )
