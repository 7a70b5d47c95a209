"""The scores of a trial as a file, which may come from elsewhere: nothing is unpacked before its header is checked.

An `.npz` is a zip of arrays. A few kilobytes of one can unpack to any size, and an array of objects runs code when it
is loaded. So names, types and shapes are read from the headers first, and memory is taken for what they allow only.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from zipfile import ZipFile

import numpy as np
import psutil
from numpy.lib import format as npy
from numpy.typing import NDArray

from model.inputs.cubes import UNMAPPED
from pipeline.errors import ModelError
from pipeline.files import open_regular
from pipeline.grid import MOST_PIXELS

NAMES = ("score", "labels", "corner")
MOST_DIRECTORY_BYTES = 2**16
"""of the part of a zip that lists its members; that of three has some 200 bytes"""
MOST_HEADER_BYTES = 4096
COPIES = 3
"""the arrays, and what is computed from them: a file needs so many times its arrays"""
LABELS = (0, 1, UNMAPPED)


@dataclass(frozen=True)
class StoredScores:
    """What a trial gave to the rectangle that it was tested on."""

    score: NDArray[np.floating]
    """(y, x) higher means landslide; NaN where there is none"""
    labels: NDArray[np.uint8]
    """(y, x) 1, 0, or 255 not scored"""
    corner: tuple[int, int]
    """(y, x) of the first pixel in the scene"""


def read_scores(file: Path) -> StoredScores:
    """The scores that `model.experiments.results.result_files.write_result` wrote.

    Raises:
        ModelError: the file is missing, is something else, or needs more memory than is free.
    """
    try:
        with open_regular(file) as stream:
            arrays = _arrays(stream)
    except MemoryError as error:
        raise _unusable(file, "it does not fit into memory") from error
    except _UnfitError as error:
        raise _unusable(file, str(error)) from error
    except Exception as error:  # zipfile, zlib and numpy raise what they like
        raise _unusable(file, type(error).__name__) from error
    row, column = (int(side) for side in arrays["corner"])
    return StoredScores(arrays["score"], arrays["labels"], (row, column))


class _UnfitError(Exception):
    """A file is no file of scores; the message says why."""


def _unusable(file: Path, why: str) -> ModelError:
    return ModelError(
        f"The scores of a trial cannot be read: {file} ({why}).",
        "Delete the trial's two files and run it again.",
    )


def _arrays(stream: IO[bytes]) -> dict[str, NDArray[Any]]:
    _refuse_long_directory(stream)
    with ZipFile(stream) as archive:
        if sorted(archive.namelist()) != sorted(f"{name}.npy" for name in NAMES):
            raise _UnfitError(f"it does not hold just {', '.join(NAMES)}")
        forms = {}
        for name in NAMES:
            with archive.open(f"{name}.npy") as member:
                forms[name] = _form(member)
        _check(forms)
        found = {}
        for name in NAMES:
            with archive.open(f"{name}.npy") as member:
                found[name] = npy.read_array(member, allow_pickle=False, max_header_size=MOST_HEADER_BYTES)
                if member.read(1):  # reads to the end, where the checksum is compared
                    raise _UnfitError(f"{name} is longer than its shape")
    if not np.isin(found["labels"], LABELS).all():
        raise _UnfitError(f"labels are other than {', '.join(map(str, LABELS))}")
    if not ((found["corner"] >= 0) & (found["corner"] < 2**31)).all():
        raise _UnfitError("its corner lies outside any scene")
    return found


def _refuse_long_directory(stream: IO[bytes]) -> None:
    """Refuse a zip whose list of members is long: zipfile reads it whole.

    The end record, which comes last, states its size (APPNOTE.TXT 4.3.16).
    """
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - 22))
    end = stream.read(22)
    if end[:4] != b"PK\x05\x06" or int.from_bytes(end[12:16], "little") > MOST_DIRECTORY_BYTES:
        raise _UnfitError("it is no file of three arrays, or it is cut short")
    stream.seek(0)


Form = tuple[tuple[int, ...], np.dtype[Any]]


def _form(member: IO[bytes]) -> Form:
    version = npy.read_magic(member)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:
        raise _UnfitError(f"its arrays have the format {version}")
    shape, _, kind = read(member, max_header_size=MOST_HEADER_BYTES)
    return tuple(shape), kind


def _check(forms: dict[str, Form]) -> None:
    (shape, kind), (of_labels, codes), (of_corner, numbers) = (forms[name] for name in NAMES)
    if kind.kind != "f" or codes != np.uint8 or numbers.kind not in "iu":
        raise _UnfitError(f"its arrays have the types {kind}, {codes} and {numbers}")
    if len(shape) != 2 or of_labels != shape or of_corner != (2,):
        raise _UnfitError(f"its arrays have the shapes {shape}, {of_labels} and {of_corner}")
    pixels = math.prod(shape)
    if not 0 < pixels <= MOST_PIXELS:
        raise _UnfitError(f"it has {pixels:,} pixels, and a scene has 1 to {MOST_PIXELS:,}")
    needed, free = COPIES * pixels * (kind.itemsize + 1), psutil.virtual_memory().available
    if needed > free:
        raise _UnfitError(f"it needs {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free")
