"""Answers of Zenodo: what is taken from a record, and what is no record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.archives.archive import Query
from pipeline.archives.zenodo import Zenodo
from pipeline.errors import ArchiveError
from tests.unit.loopback import Loopback, brisk_settings, standing_for_all_hosts

MD5 = "0123456789abcdef0123456789ABCDEF"
URL = "https://zenodo.org/api/records/5/files/a.zip/content"
FILE = {"key": "a.zip", "size": 12, "checksum": f"md5:{MD5}", "links": {"self": URL}}
RECORD = {
    "id": 5,
    "doi": "10.5281/zenodo.5",
    "metadata": {
        "title": "Cubes\nof slides",
        "publication_date": "2022-10-25",
        "creators": [{"name": "One, A."}, {"name": "Two, B."}],
        "license": {"id": "cc-by-4.0"},
    },
    "files": [FILE],
}


@pytest.fixture
def server() -> Iterator[Loopback]:
    with brisk_settings(retries=0), Loopback() as loopback, standing_for_all_hosts(loopback):
        yield loopback


def answered(server: Loopback, document: Any) -> None:
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    server.files["zenodo.org/api/records/5"] = raw


def test_a_record_states_files_licence_and_citation(server: Loopback) -> None:
    answered(server, RECORD)
    record = Zenodo().record(5)
    assert [(file.key, file.size_bytes, file.md5, file.url) for file in record.files] == [
        ("a.zip", 12, MD5.lower(), URL)
    ]
    assert record.licence == "cc-by-4.0" and not record.simulated
    assert record.citation == (
        "One, A.; Two, B. (2022): Cubes of slides. Zenodo. https://doi.org/10.5281/zenodo.5"
    )
    assert "authorization" not in server.seen[0].headers


def test_a_record_without_licence_or_authors_is_a_record(server: Loopback) -> None:
    answered(server, {"metadata": {"title": "Bare"}, "files": []})
    record = Zenodo().record(5)
    assert (record.licence, record.creators, record.files) == ("", (), ())
    assert record.doi == "10.5281/zenodo.5"
    answered(server, RECORD | {"files": [FILE | {"checksum": "sha512:00"}]})
    assert Zenodo().record(5).files == (), "a file that cannot be checked is not offered"


@pytest.mark.parametrize(
    "document",
    [
        b"", b"no json", b"[]", b"null", b"<html><body>Sign in</body></html>", {"files": []}, {"metadata": 3},
        RECORD | {"files": [3]}, RECORD | {"files": {"a": 1}},
        RECORD | {"files": [FILE | {"size": -1}]}, RECORD | {"files": [FILE | {"size": "12"}]},
        RECORD | {"files": [FILE | {"key": "../a.zip"}]}, RECORD | {"files": [FILE | {"key": 3}]},
        RECORD | {"files": [FILE | {"links": {}}]},
        RECORD | {"files": [FILE | {"links": {"self": "https://evil.example/a.zip"}}]},
        RECORD | {"files": [FILE | {"links": {"self": "http://zenodo.org/a.zip"}}]},
        RECORD | {"files": [FILE] * 1001},
    ],
    ids=lambda document: str(document)[-70:],
)  # fmt: skip
def test_what_is_no_record_is_refused(server: Loopback, document: Any) -> None:
    answered(server, document)
    with pytest.raises(ArchiveError, match=r"5"):
        Zenodo().record(5)


def test_a_record_that_does_not_exist_is_named(server: Loopback) -> None:
    with pytest.raises(ArchiveError, match="no record 5"):
        Zenodo().record(5)
    with pytest.raises(ArchiveError):
        Zenodo().search("sentinel-1-rtc", Query({}))
