"""A build whose disk takes no more: one sentence, status 9, no version that lacks layers; the next build ends it."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from zarr.storage import LocalStore as ZarrFolder

import pipeline.files
from pipeline.build import run as build
from pipeline.cli import build as command
from pipeline.cube.local_store import LocalStore
from pipeline.cube.read import open_cube
from pipeline.cube.versions import current_version
from pipeline.errors import DiskError
from tests.unit.pipeline.build.test_shortfalls import Archive, archive, installed

__all__ = ["archive", "installed"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
@pytest.mark.parametrize("after", [0, 3, 6, 10])
def test_a_build_ends_by_name_and_the_next_one_finishes(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, number: int, after: int
) -> None:
    """`after` writes of Zarr succeed."""
    store = LocalStore(Path(build.store_of(archive.area).uri))
    honest, count = ZarrFolder.set, 0

    async def failing(self: Any, *given: Any, **options: Any) -> None:
        nonlocal count
        count += 1
        if count > after:
            raise OSError(number, os.strerror(number))
        await honest(self, *given, **options)

    with monkeypatch.context() as patch:
        patch.setattr(ZarrFolder, "set", failing)
        try:
            archive.build()
        except DiskError as error:
            assert store.uri in error.message or "cannot be written" in error.message
        except OSError as error:  # while the version is put together: the command turns it into a sentence
            assert error.errno == number
        else:
            pytest.fail("the build did not end")
    assert current_version(store) is None
    assert archive.build().complete
    assert open_cube(store.root).sizes["timestep"] == 1


def test_the_command_prints_one_sentence(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.areas.area.load_area", lambda name: archive.area)
    monkeypatch.setattr("pipeline.build.run.find_catalogue", lambda area, replay: archive.search())

    def full(*given: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pipeline.files.os, "fsync", full)
    result = CliRunner().invoke(command, ["here"])
    assert result.exit_code == 9
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")


LIMITED = """
import resource, sys
from pathlib import Path
import click
from pipeline.console import reports_errors
from tests.unit.pipeline.build.test_shortfalls import Archive
made = Archive(Path(sys.argv[1]))
made.scene("all", "2018-09-05 20:31:00+00:00", 0.2)
import numpy, rasterio
with rasterio.open(made.items[0]["assets"]["vv"]["href"], "r+") as file:
    file.write(numpy.random.default_rng(0).gamma(4, 0.05, (1, *file.shape)).astype("float32"))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
@click.command()
@reports_errors
def main():
    print(made.build().complete)
main([])
"""


def test_a_limit_of_file_sizes_is_named(tmp_path: Path) -> None:
    environment = {**os.environ, "SLIDECUBE_DATA_DIR": str(tmp_path / "data")}
    ended = []
    for limit in (20_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]):
        command = [sys.executable, "-c", LIMITED, str(tmp_path), str(limit)]
        ended.append(
            subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        )
    limited, free = ended
    assert limited.returncode == 9, limited.stderr
    assert limited.stderr.count("Error: ") == 1 and "Traceback" not in limited.stderr
    assert (free.returncode, free.stdout.strip()) == (0, "True"), free.stderr
