"""Archives: chosen by host and collection, signed once more after a refusal; secrets go to their own hosts alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.serving.limits import INTERFEROMETRY, LIMITS
from pipeline.archives.archive import SLC_BURSTS, SLC_GRANULES, Signed
from pipeline.archives.asf import Asf
from pipeline.archives.http.ranges import RemoteFile
from pipeline.archives.planetary import PlanetaryComputer
from pipeline.archives.registry import ARCHIVES, OTHER, archive_of, archives_read, serving
from pipeline.archives.stac import StacArchive
from pipeline.archives.zenodo import Zenodo
from pipeline.errors import ArchiveError
from pipeline.settings import settings
from tests.unit.loopback import Loopback, Reply, Seen, brisk_settings, standing_for_all_hosts
from tests.unit.pipeline.catalogue.test_passes import area

HOST = "data.bearer.example"
URL = f"https://{HOST}/scene.bin"


class Bearer(StacArchive):
    """An archive whose files need a bearer token, of which the first has been revoked."""

    name = "bearer"
    hosts = (HOST,)

    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens)

    def sign(self, href: str, *, anew: bool = False) -> Signed:
        if anew:
            self.tokens.pop(0)
        return Signed(href, {"Authorization": f"Bearer {self.tokens[0]}"})


@pytest.fixture(autouse=True)
def brisk() -> Iterator[None]:
    with brisk_settings(retries=0):
        yield


@pytest.fixture
def server() -> Iterator[Loopback]:
    def refuse(seen: Seen) -> Reply | None:
        allowed = seen.headers.get("authorization") == "Bearer good"
        return None if allowed or not seen.path.startswith(HOST) else Reply(403)

    with Loopback({f"{HOST}/scene.bin": b"0123456789"}) as loopback, standing_for_all_hosts(loopback):
        loopback.rules.append(refuse)
        yield loopback


@pytest.mark.parametrize(
    ("href", "kind"),
    [
        ("https://planetarycomputer.microsoft.com/api/stac/v1", PlanetaryComputer),
        ("https://sentinel1euwestrtc.blob.core.windows.net/sentinel1-grd-rtc/a.tif", PlanetaryComputer),
        ("https://datapool.asf.alaska.edu/SLC/SA/a.zip", Asf),
        ("https://sentinel1-burst.asf.alaska.edu/a/IW1/VV/0.tiff", Asf),
        ("https://asf.alaska.edu.evil.example/a", StacArchive),
        ("https://notasf.alaska.edu/a", StacArchive),
        ("https://blob.core.windows.net.evil.example/a", StacArchive),
        ("https://zenodo.org/api/records/1/files/a.zip/content", Zenodo),
        ("https://zenodo.org.evil.example/a", StacArchive),
        ("https://slides.example/slides.zip", StacArchive),
        ("/data/a.tif", StacArchive),
    ],
)
def test_the_host_chooses_the_archive(href: str, kind: type) -> None:
    assert type(archive_of(href)) is kind


def test_a_collection_is_searched_where_it_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [serving(one).name for one in (SLC_GRANULES, SLC_BURSTS)] == ["asf", "asf"]
    assert serving("sentinel-1-rtc").name == "planetary-computer"
    assert [one.name for one in archives_read(area())] == ["planetary-computer"]
    assert [one.name for one in archives_read(area(interferometry={}))] == ["planetary-computer", "asf"]
    monkeypatch.setenv("SLIDECUBE_STAC_URL", "https://stac.example/v1")
    settings.cache_clear()
    assert serving("sentinel-1-rtc") is OTHER and OTHER.endpoint == "https://stac.example/v1"
    assert serving(SLC_GRANULES).name == "asf"


def test_every_archive_has_a_limit_of_its_own() -> None:
    # but for further collections of one archive, whose files its servers hand out
    for one in (*ARCHIVES, OTHER):
        same = [other for other in (*ARCHIVES, OTHER) if other.name == one.name]
        assert all(isinstance(other, type(same[0])) and other.slots == one.slots for other in same)
    assert {archive.name: archive.slots for archive in (*ARCHIVES, OTHER)} | {INTERFEROMETRY: 1} == LIMITS
    assert LIMITS["planetary-computer"] == 6


def test_a_refused_signature_is_made_anew_once(server: Loopback) -> None:
    assert RemoteFile(URL, Bearer("old", "good")).fetch(0, 10) == b"0123456789"
    described = Bearer("old", "good").describe(URL)
    assert described is not None and (described.size_bytes, described.etag) == (10, '"one"')
    server.seen.clear()
    with pytest.raises(ArchiveError) as refused:
        RemoteFile(URL, Bearer("old", "older", "good"))
    assert not refused.value.transient and len(server.seen) == 2
    assert "old" not in str(refused.value)
    assert "old" not in repr(Bearer("old").sign(URL))


def test_a_public_file_is_requested_without_a_signature(server: Loopback) -> None:
    with Bearer("good").open(URL, public=True) as response:
        assert response.status_code == 403
    assert all("authorization" not in seen.headers for seen in server.seen)


def test_a_redirect_to_another_host_takes_no_token_along(server: Loopback) -> None:
    server.files["elsewhere.example/x"] = b"elsewhere"
    moved = Reply(302, {"Location": "https://elsewhere.example/x"})
    server.rules.insert(0, lambda seen: moved if seen.path == f"{HOST}/scene.bin" else None)
    with Bearer("good").open(URL) as response:
        assert response.content == b"elsewhere"
    assert [seen.path for seen in server.seen if "authorization" in seen.headers] == [f"{HOST}/scene.bin"]


@pytest.mark.parametrize("entry", ["default", "machine zenodo.org", "machine elsewhere.example"])
def test_another_host_gets_no_login_of_the_netrc(
    server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str
) -> None:
    netrc: Any = tmp_path / "netrc"
    netrc.write_text(f"{entry} login somebody password s3cret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server.files["elsewhere.example/x"] = b"slides"
    moved = Reply(302, {"Location": "https://elsewhere.example/x"})
    server.rules.insert(0, lambda seen: moved if seen.path.startswith("zenodo.org") else None)
    with archive_of("https://zenodo.org/x").open("https://zenodo.org/x") as response:
        assert response.content == b"slides"
    assert len(server.seen) == 2 and all("authorization" not in seen.headers for seen in server.seen)
