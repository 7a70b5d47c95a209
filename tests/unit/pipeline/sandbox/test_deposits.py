"""Data sets that the sandbox serves as Zenodo does: what is deposited, and what is refused."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.sandbox.cli import sandbox
from pipeline.sandbox.deposits import add_cube, deposits_of
from pipeline.sandbox.earth.parameters import SandboxError
from pipeline.sandbox.folder_world import FolderSources, make_folder_world


@pytest.fixture
def world(tmp_path: Path) -> Path:
    return make_folder_world(FolderSources(), tmp_path / "world").root


@pytest.fixture
def cube(tmp_path: Path) -> Path:
    folder = tmp_path / "puerto_rico.zarr"
    (folder / "vv").mkdir(parents=True)
    (folder / ".zgroup").write_text('{"zarr_format": 2}')
    (folder / "vv" / "0.0.0").write_bytes(b"chunk")
    return folder


def test_a_cube_is_zipped_in_a_folder_of_its_name(world: Path, cube: Path) -> None:
    done = CliRunner().invoke(sandbox, ["deposit", str(world), str(cube)])
    assert done.exit_code == 0, done.output
    (deposit,) = deposits_of(world)
    assert deposit.number == 7248056 and deposit.metadata["license"]["id"]
    (file,) = deposit.files
    with zipfile.ZipFile(file.path) as packed:
        assert sorted(packed.namelist()) == ["puerto_rico.zarr/.zgroup", "puerto_rico.zarr/vv/0.0.0"]
    assert file.size_bytes == file.path.stat().st_size and len(file.md5) == 32


def test_what_is_no_cube_or_no_world_is_refused(world: Path, cube: Path, tmp_path: Path) -> None:
    add_cube(world, cube, 5)
    with pytest.raises(SandboxError):
        add_cube(world, cube, 5)
    with pytest.raises(SandboxError):
        add_cube(tmp_path, cube, 6)
    with pytest.raises(SandboxError):
        add_cube(world, cube / "vv", 6)
    (world / "zenodo" / "5" / "record.json").write_text("{")
    with pytest.raises(SandboxError):
        list(deposits_of(world))
