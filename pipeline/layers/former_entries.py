"""Passes and pairs of the latest version that a plan makes no layer for: kept where the archive lost them, and named.

An archive that no longer lists a product says nothing against the layer that was made of it: an index can be at fault,
and a withdrawn product can be excluded by a person who is told of it. So the entry stays with its own record and is
named in the version's `missing`; the version counts as complete, since nothing that is listed is lacking. What the area
itself no longer asks for is left out, and named in the plan's notes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.areas.area import AreaOfInterest
from pipeline.catalogue.identities import collection_name
from pipeline.catalogue.left_out import Exclusion
from pipeline.catalogue.passes import SAME_OVERFLIGHT, Pass
from pipeline.cube.manifest import Manifest, Timepair, Timestep
from pipeline.layers.plan_inputs import PlanInputs


@dataclass(frozen=True)
class Former:
    """Entries of the latest version that no task makes."""

    kept: tuple[str, ...] = ()
    """ids of those that stay"""
    missing: tuple[str, ...] = ()
    """a line for each that stays"""
    notes: tuple[str, ...] = ()
    """a line for each that is left out"""


def former_passes(inputs: PlanInputs) -> Former:
    """Passes of the latest version that are not among those that the archive lists and the area wants."""
    previous, area = inputs.previous, inputs.area
    if previous is None:
        return Former()
    excluded = Exclusion(area.exclude)
    kept, missing, notes = [], [], []
    for step in previous.timesteps:
        if any(step.pass_id == one.id or _same_overflight(step, one) for one in inputs.listed.passes):
            continue
        items = _items_of(previous, step)
        why = _unwanted(step, area) or _other_collection(previous, step, area)
        if step.pass_id in excluded or any(item in excluded for item in items):
            why = "the area excludes it"
        if why is not None:
            notes.append(f"pass {step.pass_id}: left out ({why})")
            continue
        named = any(item in line for item in items for line in inputs.passes.left_out)
        reason = "its items cannot be used any more" if named else "the archive no longer lists it"
        kept.append(step.pass_id)
        missing.append(f"pass {step.pass_id}: kept as it was ({reason}; `exclude` of the area leaves it out)")
    return Former(tuple(kept), tuple(missing), tuple(notes))


def former_pairs(inputs: PlanInputs) -> Former:
    """Pairs of the latest version that the area's rule does not choose of the passes that ASF lists."""
    previous, area = inputs.previous, inputs.area
    if previous is None:
        return Former()
    chosen = {pair.id for pair in inputs.pairs.pairs}
    excluded = Exclusion(area.exclude)
    listed = [(one.relative_orbit, one.instant) for one in inputs.slc_passes.passes]
    kept, missing, notes = [], [], []
    for pair in previous.timepairs:
        if pair.pair_id in chosen:
            continue
        lost = [
            f"{end:%Y-%m-%d}"
            for end in (pair.start, pair.end)
            if not any(
                track == pair.relative_orbit and abs(instant - end) < SAME_OVERFLIGHT
                for track, instant in listed
            )
        ]
        why = _unwanted(pair, area)
        if pair.pair_id in excluded or any(item in excluded for item in _items_of(previous, pair)):
            why = "the area excludes it"
        if why is None and not lost:
            why = "the area's rule chooses others"
        if why is not None:
            notes.append(f"pair {pair.pair_id}: left out ({why})")
            continue
        kept.append(pair.pair_id)
        missing.append(
            f"pair {pair.pair_id}: kept as it was (ASF no longer lists the SLC of {' and '.join(lost)}; `exclude` of "
            "the area leaves it out)"
        )
    return Former(tuple(kept), tuple(missing), tuple(notes))


def _same_overflight(step: Timestep, one: Pass) -> bool:
    return step.relative_orbit == one.relative_orbit and abs(step.instant - one.instant) < SAME_OVERFLIGHT


def _unwanted(entry: Timestep | Timepair, area: AreaOfInterest) -> str | None:
    """Why the area does not ask for a pass or a pair; None where it does."""
    if area.tracks is not None and entry.relative_orbit not in area.tracks:
        return f"track {entry.relative_orbit} is none of the area's tracks"
    ends = (entry.instant,) if isinstance(entry, Timestep) else (entry.start, entry.end)
    if any(not area.start <= end <= area.end for end in ends):
        return "outside the time range of the area"
    if isinstance(entry, Timestep) and not set(entry.layers) & set(area.polarisations):
        return "the area wants other polarisations"
    return None


def _items_of(previous: Manifest, entry: Timestep | Timepair) -> Sequence[str]:
    """The items that the layers of an entry were made from, without the polarisation."""
    records = [previous.records[digest] for digest in entry.layers.values() if digest in previous.records]
    return sorted({source.id.partition("/")[0] for record in records for source in record.recipe.sources})


def _other_collection(previous: Manifest, step: Timestep, area: AreaOfInterest) -> str | None:
    """Why a pass of the latest version does not fit the area's collections; None where it does, or states none.

    A cube holds one source of backscatter, unless its area mixes several.
    """
    source = previous.source_of(step)
    if not source or collection_name(source) in map(collection_name, area.collections):
        return None
    return f"it is of another collection than {' and '.join(area.collections)}"
