"""Making a world removes what an unfinished attempt made, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.sandbox.earth.parameters import SandboxError
from pipeline.sandbox.world import PARTS, UNFINISHED, clear, finish


@pytest.mark.parametrize("name", [*PARTS, "notes.txt", "world.json"])
def test_a_folder_that_no_attempt_made_is_left_alone(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "mine").write_text("mine")
    with pytest.raises(SandboxError):
        clear(tmp_path)
    assert (tmp_path / name / "mine").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_an_unfinished_attempt_is_removed_and_a_finished_one_is_not(tmp_path: Path) -> None:
    root = tmp_path / "world"
    clear(root)
    (root / "items" / "one.json").write_text("{}")
    (root / "slc").mkdir()
    clear(root)
    assert sorted(path.name for path in root.iterdir()) == [UNFINISHED, "blobs", "items"]
    assert not any((root / "items").iterdir())
    finish(root, {}, [], [])
    assert not (root / UNFINISHED).exists()
    with pytest.raises(SandboxError):
        clear(root)


def test_what_a_link_leads_to_stays(tmp_path: Path) -> None:
    root, mine = tmp_path / "world", tmp_path / "mine"
    mine.mkdir()
    (mine / "granule.zip").write_text("mine")
    clear(root)
    (root / "slc").symlink_to(mine)
    clear(root)
    assert (mine / "granule.zip").read_text() == "mine" and not (root / "slc").exists()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "world").write_text("mine")
    with pytest.raises(SandboxError):
        clear(tmp_path / "world")
