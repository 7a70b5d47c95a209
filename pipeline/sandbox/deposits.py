"""Data sets of a world as Zenodo publishes them: the files of a record, and what the record says of them.

zenodo/<record>/record.json     title, creators, day, licence
zenodo/<record>/files/<name>    a file
"""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.files import write_whole
from pipeline.progress import Progress, no_progress
from pipeline.sandbox.earth.images import file_md5
from pipeline.sandbox.earth.parameters import SandboxError

FOLDER = "zenodo"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_ZIP_START = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class DepositedFile:
    """One file of a record."""

    path: Path
    size_bytes: int
    md5: str


@dataclass(frozen=True)
class Deposit:
    """One record of Zenodo."""

    number: int
    metadata: dict[str, Any]
    files: tuple[DepositedFile, ...]


def add_cube(root: Path, cube: Path, number: int, progress: Progress = no_progress) -> Path:
    """Add the zip of a Zarr cube to a record of a world, as the published cubes are zipped; returns the zip.

    Raises:
        SandboxError: there is no world or no Zarr group, or the record has the file already.
    """
    if not (root / "world.json").is_file():
        raise SandboxError(f"{root} has no finished world.", "Make one with `slidecube sandbox make`.")
    if not (cube / ".zgroup").is_file() or not _NAME.fullmatch(cube.name):
        raise SandboxError(
            f"{cube} is no Zarr v2 group that can be deposited.",
            "Write one with `slidecube export CUBE --published ZARR`.",
        )
    folder = root / FOLDER / str(number)
    target = folder / "files" / f"{cube.stem}.zip"
    if target.exists():
        raise SandboxError(f"The record {number} has a file {target.name}.", "Use another world or name.")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    try:
        _pack(cube, part, progress)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    record = folder / "record.json"
    if not record.exists():
        write_whole(record, json.dumps(_METADATA, indent=1))
    return target


def deposits_of(root: Path) -> Iterator[Deposit]:
    """The records of a world.

    Raises:
        SandboxError: one has no description that can be read.
    """
    for folder in sorted((root / FOLDER).glob("*")):
        if not (folder / "files").is_dir() or not folder.name.isdigit():
            continue
        try:
            metadata = json.loads((folder / "record.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SandboxError(f"{folder} has no record ({error}).", "Deposit the cube again.") from error
        files = [
            DepositedFile(path, path.stat().st_size, file_md5(path))
            for path in sorted((folder / "files").iterdir())
            if _NAME.fullmatch(path.name)
        ]
        yield Deposit(int(folder.name), metadata, tuple(files))


def _pack(cube: Path, target: Path, progress: Progress) -> None:
    """A zip of the Zarr group in a folder of its name; its chunks are compressed already."""
    files = sorted(path for path in cube.rglob("*") if path.is_file())
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for done, path in enumerate(files, start=1):
            entry = zipfile.ZipInfo(f"{cube.name}/{path.relative_to(cube).as_posix()}", _ZIP_START)
            entry.external_attr = 0o100644 << 16
            with path.open("rb") as source, archive.open(entry, "w", force_zip64=True) as packed:
                shutil.copyfileobj(source, packed, 2**20)
            progress(target.name, done, len(files))


_METADATA: dict[str, Any] = {
    "title": "Simulated landslide datacubes in the form of the published ones",
    "publication_date": "2022-10-25",
    "access_right": "open",
    "creators": [{"name": "slidecube sandbox", "affiliation": None}],
    "license": {"id": "cc-zero"},
}
