"""Starts and controls a sandbox from another program."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

import requests
import trustme  # noqa: F401  the proxy's process needs it: that it is missing shows here, before a world is made

from pipeline.sandbox.earth.parameters import SandboxError
from pipeline.sandbox.posing.admin_host import ADMIN_HOST
from pipeline.sandbox.posing.faults import Fault, Request
from pipeline.sandbox.posing.server_options import ServerOptions
from pipeline.sandbox.publication.sandbox_clock import ClockOrder, ClockState
from pipeline.sandbox.world import World


class Sandbox:
    """A context manager that serves worlds on loopback from its own process.

    A thread is not possible: rasterio holds the interpreter's lock while it opens a file, so that client and server in
    one process would deadlock. The server ends with this process, even if it is killed.

    `environment` has the variables that direct a program to the sandbox.
    """

    def __init__(self, *worlds: Path | World, options: ServerOptions | None = None) -> None:
        if not worlds:
            raise SandboxError("No world to serve.", "Make one with `slidecube sandbox make`.")
        self._roots = [(w if isinstance(w, World) else World.open(w)).root.resolve() for w in worlds]
        self._options = options or ServerOptions()
        self._process: subprocess.Popen[str] | None = None
        self.environment: dict[str, str] = {}

    def __enter__(self) -> Sandbox:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.sandbox.posing.proxy"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).resolve().parents[3],
            start_new_session=True,  # an interrupt at the terminal must not reach the server
        )
        to_server, from_server = self._process.stdin, self._process.stdout
        if to_server is None or from_server is None:  # never with pipes
            raise SandboxError("The sandbox has no pipes.", "Report it.")
        order = {
            "worlds": [str(root) for root in self._roots],
            "options": self._options.model_dump(mode="json"),
        }
        # through the pipe and not as an argument, since it may contain a key
        to_server.write(json.dumps(order) + "\n")
        to_server.flush()
        line = from_server.readline()
        if not line:
            self.close()
            raise SandboxError("The sandbox did not start.", "Its error is printed above.")
        self.environment = json.loads(line)["environment"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def log(self) -> tuple[Request, ...]:
        """Requests since the start or the last reset, the oldest first."""
        return tuple(Request.model_validate(entry) for entry in self._steer("GET", "log").json()["requests"])

    @property
    def bytes_sent(self) -> int:
        """Bytes of all bodies since the start or the last reset."""
        return int(self._steer("GET", "log").json()["bytes_sent"])

    def add_fault(self, *faults: Fault) -> None:
        """Append rules to the active faults."""
        self._steer("POST", "faults", [fault.model_dump(mode="json") for fault in faults])

    @property
    def now(self) -> datetime:
        """What the sandbox's clock shows."""
        return ClockState.model_validate(self._steer("GET", "clock").json()).at

    def set_clock(self, at: datetime | None = None, *, rate: float | None = None) -> datetime:
        """Set the clock, its speed (seconds in a real one; 0: it stands), or both; returns what it shows then."""
        return self._change(ClockOrder(at=at, rate=rate))

    def advance(self, by: timedelta) -> datetime:
        """Move the clock on; returns what it shows then."""
        return self._change(ClockOrder(advance_s=by.total_seconds()))

    def _change(self, order: ClockOrder) -> datetime:
        answer = self._steer("POST", "clock", order.model_dump(mode="json", exclude_none=True))
        return ClockState.model_validate(answer.json()).at

    def reset(self) -> None:
        """Clear the log and all faults."""
        self._steer("POST", "reset")

    def _steer(self, method: str, what: str, body: Any = None) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            session.proxies = {"https": self.environment["HTTPS_PROXY"]}
            session.verify = self.environment["REQUESTS_CA_BUNDLE"]
            answer = session.request(method, f"https://{ADMIN_HOST}/{what}", json=body, timeout=30)
        answer.raise_for_status()
        return answer

    def wait(self) -> None:
        """Wait until the server ends by `close` or a kill."""
        if self._process is not None:
            self._process.wait()

    def close(self) -> None:
        """Stop the server and wait until it has ended."""
        process, self._process = self._process, None
        self.environment = {}
        if process is None:
            return
        with contextlib.suppress(OSError):
            if process.stdin is not None:
                process.stdin.close()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
