"""Bursts, granules and orbits fetched from the sandbox, which serves them under ASF's real hosts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.archives import registry
from pipeline.archives.asf import Asf
from pipeline.archives.credentials import ACCOUNT
from pipeline.archives.earthdata import Earthdata, LoginError
from pipeline.archives.planetary import PlanetaryComputer
from pipeline.archives.slc.orbit_files import orbit_of
from pipeline.archives.slc.slc_files import fetch_slc
from pipeline.catalogue.slc import SlcPass
from pipeline.sandbox.posing.faults import Fault
from pipeline.sandbox.posing.server import Sandbox
from pipeline.sandbox.posing.server_options import ServerOptions
from pipeline.sandbox.world import FORMAT
from pipeline.settings import settings
from tests.unit.made_orbits import INSTANT
from tests.unit.pipeline.archives.slc.test_orbit_files import POEORB, eof
from tests.unit.pipeline.archives.slc.test_slc_files import GRANULE, HOST, XML, burst, packed, side, tiff

IDS = ["046_099060_IW2", "046_099061_IW2"]
STORE = "s1-orbits.s3.us-west-2.amazonaws.com"


def put(root: Path, url: str, data: bytes) -> None:
    path = root / "blobs" / url.removeprefix("https://")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


@pytest.fixture(scope="module")
def overflight(tmp_path_factory: pytest.TempPathFactory) -> tuple[SlcPass, Path]:
    """An overflight of two bursts, and the world that holds it."""
    root = tmp_path_factory.mktemp("asf") / "world"
    (root / "items").mkdir(parents=True)
    (root / "world.json").write_text(
        json.dumps({"format": FORMAT, "order": [], "digest": "none", "notes": [], "passes": []})
    )
    whole = side(burst(0), burst(1))
    data = packed()
    granule = whole.granules[0].model_copy(
        update={"size_bytes": len(data), "md5": hashlib.md5(data, usedforsecurity=False).hexdigest()}
    )
    put(root, granule.url, data)
    for one in whole.bursts:
        put(root, one.xml_url, XML)
        put(root, one.tiff_url, tiff())
    put(root, f"https://{STORE}/AUX_POEORB/{POEORB}", eof(POEORB))
    orbit = {
        "file": POEORB, "platform": "sentinel-1a", "kind": "precise",
        "start": "2018-09-04T22:59:42Z", "end": "2018-09-06T00:59:42Z",
    }  # fmt: skip
    index: dict[str, Any] = {
        "granules": [granule.model_dump(mode="json")],
        "bursts": [one.model_dump(mode="json") for one in whole.bursts],
        "orbits": [orbit],
    }
    (root / "slc").mkdir()
    (root / "slc" / "index.json").write_text(json.dumps(index))
    return whole.model_copy(update={"granules": (granule,)}), root


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SLIDECUBE_BACKOFF_S", "0.05")
    monkeypatch.setenv("SLIDECUBE_RETRIES", "4")
    settings.cache_clear()
    yield
    settings.cache_clear()


def enter(archives: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reach the sandbox, with a login that is not yet made."""
    for name, value in archives.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(registry, "ARCHIVES", (PlanetaryComputer(), Asf(Earthdata())))


@pytest.fixture(scope="module")
def by_password(overflight: tuple[SlcPass, Path]) -> Iterator[Sandbox]:
    with Sandbox(overflight[1], options=ServerOptions(login="password")) as archives:
        yield archives


@pytest.fixture(scope="module")
def by_token(overflight: tuple[SlcPass, Path]) -> Iterator[Sandbox]:
    with Sandbox(overflight[1], options=ServerOptions(login="token")) as archives:
        yield archives


@pytest.mark.parametrize("login", ["by_password", "by_token"])
@pytest.mark.parametrize("mode", ["bursts", "granules"])
def test_either_login_fetches_either_form(
    login: str,
    mode: Any,
    overflight: tuple[SlcPass, Path],
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    brisk: None,
) -> None:
    archives: Sandbox = request.getfixturevalue(login)
    archives.reset()
    enter(archives, monkeypatch)
    files = fetch_slc(overflight[0], IDS, "vv", tmp_path, mode)
    if mode == "bursts":
        assert [path.read_bytes() for path in files] == [tiff(), tiff()]
        assert [path.with_suffix(".xml").read_bytes() for path in files] == [XML, XML]
    else:
        assert [path.name for path in files] == [f"{GRANULE}.SAFE"]
    logins = [entry for entry in archives.log if entry.path == "/oauth/authorize" and entry.status == 302]
    assert len(logins) == (login == "by_password")
    assert not [entry for entry in archives.log if entry.status == 400]  # no store received a login


def test_cuts_and_refusals_on_the_way_are_survived(
    by_password: Sandbox,
    overflight: tuple[SlcPass, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    brisk: None,
) -> None:
    by_password.reset()
    enter(by_password, monkeypatch)
    fetch_slc(overflight[0], IDS[:1], "vv", tmp_path)
    by_password.add_fault(
        Fault(action="cut", host="asf-burst*", path="*1.tiff", after_bytes=3000),
        Fault(action="status", host="asf-burst*", status=503, path="*1.xml"),
        Fault(action="stale_login", host=HOST),
        Fault(action="stale_token", host=HOST, path="*1.xml", skip=1),
    )
    (path,) = fetch_slc(overflight[0], IDS[1:], "vv", tmp_path)
    assert path.read_bytes() == tiff()


def test_a_spoilt_burst_is_noticed_and_fetched_again(
    by_password: Sandbox,
    overflight: tuple[SlcPass, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    brisk: None,
) -> None:
    by_password.reset()
    by_password.add_fault(Fault(action="corrupt", host="asf-burst*", path="*.tiff", after_bytes=0))
    enter(by_password, monkeypatch)
    (path,) = fetch_slc(overflight[0], IDS[:1], "vv", tmp_path)
    assert path.read_bytes() == tiff()


def test_terms_that_are_not_accepted_are_told(
    overflight: tuple[SlcPass, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, brisk: None
) -> None:
    for login in ("password", "token"):
        options = ServerOptions.model_validate({"login": login, "eula_accepted": False})
        with (
            Sandbox(overflight[1], options=options) as archives,
            pytest.raises(LoginError, match="EULA") as refused,
        ):
            enter(archives, monkeypatch)
            fetch_slc(overflight[0], IDS, "vv", tmp_path, "granules")
        assert ACCOUNT in refused.value.remedy


def test_a_token_that_brings_no_cookie_is_told(
    overflight: tuple[SlcPass, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, brisk: None
) -> None:
    options = ServerOptions(login="token", token_brings_cookie=False)
    with (
        Sandbox(overflight[1], options=options) as archives,
        pytest.raises(LoginError, match="cookie") as refused,
    ):
        enter(archives, monkeypatch)
        fetch_slc(overflight[0], IDS, "vv", tmp_path, "bursts")
    assert "SLIDECUBE_SLC_FETCH=granules" in refused.value.remedy


def test_an_orbit_comes_by_the_service(
    by_password: Sandbox,
    overflight: tuple[SlcPass, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    brisk: None,
) -> None:
    begin, end = INSTANT - timedelta(seconds=10), INSTANT + timedelta(seconds=17)
    name = f"S1A_IW_SLC__1SDV_{begin:%Y%m%dT%H%M%S}_{end:%Y%m%dT%H%M%S}_023560_02910C_8F11"
    granule = overflight[0].granules[0].model_copy(update={"name": name, "start": begin, "end": end})
    flight = overflight[0].model_copy(update={"granules": (granule,)})
    enter(by_password, monkeypatch)
    orbit = orbit_of(flight, tmp_path)
    assert (orbit.kind, orbit.path.name) == ("precise", POEORB)
