"""Addresses of cubes: from a path, a URI or the name of an area to the store, the version and its key."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit
from urllib.request import url2pathname

from pipeline.cube.fetched import DOCUMENT, FetchedCube, parse_fetched
from pipeline.cube.local_store import LocalStore
from pipeline.cube.objects.object_store import ObjectStore
from pipeline.cube.store import MOST_DOCUMENT_BYTES, Store, ZarrStore
from pipeline.cube.versions import current_version, version_key
from pipeline.errors import CubeError
from pipeline.places import cubes_root, did_you_mean, is_name
from pipeline.settings import SCHEMES, settings

STORES: dict[str, Callable[[str], Store]] = {
    "file": lambda uri: LocalStore(Path(url2pathname(urlsplit(uri).path))),
    **dict.fromkeys(SCHEMES, ObjectStore),
}
"""The class of the store, by the scheme of the URI."""

_VERSION = re.compile(r"(?:(?P<root>.*)/)?versions/(?P<number>0|[1-9][0-9]*)\.zarr/?", re.DOTALL)


@dataclass(frozen=True)
class VersionAddress:
    """One Zarr group that holds a cube: a version that slidecube built, or a cube that another program wrote."""

    store: Store
    number: int | None
    """None: a cube that was not built here, such as a published one"""
    key: str
    """of the Zarr group in the store; empty for a cube that was not built here"""

    @property
    def uri(self) -> str:
        """Path or URI of the Zarr group, in the form that was given."""
        return self.store.uri_of(self.key)

    @property
    def name(self) -> str:
        """The last part of the path or URI, without its suffix: the name of a cube that another program wrote."""
        return PurePosixPath(self.uri.rstrip("/")).stem

    def zarr(self) -> ZarrStore:
        """The Zarr group, for zarr and xarray."""
        return self.store.zarr(self.key)

    def read(self, name: str) -> bytes | None:
        """The bytes of a file of the Zarr group, or None where there is none."""
        return self.store.read(f"{self.key}/{name}" if self.key else name)


def open_store(address: str | Path) -> Store:
    """The store of the cube at a path or URI; the cube need not exist yet.

    Raises:
        CubeError: no store has that scheme.
    """
    scheme, is_uri, _ = str(address).partition("://")
    if not is_uri:
        return LocalStore(Path(address))
    if scheme not in STORES:
        raise CubeError(
            f"No cube can be opened at {address}: there is no store for {scheme}://.",
            f"Give a path, or a URI that begins with {', '.join(f'{name}://' for name in sorted(STORES))}.",
        )
    return STORES[scheme](str(address))


def canonical_address(address: str | Path) -> str:
    """The same address in every process: a path made absolute, with its links followed; a URI unchanged."""
    return str(address) if "://" in str(address) else str(Path(address).resolve())


def address_of(address: str | Path) -> VersionAddress:
    """What a path or URI names, by its form alone: a version of a cube, else a Zarr group or a cube's root.

    Raises:
        CubeError: no store has that scheme.
    """
    for text in (str(address), canonical_address(address)):
        if found := _VERSION.fullmatch(text):
            root = "." if found["root"] is None else found["root"] or "/"
            number = int(found["number"])
            return VersionAddress(open_store(root), number, version_key(number))
    return VersionAddress(open_store(address), None, "")


def resolve_version(address: str | Path) -> VersionAddress:
    """The Zarr group that a path or URI names: itself, the latest version of a cube's root, resolved once, or the group
    in the folder of a fetched cube.

    Raises:
        CubeError: there is no cube, or its pointer or record is damaged.
    """
    found = address_of(address)
    if any(found.read(name) is not None for name in ("zarr.json", ".zgroup")):
        return found
    if found.number is None and (raw := found.read(DOCUMENT)) is not None:
        root = str(address).rstrip("/")
        return address_of(f"{root}/{parse_fetched(raw, root).group}")
    number = current_version(found.store) if found.number is None else None
    if number is None:
        raise CubeError(
            f"There is no cube at {address}.", "Run `slidecube build AREA`, or give the path of a Zarr cube."
        )
    return VersionAddress(found.store, number, version_key(number))


def cubes_address() -> str:
    """Address of the folder of all cubes."""
    store = settings().data_store
    return str(cubes_root()) if store is None else f"{store}/cubes"


def store_of_area(name: str) -> Store:
    """The store of the cube of an area, whether or not it is built; its address is canonical."""
    return open_store(canonical_address(f"{cubes_address()}/{name}"))


def named_cube(name: str | Path) -> str:
    """The address of the cube that a person names: by path, by URI, or by the name of a built area or a fetched cube.

    Raises:
        CubeError: there is no such path and no such area.
    """
    text = str(name)
    if "://" in text or open_store(text).exists(""):
        return text
    # beside an object store, published cubes are fetched to this machine
    for root in dict.fromkeys((f"{cubes_address()}/{text}", str(cubes_root() / text))):
        if is_name(text) and open_store(root).exists(""):
            return root
    suggestion = did_you_mean(text, open_store(cubes_address()).names(""))
    raise CubeError(
        f"There is no cube {text!r}: neither a path nor an area that was built below {cubes_address()}.{suggestion}",
        "Give the path of a cube, or build the area with `slidecube build AREA`.",
    )


def fetched_as(version: VersionAddress) -> FetchedCube | None:
    """What is recorded beside a Zarr group that was fetched; None: it was not.

    Raises:
        CubeError: the record is damaged.
    """
    if version.number is not None:
        return None
    root, _, group = canonical_address(version.uri).rstrip("/").rpartition("/")
    raw = open_store(root).read(DOCUMENT, MOST_DOCUMENT_BYTES) if root else None
    found = parse_fetched(raw, root) if raw is not None else None
    return found if found is not None and found.group == group else None


def built_areas() -> list[str]:
    """Names of the areas that have a folder for a cube, sorted."""
    return open_store(cubes_address()).names("")


def latest_version(area: str) -> VersionAddress | None:
    """The latest version of the cube of an area; None: none was published.

    Raises:
        CubeError: the cube's pointer is damaged.
    """
    store = store_of_area(area)
    number = current_version(store)
    return None if number is None else VersionAddress(store, number, version_key(number))
