"""`python -m flows.setup` with an address where no Prefect server answers as it should."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.serving.deployments import set_up
from pipeline.errors import SettingsError

PAGE = b"<html><body>Sign in</body></html>"


class Odd(BaseHTTPRequestHandler):
    """Answers everything with one status and one body."""

    status, body, kind = 200, PAGE, "text/html"

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(self.status)
        self.send_header("Content-Type", self.kind)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    do_GET = do_POST = do_PATCH = do_PUT = _answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(
    params=[
        (401, b"{}", "application/json"),
        (403, PAGE, "text/html"),
        (404, b'{"detail": "Not Found"}', "application/json"),
        (405, b"{}", "application/json"),
        (200, PAGE, "text/html"),
        (200, b"[]", "application/json"),
    ],
    ids=lambda param: f"{param[0]} {param[2]}",
)
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    status, body, kind = request.param
    own = type("Own", (Odd,), {"status": status, "body": body, "kind": kind})
    with ThreadingHTTPServer(("127.0.0.1", 0), own) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/api"
        server.shutdown()
        thread.join()


def test_it_is_named_and_nothing_is_deployed(address: str) -> None:
    with temporary_settings({PREFECT_API_URL: address}), pytest.raises(SettingsError) as told:
        list(set_up())
    assert address in told.value.message and "PREFECT_API_URL" in (told.value.remedy or "")
