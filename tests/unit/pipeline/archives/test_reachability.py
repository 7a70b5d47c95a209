"""What the doctor reports of the archives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.archives import planetary
from pipeline.archives.archive import Reachable
from pipeline.archives.asf import ORBIT_HOST
from pipeline.archives.earthdata import Earthdata
from pipeline.archives.reachability import reachability
from pipeline.settings import settings
from tests.unit.loopback import Loopback, Reply, logged_in, standing_for_all_hosts

LANDING = b'{"conformsTo": ["https://api.stacspec.org/v1.0.0/item-search"]}'
ORBITS = f"{ORBIT_HOST}/scene/none"
TOKEN = b'{"msft:expiry": "2099-01-01T00:00:00Z", "token": "sig=SECRET"}'


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Loopback]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("SLIDECUBE_SUBSCRIPTION_KEY", "KEY")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.delenv("EARTHDATA_TOKEN", raising=False)
    monkeypatch.chdir(tmp_path)
    with (
        Loopback({"stac": LANDING, ORBITS: b""}) as loopback,
        standing_for_all_hosts(loopback),
        logged_in(Earthdata()),
    ):
        monkeypatch.setenv("SLIDECUBE_STAC_URL", loopback.url("stac"))
        settings.cache_clear()
        monkeypatch.setattr(planetary.SdkSettings.get(), "sas_url", "https://tokens.example/token")
        loopback.files["tokens.example/token/sentinel1euwestrtc/sentinel1-grd-rtc"] = TOKEN
        loopback.files["tokens.example/token/nasademeuwest/nasadem-cog"] = TOKEN
        loopback.files["tokens.example/token/elevationeuwest/copernicus-dem"] = TOKEN
        yield loopback
    settings.cache_clear()


def found() -> dict[str, Reachable]:
    return {one.name: one for one in reachability()}


def test_all_is_well(server: Loopback) -> None:
    answers = found()
    login = answers.pop("Earthdata login")
    assert not login.ok and not login.needed
    assert all(one.ok for one in answers.values()), answers
    assert not any(secret in str(one) for one in answers.values() for secret in ("SECRET", "'KEY'"))
    assert answers["subscription key"].detail == "present"
    keys = {
        seen.path.partition("/")[0] for seen in server.seen if "ocp-apim-subscription-key" in seen.headers
    }
    assert keys == {"tokens.example"}


def test_each_failure_is_named(server: Loopback) -> None:
    server.files["stac"] = b"<html>"
    server.files["tokens.example/token/nasademeuwest/nasadem-cog"] = b"{}"
    del server.files["tokens.example/token/elevationeuwest/copernicus-dem"]
    server.files[ORBITS] = b""
    answers = found()
    failed = {name for name, one in answers.items() if not one.ok and one.needed}
    assert failed == {"search (STAC)", "signing of NASADEM", "signing of Copernicus DEM"}
    assert "no JSON" in answers["search (STAC)"].detail
    assert "no token" in answers["signing of NASADEM"].detail
    assert "HTTP 404" in answers["signing of Copernicus DEM"].detail
    server.rules.append(lambda seen: Reply(503))
    answers = found()
    assert "HTTP 503" in answers["search (STAC)"].detail
    assert "HTTP 503" in answers["orbit files"].detail and not answers["orbit files"].needed
