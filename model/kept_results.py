"""A bundle or a map that is wanted: the folder that it belongs in, and whether it is there already."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import JsonValue

from model.bundle.summaries import BundleRecord, ReleaseRecord, record_of
from model.maps.map_plan import DetectorMapPlan, MapPlan
from model.origin import ORIGIN, Made, Origin, changes, existing, read_made, whole_result
from pipeline.cube.read import decoding
from pipeline.errors import ModelError
from pipeline.places import Place

PASSES = {"before", "after", "track", "newest_before", "compare"}
"""fields of `Inputs` that choose passes"""

R = TypeVar("R", BundleRecord, ReleaseRecord)


@dataclass(frozen=True)
class Result(Generic[R]):
    """A bundle or a map."""

    record: R
    new: bool
    """False: it was there, and nothing was done"""
    changes: tuple[str, ...] = ()
    """what a person changed in it since it was written"""


def once(target: Path, origin: Origin, make: Callable[[Path], R], uri: str, replace: bool) -> Result[R]:
    """What is at `target` where it is what is wanted, else what `make` writes there from the cube at `uri`."""
    if (made := existing(target, origin, replace=replace)) is not None:
        record: Any = _kept(target, made)
        return Result(record, new=False, changes=tuple(changes(target, made)))
    with whole_result(target, origin, replace=replace) as result, decoding(uri):
        written = make(result.folder)
        result.record = _moved(written, result.folder, Path()).model_dump(mode="json")
    return Result(_moved(written, result.folder, target), new=True)


def _moved(record: R, old: Path, new: Path) -> R:
    """The record with its paths below `old` brought below `new`."""
    paths = {name: new / value.relative_to(old) for name, value in record if isinstance(value, Path)}
    return record.model_copy(update=paths)


def _kept(target: Path, made: Made) -> BundleRecord | ReleaseRecord:
    """The record of a result that is there.

    Raises:
        ModelError: its `origin.json` holds no record of a result in this folder.
    """
    if made.origin.kind == "bundle" and made.record is None:
        return _record_of_bundle(target)
    try:
        if made.origin.kind == "map":
            return _moved(ReleaseRecord.model_validate(made.record), Path(), target)
        return _moved(BundleRecord.model_validate(made.record), Path(), target)
    except ValueError as error:  # a field is wrong, or a path leads elsewhere
        raise ModelError(
            f"{target / ORIGIN} cannot be used: it holds no record of a {made.origin.kind} in this folder.",
            "Make the result again with --replace (in a flow: replace=true).",
        ) from error


def _record_of_bundle(folder: Path) -> BundleRecord:
    """The record of a bundle of an earlier release, which kept none: all but the seconds that it took."""
    from model.bundle.bundle import read_document

    return record_of(read_document(folder), folder, seconds=0.0)


def bundle_folder(place: Place, name: str | None, origin: Origin, *, replace: bool) -> Path:
    """The folder of the very bundle that is wanted, which an earlier release may have named otherwise."""
    target = place.bundle(name)
    if name is None and not target.exists() and not replace:
        earlier = place.found_bundle()
        made = read_made(earlier) if earlier else None
        if earlier and made and not made.origin.differences(origin):
            return earlier
    return target


def map_folder(place: Place, bundle: Path | None, origin: Origin, *, replace: bool) -> Path:
    """The folder of the very map that is wanted where there is one under any name, else the one it belongs in."""
    target = place.map(bundle, origin.model or "")
    if replace or target.exists():
        return target
    for folder in place.found_maps():
        if (made := read_made(folder)) is not None and not made.origin.differences(origin):
            return folder
    return target


def map_options(plan: MapPlan | DetectorMapPlan) -> dict[str, JsonValue]:
    """What a map is recognised by.

    Raises:
        ModelError: a file of `exposure` cannot be read.
    """
    exposed: dict[str, Any] = {}
    if plan.exposure:
        from model.releases.exposure import digest_of_file

        exposed["exposure"] = [digest_of_file(file) for file in plan.exposure]
    if isinstance(plan, MapPlan):
        return plan.model_dump(mode="json", exclude={"allow_simulated", "exposure"}) | exposed
    options = plan.model_dump(mode="json", exclude={"inputs", "exposure"})
    return options | plan.inputs.model_dump(mode="json", include=PASSES) | exposed
