"""A published cube, fetched whole from Zenodo, checked and put where commands find it by name.

cubes/hokkaido-published/hokkaido_japan.zarr    the cube
cubes/hokkaido-published/CITATION.txt           how to cite it, and its licence
cubes/hokkaido-published/published.json         where it comes from; written before the cube is put beside it
cubes/hokkaido-published/downloads              the zip, until it is unpacked
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.archives.http.downloads import Wanted, download, ensure_room, locked
from pipeline.archives.registry import archive_of
from pipeline.archives.slc.zips import Limits, entries_of, unpack_folder
from pipeline.archives.zenodo import Record, RecordFile, Zenodo
from pipeline.cube.fetched import DOCUMENT, FetchedCube, parse_fetched
from pipeline.cube.foreign.published import PUBLISHED, RECORD
from pipeline.cube.read import open_cube
from pipeline.errors import CubeError, SettingsError, SourceDataError
from pipeline.files import UnreadableError, put_folder, read_regular, write_whole, writing
from pipeline.places import did_you_mean, published_name, published_root
from pipeline.progress import Progress, no_progress
from pipeline.records import Frozen

LIMITS = Limits(entries=2_000_000, unpacked_bytes=512 * 2**30)
"""A file for each chunk: a Zarr v2 of 26 passes of 4398 x 5382 pixels in chunks of 128 x 128 has 80,000."""
MOST_RECORD_BYTES = 2**20
MOST_ZIP_BYTES = 256 * 2**30
CITATION = "CITATION.txt"


class Offer(Frozen):
    """A published cube as its record lists it, before anything is fetched."""

    area: str
    group: str
    """name of its Zarr group"""
    record: Record
    file: RecordFile
    folder: Path

    @property
    def needed_bytes(self) -> int:
        """What the disk must have: the zip, less what was fetched of it, and the cube that is unpacked from it.

        A cube is compressed already, so that it is taken to unpack to the size of its zip; the zip's own list decides
        before it is unpacked.
        """
        packed = self.zip_path
        parts = (packed, packed.with_name(f"{packed.name}.part"))
        fetched = max((part.stat().st_size for part in parts if part.is_file()), default=0)
        return max(0, self.file.size_bytes - fetched) + self.file.size_bytes

    @property
    def zip_path(self) -> Path:
        """Where the zip is kept until it is unpacked."""
        return self.folder / "downloads" / f"{Path(self.group).stem}.zip"


@dataclass(frozen=True)
class Fetched:
    """The cube that is there now."""

    cube: FetchedCube
    folder: Path
    new: bool

    @property
    def path(self) -> Path:
        """Of its Zarr group."""
        return self.folder / self.cube.group


def store_of(area: str) -> str:
    """The name of the published cube of an area's event.

    Raises:
        SettingsError: none was published.
    """
    for store, name in PUBLISHED.items():
        if area in (name, store, published_name(name)):
            return store
    raise SettingsError(
        f"No cube of {area!r:.80} was published.{did_you_mean(area, PUBLISHED.values())}",
        f"Name one of {', '.join(PUBLISHED.values())}.",
    )


def offer_of(area: str) -> Offer:
    """Ask Zenodo for the size and checksum of a published cube.

    Raises:
        SettingsError: no cube of that name was published.
        ArchiveError: Zenodo refused or could not be reached, or answered with no record.
        SourceDataError: the record does not list the cube.
    """
    store = store_of(area)
    name = PUBLISHED[store]
    record = Zenodo().record(RECORD)
    files = [file for file in record.files if file.key.lower() in (f"{store}.zip", f"{store}.zarr.zip")]
    if len(files) != 1:
        listed = ", ".join(file.key for file in record.files) or "no file with a checksum"
        raise SourceDataError(
            f"The record {record.page} has not one file {store}.zip; it lists {listed:.300}.",
            "Fetch the cube by hand; `slidecube train PATH` takes the path of its Zarr group.",
        )
    return Offer(area=name, group=f"{store}.zarr", record=record, file=files[0], folder=published_root(name))


def held(area: str) -> Fetched | None:
    """The published cube of an area's event, if it was fetched.

    Raises:
        SettingsError: no cube of that name was published.
        CubeError: its record is damaged.
    """
    name = PUBLISHED[store_of(area)]
    folder = published_root(name)
    try:
        raw = read_regular(folder / DOCUMENT, MOST_RECORD_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UnreadableError as error:
        raise CubeError(f"{error}.", f"Delete {folder} and fetch the cube again.") from error
    found = Fetched(parse_fetched(raw, str(folder)), folder, new=False)
    return found if found.path.is_dir() else None


def fetch(offer: Offer, progress: Progress = no_progress) -> Fetched:
    """Fetch, unpack and check a published cube, unless it is there; nothing appears half written.

    A fetch that was cut, also by a kill, is resumed where Zenodo still has the same file.

    Raises:
        ArchiveError: refused, gone, unreachable, or cut repeatedly.
        DiskError: there is no room, or the disk cannot be written.
        SourceDataError: what arrived is not what the record states, or a zip that is refused.
        CubeError: a cube stands in its place that no fetch has put there.
        ContractError: the cube does not meet the contract of cubes from elsewhere; the zip is kept.
    """
    target = offer.folder / offer.group
    with writing(target), locked(target):
        if (there := held(offer.area)) is not None:
            return there
        if target.exists() or target.is_symlink():
            raise CubeError(
                f"{target} is there, and no fetch has put it there: it is not replaced.",
                "Give its path to the commands, or move it elsewhere and fetch the cube.",
            )
        ensure_room(offer.folder, offer.needed_bytes, offer.file.key)
        packed = _zip_of(offer, progress)
        with _unpacked(packed, offer, progress) as made:
            write_whole(offer.folder / CITATION, _credits(offer.record))
            document = _document(offer)
            write_whole(offer.folder / DOCUMENT, document.model_dump_json(indent=1))
            put_folder(made, target, replace=False)
        shutil.rmtree(packed.parent)
    return Fetched(document, offer.folder, new=True)


def _document(offer: Offer) -> FetchedCube:
    return FetchedCube(
        area=published_name(offer.area),
        group=offer.group,
        source=offer.record.page,
        doi=offer.record.doi,
        title=offer.record.title,
        citation=offer.record.citation,
        licence=offer.record.licence,
        file=offer.file.key,
        size_bytes=offer.file.size_bytes,
        md5=offer.file.md5,
        simulated=offer.record.simulated,
    )


def _zip_of(offer: Offer, progress: Progress) -> Path:
    """The zip, of the size and MD5 that the record states."""
    file = offer.file
    wanted = Wanted(
        file.url, offer.zip_path, file.size_bytes, file.md5, public=True, most_bytes=MOST_ZIP_BYTES
    )
    offer.zip_path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return download(wanted, archive_of(file.url), progress)
    except SourceDataError as error:
        raise SourceDataError(
            error.message, f"Try again later; if it stays, the file of {offer.record.page} is damaged."
        ) from None


@contextmanager
def _unpacked(packed: Path, offer: Offer, progress: Progress) -> Iterator[Path]:
    """The cube in the zip, in a folder that is removed at the end, once it meets the contract."""
    with _scratch(offer.folder / ".unpacked") as scratch:
        inside = _group_inside(entries_of(packed, LIMITS), packed)
        made = unpack_folder(packed, scratch / offer.group, inside, LIMITS, progress=progress)
        open_cube(made).close()
        yield made


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """An empty folder that is removed at the end; one that a kill left is emptied first. The caller has the lock."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _group_inside(names: list[str], packed: Path) -> str:
    """The folder of the Zarr group in a zip: the uppermost one with a group's metadata; empty for the zip itself.

    Raises:
        SourceDataError: there is none, or more than one.
    """
    roots = {
        name.rpartition("/")[0]
        for name in names
        if name.rpartition("/")[2] in (".zgroup", "zarr.json") and not name.startswith("__MACOSX/")
    }
    depth = min((_depth(root) for root in roots), default=0)
    found = sorted(root for root in roots if _depth(root) == depth)
    if len(found) != 1:
        raise SourceDataError(
            f"{packed.name} holds {'no Zarr group' if not found else f'{len(found)} Zarr groups'}.",
            "Unpack it by hand, and give the path of the cube.",
        )
    return found[0]


def _depth(root: str) -> int:
    return len(root.split("/")) if root else 0


def _credits(record: Record) -> str:
    licence = record.licence or "not stated"
    return f"{record.citation}\n\nLicence: {licence}\nRecord: {record.page}\n"
