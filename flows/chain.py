"""What follows a cube: for one version first a model, then a map.

The chain is a reconciliation: what is on the disk decides what is left to do. An event starts the chain at once. Where
an event was lost or a run was killed, the next reconciliation finds the version that lacks something.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter

from model.detector.detector_plan import DetectorPlan
from model.origin import bundle_digest, read_made
from pipeline.cube import addresses
from pipeline.errors import ModelError, ReplaceError, SlidecubeError
from pipeline.events.ledger import MapStatus
from pipeline.files import read_regular, write_whole
from pipeline.lock import LockedError, held
from pipeline.places import Place, bundle_named, stored_area
from pipeline.records import Frozen
from pipeline.settings import settings

Made = TypeVar("Made")
log = logging.getLogger(__name__)
MOST_REFUSALS_BYTES = 2**20
_REFUSED = TypeAdapter(dict[str, str])


class CubeVersion(Frozen):
    """One version of one cube."""

    place: Place
    """the folders of its model and its maps"""
    uri: str
    digest: str
    """of the cube, as its bundles and maps record it"""


class Refusal(Frozen):
    """The reason why a cube gets no model or no map; a result of the chain, not an error."""

    why: str


class Chosen(Frozen):
    """A bundle of other events that a person chose for the areas of events (`SLIDECUBE_EVENT_BUNDLE`)."""

    bundle: Path
    digest: str

    @property
    def what(self) -> str:
        """What the chain calls the map by it."""
        return f"map by {self.bundle.parent.name}/{self.bundle.name} ({self.digest[:8]})"


class Standing(Frozen):
    """The model and the map of a version, and why one is missing."""

    version: CubeVersion
    bundle: Path | None
    map: Path | None
    refused: dict[str, str]
    """why there is none, by "model", "map" and `Chosen.what`"""
    chosen: Chosen | None = None
    """the bundle that a person chose for events, where this is the area of one"""
    beside: Path | None = None
    """the map by that bundle"""

    @property
    def lacks(self) -> tuple[str, ...]:
        """Which of "model", "map" and the map by the chosen bundle neither exists nor was refused."""
        there = {"model": self.bundle, "map": self.map}
        if self.chosen is not None:
            there[self.chosen.what] = self.beside
        return tuple(what for what, folder in there.items() if folder is None and what not in self.refused)


def version_of(cube: str) -> CubeVersion:
    """The version that `cube` names: name of an area, path of a cube's root, of a version, or of a foreign cube.

    Raises:
        CubeError: there is no cube.
        ModelError: it is no cube of this schema.
    """
    from model.inputs import (
        cubes,
    )  # with xarray and rasterio, which a run that has nothing to do need not wait for

    _, facts = cubes.load(cube)
    return CubeVersion(place=facts.place, uri=addresses.canonical_address(facts.uri), digest=facts.digest)


def lock_of(version: CubeVersion) -> Path:
    """The file whose lock a run holds while it makes the model and the map of a version."""
    return version.place.models / f".{version.place.label}.lock"


def in_work(version: CubeVersion) -> bool:
    """Whether a run makes the model or the map of a version now."""
    try:
        with held(lock_of(version), wait=False):
            return False
    except LockedError:
        return True


def status_after(passes: int) -> MapStatus:
    """The status of a map of so many passes after the event, at least one, as the status of a polygon has it."""
    if passes >= DetectorPlan().confirmed_after:
        return "confirmed"
    return "first" if passes == 1 else "provisional"


def latest_versions() -> tuple[list[CubeVersion], list[str]]:
    """The newest version of every cube in the data folder, by name of the area, and what is wrong with the others."""
    found, damaged = [], []
    for area in addresses.built_areas():
        try:
            if (version := addresses.latest_version(area)) is not None:
                found.append(version_of(version.uri))
        except SlidecubeError as error:
            damaged.append(f"{area}: {error}")
    return found, damaged


def standing(version: CubeVersion) -> Standing:
    """The model and the map of a version, from any command or flow of any release.

    The model is the bundle without a name of its own. The map is made with that bundle, or by the training-free
    detector if training was refused.
    """
    place, refused = version.place, _refused(version.place.refusals)
    bundle = place.found_bundle()
    if bundle is not None and not _of(bundle, version):
        bundle = None
    model = None if bundle is None else bundle_digest(bundle)
    found = None
    if bundle is not None or "model" in refused:
        found = next((each for each in place.found_maps() if _of(each, version, model)), None)
    chosen = chosen_bundle(version)
    if chosen is not None and chosen.digest == model:
        chosen = None
    beside = None
    if chosen is not None:
        beside = next((each for each in place.found_maps() if _of(each, version, chosen.digest)), None)
    return Standing(version=version, bundle=bundle, map=found, refused=refused, chosen=chosen, beside=beside)


def chosen_bundle(version: CubeVersion) -> Chosen | None:
    """The bundle that a person chose for events; None without one, for another area, or where it cannot be read.

    A wrong choice does not keep an event from its own map: it is logged.
    """
    text = settings().event_bundle
    if text is None or not stored_area(version.place.area).exists():
        return None
    try:
        bundle = bundle_named(text).resolve()
        digest = bundle_digest(bundle)
        if digest is None:
            raise ModelError(
                f"{bundle} holds no bundle.", "Name a folder that `slidecube train` wrote, or its area."
            )
        return Chosen(bundle=bundle, digest=digest)
    except SlidecubeError as error:
        log.error("SLIDECUBE_EVENT_BUNDLE is not used: %s", error)
        return None


def _refused(file: Path) -> dict[str, str]:
    """Why a version gets no model or no map.

    A file that cannot be read refuses nothing, so that the chain tries again.
    """
    try:
        return _REFUSED.validate_json(read_regular(file, MOST_REFUSALS_BYTES))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        log.warning("%s is not used (%s): what it refused is tried again", file, type(error).__name__)
        return {}


def _of(folder: Path, version: CubeVersion, model: str | None = None) -> bool:
    """Whether a bundle or a map is of that version, and a map by that model."""
    made = read_made(folder)
    return made is not None and (made.origin.cube, made.origin.model) == (version.digest, model)


def refuse(version: CubeVersion, what: str, refusal: Refusal) -> None:
    """Write down why the version gets no `what`, one of those that `Standing.lacks` names.

    The chain tries again once the file is deleted.
    """
    refused = {**standing(version).refused, what: refusal.why}
    write_whole(version.place.refusals, json.dumps(refused, indent=2, sort_keys=True))


def attempt(make: Callable[[], Made]) -> Made | Refusal:
    """What `make` returns, or why the model stage refused.

    Raises:
        ModelError: the folder could not be written; this is not a refusal.
        ReplaceError: the folder holds another result; a person must decide whether to replace it.
    """
    try:
        return make()
    except ReplaceError:
        raise
    except ModelError as error:
        if isinstance(error.__cause__, OSError):
            raise
        return Refusal(why=str(error))
