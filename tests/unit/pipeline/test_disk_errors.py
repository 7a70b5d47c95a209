"""Errors of this machine's disk: one sentence and a status of their own, whatever they come wrapped in."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from pipeline.console import reports_errors
from pipeline.errors import ArchiveError, AreaError, DiskError, ModelError, disk_error_of
from pipeline.files import write_whole

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def run(fails: Callable[[], object]) -> Result:
    @click.command()
    @reports_errors
    def command() -> None:
        fails()

    return CliRunner().invoke(command, [])


def raising(error: BaseException, cause: BaseException | None = None) -> Callable[[], object]:
    def fails() -> object:
        raise error from cause

    return fails


@pytest.mark.parametrize(
    "number",
    [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE,
     errno.ENAMETOOLONG, errno.ENOTDIR, errno.ENOENT],
    ids=errno.errorcode.get,
)  # fmt: skip
def test_an_error_of_the_disk_is_one_sentence_that_names_the_place(number: int) -> None:
    result = run(raising(OSError(number, os.strerror(number), "/data/cubes/x/layers/.staging-1/vv/c/0")))
    assert result.exit_code == DiskError.exit_code == 9
    (line,) = result.output.splitlines()
    assert "/data/cubes/x/layers" in line and ".staging" not in line


@pytest.mark.parametrize(
    "error",
    [
        ExceptionGroup("writing", [ValueError(), FULL]),
        RuntimeError("I/O error: No space left on device (os error 28)"),
        ValueError("TIFFAppendToStrip: Write error: File too large"),
        RuntimeError('IoError(Os { code: 30, message: "Read-only file system" })'),
    ],
    ids=["group", "safetensors", "gdal", "rust"],
)
def test_it_is_recognised_in_what_libraries_raise(error: Exception) -> None:
    assert run(raising(error)).exit_code == 9


@pytest.mark.parametrize(
    "error", [ModelError("m/v1 cannot be kept."), ArchiveError("a.zip"), RuntimeError("x")]
)
def test_it_is_recognised_as_the_cause(error: Exception) -> None:
    result = run(raising(error, FULL))
    assert result.exit_code == 9
    assert not isinstance(error, ModelError) or "m/v1" in result.output


@pytest.mark.parametrize(
    ("error", "cause", "status"),
    [
        (AreaError("aoi/x.yaml cannot be read."), PermissionError(errno.EACCES, "no", "aoi/x.yaml"), 2),
        (ArchiveError("It is away."), ConnectionRefusedError(errno.ECONNREFUSED, "refused"), 3),
        (ConnectionResetError(errno.ECONNRESET, "reset"), None, 1),
        (KeyError("a fault of ours"), None, 1),
        (ValueError("no space"), None, 1),
    ],
)
def test_other_errors_keep_their_status(error: Exception, cause: Exception | None, status: int) -> None:
    assert run(raising(error, cause)).exit_code == status


def test_a_file_below_a_file_and_below_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for target in (tmp_path / "file" / "x.json", Path("/proc/none/x.json")):
        result = run(lambda target=target: write_whole(target, "x"))  # type: ignore[misc]
        assert result.exit_code == 9 and str(target.parent) in result.output


def test_what_is_no_error_of_the_disk_is_none() -> None:
    assert disk_error_of(TimeoutError()) is None
    assert disk_error_of(OSError(errno.EAGAIN, "again")) is None
    known = DiskError("x")
    assert disk_error_of(known) is known
