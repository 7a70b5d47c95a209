"""Logging in to Earthdata: which hosts receive which secret, one login for all, and the errors of a failed login."""

from __future__ import annotations

import base64
import json
import logging
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from pipeline.archives import earthdata
from pipeline.archives.credentials import LOGIN_HOST, Credentials, find_credentials, login_note
from pipeline.archives.earthdata import TOKEN_COOKIE_URL, Earthdata, LoginError
from pipeline.errors import ArchiveError, SettingsError
from tests.unit.loopback import Loopback, Reply, Seen, brisk_settings, standing_for_all_hosts

BURSTS = "sentinel1-burst.asf.alaska.edu"
FILE = f"{BURSTS}/GRANULE/IW1/VV/0.tiff"
URL = f"https://{FILE}"
SCOPE = "; Domain=.asf.alaska.edu; Path=/; Secure"
STORE = "d1.cloudfront.net/file?signature=s3cret"
USER, PASSWORD, TOKEN = "somebody", "pass-word", "to.k-en"
WITH_PASSWORD = Credentials(user=SecretStr(USER), password=SecretStr(PASSWORD))
WITH_TOKEN = Credentials(token=SecretStr(TOKEN))


class Asf:
    """ASF's hosts and the login host, as `ASFSession` and burst2safe expect them."""

    def __init__(self, server: Loopback) -> None:
        self.server = server
        self.server.files["d1.cloudfront.net/file"] = b"the burst"
        self.takes_tokens = False
        self.gives_cookie_for_token = False
        self.cookie = "asf-urs=c00kie"
        self.logins = 0
        server.rules.append(self._answer)

    def _answer(self, seen: Seen) -> Reply | None:
        host, _, path = seen.path.partition("/")
        if host == LOGIN_HOST:
            return self._login(seen)
        if path.startswith("login?code="):
            return Reply(302, {"Set-Cookie": f"{self.cookie}{SCOPE}", "Location": f"https://{FILE}"})
        bearer = seen.headers.get("authorization") == f"Bearer {TOKEN}"
        if seen.path == TOKEN_COOKIE_URL.removeprefix("https://"):
            headers = {"Set-Cookie": f"{self.cookie}{SCOPE}"}
            return Reply(200, headers if bearer and self.gives_cookie_for_token else {})
        if host == BURSTS:
            if self.cookie in seen.headers.get("cookie", "") or (bearer and self.takes_tokens):
                return Reply(307, {"Location": f"https://{STORE}"})
            back = quote(f"https://{BURSTS}/login", safe="")
            where = f"https://{LOGIN_HOST}/oauth/authorize?client_id=abc&redirect_uri={back}"
            return Reply(302, {"Location": where})
        return None

    def _login(self, seen: Seen) -> Reply:
        basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if seen.headers.get("authorization") != f"Basic {basic}":
            return Reply(401)
        self.logins += 1
        return Reply(302, {"Location": f"https://{BURSTS}/login?code=1234"})

    def with_header(self, name: str) -> set[str]:
        """The hosts that received a header."""
        return {seen.path.partition("/")[0] for seen in self.server.seen if name in seen.headers}


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.delenv("EARTHDATA_TOKEN", raising=False)
    monkeypatch.chdir(tmp_path)
    with brisk_settings(retries=1):
        yield


@pytest.fixture
def asf() -> Iterator[Asf]:
    with Loopback() as server, standing_for_all_hosts(server):
        yield Asf(server)


def body(archive: Earthdata, url: str = URL) -> bytes:
    with archive.ask(url, {"Range": "bytes=0-"}) as answer:
        return answer.content


def test_user_name_and_password_go_to_the_login_host_alone(asf: Asf) -> None:
    assert body(Earthdata(WITH_PASSWORD)) == b"the burst"
    assert asf.with_header("authorization") == {LOGIN_HOST}
    assert asf.with_header("cookie") == {BURSTS}
    assert LOGIN_HOST not in asf.with_header("range")


def test_a_netrc_is_not_read_behind_our_back(
    asf: Asf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text(
        f"machine {LOGIN_HOST} login {USER} password {PASSWORD}\n"
        "machine d1.cloudfront.net login a password b\ndefault login c password d\n"
    )
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert body(Earthdata()) == b"the burst"
    assert asf.with_header("authorization") == {LOGIN_HOST}


def test_there_is_one_login_for_many_threads_and_files(asf: Asf) -> None:
    archive = Earthdata(WITH_PASSWORD)
    threads = [threading.Thread(target=body, args=(archive,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asf.logins == 1


def test_a_cookie_that_ran_out_is_renewed(asf: Asf) -> None:
    archive = Earthdata(WITH_PASSWORD)
    body(archive)
    asf.cookie = "asf-urs=an0ther"
    assert body(archive) == b"the burst"
    assert asf.logins == 2


@pytest.mark.parametrize("found", [WITH_PASSWORD, WITH_TOKEN], ids=["password", "token"])
def test_a_cookie_that_is_refused_is_replaced_once(asf: Asf, found: Credentials) -> None:
    asf.gives_cookie_for_token = True
    archive = Earthdata(found)
    body(archive)
    refusals = [Reply(403, {}, b'{"message": "Forbidden"}')]
    asf.server.rules.insert(0, lambda s: refusals.pop() if s.path == FILE and refusals else None)
    assert body(archive) == b"the burst"
    asf.server.rules.insert(0, lambda s: Reply(403) if s.path == FILE else None)
    asked = len(asf.server.seen)
    with pytest.raises(LoginError, match="403"):
        body(archive)
    assert len(asf.server.seen) == asked + 2


def test_a_token_goes_to_asf_and_no_further(asf: Asf) -> None:
    asf.takes_tokens = True
    assert body(Earthdata(WITH_TOKEN)) == b"the burst"
    assert asf.with_header("authorization") == {BURSTS}


def test_a_token_gets_the_cookie_by_a_detour(asf: Asf) -> None:
    asf.gives_cookie_for_token = True
    archive = Earthdata(WITH_TOKEN)
    assert body(archive) == b"the burst"
    assert body(archive) == b"the burst"
    detour = TOKEN_COOKIE_URL.removeprefix("https://")
    assert [seen.path for seen in asf.server.seen].count(detour) == 1
    assert asf.with_header("authorization") == {BURSTS, detour.partition("/")[0]}


def test_where_a_token_does_not_do_the_way_out_is_named(asf: Asf) -> None:
    with pytest.raises(LoginError, match="cookie") as refused:
        body(Earthdata(WITH_TOKEN))
    assert "netrc" in refused.value.remedy
    assert "SLIDECUBE_SLC_FETCH=granules" in refused.value.remedy
    assert LOGIN_HOST not in {seen.path.partition("/")[0] for seen in asf.server.seen}


def test_without_any_login_nothing_is_tried(asf: Asf) -> None:
    with pytest.raises(LoginError, match="Earthdata") as refused:
        body(Earthdata(Credentials()))
    assert "EARTHDATA_TOKEN" in refused.value.remedy


def test_a_public_file_gets_nothing(asf: Asf) -> None:
    asf.server.files["s1-orbits.asf.alaska.edu/scene/x"] = b"public"
    both = Credentials(token=SecretStr(TOKEN), user=SecretStr(USER), password=SecretStr(PASSWORD))
    with Earthdata(both).ask("https://s1-orbits.asf.alaska.edu/scene/x", login=False) as answer:
        assert answer.content == b"public"
    assert asf.with_header("authorization") == set()


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/x",
        "https://asf.alaska.edu.evil.example/x",
        "https://notasf.alaska.edu.example/x",
    ],
)
def test_a_redirect_elsewhere_takes_no_secret_along(asf: Asf, target: str) -> None:
    asf.server.files[target.removeprefix("https://")] = b"elsewhere"
    asf.server.rules.insert(0, lambda s: Reply(302, {"Location": target}) if s.path == FILE else None)
    body(Earthdata(WITH_TOKEN))
    assert asf.with_header("authorization") == {BURSTS}


@pytest.mark.parametrize(
    "target", ["http://sentinel1-burst.asf.alaska.edu/x", "https://u:p@h.example/", "file:///etc"]
)
def test_a_redirect_off_https_is_refused(asf: Asf, target: str) -> None:
    asf.server.rules.insert(0, lambda s: Reply(302, {"Location": target}) if s.path == FILE else None)
    with pytest.raises(ArchiveError, match=BURSTS) as refused:
        body(Earthdata(WITH_TOKEN))
    assert "u:p" not in str(refused.value)


def test_a_redirect_to_no_address_at_all_is_an_error_that_says_so(asf: Asf) -> None:
    asf.server.rules.insert(0, lambda s: Reply(302, {"Location": "https://[bad"}) if s.path == FILE else None)
    with pytest.raises(ArchiveError, match=FILE):
        body(Earthdata(WITH_TOKEN))


@pytest.mark.parametrize("host", ["a..b", f"{'a' * 64}.example"])
def test_a_host_that_can_be_none_is_an_error_that_says_so(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")  # its name is refused before any request
    with pytest.raises(ArchiveError, match=re.escape(host)):
        body(Earthdata(WITH_TOKEN), f"https://{host}/x")


def test_the_body_of_a_redirect_is_not_read(asf: Asf) -> None:
    endless = Reply(302, {"Location": f"https://{STORE}"}, b"x", 2**40)
    asf.server.rules.insert(0, lambda s: endless if s.path == FILE else None)
    assert body(Earthdata(WITH_TOKEN)) == b"the burst"


def test_a_stranger_cannot_send_us_to_the_login(asf: Asf) -> None:
    where = f"https://{LOGIN_HOST}/oauth/authorize?redirect_uri=https%3A%2F%2Fevil.example"
    asf.server.rules.insert(
        0, lambda s: Reply(302, {"Location": where}) if s.path.startswith("evil") else None
    )
    with pytest.raises(LoginError, match="should not"):
        body(Earthdata(WITH_PASSWORD), "https://evil.example/file")
    assert asf.with_header("authorization") == set()


def test_redirects_in_a_circle_end(asf: Asf) -> None:
    asf.server.rules.insert(0, lambda s: Reply(302, {"Location": URL}) if s.path == FILE else None)
    with pytest.raises(ArchiveError, match="more than"):
        body(Earthdata(WITH_TOKEN))


def refusal(
    asf: Asf, status: int, text: str = "", at: str = BURSTS, found: Credentials = WITH_PASSWORD
) -> ArchiveError:
    reply = Reply(status, {}, text.encode())
    asf.server.rules.insert(0, lambda s: reply if s.path.startswith(at) else None)
    with pytest.raises(ArchiveError) as refused:
        body(Earthdata(found))
    return refused.value


def test_a_wrong_password_is_named(asf: Asf) -> None:
    error = refusal(asf, 401, at=LOGIN_HOST)
    assert "401" in error.message and isinstance(error, LoginError)
    assert not error.transient


def test_terms_not_accepted_are_named_with_the_page_that_accepts_them(asf: Asf) -> None:
    page = f"https://{LOGIN_HOST}/approve_app?client_id=BO_n7nTIlMljdvU6kRRB3g"
    refusing = json.dumps(
        {"status_code": 403, "error_description": "EULA Acceptance Failure", "resolution_url": page}
    )
    error = refusal(asf, 403, refusing)
    assert "EULA" in error.message
    assert page in error.remedy


@pytest.mark.parametrize("page", ["https://evil.example/approve_app?client_id=x", "javascript:x", 7, None])
def test_a_page_elsewhere_is_not_passed_on(asf: Asf, page: object) -> None:
    error = refusal(asf, 403, json.dumps({"error": "EULA", "resolution_url": page}))
    assert f"https://{LOGIN_HOST}/profile" in error.remedy
    assert "evil" not in str(error)


def test_an_expired_token_is_named(asf: Asf) -> None:
    error = refusal(asf, 401, found=WITH_TOKEN)
    assert "60 days" in error.message
    assert "user_tokens" in error.remedy


def test_an_account_without_access_is_named(asf: Asf) -> None:
    error = refusal(asf, 403)
    assert "403" in error.message and isinstance(error, LoginError)
    assert not error.transient


def test_a_page_of_the_login_host_is_no_file(asf: Asf) -> None:
    assert "approve" in refusal(asf, 200, "<html>", at=LOGIN_HOST).message


def test_a_refused_signed_address_may_be_tried_again(asf: Asf) -> None:
    asf.takes_tokens = True
    error = refusal(asf, 403, at="d1.cloudfront.net", found=WITH_TOKEN)
    assert error.transient
    assert "s3cret" not in str(error)


def test_nothing_secret_is_shown_or_logged(asf: Asf, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    shown = ""
    for found in (WITH_PASSWORD, WITH_TOKEN, Credentials(WITH_TOKEN.token, *_user(WITH_PASSWORD))):
        archive = Earthdata(found)
        try:
            body(archive)
        except ArchiveError as error:
            shown += f"{error!r} {error.__cause__!r}"
        shown += repr(archive) + repr(found) + str(found)
    shown += " ".join(record.getMessage() for record in caplog.records if record.name.startswith("pipeline"))
    for secret in (USER, PASSWORD, TOKEN, "c00kie"):
        assert secret not in shown


def _user(found: Credentials) -> tuple[SecretStr | None, SecretStr | None]:
    return found.user, found.password


def test_credentials_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_credentials() == Credentials()
    (tmp_path / "netrc").write_text(f"machine {LOGIN_HOST} login {USER} password {PASSWORD}\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("EARTHDATA_TOKEN", f" {TOKEN}\n")
    found = find_credentials()
    assert found.has_password
    assert found.token is not None
    assert found.token.get_secret_value() == TOKEN


def test_a_token_from_the_env_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"EARTHDATA_TOKEN={TOKEN}\n")
    found = find_credentials()
    assert found.token is not None
    assert found.token.get_secret_value() == TOKEN


def test_the_default_of_a_netrc_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("default login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert not find_credentials().has_password


def test_a_netrc_that_cannot_be_read_is_not_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text(f"machine {LOGIN_HOST} login {USER} password {PASSWORD} {PASSWORD}x\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(SettingsError) as refused:
        find_credentials()
    assert PASSWORD not in f"{refused.value!r} {refused.value.__cause__!r}"
    assert refused.value.__suppress_context__
    monkeypatch.setenv("EARTHDATA_TOKEN", "two words")
    with pytest.raises(SettingsError, match="blanks") as blank:
        find_credentials()
    assert "words" not in str(blank.value)
    monkeypatch.setenv("EARTHDATA_TOKEN", "\u201ccurly\u201d")
    with pytest.raises(SettingsError, match="EARTHDATA_TOKEN") as curly:
        find_credentials()
    assert "curly" not in str(curly.value)


def test_what_a_source_wants_can_be_printed() -> None:
    assert login_note("bursts", WITH_PASSWORD).ok
    assert login_note("granules", WITH_TOKEN).ok
    assert "cookie" in login_note("bursts", WITH_TOKEN).text
    nothing = login_note("bursts", Credentials())
    assert not nothing.ok
    assert "netrc" in nothing.text
    for found in (WITH_PASSWORD, WITH_TOKEN):
        for source in ("bursts", "granules"):
            text = login_note(source, found).text  # type: ignore[arg-type]
            assert not {s for s in (USER, PASSWORD, TOKEN) if s in text}


def test_the_process_has_one_login() -> None:
    assert earthdata.earthdata() is earthdata.earthdata()
