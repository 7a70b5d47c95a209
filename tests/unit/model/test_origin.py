"""Nothing replaces what it did not make: the folder of a result knows what it was made of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from model.origin import ORIGIN, Origin, changes, existing, read_made, whole_result
from pipeline.errors import DiskError, ModelError, ReplaceError

CUBE, OTHER = "a" * 64, "b" * 64
WANTED = Origin(kind="map", cube=CUBE, model=OTHER, options={"smallest_m2": 400.0, "event": None})


def write(target: Path, origin: Origin = WANTED, *, replace: bool = False, text: str = "polygons") -> Path:
    with whole_result(target, origin, replace=replace) as result:
        result.folder.mkdir(parents=True)
        (result.folder / "landslides.gpkg").write_text(text)
        (result.folder / "report.md").write_text("report")
        result.record = {"path": ".", "polygons": 3}
    return target


def test_what_is_wanted_and_there_is_returned_with_its_record(tmp_path: Path) -> None:
    target = tmp_path / "maps" / "v1"
    assert existing(target, WANTED, replace=False) is None
    write(target)
    made = existing(target, WANTED, replace=False)
    assert made is not None
    assert made.record == {"path": ".", "polygons": 3}
    assert changes(target, made) == []
    assert existing(target, WANTED, replace=True) is None, "asked for anew"
    assert [path.name for path in target.parent.iterdir()] == ["v1"]


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("cube", OTHER, "cube"),
        ("model", None, "model"),
        ("options", {"smallest_m2": 900.0, "event": None}, "smallest_m2 400.0 instead of 900.0"),
    ],
)
def test_another_origin_is_refused_by_name_unless_it_may_be_replaced(
    tmp_path: Path, field: str, value: object, named: str
) -> None:
    target = write(tmp_path / "v1")
    other = WANTED.model_copy(update={field: value})
    with pytest.raises(ReplaceError) as refused:
        existing(target, other, replace=False)
    assert named in refused.value.message
    assert "landslides.gpkg" not in refused.value.message, "nobody changed it"
    assert "--replace" in refused.value.remedy
    assert existing(target, other, replace=True) is None
    write(target, other, replace=True, text="other")
    assert (target / "landslides.gpkg").read_text() == "other"


def test_an_option_that_an_earlier_release_did_not_know_is_no_difference(tmp_path: Path) -> None:
    target = write(tmp_path / "v1")
    later = WANTED.model_copy(update={"options": {**WANTED.options, "colour": "red"}})
    assert existing(target, later, replace=False) is not None


def test_changes_by_hand_are_found_and_named(tmp_path: Path) -> None:
    target = write(tmp_path / "v1")
    made = read_made(target)
    assert made is not None
    (target / "landslides.gpkg-shm").write_text("an editor has it open")
    assert changes(target, made) == []
    (target / "landslides.gpkg-wal").write_text("not yet written back")
    assert len(changes(target, made)) == 1
    (target / "landslides.gpkg-wal").unlink()
    (target / "landslides.gpkg").write_text("reviewed")
    (target / "notes.txt").write_text("seen in the field")
    assert [line.split()[0] for line in changes(target, made)] == ["landslides.gpkg", "notes.txt"]
    with pytest.raises(ReplaceError) as refused:
        existing(target, WANTED.model_copy(update={"cube": OTHER}), replace=False)
    assert "landslides.gpkg" in refused.value.message and "notes.txt" in refused.value.message
    assert existing(target, WANTED, replace=False) is not None, "the same request leaves it as it is"


def test_what_slidecube_did_not_make_is_never_replaced(tmp_path: Path) -> None:
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    assert existing(thesis, WANTED, replace=False) is None, "an empty folder may be filled"
    (thesis / "chapter").write_text("years of work")
    (tmp_path / "file").write_text("")
    spoilt = write(tmp_path / "spoilt")
    (spoilt / ORIGIN).write_text("{")
    bundle = write(tmp_path / "bundle", Origin(kind="bundle", cube=CUBE))
    for target in (thesis, tmp_path / "file", spoilt, bundle):
        with pytest.raises(ReplaceError):
            existing(target, WANTED, replace=True)
    assert (thesis / "chapter").read_text() == "years of work"


def test_a_result_appears_whole_or_not_at_all_and_a_refusal_makes_no_folder(tmp_path: Path) -> None:
    target = tmp_path / "maps" / "v1"
    with pytest.raises(ModelError, match="no labels"), whole_result(target, WANTED, replace=False):
        raise ModelError("no labels")
    assert not any(tmp_path.iterdir())
    with pytest.raises(RuntimeError), whole_result(target, WANTED, replace=False) as result:
        result.folder.mkdir(parents=True)
        raise RuntimeError
    assert not any(tmp_path.iterdir())
    write(target)
    with pytest.raises(RuntimeError), whole_result(target, WANTED, replace=True) as result:
        result.folder.mkdir(parents=True)
        raise RuntimeError
    assert (target / "landslides.gpkg").read_text() == "polygons"


def test_a_result_that_somebody_else_made_meanwhile_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "v1"
    with pytest.raises(ReplaceError), whole_result(target, WANTED, replace=False) as result:
        result.folder.mkdir(parents=True)
        (result.folder / "landslides.gpkg").write_text("second")
        write(target, text="first")
    assert (target / "landslides.gpkg").read_text() == "first"


def test_a_folder_that_cannot_be_written_is_named_as_the_user_named_it(tmp_path: Path) -> None:
    with (
        pytest.raises(DiskError) as refused,
        whole_result(tmp_path / "v1", WANTED, replace=False) as result,
    ):
        raise ModelError(f"{result.folder} cannot be written.") from OSError(28, "No space left on device")
    assert str(tmp_path / "v1") in refused.value.message and ".partial" not in refused.value.message
    assert refused.value.full


def test_maps_of_earlier_releases_say_enough_to_be_recognised(tmp_path: Path) -> None:
    report = {
        "format": "slidecube-map-1",
        "map": {"kind": "model", "model": OTHER, "smallest_m2": 400.0, "area": "somewhere"},
        "cube": {"digest": CUBE},
    }
    (tmp_path / "report.json").write_text(json.dumps(report))
    (tmp_path / "landslides.gpkg").write_text("polygons")
    made = existing(tmp_path, WANTED, replace=False)
    assert made is not None and made.record is not None
    assert made.record["picture"] == "quicklook.png"
    assert len(changes(tmp_path, made)) == 1, "whether a person changed it is not known"
    for other in ({"smallest_m2": 900.0}, {"standardise": "scene"}, {"event": {"start": "2018-09-05"}}):
        with pytest.raises(ReplaceError):
            existing(tmp_path, WANTED.model_copy(update={"options": other}), replace=False)
    (tmp_path / "report.json").write_text(json.dumps({"format": "minutes of a meeting"}))
    with pytest.raises(ReplaceError):
        existing(tmp_path, WANTED, replace=True)
