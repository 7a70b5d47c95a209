"""Objects of an S3 server: conditional writes, sizes, and errors that show no secret."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from pipeline.errors import CubeError, SettingsError, StorageError
from pipeline.object_storage import bucket as buckets
from pipeline.object_storage.bucket import Bucket, ObjectContent, compares_at_once
from tests.s3_server import SECRET_KEY

RACERS = 8


def test_of_writers_that_saw_the_same_the_server_lets_one_write(s3_bucket: str) -> None:
    objects = Bucket(f"{s3_bucket}/race")
    for number in range(8):
        seen = None
        for state in ("absent", "present"):
            begin = Barrier(RACERS)

            def write(
                who: int,
                key: str = f"{number}",
                seen: object = seen,
                begin: Barrier = begin,
                state: str = state,
            ) -> bool:
                begin.wait(30)
                return objects.put_if(key, f"{state} {who}".encode(), seen)  # type: ignore[arg-type]

            with ThreadPoolExecutor(RACERS) as pool:
                won = list(pool.map(write, range(RACERS)))
            seen = objects.get(f"{number}")
            assert sum(won) == 1 and seen is not None
            assert seen.data == f"{state} {won.index(True)}".encode()


def test_a_store_that_compares_and_writes_in_two_steps_is_found_out(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = Bucket(s3_bucket)
    assert compares_at_once(objects)

    def two_steps(self: Bucket, key: str, data: bytes, seen: ObjectContent | None) -> bool:
        self.put(key, data)
        return True

    monkeypatch.setattr(Bucket, "put_if", two_steps)
    assert not compares_at_once(objects)
    assert objects.states("") == []


def test_an_answer_that_was_lost_is_found_out(s3_bucket: str) -> None:
    objects = Bucket(s3_bucket)
    assert objects.put_if("x", b"mine", None)
    assert objects.put_if("x", b"mine", None)  # as when the first answer never came
    assert not objects.put_if("x", b"other", None)


def test_a_size_is_asked_before_an_object_is_read(s3_bucket: str) -> None:
    objects = Bucket(f"{s3_bucket}/a/b")
    objects.put("x/y", b"0123456789")
    with pytest.raises(CubeError):
        objects.get("x/y", most_bytes=9)
    assert objects.get_part("x/y", 3, 4) == b"3456"
    assert (objects.get_part("none", 0, 1), objects.get("none"), objects.state("none")) == (None, None, None)
    assert [(one.key, one.size) for one in objects.states("x")] == [("x/y", 10)]
    assert (objects.names(""), objects.names("x")) == (["x"], ["y"])
    objects.delete(["x/y", "none"])
    assert objects.states("") == []


@pytest.mark.parametrize(
    "address",
    ["s3://key:s3cret@bucket/x", "s3://bucket/x?X-Amz-Signature=s3cret", "az://c/x?sig=s3cret", "s3://", "s3://b/../c",
     "s3://b//c", "ftp://b/c"],
)  # fmt: skip
def test_an_address_has_no_key_and_stays_below_its_bucket(address: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Bucket(address)
    assert "s3cret" not in str(caught.value)


def test_what_a_server_says_is_not_shown(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "RETRIES", 0)
    missing = Bucket(f"{s3_bucket}-that-is-not-there/x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    away = Bucket(s3_bucket)
    for objects in (missing, away):
        for act in (
            lambda o=objects: o.put("x", b"x"),
            lambda o=objects: o.put_if("x", b"x", None),
            lambda o=objects: o.states(""),
        ):
            with pytest.raises(StorageError) as caught:
                act()
            text = str(caught.value)
            assert SECRET_KEY not in text and "Signature" not in text and objects.uri in text
            assert caught.value.__suppress_context__ and caught.value.exit_code == 9


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match="cloud"):
        Bucket("s3://bucket/x")
