"""Single look complex data of one overflight on the disk: bursts one by one, or whole granules unpacked."""

from __future__ import annotations

import json
import logging
import re
import shutil
import zipfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from pipeline.archives.http.downloads import Wanted, download, locked
from pipeline.archives.registry import archive_of
from pipeline.archives.slc.burst_files import (
    MOST_TIFF_BYTES,
    MOST_XML_BYTES,
    check_burst_tiff,
    read_burst_annotation,
)
from pipeline.archives.slc.zips import unpack
from pipeline.catalogue.slc import Burst, Granule, Polarisation, SlcPass
from pipeline.errors import ArchiveError, SourceDataError
from pipeline.files import read_regular, write_whole, writing
from pipeline.progress import Progress, no_progress
from pipeline.settings import FetchMode, settings

log = logging.getLogger(__name__)

MOST_LISTING_BYTES = 2**20
"""Of the list of a SAFE folder's files."""

T = TypeVar("T")
R = TypeVar("R")


def fetch_slc(
    slc_pass: SlcPass,
    burst_ids: Iterable[str],
    polarisation: Polarisation,
    folder: Path,
    mode: FetchMode = "bursts",
    progress: Progress = no_progress,
) -> tuple[Path, ...]:
    """Fetch what a job needs of one overflight into `folder`, unless a whole copy exists there.

    `burst_ids` are full ids (`Burst.full_id`). In the mode "bursts" the `.tiff` files are returned in the order of
    `burst_ids`, each with an `.xml` of the same stem in its folder; in "granules" the SAFE folders, ascending in time,
    of the granules that hold the bursts.

    Raises:
        ArchiveError: refused, gone or unreachable; no login; or the overflight lacks a burst.
        DiskError: there is no room, or a file cannot be written.
        SourceDataError: what arrived is damaged or something else.
    """
    wanted = _chosen(slc_pass, tuple(burst_ids), polarisation)
    with writing(folder / slc_pass.id):
        folder.mkdir(parents=True, exist_ok=True)
    if mode == "bursts":
        return _in_threads(partial(_fetch_burst, folder, progress), wanted)
    names = {burst.granule for burst in wanted}
    granules = [granule for granule in slc_pass.granules if granule.name in names]
    lacking = names - {granule.name for granule in granules}
    if lacking:
        raise ArchiveError(
            f"The granules {', '.join(sorted(lacking))} of {slc_pass.id} are not in the catalogue.",
            "Plan again.",
        )
    return _in_threads(partial(_fetch_granule, folder, polarisation, progress), granules)


def _chosen(slc_pass: SlcPass, burst_ids: tuple[str, ...], polarisation: Polarisation) -> list[Burst]:
    listed = {burst.full_id: burst for burst in slc_pass.bursts if burst.polarisation == polarisation}
    lacking = [full_id for full_id in burst_ids if full_id not in listed]
    if lacking or not burst_ids:
        raise ArchiveError(
            f"The overflight {slc_pass.id} has no burst {', '.join(lacking) or 'at all'} in {polarisation.upper()}.",
            "Plan again without --catalogue: a burst list can be incomplete for some minutes after the overflight.",
        )
    return [listed[full_id] for full_id in burst_ids]


def _in_threads(action: Callable[[T], R], items: Iterable[T]) -> tuple[R, ...]:
    """Results in the order of the items; the first error cancels what has not begun."""
    pool = ThreadPoolExecutor(max_workers=settings().read_concurrency, thread_name_prefix="slc")
    try:
        return tuple(pool.map(action, items))
    finally:
        pool.shutdown(cancel_futures=True)


def _fetch_burst(folder: Path, progress: Progress, burst: Burst) -> Path:
    stem = _file_name(burst.id)
    annotation = folder / f"{stem}.xml"

    def check_annotation(path: Path) -> None:
        read_burst_annotation(path, burst)

    def check_image(path: Path) -> None:
        check_burst_tiff(path, read_burst_annotation(annotation, burst))

    download(
        Wanted(burst.xml_url, annotation, check=check_annotation, most_bytes=MOST_XML_BYTES),
        archive_of(burst.xml_url),
        progress,
    )
    # the size of a burst in the catalogue is that of its samples, not of the file, so it is no check
    wanted = Wanted(burst.tiff_url, folder / f"{stem}.tiff", check=check_image, most_bytes=MOST_TIFF_BYTES)
    return download(wanted, archive_of(burst.tiff_url), progress)


def _fetch_granule(folder: Path, polarisation: Polarisation, progress: Progress, granule: Granule) -> Path:
    """Fetch and unpack a granule; the zip is deleted once its folder is whole."""
    name = _file_name(granule.name)
    safe, packed, listing = folder / f"{name}.SAFE", folder / f"{name}.zip", folder / f".{name}.files.json"
    with writing(safe), locked(safe):
        if safe.is_dir():
            try:
                _check_listing(safe, listing)
                return safe
            except SourceDataError as error:
                log.warning("%s It is fetched again.", error.message)
                shutil.rmtree(safe)
        wanted = Wanted(
            granule.url,
            packed,
            granule.size_bytes,
            granule.md5,
            check=partial(_check_zip, polarisation=polarisation),
        )
        download(wanted, archive_of(granule.url), progress)
        unpack(packed, folder, safe.name)
        files = {
            str(path.relative_to(safe)): path.stat().st_size
            for path in sorted(safe.rglob("*"))
            if path.is_file()
        }
        write_whole(listing, json.dumps({"granule": granule.name, "files": files}))
        packed.unlink()
    return safe


def _check_listing(safe: Path, listing: Path) -> None:
    try:
        files = json.loads(read_regular(listing, MOST_LISTING_BYTES))["files"]
        whole = bool(files) and all((safe / name).stat().st_size == size for name, size in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise SourceDataError(f"{safe.name} is incomplete.", "Delete it, so that it is fetched again.")


def _check_zip(path: Path, polarisation: Polarisation) -> None:
    """Refuse a downloaded zip without a readable directory, or without samples and annotation of the polarisation."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.casefold() for name in archive.namelist()]
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError, UnicodeError) as error:
        raise SourceDataError(
            f"{path.name} is no zip ({type(error).__name__}).", "Try again later."
        ) from None
    marked = [name for name in names if re.search(rf"-slc-{polarisation}-[^/]*\.(tiff|xml)$", name)]
    if not any("/measurement/" in name for name in marked) or not any(
        "/annotation/" in name for name in marked
    ):
        raise SourceDataError(f"{path.name} holds no samples of {polarisation.upper()}.", "Plan again.")


def _file_name(name: str) -> str:
    """`name`, which comes from a catalogue, if it can be a file's name."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,120}", name):
        raise SourceDataError(
            f"{name[:120]!r} is no name of a granule or burst.", "Plan again without --catalogue."
        )
    return name
