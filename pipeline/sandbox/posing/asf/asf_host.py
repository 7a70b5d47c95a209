"""The Alaska Satellite Facility's hosts: granules, bursts and orbit files for asf-search and similar clients.

Sources: thin-egress-app and rain-api-core (the software of the granule hosts), the burst extractor's public
documentation, burst2safe, and the PyPI package s1-orbits.

- `datapool` redirects to `sentinel1`, which accepts a cookie or a bearer token. Without either it redirects to
  Earthdata's login, which redirects back with the cookie set. Then `sentinel1` redirects to a signed URL of the store.
- `sentinel1-burst` accepts only the cookie: it redirects to the login without one, and forbids an invalid one. It
  answers 202 for a while after the first request of a burst, then redirects to a signed URL.
- The stores require the signature and refuse a request that also has a login.
- Orbit files are public.
- HyP3 makes interferograms as jobs (`hyp3_host`).
"""

from __future__ import annotations

import hmac
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from urllib.parse import quote_plus, urlencode
from xml.sax.saxutils import escape

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from pipeline.sandbox.posing.asf.cmr_host import CmrApi
from pipeline.sandbox.posing.asf.earthdata_host import LOGIN_HOST, RETURN_HOSTS, Earthdata, token_refusal
from pipeline.sandbox.posing.asf.holdings import Holdings
from pipeline.sandbox.posing.asf.hyp3_host import HYP3_HOSTS, HYP3_STORE, Hyp3Host
from pipeline.sandbox.posing.asf.orbit_service import ORBIT_BUCKETS, ORBIT_HOST, OrbitService
from pipeline.sandbox.posing.faults import Fault
from pipeline.sandbox.posing.file_answers import s3_error, send_file
from pipeline.sandbox.posing.server_options import ServerOptions
from pipeline.sandbox.posing.shelf import Shelf, Shelved

SEARCH_HOST = "cmr.earthdata.nasa.gov"
REPORT_HOST = "search-error-report.asf.alaska.edu"
"""asf-search reports failed searches to this host by default."""
DATAPOOL_HOST = "datapool.asf.alaska.edu"
GRANULE_HOST = "sentinel1.asf.alaska.edu"
GRANULE_STORE = "dy4owt9f80bz7.cloudfront.net"
BURST_HOST = "sentinel1-burst.asf.alaska.edu"
BURST_STORE = "asf-burst-extractor.s3.us-west-2.amazonaws.com"
"""Store of the burst files; the name of the real store is unknown."""

_STORE_PREFIX = "/s3-06b/asf-ngap2w-p-s1-slc-7b420b89.s3.us-west-2.amazonaws.com"
_GRANULE_PATH = re.compile(
    r"/((SLC|RAW|OCN|GRD_[A-Z]{2}|METADATA_[A-Z_]+)/S[A-D]|RTC/OPERA-S1)/[\w.-]+", re.ASCII
)
_METADATA_PATH = re.compile(r"/METADATA_[A-Z_]+/S([A-D])/(S1\1_\w{60,80})\.iso\.xml", re.ASCII)
_BURST_PATH = re.compile(r"/S1[A-D]_(IW|EW)_SLC__\w+/(IW|EW)[1-5]/(VV|VH|HH|HV)/\d+\.(tiff|xml)", re.ASCII)

Handler = Callable[[Request, Fault | None], Awaitable[Response]]


class Asf:
    """The hosts of asf-search, downloads and orbit service, for the worlds of `shelf`."""

    def __init__(self, shelf: Shelf, options: ServerOptions) -> None:
        self.login = Earthdata(options)
        self._shelf = shelf
        self._options = options
        self._holdings = Holdings.of(shelf.roots)
        self._orbits = OrbitService(self._holdings)
        self._hyp3 = Hyp3Host(shelf, self.login, options)
        self._searched: tuple[int, CmrApi] | None = None
        self._secret = secrets.token_bytes(32)
        self._asked_for: dict[str, float] = {}  # time of each burst's first request

    @property
    def handlers(self) -> dict[str, Handler]:
        """The handlers by host."""
        return {
            SEARCH_HOST: self._search,
            REPORT_HOST: self._report,
            LOGIN_HOST: self.login.answer,
            DATAPOOL_HOST: self._datapool,
            **dict.fromkeys(RETURN_HOSTS, self._return),
            GRANULE_HOST: self._granule,
            GRANULE_STORE: self._granule_store,
            BURST_HOST: self._burst,
            BURST_STORE: self._burst_store,
            **dict.fromkeys(HYP3_HOSTS, self._hyp3.answer),
            HYP3_STORE: self._hyp3.store,
            ORBIT_HOST: self._orbits.scene,
            **dict.fromkeys(ORBIT_BUCKETS, self._orbits.bucket),
        }

    async def _search(self, request: Request, fault: Fault | None) -> Response:
        refusal = None
        if "authorization" in request.headers:
            standing = self.login.bearer(request, fault)
            refusal = {
                "malformed": "Token does not exist",
                "absent": "Token does not exist",
                "expired": "Token has expired. Note the token value has been partially redacted.",
            }.get(standing.fault or "")
        return await self._cmr.answer(request, fault, refusal)

    @property
    def _cmr(self) -> CmrApi:
        """The search over what is published; made again only where that has changed."""
        state = self._shelf.state
        if self._searched is None or self._searched[0] != state:
            names = self._holdings.granules
            found = [
                i for i in self._holdings.items if self._shelf.is_published(names[i["umm"]["GranuleUR"]])
            ]
            self._searched = state, CmrApi(found, self._options.granule_page_size)
        return self._searched[1]

    async def _report(self, request: Request, fault: Fault | None) -> Response:
        return JSONResponse({"message": "thank you"})

    async def _datapool(self, request: Request, fault: Fault | None) -> Response:
        return RedirectResponse(f"https://{GRANULE_HOST}{request.url.path}", 307)

    async def _return(self, request: Request, fault: Fault | None) -> Response:
        match request.url.path:
            case "/login":
                return self.login.come_back(request, fault)
            case "/" | "/profile":
                return HTMLResponse("<h1>Welcome</h1>")
        return _page("File not found", 404)

    async def _granule(self, request: Request, fault: Fault | None) -> Response:
        path = request.url.path
        if not _GRANULE_PATH.fullmatch(path):
            return await self._return(request, fault)
        if request.method not in {"GET", "HEAD"}:
            return _page("Method not allowed", 405)
        by_token = False
        # only GET needs a login; HEAD is redirected without one (as in thin-egress-app)
        if request.method == "GET" and self.login.cookie(request, fault).user is None:
            standing = self.login.bearer(request, fault)
            if standing.fault in {"absent", "malformed"}:
                back = f"https://{GRANULE_HOST}/login"
                return self.login.send_to_login(request, back, quote_plus(path))
            refusal = token_refusal(standing)
            if refusal is not None:
                return refusal
            by_token = True
        if self._granule_file(path) is None and not self._described(path):
            return _page("Could not find requested data.", 404)
        response = RedirectResponse(self._signed(GRANULE_STORE, _STORE_PREFIX + path, fault), 303)
        response.headers["cache-control"] = "private, max-age=3540"
        if by_token and self._options.token_brings_cookie:
            self.login.set_cookie(response)
        return response

    def _granule_file(self, path: str) -> Shelved | None:
        return self._shelf.find(DATAPOOL_HOST, path) or self._shelf.find(GRANULE_HOST, path)

    def _described(self, path: str) -> str | None:
        """The granule that a path of metadata describes; None for other paths and before it is published."""
        described = _METADATA_PATH.fullmatch(path)
        return described[2] if described and self._shelf.is_published(described[2]) else None

    async def _granule_store(self, request: Request, fault: Fault | None) -> Response:
        refusal = self._store_refusal(request)
        if refusal is not None:
            return refusal
        path = request.url.path.removeprefix(_STORE_PREFIX)
        file = self._granule_file(path)
        if file is not None:
            return send_file(request, file.path, modified=file.since)
        if described := self._described(path):
            return Response(f"<MI_Metadata><fileIdentifier>{described}</fileIdentifier></MI_Metadata>\n")
        return s3_error(404, "NoSuchKey", "The specified key does not exist.")

    async def _burst(self, request: Request, fault: Fault | None) -> Response:
        path = request.url.path
        if request.method not in {"GET", "HEAD"}:
            return JSONResponse({"message": "Method Not Allowed"}, 405)
        standing = self.login.cookie(request, fault)
        if standing.fault == "absent":  # tokens are ignored here
            here = quote_plus(f"https://{BURST_HOST}{path}")
            return self.login.send_to_login(request, f"https://{RETURN_HOSTS[0]}/login", here)
        if standing.user is None:
            return JSONResponse({"message": "Forbidden"}, 403)
        if not _BURST_PATH.fullmatch(path):
            return JSONResponse(
                {"message": "The request is no granule, subswath, polarization, burst and type"}, 400
            )
        if self._shelf.find(BURST_HOST, path) is None:
            return JSONResponse({"message": "There is no such burst"}, 404)
        began = self._asked_for.setdefault(path, time.monotonic())
        if time.monotonic() - began < self._options.burst_wait_s:
            return being_cut(self._options.burst_retry_after_s)
        return RedirectResponse(self._signed(BURST_STORE, path, fault), 307)

    async def _burst_store(self, request: Request, fault: Fault | None) -> Response:
        refusal = self._store_refusal(request)
        if refusal is not None:
            return refusal
        file = self._shelf.find(BURST_HOST, request.url.path)
        if file is None:
            return s3_error(404, "NoSuchKey", "The specified key does not exist.")
        response = send_file(request, file.path, modified=file.since)
        stem, _, ending = request.url.path.rpartition(".")
        name = self._holdings.burst_names.get(stem, stem.strip("/").replace("/", "_"))
        response.headers["content-disposition"] = f"attachment; filename={name}.{ending}"
        return response

    def _signed(self, host: str, path: str, fault: Fault | None) -> str:
        """A signed URL of a store with a limited lifetime; a fault makes it invalid or expired."""
        action = fault.action if fault is not None else None
        lifetime_s = int(self._options.signed_url_lifetime_s)
        signed_at = int(time.time()) - (lifetime_s + 1 if action == "stale_token" else 0)
        signature = self._signature(host, path, f"{signed_at}", f"{lifetime_s}")
        if action == "wrong_token":
            signature = secrets.token_hex(32)
        query = {
            "A-userid": self.login.user,
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Date": str(signed_at),
            "X-Amz-Expires": str(lifetime_s),
            "X-Amz-SignedHeaders": "host",
            "X-Amz-Signature": signature,
        }
        return f"https://{host}{path}?{urlencode(query)}"

    def _signature(self, host: str, path: str, signed_at: str, lifetime_s: str) -> str:
        return hmac.new(
            self._secret, "\n".join((host, path, signed_at, lifetime_s)).encode(), "sha256"
        ).hexdigest()

    def _store_refusal(self, request: Request) -> Response | None:
        asked = request.query_params
        if "authorization" in request.headers:
            message = (
                "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string "
                "parameter or the Authorization header should be specified"
            )
            return s3_error(400, "InvalidArgument", message)
        if request.method not in {"GET", "HEAD"}:
            return s3_error(
                405, "MethodNotAllowed", "The specified method is not allowed against this resource."
            )
        if "X-Amz-Signature" not in asked:
            return s3_error(403, "AccessDenied", "Access Denied")
        host = request.headers.get("host", "").partition(":")[0]
        signed_at, lifetime_s = asked.get("X-Amz-Date", ""), asked.get("X-Amz-Expires", "")
        good = self._signature(host, request.url.path, signed_at, lifetime_s)
        if not hmac.compare_digest(good.encode(), asked["X-Amz-Signature"].encode()):
            message = "The request signature we calculated does not match the signature you provided."
            return s3_error(403, "SignatureDoesNotMatch", message)
        if time.time() >= int(signed_at) + int(lifetime_s):
            return s3_error(403, "AccessDenied", "Request has expired")
        return None


def fault_answer(host: str, fault: Fault) -> Response | None:
    """The response of a `status` fault in the form of the host; None for other hosts."""
    headers = {} if fault.retry_after_s is None else {"retry-after": str(fault.retry_after_s)}
    match host:
        case host if host == SEARCH_HOST:
            return JSONResponse({"errors": ["Asked for by the sandbox's user."]}, fault.status, headers)
        case host if host == BURST_HOST and fault.status == 202:
            return being_cut(fault.retry_after_s)
        case host if host in {GRANULE_STORE, BURST_STORE, *ORBIT_BUCKETS}:
            code = {403: "AccessDenied", 404: "NoSuchKey", 503: "SlowDown"}.get(fault.status, "InternalError")
            response = s3_error(fault.status, code, "Asked for by the sandbox's user.")
            response.headers.update(headers)
            return response
    return None


def being_cut(retry_after_s: int | None) -> Response:
    """The response while a burst is being extracted."""
    headers = {} if retry_after_s is None else {"retry-after": str(retry_after_s)}
    return JSONResponse({"message": "The burst is being extracted. Ask again in a moment."}, 202, headers)


def _page(text: str, status: int) -> Response:
    return HTMLResponse(f"<h1>{escape(text)}</h1>", status)
