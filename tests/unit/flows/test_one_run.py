"""One run an area, and one chain a version: a second run ends at once, by name; any area can be named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.utilities.callables import parameter_schema

from flows import build_datacube as build_flow
from flows import chain
from flows.build_datacube import build_datacube
from flows.follow_events import follow_events
from flows.train_model import train_model
from pipeline.areas.area import load_area
from pipeline.build import run as build
from pipeline.lock import held
from pipeline.settings import settings
from tests.small_cube import small_cube, write


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("SLIDECUBE_DATA_DIR", str(tmp_path))
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()


def test_a_second_build_of_an_area_ends_at_once_by_name(data, monkeypatch):
    def search(*given):
        raise AssertionError("the archives are searched")

    monkeypatch.setattr(build_flow, "find_catalogue", search)
    with build.writer_lock(load_area("hokkaido")):
        state = build_datacube.fn("hokkaido")
    assert (state.type.value, state.name) == ("COMPLETED", "Busy")
    assert "hokkaido" in state.message
    with pytest.raises(AssertionError):
        build_datacube.fn("hokkaido")


def test_the_chain_does_not_start_twice_for_one_version(data):
    version = data / "cubes" / "small" / "versions" / "3.zarr"
    version.parent.mkdir(parents=True)
    write(small_cube(32), version)
    found = chain.version_of(str(version))
    assert not chain.in_work(found)
    with held(chain.lock_of(found)):
        assert chain.in_work(found)
        state = train_model.fn(str(version))
    assert (state.type.value, state.name) == ("COMPLETED", "Busy")
    assert not (data / "models" / "small" / "v3.refused.json").exists()


def test_known_areas_are_examples_and_no_limit():
    field = parameter_schema(build_datacube).model_dump()["properties"]["aoi"]
    assert {"hokkaido", "sandbox"} <= set(field["examples"])
    assert field["type"] == "string" and not {"enum", "pattern"} & field.keys()


def test_the_instant_of_a_replay_is_optional():
    schema = parameter_schema(follow_events).model_dump()
    assert "at" in schema["properties"] and "at" not in schema.get("required", [])
