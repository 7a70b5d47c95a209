"""Orbit files: the best by name, fetched without a login, checked, and recorded with their kind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import yaml
from pydantic import SecretStr

from pipeline.archives.earthdata import Credentials, Earthdata
from pipeline.archives.slc.orbit_files import choose_orbit, fetch_orbit, orbit_of
from pipeline.catalogue.state_vectors import read_orbit_name
from pipeline.errors import ArchiveError, SourceDataError
from tests.unit.loopback import Loopback, Reply, Seen, brisk_settings, logged_in, standing_for_all_hosts
from tests.unit.made_orbits import INSTANT
from tests.unit.pipeline.archives.slc.test_slc_files import side
from tests.unit.pipeline.catalogue.test_state_vectors import VECTORS, document

SCENE = "S1A_IW_SLC__1SDV_20180905T204150_20180905T204217_023560_02910C_8F11"
START, END = INSTANT - timedelta(seconds=10), INSTANT + timedelta(seconds=17)
POEORB = "S1A_OPER_AUX_POEORB_OPOD_20180925T120544_V20180904T225942_20180906T005942.EOF"
RESORB = "S1A_OPER_AUX_RESORB_OPOD_20180905T231540_V20180905T190218_20180905T221948.EOF"
SERVICE = f"s1-orbits.asf.alaska.edu/scene/{SCENE}"
STORE = "s1-orbits.s3.amazonaws.com"
LOGIN = Earthdata(Credentials(token=SecretStr("tok"), user=SecretStr("u"), password=SecretStr("p")))


def eof(name: str) -> bytes:
    return document(name=name.removesuffix(".EOF")).encode()


class Service:
    """The orbit service and its store."""

    def __init__(self, server: Loopback, best: str) -> None:
        self.best, self.server = best, server
        for name in (POEORB, RESORB):
            server.files[f"{STORE}/AUX/{name}"] = eof(name)
        server.rules.append(self._answer)

    def _answer(self, seen: Seen) -> Reply | None:
        if seen.path == SERVICE:
            return Reply(302, {"Location": f"https://{STORE}/AUX/{self.best}"})
        return None


@pytest.fixture(autouse=True)
def brisk() -> Iterator[None]:
    with brisk_settings(retries=1), logged_in(LOGIN):
        yield


@pytest.fixture
def service() -> Iterator[Service]:
    with Loopback() as server, standing_for_all_hosts(server):
        yield Service(server, POEORB)


def fetch(folder: Path, platform: str = "sentinel-1a") -> object:
    return fetch_orbit(platform, START, END, folder, scene=SCENE)


def test_a_precise_orbit_comes_without_a_login_and_is_kept(service: Service, tmp_path: Path) -> None:
    orbit = fetch_orbit("sentinel-1a", START, END, tmp_path, scene=SCENE)
    assert (orbit.kind, orbit.path) == ("precise", tmp_path / POEORB)
    assert orbit.path.read_bytes() == eof(POEORB)
    assert not any("authorization" in seen.headers for seen in service.server.seen)
    asked = len(service.server.seen)
    assert fetch(tmp_path) == orbit
    assert len(service.server.seen) == asked


def test_a_restituted_orbit_is_recorded_and_replaced_by_a_precise_one(
    service: Service, tmp_path: Path
) -> None:
    service.best = RESORB
    first = fetch_orbit("sentinel-1a", START, END, tmp_path, scene=SCENE)
    assert (first.kind, first.path.name) == ("restituted", RESORB)
    service.best = POEORB
    second = fetch_orbit("sentinel-1a", START, END, tmp_path, scene=SCENE)
    assert (second.kind, second.path.name) == ("precise", POEORB)


def test_a_restituted_orbit_at_hand_does_where_the_service_fails(service: Service, tmp_path: Path) -> None:
    (tmp_path / RESORB).write_bytes(eof(RESORB))
    service.server.fail(100, Reply(503))
    service.server.rules.reverse()
    orbit = fetch_orbit("sentinel-1a", START, END, tmp_path, scene=SCENE)
    assert orbit.kind == "restituted"


def test_a_damaged_orbit_at_hand_is_not_used(service: Service, tmp_path: Path) -> None:
    (tmp_path / POEORB).write_bytes(eof(POEORB)[:-500])
    assert fetch_orbit("sentinel-1a", START, END, tmp_path, scene=SCENE).kind == "precise"
    assert (tmp_path / POEORB).read_bytes() == eof(POEORB)


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (Reply(404), SCENE),
        (Reply(400), "HTTP 400"),
        (Reply(200, {}, b"<html>"), "web page"),
        (Reply(302, {"Location": f"https://{STORE}/AUX/../../etc/passwd"}), "HTTP 404|no orbit file"),
        (Reply(302, {"Location": "http://elsewhere.example/x.EOF"}), "elsewhere"),
    ],
    ids=["none yet", "bad name", "a page", "odd name", "plain http"],
)
def test_what_is_no_orbit_file_is_named(service: Service, tmp_path: Path, reply: Reply, why: str) -> None:
    service.server.rules.insert(0, lambda seen: reply if seen.path == SERVICE else None)
    with pytest.raises(ArchiveError, match=why):
        fetch(tmp_path)
    assert not list(tmp_path.glob("*.EOF*"))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (eof(POEORB)[:-500], "cut short"),
        (b"<page>sign in</page>", "no Earth_Explorer_File"),
        (document(name=RESORB.removesuffix(".EOF")).encode(), "states File_Name"),
        (
            b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + eof(POEORB).partition(b"?>")[2],
            "document type",
        ),
    ],
    ids=["cut", "page", "another", "entity"],
)
def test_a_wrong_file_never_gets_its_name(service: Service, tmp_path: Path, content: bytes, why: str) -> None:
    service.server.files[f"{STORE}/AUX/{POEORB}"] = content
    with pytest.raises(SourceDataError, match=why):
        fetch(tmp_path)
    assert not list(tmp_path.glob("*.EOF*"))


def test_an_orbit_that_does_not_cover_the_overflight_is_refused(service: Service, tmp_path: Path) -> None:
    late = VECTORS[-1].time - timedelta(seconds=30)
    with pytest.raises(SourceDataError, match="state vectors from"):
        fetch_orbit("sentinel-1a", late, late, tmp_path, scene=SCENE)
    with pytest.raises(SourceDataError, match="sentinel-1b"):
        fetch(tmp_path, platform="sentinel-1b")


def test_the_orbit_of_a_side_spans_its_granules(service: Service, tmp_path: Path) -> None:
    whole = side()
    granule = whole.granules[0].model_copy(update={"name": SCENE, "start": START, "end": END})
    assert orbit_of(whole.model_copy(update={"granules": (granule,)}), tmp_path).kind == "precise"


# choosing, on recorded answers of the Copernicus catalogue ------------------------------------------------------


def recorded_names(shared_data: Path) -> dict[str, list[str]]:
    """Kind to names in the answers; the requests, which hold somebody's login, are left unread."""
    names: dict[str, list[str]] = {"POEORB": [], "RESORB": []}
    for path in sorted((shared_data / "asf_orbits").rglob("*.yaml")):
        for exchange in yaml.safe_load(path.read_text())["interactions"]:
            answer = exchange["response"]["body"]["string"]
            for product in json.loads(answer).get("value", []):
                names["POEORB" if "POEORB" in product["Name"] else "RESORB"].append(product["Name"])
    return names


def test_names_of_the_archive_are_read_and_chosen(shared_data: Path) -> None:
    names = recorded_names(shared_data)
    assert names["POEORB"]
    assert names["RESORB"]
    every = [*names["POEORB"], *names["RESORB"], "S1A_OPER_AUX_PREORB_OPOD.EOF", "../x", ""]
    for name in [*names["POEORB"], *names["RESORB"]]:
        stated = read_orbit_name(name)
        begin, end = stated.validity
        middle = begin + (end - begin) / 2
        chosen = choose_orbit(every, stated.platform, middle, middle + timedelta(seconds=30))
        assert chosen is not None
        assert chosen.kind == stated.kind
        assert choose_orbit(every, "sentinel-1b", middle, middle) is None
        assert choose_orbit([name], stated.platform, begin + timedelta(seconds=59), middle) is None
        assert choose_orbit([name], stated.platform, middle, end - timedelta(seconds=59)) is None
        assert choose_orbit(
            [name], stated.platform, begin + timedelta(seconds=60), end - timedelta(seconds=60)
        )


def test_the_better_orbit_is_chosen() -> None:
    newer = POEORB.replace("20180925T120544", "20210301T000000")
    chosen = choose_orbit([POEORB, newer, RESORB], "sentinel-1a", START, END)
    assert chosen is not None
    assert f"{chosen.name}.EOF" == newer
    early = "S1A_OPER_AUX_RESORB_OPOD_20180905T213806_V20180905T172340_20180905T204430.EOF"
    chosen = choose_orbit([early, RESORB], "sentinel-1a", START, END)
    assert chosen is not None
    assert f"{chosen.name}.EOF" == RESORB
    assert choose_orbit([], "sentinel-1a", START, END) is None
    assert isinstance(chosen.validity[0], datetime)
