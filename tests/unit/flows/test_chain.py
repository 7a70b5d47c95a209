"""The chain after a cube as a reconciliation: what is there decides what is left to do."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from flows import chain
from pipeline.errors import CubeError, ModelError
from pipeline.settings import settings


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SLIDECUBE_DATA_DIR", str(tmp_path))
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()


@pytest.fixture
def version(data) -> chain.CubeVersion:
    return chain.CubeVersion(area="somewhere", number=3, uri=str(data / "cubes/somewhere/versions/3.zarr"))


def made(folder: Path) -> None:
    folder.mkdir(parents=True)


def test_a_new_version_lacks_both(version):
    assert chain.standing(version).lacks == ("model", "map")


def test_a_trained_version_lacks_its_map(version):
    made(version.bundle)
    assert chain.standing(version).lacks == ("map",)


def test_a_mapped_version_lacks_nothing(version):
    made(version.bundle)
    made(version.map(version.bundle))
    assert chain.standing(version).lacks == ()


def test_a_map_by_another_bundle_is_not_the_map_of_the_version(version, data):
    made(version.bundle)
    made(version.map(data / "models" / "elsewhere" / "v1"))
    assert chain.standing(version).lacks == ("map",)


def test_maps_by_different_bundles_lie_beside_each_other(version, data):
    folders = {version.map(None), version.map(version.bundle), version.map(data / "models/elsewhere/v1")}
    assert sorted(f.name for f in folders) == ["v3", "v3-elsewhere-v1", "v3-log-ratio"]


def test_where_training_was_refused_the_log_ratio_map_is_what_is_wanted(version):
    chain.refuse(version, "model", chain.Refusal(why="no labels"))
    assert chain.standing(version).lacks == ("map",)
    made(version.map(None))
    assert chain.standing(version).lacks == ()


def test_two_refusals_end_the_chain_and_are_kept_in_words(version):
    chain.refuse(version, "model", chain.Refusal(why="no labels"))
    chain.refuse(version, "map", chain.Refusal(why="no pass after the event"))
    assert chain.standing(version).lacks == ()
    assert json.loads(version.refusals.read_text()) == {
        "model": "no labels",
        "map": "no pass after the event",
    }


def test_a_refusal_that_was_deleted_is_tried_again(version):
    chain.refuse(version, "model", chain.Refusal(why="no labels"))
    version.refusals.unlink()
    assert "model" in chain.standing(version).lacks


def test_an_attempt_that_succeeds_answers_what_was_made(tmp_path):
    assert chain.attempt(tmp_path / "v1", lambda folder: folder.name) == "v1"


def test_an_attempt_that_is_refused_answers_why(tmp_path):
    def refusing(folder: Path) -> None:
        raise ModelError("The cube has no labels.", "Name an inventory.")

    assert chain.attempt(tmp_path / "v1", refusing) == chain.Refusal(
        why="The cube has no labels. Name an inventory."
    )


def test_a_full_disk_is_no_refusal(tmp_path):
    def failing(folder: Path) -> None:
        try:
            raise OSError(28, "No space left on device")
        except OSError as error:
            raise ModelError("It cannot be written.") from error

    with pytest.raises(ModelError, match="cannot be written"):
        chain.attempt(tmp_path / "v1", failing)


def test_a_cube_that_was_published_elsewhere_has_no_number(data):
    store = data / "hokkaido_japan.zarr"
    store.mkdir()
    (store / ".zgroup").write_text("{}")
    found = chain.version_of(str(store))
    assert (found.area, found.number, found.label) == ("hokkaido_japan", None, "unversioned")


def test_no_cube_is_an_error_that_says_what_to_do(data):
    with pytest.raises(CubeError, match="slidecube build"):
        chain.version_of(str(data / "cubes" / "nowhere"))


def test_without_cubes_there_is_nothing_to_finish(data):
    assert chain.latest_versions() == []


def test_a_second_run_waits_for_the_first(tmp_path):
    order: list[str] = []

    def second() -> None:
        with chain.lock(tmp_path):
            order.append("second")

    with chain.lock(tmp_path):
        waiting = threading.Thread(target=second)
        waiting.start()
        waiting.join(0.3)
        order.append("first")
    waiting.join(10)
    assert order == ["first", "second"]
