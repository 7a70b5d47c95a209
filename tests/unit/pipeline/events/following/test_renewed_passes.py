"""What an archive processed again, and a cube took, has one line a version in the history of its event."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.events.following.renewed_passes import lines_of_renewed
from pipeline.settings import settings

AREA = "hokkaido"
LINE = "{layer} 2018-09-05 20:31 track 46: S1A_X_rtc/{layer} and 1 more processed again by the archive: read anew"


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("SLIDECUBE_DATA_DIR", str(tmp_path))
    settings.cache_clear()
    folder = tmp_path / "cubes" / AREA / "journal"
    folder.mkdir(parents=True)
    yield folder
    settings.cache_clear()


def write(folder: Path, number: int, **fields: object) -> None:
    (folder / f"{number}.json").write_text(json.dumps({"layers_built": 2, **fields}))


def test_each_version_that_took_some_has_one_line(journal: Path) -> None:
    write(journal, 1)
    write(journal, 10, reprocessed=[LINE.format(layer="vv"), LINE.format(layer="vh")])
    write(journal, 4, reprocessed=[LINE.format(layer="vv")])
    first, second = lines_of_renewed(AREA, ())
    assert first.startswith(f"cube {AREA} version 4: ") and second.startswith(f"cube {AREA} version 10: ")
    assert second.count("2018-09-05 20:31 track 46") == 1, "one pass, whatever its layers"
    assert lines_of_renewed(AREA, (first, second)) == []


@pytest.mark.parametrize("content", ["{", "[]", '{"reprocessed": 3}', "[" * 100_000])
def test_a_damaged_journal_stops_no_other(journal: Path, content: str) -> None:
    (journal / "2.json").write_text(content)
    (journal / "notes.txt").write_text("mine")
    write(journal, 3, reprocessed=[LINE.format(layer="vv")])
    assert len(lines_of_renewed(AREA, ())) == 1


def test_without_a_cube_there_is_nothing_to_say(journal: Path) -> None:
    assert lines_of_renewed("no-such-area", ()) == []
    assert lines_of_renewed(AREA, ()) == []
