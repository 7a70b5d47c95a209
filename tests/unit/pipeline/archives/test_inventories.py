"""Inventories: fetched whole, checked, and never trusted."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from shapely.geometry import box, mapping

from pipeline.archives import inventories
from pipeline.areas.area import Inventory
from pipeline.errors import ArchiveError, SourceDataError
from tests.unit.loopback import Loopback, Reply, brisk_settings

SLIDES = json.dumps(
    {
        "type": "FeatureCollection",
        "features": [
            {"type": "Feature", "properties": {}, "geometry": mapping(box(141.95, 42.65, 142.0, 42.7))}
        ],
    }
).encode()


def inventory(url: str | None, **fields: Any) -> Inventory:
    return Inventory.model_validate({"name": "i", "citation": "c", "licence": "l", "url": url, **fields})


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members:
            made.writestr(name, content)
    return out.getvalue()


@pytest.fixture(autouse=True)
def brisk() -> Iterator[None]:
    with brisk_settings(retries=2):
        yield


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback({"slides.geojson": SLIDES}) as loopback:
        yield loopback


@pytest.mark.parametrize("tagged", [True, False])
def test_a_file_that_a_plan_fetched_is_not_fetched_again(
    server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tagged: bool
) -> None:
    sent: list[Path] = []
    whole = inventories.whole_file
    monkeypatch.setattr(inventories, "whole_file", lambda path: (sent.append(path), whole(path))[1])
    if not tagged:
        server.rules.append(lambda seen: Reply(200, {}, SLIDES))
    wanted = inventory(server.url("slides.geojson"))
    first = inventories.fetch_inventory(wanted, tmp_path, 2**20)
    assert inventories.fetch_inventory(wanted, tmp_path) == first and len(sent) == 1
    if not tagged:  # nothing says that it is still the same, for longer than a search is used
        os.utime(first, (0, 0))
        assert inventories.fetch_inventory(wanted, tmp_path).read_bytes() == SLIDES and len(sent) == 2
    words = inventories.kept_words(str(wanted.url), first)
    assert words is not None and str(tmp_path) in words
    assert inventories.kept_words(str(first), first) is None


def test_a_file_above_the_bound_of_a_plan_is_left_to_the_build(server: Loopback, tmp_path: Path) -> None:
    wanted = inventory(server.url("slides.geojson"))
    with pytest.raises(inventories.LargerError):
        inventories.fetch_inventory(wanted, tmp_path, len(SLIDES) - 1)
    assert list(tmp_path.iterdir()) == []
    assert inventories.fetch_inventory(wanted, tmp_path).read_bytes() == SLIDES


def test_a_local_file_stays_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "slides.geojson"
    path.write_bytes(SLIDES)
    assert inventories.fetch_inventory(inventory(str(path)), tmp_path / "cache") == path
    assert inventories.fetch_inventory(inventory(path.as_uri()), tmp_path / "cache") == path
    assert not (tmp_path / "cache").exists()
    with pytest.raises(SourceDataError, match=r"absent\.gpkg"):
        inventories.fetch_inventory(inventory(str(tmp_path / "absent.gpkg")), tmp_path)


def test_without_an_address_the_page_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="url") as caught:
        inventories.fetch_inventory(inventory(None, page="https://page.example"), tmp_path)
    assert "https://page.example" in caught.value.remedy


def test_a_remote_file_is_fetched_once_and_again_when_it_changes(server: Loopback, tmp_path: Path) -> None:
    wanted = inventory(server.url("slides.geojson"))
    path = inventories.fetch_inventory(wanted, tmp_path)
    assert path.read_bytes() == SLIDES and path.name.endswith("-slides.geojson")
    assert inventories.fetch_inventory(wanted, tmp_path) == path
    server.files["slides.geojson"] = SLIDES + b" "
    server.etags["slides.geojson"] = '"two"'
    other = inventories.fetch_inventory(wanted, tmp_path)
    assert other != path and other.read_bytes() == SLIDES + b" "
    assert not list(tmp_path.glob(".*"))


def test_a_truncated_body_is_fetched_again(server: Loopback, tmp_path: Path) -> None:
    server.fail(1, Reply(200, {"ETag": '"one"'}, SLIDES[:10], length=len(SLIDES)))
    path = inventories.fetch_inventory(inventory(server.url("slides.geojson")), tmp_path)
    assert path.read_bytes() == SLIDES
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    server.etags["slides.geojson"] = '"two"'
    server.fail(99, Reply(200, {"ETag": '"two"'}, SLIDES[:10], length=len(SLIDES)))
    with pytest.raises(ArchiveError) as caught:
        inventories.fetch_inventory(inventory(server.url("slides.geojson")), tmp_path)
    assert caught.value.transient
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_the_checksum_decides(server: Loopback, tmp_path: Path) -> None:
    right = hashlib.sha256(SLIDES).hexdigest()
    url = server.url("slides.geojson?key=SECRET")
    assert inventories.fetch_inventory(inventory(url, sha256=right), tmp_path).read_bytes() == SLIDES
    with pytest.raises(SourceDataError, match=right) as caught:
        inventories.fetch_inventory(inventory(url, sha256="0" * 64), tmp_path)
    assert "SECRET" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stated", [True, False])
def test_a_file_that_is_too_large_is_refused(
    server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stated: bool
) -> None:
    monkeypatch.setattr(inventories, "MOST_BYTES", 20)
    if not stated:
        server.rules.append(lambda seen: Reply(200, {"Transfer-Encoding": "identity"}, SLIDES))
    with pytest.raises(SourceDataError, match="larger than"):
        inventories.fetch_inventory(inventory(server.url("slides.geojson")), tmp_path)
    assert list(tmp_path.iterdir()) == []


def link() -> zipfile.ZipInfo:
    made = zipfile.ZipInfo("a.shp")
    made.external_attr = (stat.S_IFLNK | 0o777) << 16
    return made


ZIPS: dict[str, tuple[bytes, str]] = {
    "parent": (zipped(("../../evil.shp", b"x")), "leads outside"),
    "absolute": (zipped(("/etc/evil.shp", b"x")), "leads outside"),
    "backslashes": (zipped(("..\\evil.shp", b"x")), "leads outside"),
    "drive": (zipped(("C:/evil.shp", b"x")), "leads outside"),
    "link": (zipped((link(), b"/etc/passwd")), "link"),
    "bomb": (zipped(("a.shp", b"\0" * 4_000_000)), "grows more than"),
    "many": (zipped(*((f"{n}.shp", b"") for n in range(30))), "holds 30 files"),
}


@pytest.mark.parametrize("case", ZIPS)
def test_unsafe_zips_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    monkeypatch.setattr(inventories, "MOST_MEMBERS", 20)
    data, words = ZIPS[case]
    path = tmp_path / "a.zip"
    path.write_bytes(data)
    with pytest.raises(SourceDataError, match=words):
        inventories.fetch_inventory(inventory(str(path)), tmp_path)


def test_a_valid_zip_is_accepted_within_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(zipped(("folder/a.geojson", SLIDES)))
    assert inventories.fetch_inventory(inventory(str(path)), tmp_path) == path
    monkeypatch.setattr(inventories, "MOST_UNPACKED_BYTES", 10)
    with pytest.raises(SourceDataError, match="unpacks to"):
        inventories.fetch_inventory(inventory(str(path)), tmp_path)


def test_a_file_geodatabase_is_one_file_and_any_other_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "slides.gdb"
    folder.mkdir()
    (folder / "a00000001.gdbtable").write_bytes(b"one")
    wanted = inventory(str(folder))
    assert inventories.fetch_inventory(wanted, tmp_path) == folder
    found, notes = inventories.inventory_fingerprint(wanted)
    assert found is not None and notes == [] and found.url == "slides.gdb"
    (folder / "a00000001.gdbtable").write_bytes(b"two")
    changed, _ = inventories.inventory_fingerprint(wanted)
    assert changed is not None and changed.fingerprint != found.fingerprint
    with pytest.raises(SourceDataError, match="folder"):
        inventories.fetch_inventory(inventory(str(tmp_path)), tmp_path)


def test_fingerprints(server: Loopback, tmp_path: Path) -> None:
    path = tmp_path / "slides.geojson"
    path.write_bytes(SLIDES)
    found, notes = inventories.inventory_fingerprint(inventory(str(path)))
    assert found is not None and notes == []
    assert found.fingerprint == hashlib.sha256(SLIDES).hexdigest()
    assert found.url == "slides.geojson"
    found, _ = inventories.inventory_fingerprint(inventory(server.url("slides.geojson?key=SECRET")))
    assert found is not None and found.fingerprint == '"one"' and "SECRET" not in found.url
    found, _ = inventories.inventory_fingerprint(inventory(server.url("slides.geojson"), sha256="a" * 64))
    assert found is not None and found.fingerprint == "a" * 64
    found, _ = inventories.inventory_fingerprint(
        inventory(str(path), extent=dict(mapping(box(141.9, 42.6, 142.0, 42.8))))
    )
    assert found is not None and found.extent_fingerprint


@pytest.mark.parametrize("case", ["none", "no url", "absent", "gone", "extent gone"])
def test_an_unavailable_inventory_is_noted(server: Loopback, tmp_path: Path, case: str) -> None:
    wanted = {
        "none": None,
        "no url": inventory(None, page="https://page.example"),
        "absent": inventory(str(tmp_path / "absent.gpkg")),
        "gone": inventory(server.url("gone.gpkg")),
        "extent gone": inventory(server.url("slides.geojson"), extent=server.url("gone.geojson")),
    }[case]
    found, notes = inventories.inventory_fingerprint(wanted)
    assert found is None
    assert len(notes) == 1 and "no labels" in notes[0]
    if case == "absent":
        assert str(tmp_path / "absent.gpkg") in notes[0]


def test_a_server_that_fails_is_named_and_stops_no_other_layer(server: Loopback) -> None:
    server.fail(99, Reply(503), method="HEAD")
    found, notes = inventories.inventory_fingerprint(inventory(server.url("slides.geojson")))
    assert found is None and "503" in notes[0]
