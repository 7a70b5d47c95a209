"""Catalogues as files: written whole, dated, and checked on reading."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from pipeline.area import AreaOfInterest
from pipeline.catalogue.catalogue import Catalogue, check_area, content_digest
from pipeline.errors import ArchiveError
from pipeline.files import write_whole

MOST_SNAPSHOT_BYTES = 512 * 2**20


def snapshot_name(catalogue: Catalogue) -> str:
    """File name of a snapshot: instant of the search and the first digits of its content's digest."""
    return f"catalogue-{catalogue.searched_at:%Y%m%dT%H%M%SZ}-{content_digest(catalogue)[:8]}.json"


def save_catalogue(catalogue: Catalogue, folder: Path) -> Path:
    """Write the snapshot into `folder`: whole or not at all; returns its path.

    Raises:
        ArchiveError: the folder cannot be written to.
    """
    path = folder / snapshot_name(catalogue)
    try:
        write_whole(path, catalogue.model_dump_json())
    except OSError as error:
        raise ArchiveError(
            f"The catalogue cannot be saved in {folder} ({error.strerror or error}).",
            "Free disk space or set SLIDECUBE_DATA_DIR to a folder that can be written.",
        ) from error
    return path


def load_catalogue(path: Path, area: AreaOfInterest | None = None) -> Catalogue:
    """The snapshot in a file, checked; with `area`, that it belongs to it.

    Raises:
        ArchiveError: it cannot be read, is no catalogue, or belongs to another area.
    """
    remedy = "Give a file that a build saved (catalogue-*.json), or build without --catalogue."
    try:
        if path.stat().st_size > MOST_SNAPSHOT_BYTES:
            raise ArchiveError(f"{path} is larger than {MOST_SNAPSHOT_BYTES / 2**20:.0f} MiB.", remedy)
        catalogue = Catalogue.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ArchiveError(f"{path} cannot be read ({error.strerror or error}).", remedy) from error
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(map(str, first["loc"])) or "it"
        raise ArchiveError(f"{path} is no catalogue: {field}: {first['msg']}.", remedy) from error
    if area is not None:
        try:
            check_area(catalogue, area)
        except ArchiveError as error:
            raise ArchiveError(f"{path}: {error.message}", error.remedy) from error
    return catalogue
