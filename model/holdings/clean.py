"""What below the data folder may go by a policy, and its removal.

A link is never followed, and no other file system is entered.

| kind | what goes |
|---|---|
| `versions` | versions of cubes beyond the number to keep, with the layers that they alone use |
| `catalogues` | saved searches, older than the days, beyond the two newest of a cube |
| `slc` | single look complex data, and jobs of pairs, in which nothing changed for the days |
| `worlds` | simulated worlds in which nothing changed for the days |
| `scratch` | what killed runs left, after a day, where nobody holds its lock |
| `maps`, `bundles` | only where named: of old versions; never the newest map, nor one edited by hand |

Verdicts, labels, events, inventories and everything that slidecube did not make are never removed.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, get_args

from pydantic import Field

from model.holdings.disk_use import Tree, own_folders, tree
from model.origin import changes, read_made
from pipeline.cube.addresses import open_store
from pipeline.cube.layers import folder_of
from pipeline.cube.local_store import LocalStore
from pipeline.cube.store import STAGING
from pipeline.cube.versions import LOCK, doomed, prune, version_key, version_numbers
from pipeline.errors import BusyError, CubeError, DiskError, SlidecubeError
from pipeline.files import FORGOTTEN_S, is_abandoned, is_partial
from pipeline.lock import LockedError, held
from pipeline.places import cubes_root, is_world, maps_root
from pipeline.records import Frozen
from pipeline.settings import settings

Kind = Literal["versions", "catalogues", "slc", "worlds", "scratch", "maps", "bundles"]
KINDS: tuple[Kind, ...] = get_args(Kind)
BY_DEFAULT: tuple[Kind, ...] = ("versions", "catalogues", "slc", "worlds", "scratch")
DAY_S = 86400.0
KEPT_CATALOGUES = 2
"""of each cube and each kind"""
CATALOGUE = re.compile(r"(?P<kind>catalogue|answer)-\d{8}T\d{6}Z-[0-9a-f]{8}\.json")
OF_VERSION = re.compile(r"v(?P<number>[1-9]\d{0,8})(-.+)?")
SCRATCH = re.compile(r"\..+\.[0-9a-f]{12}\.partial")


class CleanPolicy(Frozen):
    """What may go."""

    kinds: tuple[Kind, ...] = BY_DEFAULT
    keep_versions: int = Field(2, ge=1, description="newest versions of each cube that stay")
    older_than_days: float = Field(30.0, ge=0, description="of what is no version")


class Removable(Frozen):
    """One thing that may go."""

    kind: Kind
    path: Path
    size_bytes: int = Field(description="that its removal frees")
    why: str


class CleanReport(Frozen):
    """What may go, or went."""

    removed: bool = Field(description="False: nothing was removed")
    items: tuple[Removable, ...]
    left: tuple[str, ...] = Field((), description="what stays although the policy means it, and why")

    @property
    def size_bytes(self) -> int:
        """Of all items."""
        return sum(item.size_bytes for item in self.items)


@dataclass
class _Found:
    """One thing that may go, and how."""

    item: Removable
    remove: Callable[[], None]


@dataclass
class _Search:
    policy: CleanPolicy
    left: list[str] = field(default_factory=list)
    now: float = field(default_factory=time.time)

    def old(self, below: Tree) -> bool:
        """Whether nothing in it changed for the days of the policy."""
        return self.now - below.newest > self.policy.older_than_days * DAY_S

    def folder(self, kind: Kind, path: Path, why: str, lock: Path | None = None) -> Iterator[_Found]:
        """A folder or a file that may go whole, unless another file system is mounted within it."""
        below = tree(path)
        if below.elsewhere or below.unread:
            named = (below.elsewhere or below.unread)[0]
            self.left.append(f"{path}: {named} is of another file system or cannot be read")
            return
        item = Removable(kind=kind, path=path, size_bytes=below.size_bytes, why=why)
        yield _Found(item, partial(_remove, path, lock))


def clean(policy: CleanPolicy, *, really: bool = False) -> CleanReport:
    """What may go by a policy; with `really` it goes.

    What another run holds stays and is named. A kill leaves what was not removed yet.
    """
    search = _Search(policy)
    makers: dict[Kind, Callable[[_Search], Iterator[_Found]]] = {
        "versions": _versions, "catalogues": _catalogues, "slc": _slc, "worlds": _worlds, "scratch": _scratch,
        "maps": _maps, "bundles": _bundles,
    }  # fmt: skip
    found = [one for kind in dict.fromkeys(policy.kinds) for one in makers[kind](search)]
    if not really:
        return CleanReport(removed=False, items=tuple(one.item for one in found), left=tuple(search.left))
    gone = []
    for one in found:
        try:
            one.remove()
        except (LockedError, BusyError, CubeError):
            search.left.append(f"{one.item.path}: another run holds it")
        except (OSError, DiskError) as error:
            search.left.append(f"{one.item.path}: {getattr(error, 'strerror', None) or error}")
        else:
            gone.append(one.item)
    return CleanReport(removed=True, items=tuple(gone), left=tuple(search.left))


def _cubes(search: _Search) -> Iterator[LocalStore]:
    """The cubes that slidecube built below the data folder."""
    for root in own_folders(cubes_root()):
        store = open_store(root)
        real = {each.name for each in own_folders(root)}
        if not isinstance(store, LocalStore) or not {"versions", "layers"} <= real:
            linked = [name for name in ("versions", "layers", "catalogues") if (root / name).is_symlink()]
            search.left += [f"{root / name} is a link: not followed" for name in linked]
            continue
        yield store


def _versions(search: _Search) -> Iterator[_Found]:
    keep = search.policy.keep_versions
    for store in _cubes(search):
        try:
            going, layers = doomed(store, keep)
        except SlidecubeError as error:
            search.left.append(f"{store.uri}: {error.message}")
            continue
        if not going:
            continue
        theirs = tree(
            *(store.path(version_key(n)) for n in going), *(store.path(folder_of(one)) for one in layers)
        )
        staying = [n for n in version_numbers(store) if n not in going]
        kept = tree(*(store.path(version_key(n)) for n in staying))
        if theirs.elsewhere or theirs.unread:
            search.left.append(
                f"{store.uri}: {(theirs.elsewhere or theirs.unread)[0]} is of another file system"
            )
            continue
        words = ", ".join(map(str, going))
        item = Removable(
            kind="versions",
            path=store.root,
            size_bytes=theirs.without(kept),
            why=f"version {words}; {'those kept: ' if len(staying) > 1 else 'kept: '}{', '.join(map(str, staying))}",
        )
        yield _Found(item, partial(_prune, store, keep))


def _prune(store: LocalStore, keep: int) -> None:
    with store.lock(LOCK, wait=False):
        prune(store, keep)


def _catalogues(search: _Search) -> Iterator[_Found]:
    for store in _cubes(search):
        folder = store.root / "catalogues"
        if folder.is_symlink() or not folder.is_dir():
            continue
        by_kind: dict[str, list[Path]] = {}
        for path in sorted(folder.iterdir()):
            if (match := CATALOGUE.fullmatch(path.name)) and path.is_file() and not path.is_symlink():
                by_kind.setdefault(match["kind"], []).append(path)
        for kind, paths in by_kind.items():
            for path in paths[:-KEPT_CATALOGUES]:
                if search.old(tree(path)):
                    yield from search.folder(
                        "catalogues",
                        path,
                        f"a saved {kind}, not among the {KEPT_CATALOGUES} newest",
                        store.root / LOCK,
                    )


def _slc(search: _Search) -> Iterator[_Found]:
    days = f"nothing changed in it for {search.policy.older_than_days:g} days"
    for root in own_folders(settings().data_dir / "insar"):
        if any(_is_held(lock) for lock in (root / "jobs").glob(".*.lock")):
            search.left.append(f"{root}: a pair is in work")
            continue
        for path in own_folders(root / "slc"):
            if search.old(tree(path)) and not path.name.startswith("."):
                yield from search.folder("slc", path, f"data of a pass that a pair can fetch again; {days}")
        for path in own_folders(root / "jobs"):
            lock = path.with_name(f".{path.name}.lock")
            made = (path / "manifest.json").is_file() or (path / "inputs").is_dir()
            if made and search.old(tree(path)) and not path.name.startswith("."):
                yield from search.folder("slc", path, f"the job of a pair; {days}", lock)


def _is_held(lock: Path) -> bool:
    try:
        with held(lock, wait=False):
            return False
    except LockedError:
        return True


def _worlds(search: _Search) -> Iterator[_Found]:
    data = settings().data_dir
    for path in (*own_folders(data), *own_folders(data / "worlds")):
        if is_world(path) and search.old(tree(path)):
            yield from search.folder(
                "worlds",
                path,
                f"a simulated world; nothing changed in it for {search.policy.older_than_days:g} days",
            )


def _scratch(search: _Search) -> Iterator[_Found]:
    """Left-overs beside results, and in the folders that cubes are written to."""
    data = settings().data_dir
    beside = [
        maps_root(),
        *own_folders(maps_root()),
        data / "models",
        *own_folders(data / "models"),
        data / "events",
    ]
    for folder in beside:
        for path in _entries(folder):
            if SCRATCH.fullmatch(path.name) and path.is_dir() and is_abandoned(path):
                yield from search.folder("scratch", path, "what a killed run left", path.with_suffix(".lock"))
            elif is_partial(path.name) and path.is_file() and _aged(search, path):
                yield from search.folder("scratch", path, "a file that a killed run left")
    for store in _cubes(search):
        for name in ("layers", "versions", "catalogues", "journal"):
            for path in _entries(store.root / name):
                if (path.name.startswith(STAGING) or is_partial(path.name)) and _aged(search, path):
                    yield from search.folder("scratch", path, "what a killed build left", store.root / LOCK)


def _entries(folder: Path) -> list[Path]:
    """What lies directly in a real folder and is no link."""
    if folder.is_symlink() or not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.is_symlink())


def _aged(search: _Search, path: Path) -> bool:
    return search.now - tree(path).newest > FORGOTTEN_S


def _maps(search: _Search) -> Iterator[_Found]:
    yield from _of_old_versions(search, "maps", maps_root())


def _bundles(search: _Search) -> Iterator[_Found]:
    yield from _of_old_versions(search, "bundles", settings().data_dir / "models")


def _of_old_versions(search: _Search, kind: Literal["maps", "bundles"], root: Path) -> Iterator[_Found]:
    """Results of versions that are not among the newest of their area that have one."""
    for area in own_folders(root):
        numbered = {
            folder: int(match["number"])
            for folder in own_folders(area)
            if (match := OF_VERSION.fullmatch(folder.name)) is not None
        }
        kept = sorted(set(numbered.values()))[-search.policy.keep_versions :]
        latest = (area / "latest").resolve()
        for folder, number in numbered.items():
            made = read_made(folder)
            if number in kept or folder.resolve() == latest or made is None or f"{made.origin.kind}s" != kind:
                continue
            if edits := changes(folder, made):
                search.left.append(f"{folder}: it holds a person's work ({edits[0]})")
                continue
            yield from search.folder(kind, folder, f"of version {number}; those of {_words(kept)} are kept")


def _words(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers)) or "none"


def _remove(path: Path, lock: Path | None) -> None:
    """Remove a folder or a file; under a lock that others take, where there is one.

    A folder is renamed first, so that nobody finds half of it under its name.
    """
    with ExitStack() as stack:
        if lock is not None and not SCRATCH.fullmatch(path.name):
            stack.enter_context(held(lock, wait=False))
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
            return
        doomed_name = path.with_name(f".{path.name}.{'0' * 12}.partial")
        if SCRATCH.fullmatch(path.name) or path.name.startswith(STAGING) or doomed_name.exists():
            shutil.rmtree(path)
        else:
            path.rename(doomed_name)
            shutil.rmtree(doomed_name)
        if lock is not None and SCRATCH.fullmatch(path.name):
            lock.unlink(missing_ok=True)
