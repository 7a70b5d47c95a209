"""NASA's Earthdata: logging in, and requests for files whose addresses redirect to the login and back.

How it works, from asf_search 14.1 (`ASFSession`) and burst2safe 1.4 (`download.py`):

- a host of ASF accepts a cookie (`asf-urs`) or a bearer token, or redirects to the login host, which needs user name
  and password and redirects back, where the cookie is set;
- the host of the bursts accepts only the cookie. A first request for a plain file with a token brings the cookie.

Redirects are followed here hop by hop, because a client that follows them automatically forwards secrets: user name and
password go to the login host alone, the token to hosts of ASF and Earthdata alone, and neither goes to the stores
where the files lie.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import threading
from functools import lru_cache
from urllib.parse import parse_qs, urlsplit

import requests
from requests.auth import HTTPBasicAuth
from requests.cookies import RequestsCookieJar

from pipeline.archives.credentials import ACCOUNT, HOW, LOGIN_HOST, Credentials, find_credentials
from pipeline.archives.http import http_client
from pipeline.archives.http.sessions import (
    MOST_REDIRECTS,
    REDIRECTS,
    REQUEST_ERRORS,
    NoLogin,
    Session,
    check_plain,
    next_address,
)
from pipeline.errors import ArchiveError
from pipeline.settings import settings

log = logging.getLogger(__name__)

TOKEN_DOMAINS = ("asf.alaska.edu", "asf.earthdatacloud.nasa.gov", "earthdata.nasa.gov")
"""A token is sent to these and the hosts below them, the login host left out; OPERA's files are on the second too."""
COOKIE_NAME = "asf-urs"
SIGN_IN_URL = (
    "https://urs.earthdata.nasa.gov/oauth/authorize?response_type=code&client_id=BO_n7nTIlMljdvU6kRRB3g"
    "&redirect_uri=https://cumulus.asf.alaska.edu/login&app_type=401"
)
"""Brings ASF's cookie for user name and password: the address that asf_search and hyp3-sdk 7.7 (`util.py`) ask for."""
TOKEN_COOKIE_URL = (
    "https://sentinel1.asf.alaska.edu/METADATA_RAW/SA/"
    "S1A_IW_RAW__0SSV_20141229T072718_20141229T072750_003931_004B96_B79F.iso.xml"
)
"""A small file that a token may read and that brings the cookie: the one that burst2safe asks for."""


class LoginError(ArchiveError):
    """Earthdata refused the login, and a retry will not help."""


class Earthdata:
    """One login, shared by all threads of the process."""

    def __init__(self, credentials: Credentials | None = None) -> None:
        self._credentials = credentials
        self._cookies = RequestsCookieJar()
        self._lock = threading.RLock()
        self._known_hosts: set[str] = set()
        self._asked_for_cookie = False
        self._local = threading.local()

    def __repr__(self) -> str:
        return "Earthdata()"

    def credentials(self) -> Credentials:
        """The credentials of this login, looked up once."""
        with self._lock:
            if self._credentials is None:
                self._credentials = find_credentials()
            return self._credentials

    def ask(
        self, url: str, headers: dict[str, str] | None = None, *, method: str = "GET", login: bool = True
    ) -> requests.Response:
        """The response at the end of the redirects; the caller reads and closes the body.

        Its status may be 200, 202 (requested too early), 206, 412, 416 or one that `http_client.refused` names. One
        thread alone makes the first request to a host that needs a login, so that there is only one login.

        Raises:
            LoginError: the login failed: there is none, it is wrong, the token expired, terms are not accepted.
            ArchiveError: no response, or redirects without a usable https address.
        """
        if not login:
            return self._follow(url, headers or {}, method, login=False)
        host = urlsplit(url).hostname or ""
        if host in self._known_hosts:
            return self._follow(url, headers or {}, method, login=True)
        with self._lock:
            response = self._follow(url, headers or {}, method, login=True)
            if response.status_code < 400:
                self._known_hosts.add(host)
            return response

    def ask_service(self, url: str, *, method: str = "GET", document: object = None) -> requests.Response:
        """One response of a service of ASF that wants the login with each request and sends nobody to the login host.

        `document` is sent as JSON. No redirect is followed. A login that ran out is renewed once: a request that is
        refused for its login has done nothing.

        Raises:
            LoginError: there is no login, or it is refused (401).
            ArchiveError: no response, or `url` is no https address of ASF.
        """
        _check_address(url, url)
        host = urlsplit(url).hostname or ""
        if not _may_have_token(host):
            raise ArchiveError(f"{host} is no host of ASF: no login is sent to it.", "Report it.")
        self._sign_in(url)
        response = self._send(url, {}, method, login=True, document=document)
        if response.status_code == 401 and self._forget_cookie(url):
            response.close()
            self._sign_in(url)
            response = self._send(url, {}, method, login=True, document=document)
        return self._checked(response, url) if response.status_code == 401 else response

    def _sign_in(self, url: str) -> None:
        """Get ASF's cookie by user name and password, unless it is there; a token needs none."""
        with self._lock:
            found = self.credentials()
            if not found.has_password:
                if found.token is None:
                    raise self._no_password(url)
                return
            self._cookies.clear_expired_cookies()
            if COOKIE_NAME in self._cookies.keys():  # noqa: SIM118  (a jar, not a dict)
                return
            self._follow(SIGN_IN_URL, {}, "GET", login=True).close()
            if COOKIE_NAME not in self._cookies.keys():  # noqa: SIM118
                raise LoginError(
                    "Earthdata's login brings no cookie of ASF.", f"Sign in at {ACCOUNT} to check it."
                )

    def _follow(self, url: str, headers: dict[str, str], method: str, *, login: bool) -> requests.Response:
        start, retried = url, False
        for _hop in range(2 * MOST_REDIRECTS):
            _check_address(url, start)
            response = self._send(url, headers, method, login=login)
            target = response.headers.get("Location")
            if response.status_code not in REDIRECTS or not target:
                if login and response.status_code in (401, 403) and not retried and self._forget_cookie(url):
                    response.close()
                    url, retried = start, True
                    continue
                return self._checked(response, start) if login else response
            response.close()
            came_from, url = urlsplit(url).hostname or "", next_address(url, target)
            if urlsplit(url).hostname != LOGIN_HOST or came_from == LOGIN_HOST:
                continue
            if not login or not _may_have_token(came_from):
                raise LoginError(
                    f"{http_client.bare(start)} asks for a login, which it should not.", "Report it."
                )
            if not self.credentials().has_password:
                if not self._cookie_by_token():
                    raise self._no_password(start)
                url = start
        raise ArchiveError(
            f"{http_client.bare(start)} redirects more than {MOST_REDIRECTS} times.",
            f"If this repeats, the login does not succeed: check user name and password at {ACCOUNT}.",
        )

    def _send(
        self, url: str, headers: dict[str, str], method: str, *, login: bool, document: object = None
    ) -> requests.Response:
        host = urlsplit(url).hostname or ""
        own = {} if host == LOGIN_HOST else dict(headers)
        auth: requests.auth.AuthBase = NoLogin()
        if login:
            found = self.credentials()
            if host == LOGIN_HOST:
                if found.user is not None and found.password is not None:
                    auth = HTTPBasicAuth(
                        found.user.get_secret_value().encode(), found.password.get_secret_value().encode()
                    )
            # where there are user name and password the redirects bring a cookie, which every host of ASF accepts
            elif found.token is not None and not found.has_password and _may_have_token(host):
                own["Authorization"] = f"Bearer {found.token.get_secret_value()}"
        try:
            return self._session().request(
                method,
                url,
                headers=own,
                json=document,
                auth=auth,
                timeout=settings().timeout_s,
                stream=True,
                allow_redirects=False,
            )
        except REQUEST_ERRORS as error:
            raise http_client.unreachable(url, error) from None

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = Session()
            session.cookies = self._cookies
            self._local.session = session
        return session

    def _forget_cookie(self, url: str) -> bool:
        """Drop ASF's cookie, which may have expired, where it was sent to `url`; True if there was one."""
        if not _may_have_token(urlsplit(url).hostname or ""):
            return False
        with self._lock:
            cookies = [cookie for cookie in self._cookies if cookie.name == COOKIE_NAME]
            for cookie in cookies:
                self._cookies.clear(cookie.domain, cookie.path, cookie.name)
            self._asked_for_cookie = False
            return bool(cookies)

    def _cookie_by_token(self) -> bool:
        """Request a plain file with the token, once; True if that brought the cookie."""
        with self._lock:
            if self.credentials().token is None or self._asked_for_cookie:
                return False
            self._asked_for_cookie = True
            url = TOKEN_COOKIE_URL
            for _hop in range(MOST_REDIRECTS + 1):
                response = self._send(url, {}, "GET", login=True)
                response.close()
                target = response.headers.get("Location")
                if COOKIE_NAME in self._cookies.keys():  # noqa: SIM118  (a jar, not a dict)
                    return True
                if response.status_code not in REDIRECTS or not target:
                    break
                url = next_address(url, target)
                if urlsplit(url).scheme != "https" or urlsplit(url).hostname == LOGIN_HOST:
                    break
            return False

    def _no_password(self, url: str) -> LoginError:
        host = urlsplit(url).hostname
        if self.credentials().token is None:
            return LoginError(
                f"{host} asks for an Earthdata login, and there is none.", f"{HOW}, or set EARTHDATA_TOKEN."
            )
        return LoginError(
            f"{host} does not accept the token in EARTHDATA_TOKEN: it is expired, or the host needs a cookie that only "
            "user name and password bring.",
            f"{HOW}; or make a new token at {ACCOUNT}/user_tokens and set SLIDECUBE_SLC_FETCH=granules.",
        )

    def _checked(self, response: requests.Response, start: str) -> requests.Response:
        host = urlsplit(response.url).hostname or ""
        if host == LOGIN_HOST and response.status_code < 400:
            response.close()
            raise LoginError(
                "Earthdata returned a page instead of a login: the account must approve an application or accept "
                "terms first.",
                f"Sign in at {ACCOUNT}, approve 'Alaska Satellite Facility Data Access' under Applications, and "
                "accept the terms.",
            )
        if response.status_code not in (401, 403):
            return response
        status, text = response.status_code, _short_body(response)
        if "eula" in text.lower():
            raise LoginError(
                f"{host} answered HTTP {status}: the account has not accepted ASF's terms (EULA).",
                f"Sign in at {ACCOUNT} and approve them at {_approval_address(text)}",
            )
        if host == LOGIN_HOST:
            raise LoginError(
                f"Earthdata did not accept user name and password (HTTP {status}).",
                f"Sign in at {ACCOUNT} to check them, then correct netrc.",
            )
        if not _may_have_token(host):
            # a signed address of the store behind ASF: the next request gets a new one
            raise ArchiveError(
                f"{host} refused a signed address (HTTP {status}).", "Try again.", transient=True
            )
        if status == 401 and self.credentials().token is not None and not self.credentials().has_password:
            raise LoginError(
                f"{host} does not accept the token in EARTHDATA_TOKEN (HTTP 401); tokens live 60 days.",
                f"Make a new one at {ACCOUNT}/user_tokens.",
            )
        if not self.credentials().has_password and self.credentials().token is None:
            raise self._no_password(start)
        raise LoginError(
            f"{host} answered HTTP {status} to {http_client.bare(start)}: the account may not read it.",
            f"Sign in at {ACCOUNT}, approve 'Alaska Satellite Facility Data Access' under Applications, and complete "
            "the profile (study area).",
        )


@lru_cache(maxsize=1)
def earthdata() -> Earthdata:
    """The login of this process."""
    return Earthdata()


def _may_have_token(host: str) -> bool:
    return host != LOGIN_HOST and any(host == d or host.endswith(f".{d}") for d in TOKEN_DOMAINS)


def _check_address(url: str, start: str) -> None:
    check_plain(url)
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or parts.username or parts.password:
        raise ArchiveError(
            f"{http_client.bare(start)} leads to {http_client.bare(url)[:200]}, which is no https address that can "
            "be followed.",
            "Search again by building without --catalogue; if it stays, report it.",
        )


def _short_body(response: requests.Response) -> str:
    text = bytearray()
    with response, contextlib.suppress(ArchiveError):
        for piece in http_client.pieces(response, decode=True):
            text += piece
            if len(text) >= 64 * 1024:
                break
    return text.decode("utf-8", errors="replace")


def _approval_address(text: str) -> str:
    """The page of the login host that the response names for accepting the terms; else the profile."""
    try:
        found = json.loads(text).get("resolution_url", "")
        parts = urlsplit(found)
        client = parse_qs(parts.query).get("client_id", [""])[0]
    except (ValueError, AttributeError):
        return f"{ACCOUNT}/profile"
    if parts.hostname == LOGIN_HOST and parts.path == "/approve_app" and re.fullmatch(r"[\w-]{1,64}", client):
        return f"{ACCOUNT}/approve_app?client_id={client}"
    return f"{ACCOUNT}/profile"
