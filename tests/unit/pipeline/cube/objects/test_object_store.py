"""Cubes in an object store: what is stored, two writers, readers meanwhile, listings that lag behind, no secret."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from pathlib import Path

import fsspec
import numpy as np
import pytest
import xarray as xr

from pipeline.cube import versions
from pipeline.cube.addresses import open_store
from pipeline.cube.objects import object_store
from pipeline.cube.objects.folder_document import DOCUMENT, FolderDocument, Reference, parse_folder
from pipeline.cube.objects.object_store import ObjectStore
from pipeline.cube.read import open_cube
from pipeline.cube.verify import verify_cube
from pipeline.cube.versions import current_version, publish, version_key
from pipeline.errors import CubeError
from pipeline.object_storage.bucket import Bucket, ObjectState
from tests.s3_server import ACCESS_KEY, SECRET_KEY
from tests.unit.pipeline.cube.test_cube import layer, manifest, values


@pytest.fixture
def store(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """A small cube's layers are smaller than what stands in a document: here their shards are objects."""
    monkeypatch.setattr(object_store, "INLINE_BYTES", 2000)
    return ObjectStore(f"{s3_bucket}/data/cubes/here")


def shards_of(store: ObjectStore) -> list[str]:
    return [one.key for one in Bucket(store.uri).states("objects")]


def test_versions_share_the_objects_of_their_layers(store: ObjectStore) -> None:
    publish(store, manifest([layer(store, 1), layer(store, 2)]))
    before = set(shards_of(store))
    publish(store, manifest([layer(store, n) for n in (1, 2, 3)]))
    new = set(shards_of(store)) - before
    assert {key.split("/")[1] for key in before | new} >= {"layers"}
    assert len([key for key in new if "/vv/c/" in key]) == 2  # of the pass that came, and of its overview
    with open_cube(store.uri) as cube:
        np.testing.assert_array_equal(cube["vv"][2].values, values(3))
    assert verify_cube(store.uri).sound
    assert store.names("") == ["latest", "layers", "versions"]


def test_other_tools_open_a_version_by_its_document(store: ObjectStore) -> None:
    publish(store, manifest([layer(store, 1), layer(store, 2)]))
    objects, memory = Bucket(store.uri), fsspec.filesystem("memory")
    raw = objects.get(f"{version_key(1)}/{DOCUMENT}")
    assert raw is not None
    document = json.loads(raw.data)
    assert document["version"] == 1 and document["templates"] == {"u": f"{store.uri}/objects"}
    where = f"/{store.uri.partition('://')[2]}"
    for key in shards_of(store):
        content = objects.get(key)
        assert content is not None
        memory.pipe(f"{where}/{key}", content.data)
    options = {
        "fo": document, "template_overrides": {"u": f"memory:/{where}/objects"}, "remote_protocol": "memory",
    }  # fmt: skip
    with xr.open_zarr("reference://", storage_options=options, chunks=None) as cube:
        np.testing.assert_array_equal(cube["vv"].values, [values(1), values(2)])


def test_a_copy_of_a_cube_is_a_cube(store: ObjectStore, s3_bucket: str) -> None:
    publish(store, manifest([layer(store, 1)]))
    here, there = Bucket(store.uri), Bucket(f"{s3_bucket}/elsewhere")
    for one in here.states(""):
        content = here.get(one.key)
        assert content is not None
        there.put(one.key, content.data)
    here.delete([one.key for one in here.states("")])
    assert verify_cube(there.uri).sound


def test_what_no_kept_version_uses_is_removed_once_it_is_old(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = store.staging("layers")
    store.put(f"{left}/vv/c/0", bytes(5000))
    for passes in ([1], [1, 2], [2, 3], [3, 4]):
        publish(store, manifest([layer(store, n) for n in passes]))
    assert versions.version_numbers(store) == [3, 4]
    young = shards_of(store)
    assert any(key.endswith(f"{left.rpartition('-')[2]}/vv/c/0") for key in young)
    monkeypatch.setattr(object_store, "GRACE_S", -60.0)
    assert ObjectStore(store.uri).sweep("layers") >= 2  # what was left, and pass 1
    assert len([key for key in shards_of(store) if "/vv/c/0/0/0" in key]) == 6  # of passes 2, 3, 4
    for number in (3, 4):
        assert verify_cube(store.uri_of(version_key(number))).sound


def test_of_two_writers_one_publishes_and_the_other_is_told(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(store, manifest([layer(store, 1)]))
    other = ObjectStore(store.uri)
    wanted = manifest([layer(other, 1), layer(other, 9)])
    swap = ObjectStore.compare_and_swap

    def late(self: ObjectStore, key: str, expected: bytes | None, data: bytes) -> bool:
        monkeypatch.setattr(ObjectStore, "compare_and_swap", swap)
        Bucket(store.uri).put("latest", versions.pointer_to(1, {1: "0" * 64}))  # the other was faster
        return swap(self, key, expected, data)

    monkeypatch.setattr(ObjectStore, "compare_and_swap", late)
    with pytest.raises(CubeError):
        publish(other, wanted)
    assert current_version(ObjectStore(store.uri)) == 1
    assert publish(ObjectStore(store.uri), wanted) == (2, True)
    assert verify_cube(store.uri).sound


def test_a_reader_meanwhile_sees_one_whole_version(store: ObjectStore) -> None:
    publish(store, manifest([layer(store, 1)]))
    ended, seen, wrong = threading.Event(), set(), []

    def read() -> None:
        while True:
            last = ended.is_set()
            try:
                with open_cube(store.uri) as cube:
                    found = cube["vv"].values
                seen.add(len(found))
                if not all(np.array_equal(one, values(n + 1), equal_nan=True) for n, one in enumerate(found)):
                    wrong.append(len(found))
            except Exception as error:
                wrong.append(error)
            if last:
                return

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for count in (2, 3, 4):
            publish(store, manifest([layer(store, n + 1) for n in range(count)]))
    finally:
        ended.set()
        reader.join()
    assert wrong == [] and 4 in seen


def test_listings_that_lag_behind_lose_nothing(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each listing is that of the time before the last publication; only what it decides may be late."""
    whole, past = Bucket.states, {"objects": list[ObjectState]()}

    def lagging(self: Bucket, prefix: str) -> list[ObjectState]:
        return [one for one in past["objects"] if not prefix or one.key.startswith(f"{prefix}/")]

    def names(self: Bucket, prefix: str) -> list[str]:
        start = f"{prefix}/" if prefix else ""
        keys = [one.key for one in past["objects"] if one.key.startswith(start)]
        return sorted({key.removeprefix(start).partition("/")[0] for key in keys})

    monkeypatch.setattr(Bucket, "states", lagging)
    monkeypatch.setattr(Bucket, "names", names)
    for number, passes in enumerate(([1], [1, 2], [1, 2, 3], [2, 3, 4], [2, 3, 4, 5]), start=1):
        writer = ObjectStore(store.uri)
        with writer.lock(versions.LOCK, wait=False):
            for prefix in ("layers", "versions"):
                writer.sweep(prefix)
            now = whole(Bucket(store.uri), "")
            assert publish(writer, manifest([layer(writer, n) for n in passes])) == (number, True)
        reader = ObjectStore(store.uri)
        assert current_version(reader) == number
        with xr.open_zarr(reader.zarr(version_key(number)), chunks=None) as cube:
            np.testing.assert_array_equal(cube["vv"].values, [values(n) for n in passes])
        past["objects"] = now
    monkeypatch.undo()


def test_no_secret_is_stored_or_logged(
    store: ObjectStore, caplog: pytest.LogCaptureFixture, s3_bucket: str
) -> None:
    with caplog.at_level(logging.DEBUG), store.lock(versions.LOCK, wait=False):
        publish(store, manifest([layer(store, 1)]))
        with open_cube(store.uri) as cube:
            described = f"{cube.attrs} {cube.encoding} {cube}"
        verdict = verify_cube(store.uri)
    objects = Bucket(s3_bucket)
    texts = [content.data for one in objects.states("") if (content := objects.get(one.key)) is not None]
    texts += [
        caplog.text.encode(),
        described.encode(),
        verdict.model_dump_json().encode(),
        repr(store).encode(),
    ]
    assert len(texts) > 5
    for secret in (SECRET_KEY, ACCESS_KEY, "X-Amz", "AWS4-HMAC", "Signature"):
        assert not [text[:80] for text in texts if secret.encode() in text]


@pytest.mark.parametrize(
    "raw",
    [b"", b"[]", b'{"refs": 1}', b'{"refs": {"../x": "y"}}', b'{"refs": {"/x": "y"}}',
     b'{"refs": {"x": ["{{u}}/../../latest", 0, 1]}}', b'{"refs": {"x": ["s3://other/x", 0, 1]}}',
     b'{"refs": {"x": ["{{u}}/x", 5, 1]}}', b'{"refs": {"x": ["{{u}}/x"]}}', b'{"refs": {"x": "base64:?"}}',
     b'{"refs": {"x": null}}'],
)  # fmt: skip
def test_a_damaged_or_hostile_document_is_refused(store: ObjectStore, raw: bytes) -> None:
    with pytest.raises(CubeError):
        parse_folder(raw, "here")
    Bucket(store.uri).put(f"layers/x/{DOCUMENT}", raw)
    with pytest.raises(CubeError):
        store.read("layers/x/y")


@pytest.mark.parametrize("data", [b"", b"{}", b"base64:eA==", b"{{u}}/x", "é".encode(), bytes(range(256))])
def test_small_files_stand_in_a_document_byte_for_byte(data: bytes) -> None:
    document = FolderDocument({"a": data, "b/c": Reference("objects/layers/1/b", 7)})
    assert parse_folder(document.to_bytes("s3://b/c"), "here") == document


@pytest.mark.parametrize(
    "act", [lambda s: s.commit("layers/x", "layers/y"), lambda s: s.link("layers/x/y", "z")]
)
def test_what_is_not_there_is_an_error(store: ObjectStore, act: Callable[[ObjectStore], None]) -> None:
    with pytest.raises(CubeError):
        act(store)


def test_objects_that_were_removed_before_a_commit_are_missed(store: ObjectStore, tmp_path: Path) -> None:
    staging = store.staging("layers")
    store.put(f"{staging}/x", bytes(5000))
    Bucket(store.uri).delete(shards_of(store))
    with pytest.raises(CubeError):
        store.commit(staging, "layers/x")
    assert not open_store(store.uri).exists("layers/x")
