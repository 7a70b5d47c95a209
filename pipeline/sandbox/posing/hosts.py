"""The archives as one ASGI application: a table of handlers by host name."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import Message, Receive, Scope, Send

from pipeline.sandbox.posing import faults
from pipeline.sandbox.posing.admin_host import ADMIN_HOST, answer_admin
from pipeline.sandbox.posing.asf.asf_host import (
    BURST_HOST,
    BURST_STORE,
    GRANULE_HOST,
    GRANULE_STORE,
    Asf,
    fault_answer,
)
from pipeline.sandbox.posing.asf.earthdata_host import LOGIN_HOST, RETURN_HOSTS
from pipeline.sandbox.posing.faults import Fault, Ledger
from pipeline.sandbox.posing.feeds.gdacs_host import GdacsHost
from pipeline.sandbox.posing.feeds.told_events import ToldEvents
from pipeline.sandbox.posing.feeds.usgs_host import UsgsHost
from pipeline.sandbox.posing.file_answers import azure_error, send_file
from pipeline.sandbox.posing.server_options import ServerOptions
from pipeline.sandbox.posing.shelf import Shelf
from pipeline.sandbox.posing.signing import BLOB_DOMAIN, Signer
from pipeline.sandbox.posing.stac_host import StacApi
from pipeline.sandbox.posing.zenodo_host import ZENODO_HOST, ZenodoHost
from pipeline.sandbox.publication.sandbox_clock import SandboxClock
from pipeline.sandbox.seismicity.gdacs_documents import GDACS_HOST
from pipeline.sandbox.seismicity.usgs_documents import USGS_HOST
from pipeline.sandbox.world import World

PLANETARY_HOST = "planetarycomputer.microsoft.com"
REAL_TIME_HOSTS = frozenset({LOGIN_HOST, *RETURN_HOSTS, GRANULE_HOST, GRANULE_STORE, BURST_HOST, BURST_STORE})
"""Their cookies, tokens and signed URLs expire by the client's own clock, so that their Date is real time."""

Handler = Callable[[Request, Fault | None], Awaitable[Response]]


class CutError(Exception):
    """A fault ends the body early; the server closes the connection."""


class Archive:
    """Serves one or more worlds. `handlers` are the handlers by host; other hosts are unknown.

    ASF's hosts are always known, because every area with interferometry queries them, and those of the feeds of events,
    which are empty where no world has any.
    """

    def __init__(self, worlds: list[World], ledger: Ledger, options: ServerOptions) -> None:
        self.ledger = ledger
        self._signer = Signer(options.token_lifetime_s, options.subscription_key)
        self.clock = SandboxClock(options.clock_start, options.clock_rate)
        self.shelf = Shelf(worlds, self.clock)
        self._page_size = options.page_size
        self._searched: tuple[int, StacApi] | None = None
        self.asf = Asf(self.shelf, options)
        self.handlers: dict[str, Handler] = {
            host: self._blob if host.endswith(BLOB_DOMAIN) else self._file
            for world in worlds
            for host in world.hosts
        }
        # after the hosts of files, so that hosts with a login do not serve files without one
        self.handlers |= self.asf.handlers
        told = ToldEvents(worlds, self.clock)
        self.handlers |= {USGS_HOST: UsgsHost(told).answer, GDACS_HOST: GdacsHost(told).answer}
        self.handlers |= {PLANETARY_HOST: self._planetary, ADMIN_HOST: self._admin}
        zenodo = ZenodoHost(self.shelf.roots)
        if zenodo.records:
            self.handlers[ZENODO_HOST] = zenodo.answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["path"].startswith("http://"):  # the URL of a request to a proxy without TLS
            parts = urlsplit(scope["path"])
            scope = {**scope, "path": parts.path or "/", "raw_path": parts.path.encode()}
        request = Request(scope, receive)
        host = request.headers.get("host", "").rpartition(":")[0] or request.headers.get("host", "")
        path = scope["path"]
        fault = None if host == ADMIN_HOST else self.ledger.take_fault(request.method, host, path)
        status, sent, began = 0, 0, time.monotonic()

        async def counted(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message["headers"], (b"date", self._date(host, path))]}
            else:
                body = message.get("body", b"")
                if fault is not None and fault.action == "cut" and sent + len(body) > fault.after_bytes:
                    body = body[: fault.after_bytes - sent]
                    sent += len(body)
                    await send({"type": "http.response.body", "body": body, "more_body": True})
                    raise CutError
                if (
                    fault is not None
                    and fault.action == "corrupt"
                    and sent <= fault.after_bytes < sent + len(body)
                ):
                    at = fault.after_bytes - sent
                    body = body[:at] + bytes([body[at] ^ 0xFF]) + body[at + 1 :]
                    message = {**message, "body": body}
                sent += len(body)
            await send(message)

        try:
            response = await self._respond(request, host, fault)
            await response(scope, receive, counted)
        except CutError:
            pass  # an unfinished response makes the server close the connection
        finally:
            if host != ADMIN_HOST:
                self.ledger.record(
                    faults.Request(
                        at=datetime.now(UTC),
                        method=request.method,
                        host=host,
                        path=path,
                        status=status,
                        bytes_sent=sent,
                        seconds=time.monotonic() - began,
                        range=request.headers.get("range"),
                        fault=fault.action if fault else None,
                    )
                )

    async def _respond(self, request: Request, host: str, fault: Fault | None) -> Response:
        if fault is not None and fault.action == "delay":
            await asyncio.sleep(fault.delay_s)
        if fault is not None and fault.action == "status":
            return _fault_answer(host, fault)
        if fault is not None and fault.action == "page":
            return HTMLResponse(
                "<!DOCTYPE html><html><title>Sign in</title><form action=/login></form></html>"
            )
        if fault is not None and fault.action == "redirect":
            return RedirectResponse(fault.location, 302)
        handler = self.handlers.get(host)
        if handler is None:
            return JSONResponse({"message": f"{host} is not simulated"}, 421)
        return await handler(request, fault)

    async def _planetary(self, request: Request, fault: Fault | None) -> Response:
        parts = request.url.path.strip("/").split("/")
        match parts:
            case ["api", "stac", "v1", *_]:
                return await self._stac.answer(request)
            case ["api", "sas", "v1", "token", account, container] if request.method == "GET":
                flaw = fault.action if fault and fault.action.endswith("_token") else None
                return self._signer.answer(request, account, container, flaw)
        return JSONResponse({"statusCode": 404, "message": "Resource not found"}, 404)

    async def _blob(self, request: Request, fault: Fault | None) -> Response:
        host = _host(request)
        container = request.url.path.strip("/").partition("/")[0]
        refusal = self._signer.refusal(host, container, request.url.query)
        if refusal is not None:
            message = "Server failed to authenticate the request. Make sure the signature is correct."
            return azure_error(403, "AuthenticationFailed", message, refusal)
        if request.method not in {"GET", "HEAD"}:
            return azure_error(405, "UnsupportedHttpVerb", "The resource doesn't support the HTTP verb.")
        found = self.shelf.find(host, request.url.path)
        if found is None:
            return azure_error(404, "BlobNotFound", "The specified blob does not exist.")
        return send_file(request, found.path, modified=found.since)

    async def _file(self, request: Request, fault: Fault | None) -> Response:
        found = self.shelf.find(_host(request), request.url.path)
        if found is None:
            return Response("Not Found", 404)
        if request.method not in {"GET", "HEAD"}:
            return Response("Method Not Allowed", 405, {"allow": "GET, HEAD"})
        return send_file(request, found.path, modified=found.since)

    async def _admin(self, request: Request, fault: Fault | None) -> Response:
        return await answer_admin(request, self.ledger, self.clock)

    @property
    def _stac(self) -> StacApi:
        """The search over what is published; made again only where that has changed."""
        state = self.shelf.state
        if self._searched is None or self._searched[0] != state:
            self._searched = state, StacApi(self.shelf.items(), self._page_size)
        return self._searched[1]

    def _date(self, host: str, path: str) -> bytes:
        """The header Date: the clock's, but real time where the answer holds a login, a token or a signed URL."""
        real = host in REAL_TIME_HOSTS or path.startswith("/api/sas/")
        instant = datetime.now(UTC) if real else self.clock.now()
        return format_datetime(instant, usegmt=True).encode()


def _host(request: Request) -> str:
    return request.headers.get("host", "").partition(":")[0]


def _fault_answer(host: str, fault: Fault) -> Response:
    headers = {} if fault.retry_after_s is None else {"retry-after": str(fault.retry_after_s)}
    if host.endswith(BLOB_DOMAIN):
        code = {403: "AuthenticationFailed", 404: "BlobNotFound", 503: "ServerBusy"}.get(
            fault.status, "Fault"
        )
        response = azure_error(fault.status, code, "Asked for by the sandbox's user.")
        response.headers.update(headers)
        return response
    plain = JSONResponse({"statusCode": fault.status, "message": "asked for"}, fault.status, headers)
    return fault_answer(host, fault) or plain
