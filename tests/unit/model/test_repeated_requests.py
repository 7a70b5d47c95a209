"""Commands and flows find each other's bundles and maps; nothing is made twice, and nothing is replaced unasked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flows import chain
from model.api import BundleRecord, load_bundle
from model.cli.bundles import map_landslides, train
from pipeline.settings import settings
from tests.small_cube import small_cube, write

QUICK = (
    "--steps",
    "1",
    "--chip",
    "64",
    "--polarisation",
    "vv",
    "--terrain",
    "none",
    "--change",
    "none",
    "--plain",
)


def run(command, *words) -> Result:
    return CliRunner().invoke(command, [str(word) for word in words])


def record(answer: Result, *, new: bool = True) -> dict:
    """The printed record, of a result that was made now or found."""
    assert answer.exit_code == 0, answer.output
    printed = json.loads(answer.stdout)
    assert printed.pop("new") is new
    assert printed.pop("changes") == []
    return printed


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the cube `small` and the bundle that the command trained on its version 1."""
    data = tmp_path_factory.mktemp("trained") / "data"
    (data / "cubes" / "small" / "versions").mkdir(parents=True)
    write(small_cube(256), data / "cubes" / "small" / "versions" / "1.zarr")
    (data / "cubes" / "small" / "latest").write_text('{"version": 1}')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLIDECUBE_DATA_DIR", str(data))
        settings.cache_clear()
        made = record(run(train, "small", *QUICK, "--json"))
    settings.cache_clear()
    assert made["path"] == str(data / "models" / "small" / "v1")
    return data


@pytest.fixture
def data(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    shutil.copytree(trained, tmp_path / "data")
    monkeypatch.setenv("SLIDECUBE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    settings.cache_clear()
    yield tmp_path / "data"
    settings.cache_clear()


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.api.train_bundle", lambda *args, **given: pytest.fail("trained again"))


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_training_again_does_nothing_and_prints_the_record_again(data, no_training):
    bundle = data / "models" / "small" / "v1"
    before = content(bundle)
    again = record(run(train, "small", *QUICK, "--json"), new=False)
    assert again["path"] == str(bundle)
    assert again["digest"] == json.loads(before["bundle.json"])["digest"]
    words = run(train, data / "cubes/small/versions/1.zarr", *QUICK, "--device", "cpu")
    assert (words.exit_code, words.output.startswith("Nothing to do")) == (0, True)
    assert content(bundle) == before


@pytest.mark.parametrize(
    ("words", "named"),
    [(("--seed", "7"), "seed"), (("--learning-rate", "0.1"), "learning_rate"), (("--track", "46"), "track")],
)
def test_training_otherwise_is_refused_and_names_the_difference(data, no_training, words, named):
    answer = run(train, "small", *QUICK, *words)
    assert answer.exit_code == 7
    assert named in answer.stderr and "--replace" in answer.stderr


def test_another_plan_has_a_name_of_its_own_or_replaces_where_that_is_allowed(data, monkeypatch):
    own = data / "models" / "small" / "v1"
    first, seeds = content(own), []

    def copying(cube, out, *, plan, seed, experiment, progress):
        """A training that takes no time."""
        seeds.append(seed)
        shutil.copytree(data.parent / "given", out)
        return known.model_copy(update={"path": out})

    known = BundleRecord.model_validate(record(run(train, "small", *QUICK, "--json"), new=False))
    shutil.copytree(own, data.parent / "given")
    (data.parent / "given" / "origin.json").unlink()
    monkeypatch.setattr("model.api.train_bundle", copying)
    words = ("small", *QUICK, "--seed", "7")
    named = record(run(train, *words, "--name", "seven", "--json"))
    assert named["path"] == str(data / "models" / "small" / "v1-seven")
    assert content(own) == first
    assert record(run(train, *words, "--name", "seven", "--json"), new=False) == named
    assert seeds == [7]
    assert record(run(train, *words, "--replace", "--json"))["path"] == str(own)
    assert seeds == [7, 7]
    assert content(own)["origin.json"] == content(Path(named["path"]))["origin.json"]
    assert sorted(path.name for path in (data / "models" / "small").iterdir()) == ["v1", "v1-seven"]
    assert run(train, "small", "--name", "a/b").exit_code == 2
    assert run(train, "small", "--name", "a", "--out", "b").exit_code == 2


def test_a_model_by_area_and_a_map_without_one_lie_in_folders_of_their_own(data, monkeypatch):
    first = record(run(map_landslides, "small", "small", "--json"))
    bundle = data / "models" / "small" / "v1"
    digest = load_bundle("small").document.digest
    assert first["path"] == str(data / "maps" / "small" / f"v1-small-v1-{digest[:8]}")
    second = record(run(map_landslides, "small", "--log-ratio", "--json"))
    assert second["path"] == str(data / "maps" / "small" / "v1-detector")
    assert (Path(first["path"]) / "probability.tif").is_file()
    assert (Path(second["path"]) / "score.tif").is_file()
    # the flows find what the commands made
    found = chain.standing(chain.version_of("small"))
    assert (found.lacks, found.bundle, str(found.map)) == ((), bundle, first["path"])
    # again, under other names of the same: nothing is done
    monkeypatch.setattr("model.api.map_cube", lambda *args, **given: pytest.fail("mapped again"))
    monkeypatch.setattr("model.api.map_detector", lambda *args, **given: pytest.fail("mapped again"))
    assert record(run(map_landslides, "small", "small", "--json"), new=False) == first
    assert record(run(map_landslides, "small/v1", data / "cubes" / "small", "--json"), new=False) == first
    moved = shutil.copytree(bundle, data / "mailed")
    assert record(run(map_landslides, moved, "small", "--json"), new=False) == first
    assert record(run(map_landslides, "small", "--log-ratio", "--json"), new=False) == second
    assert record(run(map_landslides, "small", "--json"), new=False) == second
    plain = run(map_landslides, "small").output  # the detector, and it names the model that could map instead
    assert str(bundle) in plain and "slidecube map small small" in plain
    other = run(map_landslides, "small", "--log-ratio", "--before", "1")
    assert other.exit_code == 7 and "before" in other.stderr


def test_polygons_that_a_person_changed_are_never_replaced_unasked(data):
    first = record(run(map_landslides, "small", "small", "--json"))
    polygons = Path(first["path"]) / "landslides.gpkg"
    polygons.write_bytes(polygons.read_bytes() + b"reviewed")
    reviewed = polygons.read_bytes()
    again = run(map_landslides, "small", "small")
    assert (again.exit_code, "landslides.gpkg" in again.output) == (0, True)
    refused = run(map_landslides, "small", "small", "--smallest-m2", "900")
    assert refused.exit_code == 7
    assert "landslides.gpkg" in refused.stderr and "smallest_m2" in refused.stderr
    assert polygons.read_bytes() == reviewed
    replaced = record(run(map_landslides, "small", "small", "--smallest-m2", "900", "--replace", "--json"))
    assert (replaced["path"], replaced["smallest_m2"]) == (first["path"], 900)
    assert polygons.read_bytes() != reviewed


def test_a_folder_that_is_given_obeys_the_same_rule(data, tmp_path):
    out = tmp_path / "result"
    assert record(run(map_landslides, "small", "--log-ratio", "--out", out, "--json"))["path"] == str(out)
    before = content(out)
    assert run(map_landslides, "small", "--log-ratio", "--out", out).exit_code == 0
    assert run(map_landslides, "small", "small", "--out", out).exit_code == 7
    assert run(train, "small", *QUICK, "--out", out, "--replace").exit_code == 7
    assert content(out) == before
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "chapter").write_text("years of work")
    for command, words in ((map_landslides, ("small", "small")), (train, ("small", *QUICK))):
        assert run(command, *words, "--out", thesis, "--replace").exit_code == 7
    assert content(thesis) == {"chapter": b"years of work"}


def test_what_an_earlier_command_made_is_found_and_stays_where_it_is(data, no_training, monkeypatch):
    record(run(map_landslides, "small", "small", "--json"))
    for kind in ("models", "maps"):
        (folder,) = [
            path for path in (data / kind / "small").iterdir() if path.is_dir() and not path.is_symlink()
        ]
        (folder / "origin.json").unlink()
        folder.rename(folder.with_name("1"))
    found = chain.standing(chain.version_of("small"))
    assert (found.lacks, found.bundle) == ((), data / "models" / "small" / "1")
    again = record(run(train, "small", *QUICK, "--json"), new=False)
    assert again["path"] == str(data / "models" / "small" / "1")
    monkeypatch.setattr("model.api.map_cube", lambda *args, **given: pytest.fail("mapped again"))
    found_map = json.loads(run(map_landslides, "small", "small", "--json").stdout)
    assert (found_map["new"], found_map["path"]) == (False, str(data / "maps" / "small" / "1"))
    assert found_map["changes"], "nobody knows whether a person changed it"
    assert sorted(path.name for path in (data / "models" / "small").iterdir()) == ["1"]


def test_a_bundle_or_a_cube_that_is_not_there_is_refused_by_name(data):
    lost = run(map_landslides, "smal", "small")
    assert lost.exit_code == 7 and "'small'" in lost.stderr
    lost = run(map_landslides, "small", "smal")
    assert lost.exit_code == 5 and "'small'" in lost.stderr
