"""What the doctor says of the archives."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.archives import planetary
from pipeline.archives.reachability import reachability
from pipeline.settings import Settings, settings
from tests.unit.loopback import Loopback, Reply

LANDING = b'{"conformsTo": ["https://api.stacspec.org/v1.0.0/item-search"]}'
TOKEN = b'{"msft:expiry": "2099-01-01T00:00:00Z", "token": "sig=SECRET"}'


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("SLIDECUBE_SUBSCRIPTION_KEY", "KEY")
    settings.cache_clear()
    with Loopback({"stac": LANDING}) as loopback:
        monkeypatch.setattr(planetary.SdkSettings.get(), "sas_url", loopback.url("token"))
        loopback.files["token/sentinel1euwestrtc/sentinel1-grd-rtc"] = TOKEN
        loopback.files["token/nasademeuwest/nasadem-cog"] = TOKEN
        loopback.files["token/elevationeuwest/copernicus-dem"] = TOKEN
        yield loopback
    settings.cache_clear()


def test_all_is_well(server: Loopback) -> None:
    found = reachability(Settings(stac_url=server.url("stac")))
    assert all(one.ok for one in found), found
    assert "SECRET" not in str(found) and "KEY" not in str([one.detail for one in found[:-1]]).replace(
        "SDK_", ""
    )
    assert found[-1].detail == "present"


def test_each_failure_is_told_apart(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    server.files["stac"] = b"<html>"
    server.files["token/nasademeuwest/nasadem-cog"] = b"{}"
    del server.files["token/elevationeuwest/copernicus-dem"]
    found = {one.name: one for one in reachability(Settings(stac_url=server.url("stac")))}
    assert [one.ok for one in found.values()] == [False, True, False, False, True]
    assert "no JSON" in found["search (STAC)"].detail
    assert "no token" in found["signing of NASADEM"].detail
    assert "HTTP 404" in found["signing of Copernicus DEM"].detail
    server.rules.append(lambda seen: Reply(503))
    assert "HTTP 503" in reachability(Settings(stac_url=server.url("stac")))[0].detail
