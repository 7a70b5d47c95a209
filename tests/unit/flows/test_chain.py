"""The chain after a cube as a reconciliation: it makes only what does not exist yet."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows import chain
from flows import train_model as train_flow
from model.origin import Origin, whole_result
from model.releases.announcement.latest_map import point_at
from pipeline.errors import CubeError, ModelError, ReplaceError
from pipeline.places import stored_area
from pipeline.settings import settings
from tests.small_cube import small_cube, write

MODEL, OTHER = "a" * 64, "b" * 64


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with version 3 of the cube `small`."""
    data = tmp_path_factory.mktemp("data")
    root = data / "cubes" / "small"
    (root / "versions").mkdir(parents=True)
    write(small_cube(32), root / "versions" / "3.zarr")
    (root / "latest").write_text('{"version": 3}')
    return data


@pytest.fixture
def data(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    shutil.copytree(built, tmp_path / "data")
    monkeypatch.setenv("SLIDECUBE_DATA_DIR", str(tmp_path / "data"))
    settings.cache_clear()
    yield tmp_path / "data"
    settings.cache_clear()


@pytest.fixture
def version(data: Path) -> chain.CubeVersion:
    return chain.version_of("small")


def trained(folder: Path, cube: str, digest: str = MODEL) -> Path:
    """The files of a bundle that the chain reads."""
    with whole_result(folder, Origin(kind="bundle", cube=cube), replace=False) as result:
        result.folder.mkdir(parents=True)
        (result.folder / "bundle.json").write_text(json.dumps({"digest": digest}))
    return folder


def mapped(folder: Path, cube: str, model: str | None) -> Path:
    """The files of a map that the chain reads."""
    with whole_result(folder, Origin(kind="map", cube=cube, model=model), replace=False) as result:
        result.folder.mkdir(parents=True)
    return folder


def map_of_an_earlier_release(folder: Path, cube: str, model: str | None) -> Path:
    """A map as earlier releases wrote it, without its origin."""
    folder.mkdir(parents=True)
    record = {"model": model, "smallest_m2": 400.0}
    report = {"format": "slidecube-map-1", "map": record, "cube": {"digest": cube}}
    (folder / "report.json").write_text(json.dumps(report))
    return folder


def test_a_version_is_named_by_its_area_its_root_or_itself(version, data):
    root = data / "cubes" / "small"
    assert version == chain.version_of(str(root)) == chain.version_of(str(root / "versions" / "3.zarr"))
    assert (version.place.area, version.place.version) == ("small", 3)
    assert version.uri == str(root / "versions" / "3.zarr")
    assert chain.latest_versions() == ([version], [])


def test_a_new_version_lacks_both(version):
    assert chain.standing(version).lacks == ("model", "map")


def test_a_trained_version_lacks_its_map(version):
    trained(version.place.bundle(), version.digest)
    assert chain.standing(version).lacks == ("map",)


def test_a_mapped_version_lacks_nothing(version):
    bundle = trained(version.place.bundle(), version.digest)
    folder = mapped(version.place.map(bundle, MODEL), version.digest, MODEL)
    found = chain.standing(version)
    assert (found.lacks, found.bundle, found.map) == ((), bundle, folder)


@pytest.mark.parametrize("name", ["3", "v3"])
def test_what_earlier_releases_made_counts_and_is_not_renamed(version, data, name):
    # the command of earlier releases trained into models/small/3, the flows into models/small/v3
    bundle = data / "models" / "small" / name
    trained(bundle, version.digest)
    (bundle / "origin.json").unlink()
    document = {
        "digest": MODEL, "cube": {"digest": version.digest}, "training": {}, "inputs": {}, "seed": 0,
        "test_time": "plain", "network": {"encoder": "resnet18", "initial_weights": "random"},
    }  # fmt: skip
    (bundle / "bundle.json").write_text(json.dumps(document))
    assert chain.standing(version).lacks == ("map",)
    folder = map_of_an_earlier_release(data / "maps" / "small" / name, version.digest, MODEL)
    found = chain.standing(version)
    assert (found.lacks, found.bundle, found.map) == ((), bundle, folder)


def test_a_map_by_another_bundle_or_by_none_is_not_the_map_of_the_version(version, data):
    trained(version.place.bundle(), version.digest)
    mapped(version.place.map(data / "models/elsewhere/v1", OTHER), version.digest, OTHER)
    mapped(version.place.map(None), version.digest, None)
    map_of_an_earlier_release(data / "maps" / "small" / "3", version.digest, OTHER)
    assert chain.standing(version).lacks == ("map",)


def test_results_of_a_cube_that_was_built_anew_do_not_count(version):
    bundle = trained(version.place.bundle(), OTHER)
    mapped(version.place.map(bundle, MODEL), OTHER, MODEL)
    assert chain.standing(version).lacks == ("model", "map")


def test_a_folder_that_is_no_bundle_does_not_count(version):
    version.place.bundle().mkdir(parents=True)
    assert chain.standing(version).lacks == ("model", "map")


def test_where_training_was_refused_the_log_ratio_map_is_what_is_wanted(version):
    chain.refuse(version, "model", chain.Refusal(why="no labels"))
    assert chain.standing(version).lacks == ("map",)
    mapped(version.place.map(None), version.digest, None)
    assert chain.standing(version).lacks == ()


def test_two_refusals_end_the_chain_and_are_kept_in_words(version):
    chain.refuse(version, "model", chain.Refusal(why="no labels"))
    chain.refuse(version, "map", chain.Refusal(why="no pass after the event"))
    assert chain.standing(version).lacks == ()
    assert json.loads(version.place.refusals.read_text()) == {
        "model": "no labels",
        "map": "no pass after the event",
    }


def test_a_refusal_that_was_deleted_is_tried_again(version):
    chain.refuse(version, "model", chain.Refusal(why="no labels"))
    version.place.refusals.unlink()
    assert "model" in chain.standing(version).lacks


def test_an_attempt_that_succeeds_returns_what_was_made():
    assert chain.attempt(lambda: "v1") == "v1"


def test_an_attempt_that_is_refused_returns_why():
    def refusing() -> None:
        raise ModelError("The cube has no labels.", "Name an inventory.")

    assert chain.attempt(refusing) == chain.Refusal(why="The cube has no labels. Name an inventory.")


def test_a_full_disk_is_no_refusal():
    def failing() -> None:
        try:
            raise OSError(28, "No space left on device")
        except OSError as error:
            raise ModelError("It cannot be written.") from error

    with pytest.raises(ModelError):
        chain.attempt(failing)


def test_what_would_be_replaced_is_no_refusal():
    def failing() -> None:
        raise ReplaceError("Another one is there.")

    with pytest.raises(ReplaceError):
        chain.attempt(failing)


def test_a_cube_that_was_published_elsewhere_has_no_number_and_goes_by_its_file(tmp_path, data):
    found = chain.version_of(str(write(small_cube(32), tmp_path / "hokkaido_japan.zarr")))
    assert (found.place.area, found.place.version) == ("hokkaido_japan", None)


def test_no_cube_is_an_error(data):
    with pytest.raises(CubeError):
        chain.version_of(str(data / "cubes" / "nowhere"))


def test_without_cubes_there_is_nothing_to_finish(data):
    shutil.rmtree(data / "cubes")
    assert chain.latest_versions() == ([], [])


@pytest.fixture
def of_event(version, monkeypatch) -> Path:
    """The area is that of an event, and a person chose a bundle of other events."""
    stored_area("small").parent.mkdir(parents=True)
    stored_area("small").write_text("title: an event")
    chosen = trained(settings().data_dir / "models" / "elsewhere" / "v1", OTHER, OTHER)
    monkeypatch.setenv("SLIDECUBE_EVENT_BUNDLE", "elsewhere")
    settings.cache_clear()
    return chosen


def test_the_map_by_a_chosen_bundle_is_wanted_beside_the_events_own(version, of_event):
    chain.refuse(version, "model", chain.Refusal(why="no labels"))
    own = mapped(version.place.map(None), version.digest, None)
    (lacking,) = chain.standing(version).lacks
    beside = mapped(version.place.map(of_event, OTHER), version.digest, OTHER)
    found = chain.standing(version)
    assert lacking == found.chosen.what
    assert (found.lacks, found.map, found.beside) == ((), own, beside)


def test_a_chosen_bundle_that_cannot_map_the_version_is_refused_by_itself(version, of_event):
    chosen = chain.standing(version).chosen
    chain.refuse(version, chosen.what, chain.Refusal(why="no vh"))
    assert chain.standing(version).lacks == ("model", "map")


def test_a_chosen_bundle_is_for_events_alone_and_a_wrong_one_stops_nothing(
    version, of_event, tmp_path, monkeypatch
):
    stored_area("small").unlink()
    assert chain.standing(version).chosen is None
    stored_area("small").write_text("title: an event")
    (tmp_path / "empty").mkdir()
    for wrong in ("nowhere", str(tmp_path / "empty")):
        monkeypatch.setenv("SLIDECUBE_EVENT_BUNDLE", wrong)
        settings.cache_clear()
        assert chain.standing(version).lacks == ("model", "map")


def test_an_events_own_bundle_that_is_the_chosen_one_maps_once(version, data, monkeypatch):
    stored_area("small").parent.mkdir(parents=True)
    stored_area("small").write_text("title: an event")
    bundle = trained(version.place.bundle(), version.digest)
    monkeypatch.setenv("SLIDECUBE_EVENT_BUNDLE", str(bundle))
    settings.cache_clear()
    assert chain.standing(version).lacks == ("map",)


def test_the_map_beside_is_made_last_and_latest_stays_at_the_events_own(version, of_event, monkeypatch):
    chain.refuse(version, "model", chain.Refusal(why="no labels"))
    made = []

    def map_landslides(cube: str, bundle: str | None = None) -> Path:
        digest = None if bundle is None else OTHER
        folder = mapped(
            version.place.map(None if bundle is None else Path(bundle), OTHER), version.digest, digest
        )
        made.append(folder)
        point_at(folder, version.place.latest_map)
        return folder

    monkeypatch.setattr(train_flow, "map_landslides", map_landslides)
    train_flow.map_version(version)
    assert [folder.name for folder in made] == ["v3-detector", f"v3-elsewhere-v1-{OTHER[:8]}"]
    assert version.place.latest_map.resolve() == made[0].resolve()
    train_flow.map_version(version)
    assert len(made) == 2
