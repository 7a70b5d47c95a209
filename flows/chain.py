"""What follows a cube: for one version first a model, then a map.

The chain is a reconciliation: what is there decides what is left to do. An event starts it at once; where one was
lost, or a run was killed, the next look finds the version that lacks something.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from filelock import BaseFileLock, FileLock

from pipeline.cube import addresses
from pipeline.cube.versions import read_manifest
from pipeline.errors import ModelError
from pipeline.records import Frozen
from pipeline.settings import settings

Made = TypeVar("Made")


class CubeVersion(Frozen):
    """One version of one cube, and where its model and maps belong."""

    area: str
    number: int | None
    """None: a cube that was not built here, such as a published one"""
    uri: str

    @property
    def label(self) -> str:
        """Name of the folders of its model and map."""
        return "unversioned" if self.number is None else f"v{self.number}"

    @property
    def bundle(self) -> Path:
        """Where its model belongs."""
        return settings().model_root(self.area) / self.label

    @property
    def refusals(self) -> Path:
        """Where it is written why the version gets no model or no map."""
        return settings().model_root(self.area) / f"{self.label}.refused.json"

    def map(self, bundle: Path | None) -> Path:
        """Where its map by that bundle belongs; None: by log-ratio."""
        root = settings().map_root(self.area)
        if bundle is None:
            return root / f"{self.label}-log-ratio"
        bundle = bundle.resolve()
        if bundle == self.bundle.resolve():
            return root / self.label
        return root / f"{self.label}-{bundle.parent.name}-{bundle.name}"


class Refusal(Frozen):
    """A sound answer that is no model or no map: the cube does not allow one."""

    why: str


class Standing(Frozen):
    """How far the chain has come with a version."""

    version: CubeVersion
    has_bundle: bool
    has_map: bool
    refused: dict[str, str]
    """why there is none, by "model" and "map" """

    @property
    def lacks(self) -> tuple[str, ...]:
        """What is neither there nor refused, of "model" and "map"."""
        there = {"model": self.has_bundle, "map": self.has_map}
        return tuple(what for what, done in there.items() if not done and what not in self.refused)


def version_of(cube: str) -> CubeVersion:
    """The version that `cube` (path of a cube's root, of a version, or of a foreign cube) means.

    Raises:
        CubeError: there is no cube.
    """
    found = addresses.resolve_version(addresses.canonical_address(cube))
    if found.number is not None:
        manifest = read_manifest(found.store, found.number)
        return CubeVersion(area=manifest.area, number=found.number, uri=found.uri)
    return CubeVersion(area=found.name, number=None, uri=found.uri)


def latest_versions() -> list[CubeVersion]:
    """The newest version of every cube in the data folder, by name of the area.

    Raises:
        CubeError: a cube's pointer is damaged.
    """
    return [version_of(version.uri) for version in addresses.latest_versions()]


def standing(version: CubeVersion) -> Standing:
    """What the version has. A folder counts: the model stage renames it into place when it is whole.

    The map is the one of the version's own bundle; where training was refused, the one by log-ratio.
    """
    refused: dict[str, str] = {}
    if version.refusals.is_file():
        refused = json.loads(version.refusals.read_text(encoding="utf-8"))
    has_bundle = version.bundle.is_dir()
    own = version.bundle if has_bundle or "model" not in refused else None
    return Standing(
        version=version, has_bundle=has_bundle, has_map=version.map(own).is_dir(), refused=refused
    )


def refuse(version: CubeVersion, what: str, refusal: Refusal) -> None:
    """Write down why the version gets no `what` ("model" or "map"). Deleting the file has it tried again."""
    refused = {**standing(version).refused, what: refusal.why}
    version.refusals.parent.mkdir(parents=True, exist_ok=True)
    partial = version.refusals.with_suffix(".partial")
    partial.write_text(json.dumps(refused, indent=2, sort_keys=True), encoding="utf-8")
    partial.replace(version.refusals)


def lock(root: Path) -> BaseFileLock:
    """Held by the one run that makes models or maps under `root`; waits for another, freed by a kill."""
    root.mkdir(parents=True, exist_ok=True)
    return FileLock(root / ".lock")


def attempt(target: Path, make: Callable[[Path], Made]) -> Made | Refusal:
    """What `make` answers once it has written `target`, or why the model stage refused.

    Only under `lock(target.parent)`.

    Raises:
        ModelError: the folder could not be written, which is no refusal.
    """
    try:
        return make(target)
    except ModelError as error:
        if isinstance(error.__cause__, OSError):
            raise
        return Refusal(why=str(error))
