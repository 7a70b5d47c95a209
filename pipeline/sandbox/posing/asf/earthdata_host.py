"""Earthdata Login (urs.earthdata.nasa.gov): tokens, sessions, and the cookie of ASF's hosts.

Follows the public sources of asf-search (`ASFSession`), and of thin-egress-app and rain-api-core, the software of ASF's
hosts. Name, password and key are random and exist only while the sandbox runs.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from email.utils import formatdate
from http.cookies import CookieError, SimpleCookie
from typing import Any, Literal, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from pipeline.sandbox.posing.faults import Fault
from pipeline.sandbox.posing.server_options import ServerOptions

LOGIN_HOST = "urs.earthdata.nasa.gov"
CLIENT_ID = "BO_n7nTIlMljdvU6kRRB3g"
"""ASF's client id, which its clients send."""
COOKIE = "asf-urs"
COOKIE_DOMAIN = ".asf.alaska.edu"
RETURN_HOSTS = (
    "auth.asf.alaska.edu",
    "cumulus.asf.alaska.edu",
    "sentinel1.asf.alaska.edu",
)
"""Hosts to which Earthdata redirects a caller back, and which set the cookie."""
_SESSION_COOKIE = "_urs-gui_session"
_CODE_LIFETIME_S = 600.0
_REALM = "Please enter your Earthdata Login credentials. If you do not have a Earthdata Login, create one"

Kind = Literal["token", "cookie"]


class Standing(NamedTuple):
    """The state of a caller's login."""

    user: str | None = None
    fault: Literal["absent", "malformed", "expired", "eula"] | None = None


class Earthdata:
    """One account and its logins."""

    def __init__(self, options: ServerOptions) -> None:
        self.user = f"sandbox_{secrets.token_hex(4)}"
        self.password = secrets.token_urlsafe(18)
        self._options = options
        self._secret = secrets.token_bytes(32)
        self._sessions: set[str] = set()
        self._codes: dict[str, tuple[str, float, str | None]] = {}  # redirect URL, expiry, flaw

    def netrc(self) -> str:
        """Content of a netrc file with the login; empty if the environment has no password."""
        if self._options.login not in {"password", "both"}:
            return ""
        return f"machine {LOGIN_HOST} login {self.user} password {self.password}\n"

    def environment_token(self) -> str:
        """Value of EARTHDATA_TOKEN; empty for none."""
        return self.issue("token") if self._options.login in {"token", "both"} else ""

    def issue(self, kind: Kind, flaw: str | None = None) -> str:
        """A signed token or cookie (JWT); `flaw`: wrong_token, stale_token."""
        now = int(time.time())
        lifetime_s = -1.0 if flaw == "stale_token" else self._options.login_lifetime_s
        claims: dict[str, Any] = {"iat": now, "exp": now + lifetime_s}
        if kind == "token":
            claims |= {"type": "User", "uid": self.user, "iss": f"https://{LOGIN_HOST}"}
        else:
            claims |= {"urs-user-id": self.user, "urs-groups": [], "first_name": "Sand", "last_name": "Box"}
        # the key depends on the kind, so that a token is no valid cookie
        parts = ({"typ": "JWT", "alg": "HS256", "origin": kind}, claims)
        body = ".".join(_packed(json.dumps(part).encode()) for part in parts)
        key = secrets.token_bytes(32) if flaw == "wrong_token" else self._secret
        return f"{body}.{_packed(hmac.digest(key, body.encode(), 'sha256'))}"

    def check(self, text: str, kind: Kind, fault: Fault | None) -> Standing:
        """Whether a token or cookie is valid."""
        parts = text.split(".")
        try:
            header, claims = (json.loads(_unpacked(part)) for part in parts[:2])
            kept, end = header["origin"], float(claims["exp"])
        except (ValueError, KeyError, TypeError):
            return Standing(fault="malformed")
        good = _packed(hmac.digest(self._secret, ".".join(parts[:2]).encode(), "sha256"))
        if len(parts) != 3 or kept != kind or not hmac.compare_digest(good.encode(), parts[2].encode()):
            return Standing(
                fault="expired"
            )  # the real login does not distinguish foreign and expired tokens either
        if end <= time.time() or (fault is not None and fault.action == "stale_login"):
            return Standing(fault="expired")
        if kind == "token" and not self.accepted(fault):  # a cookie is accepted without another check
            return Standing(fault="eula")
        return Standing(user=self.user)

    def accepted(self, fault: Fault | None) -> bool:
        """Whether the account has accepted the terms."""
        return self._options.eula_accepted and not (fault is not None and fault.action == "no_eula")

    def bearer(self, request: Request, fault: Fault | None) -> Standing:
        """The login state of a bearer token in the Authorization header."""
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return Standing(fault="absent")
        return self.check(text.strip(), "token", fault)

    def cookie(self, request: Request, fault: Fault | None) -> Standing:
        """The login state of the cookie of ASF's hosts."""
        text = read_cookie(request.headers, COOKIE)
        return Standing(fault="absent") if text is None else self.check(text, "cookie", fault)

    def set_cookie(self, response: Response, flaw: str | None = None) -> Response:
        """Set the cookie in a response."""
        end = formatdate(time.time() + self._options.login_lifetime_s, usegmt=True)
        text = f"{COOKIE}={self.issue('cookie', flaw)}; Expires={end}; Path=/; Domain={COOKIE_DOMAIN}"
        response.headers.append("set-cookie", text)
        return response

    def send_to_login(self, request: Request, back: str, state: str) -> Response:
        """The redirect of a caller without a login to Earthdata."""
        query = f"client_id={CLIENT_ID}&response_type=code&redirect_uri={back}&state={state}"
        if not request.headers.get("user-agent", "").startswith("Mozilla"):
            query += "&app_type=401"  # so that scripts receive a password challenge and not a page
        return RedirectResponse(f"https://{LOGIN_HOST}/oauth/authorize?{query}", 302)

    def come_back(self, request: Request, fault: Fault | None) -> Response:
        """`GET /login` of a host of ASF, to which Earthdata redirects: sets the cookie and redirects on."""
        asked = dict(request.query_params)
        if asked.get("error") == "access_denied":
            return HTMLResponse("<h1>Could Not Login</h1>Be sure to agree to the EULA. (EULA_failure)", 401)
        back, end, flaw = self._codes.pop(asked.get("code", ""), ("", 0.0, None))
        here = f"https://{request.headers.get('host', '').partition(':')[0]}"
        if back != f"{here}/login" or end < time.time():
            return HTMLResponse("<h1>Could Not Login</h1>There was a problem talking to URS Login", 400)
        state = asked.get("state", "/")
        target = state if urlsplit(state).scheme == "https" else here + "/" + state.lstrip("/")
        return self.set_cookie(RedirectResponse(target, 301), flaw)

    async def answer(self, request: Request, fault: Fault | None) -> Response:
        """Route a request to the login host."""
        match request.method, request.url.path.strip("/").split("/"):
            case "GET" | "HEAD", ["oauth", "authorize"]:
                return self._authorize(request, fault)
            case "POST", ["oauth", "tokens", "user"]:
                return await self._verify(request, fault)
            case "POST", ["api", "users", "find_or_create_token" | "token"]:
                return self._hand_out(request, fault, several=False)
            case "GET", ["api", "users", "tokens"]:
                return self._hand_out(request, fault, several=True)
            case "GET", ["api", "users", user]:
                return self._profile(request, user, fault)
            case "GET", [""] | ["profile"] | ["approve_app"] | ["home"]:
                return HTMLResponse("<title>Earthdata Login</title>")
        return JSONResponse({"error": "not_found", "error_description": "There is no such page."}, 404)

    def _authorize(self, request: Request, fault: Fault | None) -> Response:
        asked = dict(request.query_params)
        back = asked.get("redirect_uri", "")
        known = {f"https://{host}/login" for host in RETURN_HOSTS}
        if asked.get("client_id") != CLIENT_ID or asked.get("response_type") != "code" or back not in known:
            body = {
                "error": "invalid_request",
                "error_description": "The client or its address is not known.",
            }
            return JSONResponse(body, 400)
        session = read_cookie(request.headers, _SESSION_COOKIE)
        if self._password(request) is not True and session not in self._sessions:
            # a bearer token is not accepted as a login here
            if asked.get("app_type") == "401" or self._password(request) is False:
                return self._ask_for_password()
            return HTMLResponse("<title>Earthdata Login</title><form><input name='username'></form>")
        more = {"state": asked["state"]} if "state" in asked else {}
        if not self.accepted(fault):
            return RedirectResponse(f"{back}?{urlencode({'error': 'access_denied', **more})}", 302)
        code, session = secrets.token_hex(32), secrets.token_hex(16)
        flaw = fault.action if fault is not None and fault.action.endswith("_token") else None
        self._codes[code] = (back, time.time() + _CODE_LIFETIME_S, flaw)
        self._sessions.add(session)
        response = RedirectResponse(f"{back}?{urlencode({'code': code, **more})}", 302)
        for text in (
            f"{_SESSION_COOKIE}={session}; Path=/; Secure; HttpOnly",
            "urs_user_already_logged=yes; Domain=.earthdata.nasa.gov; Path=/",
        ):
            response.headers.append("set-cookie", text)
        return response

    async def _verify(self, request: Request, fault: Fault | None) -> Response:
        form = dict(parse_qsl((await request.body()).decode("utf-8", "replace")))
        standing = self.check(form.get("token", ""), "token", fault)
        if standing.user is not None:
            return JSONResponse({"uid": standing.user})
        if standing.fault == "eula":
            return JSONResponse(eula_refusal(), 403)
        error = "token_expired" if standing.fault == "expired" else "invalid_token"
        return JSONResponse({"error": error, "error_description": "The token is not valid."}, 403)

    def _hand_out(self, request: Request, fault: Fault | None, *, several: bool) -> Response:
        if self._password(request) is not True:
            return self._ask_for_password()
        flaw = fault.action if fault is not None and fault.action.endswith("_token") else None
        end = time.strftime("%m/%d/%Y", time.gmtime(time.time() + self._options.login_lifetime_s))
        token = {"access_token": self.issue("token", flaw), "token_type": "Bearer", "expiration_date": end}
        return JSONResponse([token] if several else token)

    def _profile(self, request: Request, user: str, fault: Fault | None) -> Response:
        refusal = token_refusal(self.bearer(request, fault))
        if refusal is not None:
            return refusal
        if user != self.user:
            return JSONResponse({"error": "not_found"}, 404)
        return JSONResponse({"uid": user, "first_name": "Sand", "last_name": "Box", "user_groups": []})

    def _password(self, request: Request) -> bool | None:
        """Whether name and password are right; None if the request has none."""
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            shown = base64.b64decode(text.strip(), validate=True)
        except ValueError:
            return False
        wanted = f"{self.user}:{self.password}".encode()
        return hmac.compare_digest(hashlib.sha256(shown).digest(), hashlib.sha256(wanted).digest())

    def _ask_for_password(self) -> Response:
        body = {"error": "invalid_credentials", "error_description": "Invalid user credentials"}
        return JSONResponse(body, 401, {"www-authenticate": f'Basic realm="{_REALM}"'})


def eula_refusal() -> dict[str, Any]:
    """The response to an account that has not accepted the terms."""
    return {
        "status_code": 403,
        "error_description": "EULA Acceptance Failure",
        "resolution_url": f"https://{LOGIN_HOST}/approve_app?client_id={CLIENT_ID}",
    }


def token_refusal(standing: Standing) -> Response | None:
    """The response to an invalid bearer token; None for a valid one."""
    if standing.user is not None:
        return None
    if standing.fault == "eula":
        return JSONResponse(eula_refusal(), 403)
    return JSONResponse(
        {"error": "invalid_token", "error_description": "The token has expired or is invalid."}, 401
    )


def read_cookie(headers: Mapping[str, str], name: str) -> str | None:
    """A cookie of a request; None if it is absent or unreadable."""
    jar: SimpleCookie = SimpleCookie()
    try:
        jar.load(headers.get("cookie", ""))
    except CookieError:
        return None
    return jar[name].value if name in jar else None


def _packed(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _unpacked(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
