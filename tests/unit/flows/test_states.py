"""The decisions of the flows: whether to retry, and the state that a run ends in."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from PIL import Image
from prefect.client.schemas.objects import State
from prefect.exceptions import CrashedRun, FailedRun
from prefect.states import Failed

from flows import chain
from flows.build_datacube import announce
from flows.build_datacube import verdict as build_verdict
from flows.serving import artifacts
from flows.train_model import verdict as chain_verdict
from flows.workers.layer_tasks import is_transient, reason
from pipeline.build.run import Published
from pipeline.errors import ArchiveError, SourceDataError
from pipeline.places import Place


def failed(error: Exception) -> State:
    return Failed(data=error, message=repr(error))


def answered(status: int) -> httpx.HTTPStatusError:
    request = httpx.Request("POST", "http://127.0.0.1:4200/api/task_runs/")
    return httpx.HTTPStatusError("", request=request, response=httpx.Response(status, request=request))


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (ArchiveError("The archive answered 503.", transient=True), True),
        (ArchiveError("The archive answered 404."), False),
        (SourceDataError("The raster is damaged."), False),
        (RuntimeError("a fault of ours"), False),
        (httpx.ConnectError("All connection attempts failed"), True),
        (httpx.ReadTimeout(""), True),
        (answered(503), True),
        (answered(422), False),
        (CrashedRun("The run crashed."), True),
        (FailedRun("It failed."), False),
    ],
    ids=[
        "transient",
        "permanent",
        "content",
        "ours",
        "server away",
        "server slow",
        "server busy",
        "refused",
        "crashed",
        "failed",
    ],
)
def test_only_what_may_pass_is_tried_again(error, again):
    assert is_transient(None, None, failed(error)) is again


def test_a_reason_is_the_errors_own_words_and_names_what_is_not_ours():
    assert reason(failed(ArchiveError("It is gone.", "Search again."))) == "It is gone. Search again."
    assert reason(failed(KeyError("vv"))) == "KeyError: 'vv'"


def published(**fields) -> Published:
    given = {"area": "a", "version": 2, "uri": "/a/2.zarr", "new": True, "layers_built": 3, "missing": ()}
    return Published(**given | fields)


def test_a_build_that_lost_a_layer_fails_by_name_and_names_it():
    state = build_verdict(published(failed=("vh 2018-09-05: The archive answered 404.",)))
    assert (state.type.value, state.name) == ("FAILED", "Incomplete")
    assert "vh 2018-09-05" in state.message


def test_a_build_of_nothing_is_unchanged_and_still_says_what_is_missing():
    state = build_verdict(published(new=False, layers_built=0, missing=("labels: no inventory",)))
    assert (state.type.value, state.name) == ("COMPLETED", "Unchanged")
    assert "labels: no inventory" in state.message


def test_a_build_that_did_not_get_what_the_archives_list_fails_by_name():
    state = build_verdict(published(undelivered=("vv 2018-09-05: no pixel has data",)))
    assert (state.type.value, state.name) == ("FAILED", "Incomplete")
    assert "vv 2018-09-05" in state.message


@pytest.mark.parametrize(
    ("lacking", "event"),
    [
        ({}, "datacube.ready"),
        ({"undelivered": ("vv 2018-09-05",)}, "datacube.incomplete"),
        ({"failed": ("vv 2018-09-05",)}, "datacube.incomplete"),
    ],
)
def test_only_a_complete_version_is_announced_as_ready(lacking, event, monkeypatch):
    events = []
    monkeypatch.setattr("flows.build_datacube.emit_event", lambda **fields: events.append(fields))
    announce(published(missing=("vv 2018-09-05",), **lacking))
    (emitted,) = events
    assert emitted["event"] == event
    assert emitted["payload"]["missing"] == ["vv 2018-09-05"]
    assert emitted["payload"]["undelivered"] == list(lacking.get("undelivered", ()))


def standing(has_bundle=False, has_map=False, **refused) -> chain.Standing:
    version = chain.CubeVersion(place=Place(area="a", version=2), uri="/a/2.zarr", digest="0" * 64)
    bundle, made = Path("models/a/v2") if has_bundle else None, Path("maps/a/v2-x") if has_map else None
    return chain.Standing(version=version, bundle=bundle, map=made, refused=refused)


@pytest.mark.parametrize(
    ("before", "after", "name"),
    [
        (standing(), standing(True, True), "Completed"),
        (standing(), standing(False, True, model="no labels"), "DetectorOnly"),
        (standing(), standing(model="no labels", map="no pass after"), "Refused"),
        (standing(True, True), standing(True, True), "Unchanged"),
        (standing(True, True), standing(True, True).model_copy(update={"map": Path("n")}), "Completed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_chain_ends_completed_by_name(before, after, name):
    state = chain_verdict(before, after)
    assert (state.type.value, state.name) == ("COMPLETED", name)
    for why in after.refused.values():
        assert why in state.message or "map" in after.refused


@pytest.mark.parametrize("area", ["hokkaido", "hokkaido_japan", "Puerto Rico (2017)"])
def test_artifact_keys_are_what_prefect_takes(area):
    key = artifacts.key_of("map", area)
    assert set(key) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert key.startswith("map-")


def test_an_embedded_picture_is_small(tmp_path):
    picture = tmp_path / "large.png"
    Image.effect_noise((3000, 2000), 80).save(picture)
    text = artifacts.with_picture("a map", str(picture), picture.read_bytes())
    assert picture.stat().st_size > 3_000_000
    assert text.startswith("a map\n\n![large](data:image/jpeg;base64,")
    assert len(text) < 1_500_000
