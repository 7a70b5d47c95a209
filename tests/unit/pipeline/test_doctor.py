"""What the doctor reports of the requirements of interferometry, and that it shows no secret."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import doctor
from pipeline.archives.credentials import LOGIN_HOST
from pipeline.elevation import geoid
from tests.unit.loopback import Loopback, Reply, brisk_settings, standing_for_all_hosts


@pytest.fixture(autouse=True)
def no_login(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.delenv("EARTHDATA_TOKEN", raising=False)
    with brisk_settings(retries=0):
        yield


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback() as loopback, standing_for_all_hosts(loopback):
        yield loopback


def examined() -> list[doctor.Finding]:
    return [*doctor.examine_archives(), *doctor.examine_geoids()]


def states() -> dict[str, str]:
    return {finding.name: finding.state for finding in examined()}


def test_available_and_missing_services(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    server.rules.append(lambda _seen: Reply(400))
    found = states()
    assert found["Earthdata login"] == "missing"
    assert found["geoid EGM96"] == "ok"
    assert found["orbit files"] == "ok"
    server.rules[:] = [lambda _seen: Reply(503)]
    monkeypatch.setattr(geoid, "find_spec", lambda _name: None)
    found = states()
    assert found["geoid EGM2008"] == "missing"
    assert found["orbit files"] == "missing"


def test_a_login_is_named_and_not_shown(
    server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text(f"machine {LOGIN_HOST} login some-one password s3cret\n")
    monkeypatch.setenv("EARTHDATA_TOKEN", "t0ken")
    findings = {finding.name: finding for finding in examined()}
    assert findings["Earthdata login"].state == "ok"
    assert "netrc" in findings["Earthdata login"].detail
    assert not any(secret in str(findings) for secret in ("some-one", "s3cret", "t0ken"))
    assert not any("authorization" in seen.headers for seen in server.seen)
    (tmp_path / "netrc").write_text("machine x login y password z and more")
    assert states()["Earthdata login"] == "missing"
