"""Where cubes, bundles and maps belong, and how names become paths."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.cube.addresses import named_cube
from pipeline.errors import CubeError, ModelError, SettingsError
from pipeline.places import (
    SIMULATED_PRIOR,
    Place,
    bundle_named,
    bundles_of,
    cube_root,
    cubes_root,
    insar_root,
    is_shipped,
    shipped_bundles,
)
from pipeline.settings import settings

DIGEST = "0123456789abcdef" * 4


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("SLIDECUBE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    settings.cache_clear()
    yield tmp_path / "data"
    settings.cache_clear()


def bundle(folder: Path, created: str = "2026-01-01T00:00:00Z") -> Path:
    folder.mkdir(parents=True)
    (folder / "bundle.json").write_text(json.dumps({"created": created}))
    return folder


def test_roots_are_below_the_data_folder(data: Path) -> None:
    assert cube_root("hokkaido") == data / "cubes" / "hokkaido"
    assert insar_root("hokkaido") == data / "insar" / "hokkaido"
    assert cubes_root() == data / "cubes"


def test_a_version_has_one_folder_for_its_bundle_and_one_for_each_map(data: Path) -> None:
    place = Place(area="hokkaido", version=3)
    assert place.bundle() == data / "models/hokkaido/v3"
    assert place.bundle("long") == data / "models/hokkaido/v3-long"
    assert place.refusals == data / "models/hokkaido/v3.refused.json"
    assert place.map(None) == data / "maps/hokkaido/v3-detector"
    assert place.map(place.bundle(), DIGEST) == data / "maps/hokkaido/v3-hokkaido-v3-01234567"
    assert place.map(Path("mailed model"), DIGEST) == data / "maps/hokkaido/v3-mailed-model-01234567"


def test_a_cube_that_was_not_built_here_has_no_number(data: Path) -> None:
    place = Place(area="hokkaido_japan", version=None)
    assert place.bundle() == data / "models/hokkaido_japan/unversioned"
    assert place.map(None) == data / "maps/hokkaido_japan/unversioned-detector"


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "a b", "x" * 65])
def test_a_name_that_is_no_folder_is_refused(data: Path, name: str) -> None:
    with pytest.raises(SettingsError):
        Place(area="hokkaido", version=3).bundle(name)


def test_the_bundle_of_an_earlier_release_is_found_and_the_one_of_this_release_wins(data: Path) -> None:
    place = Place(area="hokkaido", version=1)
    assert place.found_bundle() is None
    earlier = bundle(data / "models/hokkaido/1")
    bundle(data / "models/hokkaido/v1-long")
    assert place.found_bundle() == earlier
    own = bundle(place.bundle())
    assert place.found_bundle() == own
    assert Place(area="hokkaido", version=2).found_bundle() is None


def test_maps_of_all_releases_are_found_and_those_of_other_versions_are_not(data: Path) -> None:
    maps = data / "maps" / "hokkaido"
    for name in (
        "1",
        "v1",
        "v1-log-ratio",
        "v1-hokkaido-v1-01234567",
        "v10-log-ratio",
        "v2",
        ".v1-x.partial",
    ):
        (maps / name).mkdir(parents=True)
    found = Place(area="hokkaido", version=1).found_maps()
    assert [folder.name for folder in found] == ["v1-hokkaido-v1-01234567", "v1-log-ratio", "v1", "1"]


def test_a_cube_is_named_by_path_or_area_and_a_misspelt_one_is_guessed(data: Path, tmp_path: Path) -> None:
    root = cube_root("hokkaido")
    root.mkdir(parents=True)
    assert named_cube("hokkaido") == str(root)
    assert named_cube(str(root)) == str(root)
    assert named_cube("s3://bucket/cube.zarr") == "s3://bucket/cube.zarr"
    with pytest.raises(CubeError) as unknown:
        named_cube("hokaido")
    assert "'hokkaido'" in unknown.value.message
    for text in ("../cubes/hokkaido", "atlantis", "hokkaido/versions/9.zarr"):
        with pytest.raises(CubeError):
            named_cube(text)


def test_a_bundle_is_named_by_path_by_area_or_by_area_and_name(data: Path, tmp_path: Path) -> None:
    second = bundle(data / "models/hokkaido/v2", "2026-03-01T00:00:00Z")
    bundle(data / "models/hokkaido/v3", "2026-02-01T00:00:00Z")
    first = bundle(data / "models/hokkaido/v1-long", "2026-01-01T00:00:00+00:00")
    (data / "models/hokkaido/v9").mkdir()
    assert bundles_of("hokkaido")[-1] == bundle_named("hokkaido") == second
    assert bundle_named("hokkaido/v1-long") == first
    assert bundle_named(str(first)) == first
    # a folder of that name without a bundle does not hide the area, one with a bundle does
    (tmp_path / "hokkaido").mkdir()
    assert bundle_named("hokkaido") == second
    (tmp_path / "hokkaido" / "bundle.json").write_text("{}")
    assert bundle_named("hokkaido") == Path("hokkaido")


def test_a_bundle_that_is_not_there_is_refused_by_name(data: Path) -> None:
    bundle(data / "models/hokkaido/v2")
    for text in ("atlantis", "hokkaido/v3", "../models/hokkaido/v2"):
        with pytest.raises(ModelError) as unknown:
            bundle_named(text)
        assert text in unknown.value.message
    with pytest.raises(ModelError, match="'hokkaido'"):
        bundle_named("hokaido")


def test_a_bundle_that_cannot_be_read_is_older_than_every_other(data: Path) -> None:
    (bundle(data / "models/hokkaido/v9") / "bundle.json").write_text("{")
    whole = bundle(data / "models/hokkaido/v1")
    assert bundle_named("hokkaido") == whole


def test_a_shipped_bundle_is_found_by_its_name_alone(data: Path) -> None:
    assert [each.name for each in shipped_bundles()] == [SIMULATED_PRIOR]
    assert is_shipped(bundle_named(SIMULATED_PRIOR))
    assert bundles_of("hokkaido") == bundles_of(SIMULATED_PRIOR) == []
    assert Place(area="hokkaido", version=3).found_bundle() is None
    with pytest.raises(ModelError):
        bundle_named("hokkaido")


def test_a_bundle_of_an_area_with_the_name_of_a_shipped_one_comes_first(data: Path) -> None:
    own = bundle(data / "models" / SIMULATED_PRIOR / "v1")
    assert bundle_named(SIMULATED_PRIOR) == own and not is_shipped(own)
