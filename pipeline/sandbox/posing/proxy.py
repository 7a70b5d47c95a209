"""The archives on loopback, behind a CONNECT proxy with a temporary certificate authority.

The proxy terminates TLS and passes the stream to the HTTP server in the same process, so that bytes are copied once.
The proxy refuses hosts that no world has, so programs that use it cannot reach the network.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import ssl
import sys
import tempfile
import threading
from pathlib import Path
from urllib.parse import urlsplit

import certifi
import trustme
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from pipeline.sandbox.earth.parameters import SandboxError
from pipeline.sandbox.posing.faults import Ledger
from pipeline.sandbox.posing.hosts import Archive
from pipeline.sandbox.posing.server_options import ServerOptions
from pipeline.sandbox.world import World

logger = logging.getLogger(__name__)

_HEAD_LIMIT = 64 * 1024
_LOCAL = "localhost,127.0.0.1,::1"


class _Connection(asyncio.Protocol):
    """One connection to the proxy: reads the request's head, then passes the connection to the HTTP server."""

    def __init__(self, house: _ProxyThread) -> None:
        self._house = house
        self._head = b""
        self._transport: asyncio.Transport | None = None
        self._waiting: list[bytes] | None = None  # decrypted bytes received before the HTTP server was ready

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._waiting is not None:
            self._waiting.append(data)
            return
        if self._transport is None:
            return
        self._head += data
        if b"\r\n\r\n" not in self._head:
            if len(self._head) > _HEAD_LIMIT:
                self._transport.close()
            return
        line = self._head.split(b"\r\n", 1)[0].decode("latin-1")
        method, target, *_ = (*line.split(" "), "", "")
        if method == "CONNECT":
            host = target.rpartition(":")[0].lower()
        else:
            host = (urlsplit(target).hostname or "").lower()
        if host not in self._house.hosts:
            logger.info("refused to connect to %s", host)
            body = f"{host or 'no host'} is not known to the sandbox\n".encode()
            self._transport.write(
                b"HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-type: text/plain\r\n"
                b"content-length: %d\r\n\r\n%s" % (len(body), body)
            )
            self._transport.close()
        elif method == "CONNECT":
            self._waiting = []
            self._house.keep(asyncio.ensure_future(self._secure()))
        else:
            self._connect(self._transport, self._head)

    async def _secure(self) -> None:
        if self._transport is None or self._waiting is None:
            return
        self._transport.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            secure = await asyncio.get_running_loop().start_tls(
                self._transport, self, self._house.tls, server_side=True, ssl_handshake_timeout=30
            )
        except (OSError, ssl.SSLError):
            self._transport.close()  # the client closed the connection or does not trust the authority
            return
        if secure is not None:
            self._connect(secure, b"".join(self._waiting))

    def _connect(self, transport: asyncio.Transport, data: bytes) -> None:
        protocol = self._house.protocol()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if data:
            protocol.data_received(data)


class _ProxyThread:
    """The event loop of the proxy, in its own thread."""

    def __init__(self, archive: Archive) -> None:
        self.hosts = frozenset(archive.handlers)
        self.port = 0
        authority = trustme.CA(organization_name="slidecube sandbox")
        # keys stay in memory, except while trustme loads the server's key into the context
        self.authority_pem = authority.cert_pem.bytes()
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*sorted(self.hosts)).configure_cert(self.tls)
        self.tls.set_alpn_protocols(["http/1.1"])
        self._config = uvicorn.Config(
            archive, http="h11", ws="none", lifespan="off", log_level="critical", access_log=False
        )
        self._config.load()
        self._state = ServerState()
        self._tasks: set[asyncio.Future[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="slidecube-sandbox", daemon=True)

    def protocol(self) -> H11Protocol:
        return H11Protocol(config=self._config, server_state=self._state, app_state={}, _loop=self._loop)

    def keep(self, task: asyncio.Future[None]) -> None:
        """Keep a reference to a task until it ends, since the loop keeps only weak references."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def start(self) -> None:
        self._thread.start()
        if not self._ready.wait(30) or not self.port:
            raise SandboxError(
                "The sandbox's server did not start.", "Read the log; check that loopback is available."
            )

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            server = self._loop.run_until_complete(
                self._loop.create_server(lambda: _Connection(self), "127.0.0.1", 0, backlog=512)
            )
            self.port = server.sockets[0].getsockname()[1]
            self._ready.set()
            self._loop.run_forever()
            server.close()
            for connection in list(self._state.connections):
                connection.transport.abort()
            left = [*self._tasks, *self._state.tasks]
            for task in left:
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self._loop.run_until_complete(asyncio.sleep(0.05))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._ready.set()
            self._loop.close()


def proxy_environment(port: int, bundle: Path) -> dict[str, str]:
    """The standard variables that direct a program to the sandbox, with both spellings of the proxies."""
    proxy = f"http://127.0.0.1:{port}"
    names = ("HTTPS_PROXY", "HTTP_PROXY")
    bundles = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE", "GDAL_CURL_CA_BUNDLE")
    return {
        **dict.fromkeys(names, proxy),
        **{name.lower(): proxy for name in names},
        "NO_PROXY": _LOCAL,
        "no_proxy": _LOCAL,
        **{name: str(bundle) for name in bundles},
    }


def serve(worlds: list[World], options: ServerOptions) -> None:
    """Serve worlds until standard input ends; the environment is written to standard output as one line of JSON.

    The authority's certificate and the netrc are in a temporary folder of mode 0700, which is removed at the end.
    """
    archive = Archive(worlds, Ledger(), options)
    house = _ProxyThread(archive)
    house.start()
    try:
        with tempfile.TemporaryDirectory(prefix="slidecube-sandbox-") as folder:
            bundle = Path(folder) / "ca-bundle.pem"
            bundle.write_bytes(Path(certifi.where()).read_bytes() + b"\n" + house.authority_pem)
            netrc = Path(folder) / "netrc"
            netrc.touch(mode=0o600)
            netrc.write_text(archive.asf.login.netrc(), encoding="utf-8")
            environment = proxy_environment(house.port, bundle) | {
                # always set both, so that the user's own login is not used
                "NETRC": str(netrc),
                "EARTHDATA_TOKEN": archive.asf.login.environment_token(),
            }
            sys.stdout.write(json.dumps({"environment": environment}) + "\n")
            sys.stdout.flush()
            while sys.stdin.readline():
                pass
    finally:
        house.stop()


def main() -> None:
    """Serve the worlds that the first line of standard input names."""
    order = json.loads(sys.stdin.readline())
    worlds = [World.open(Path(root)) for root in order["worlds"]]
    serve(worlds, ServerOptions.model_validate(order["options"]))


if __name__ == "__main__":
    main()
