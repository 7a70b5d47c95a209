"""A Prefect server and a worker on this machine, as a context manager.

Used by `slidecube demo` and by the tests. The server keeps all its files in one folder; its address is a free port on
loopback.
"""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowFilter, FlowFilterName, LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort, LogSort

from flows.serving.deployments import POOL
from flows.serving.limits import LEASE_STORAGE, LEASE_VARIABLE
from flows.serving.prefect_file import PROJECT
from flows.serving.server_errors import is_of_server
from pipeline.errors import SlidecubeError
from pipeline.files import open_regular

QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLI_PROMPT": "false",
    "PREFECT_PLUGINS_ENABLED": "true",
    "NO_COLOR": "1",
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
}
"""No statistics are sent, no command prompts, and loopback is reached without a proxy."""

ON_LOOPBACK: dict[str, Any] = {"trust_env": False, "verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)}
"""How a client asks such a server, by HTTP: no proxy, and no list of certificates, which each client would read."""

DIE_WITH_PARENT = """
import ctypes, os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
if sys.platform == "linux":
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Replaces itself with the command in its arguments; if the parent is killed, Linux ends it too. An
interrupt reaches it also where the parent ignores interrupts, as what a shell starts in the background does."""

START_S = 120.0
"""longest wait for the server's first response: a first start makes its database"""

STOP_S = 20.0
"""longest wait for a child to end by itself before it is killed"""


def free_port() -> int:
    """A TCP port on loopback without a listener at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tail_of(log: Path, most_bytes: int = 1500) -> str:
    """The end of a log, of which no more is read; nothing where it cannot be read."""
    try:
        with open_regular(log) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - most_bytes))
            return file.read(most_bytes).decode("utf-8", "replace")
    except OSError:
        return ""


@dataclass
class Child:
    """A child process in a session of its own, with its log."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @classmethod
    def start(cls, name: str, command: list[str], environment: Mapping[str, str], log: Path) -> Child:
        """Start a process in the project's folder; its stdout and stderr are appended to `log`."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as sink:
            process = subprocess.Popen(
                [sys.executable, "-c", DIE_WITH_PARENT, *command],
                cwd=PROJECT,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return cls(name, process, log)

    def check(self) -> None:
        """
        Raises:
            SlidecubeError: the process has ended.
        """
        if self.process.poll() is not None:
            raise SlidecubeError(
                f"The {self.name} ended with status {self.process.returncode}: {tail_of(self.log)}"
            )

    def stop(self) -> None:
        """Interrupt the process, then terminate it, then kill it with all processes of its session."""
        for how, wait_s in ((signal.SIGINT, STOP_S), (signal.SIGTERM, STOP_S / 2)):
            if self.process.poll() is not None:
                break
            self.process.send_signal(how)
            try:
                self.process.wait(wait_s)
            except subprocess.TimeoutExpired:
                continue
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@dataclass
class LocalPrefect:
    """Server, set-up and worker. Entering starts all three; leaving stops the worker, then the server."""

    home: Path
    """PREFECT_HOME: database and caches of this server"""
    logs: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    """variables that every child has in addition to those of this process; flow runs have them too"""
    user_interface: bool = True
    progress: Callable[[str], None] = lambda stage: None
    """called when a stage begins: "server", "set-up", "worker" """

    url: str = field(default="", init=False)
    children: list[Child] = field(default_factory=list, init=False)
    _stack: ExitStack = field(default_factory=ExitStack, init=False)

    @property
    def api_url(self) -> str:
        """The value of `PREFECT_API_URL` for this server."""
        return f"{self.url}/api"

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a child: that of this process without its settings, the given one, and this server's."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "SLIDECUBE_"))}
        return {
            **inherited,
            **self.environment,
            **QUIET,
            "PREFECT_HOME": str(self.home),
            LEASE_VARIABLE: LEASE_STORAGE,
            "PREFECT_API_URL": self.api_url,
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "60",
            "PYTHONUNBUFFERED": "1",
        }

    def command(self, *words: str, timeout_s: float = 120.0) -> subprocess.CompletedProcess[str]:
        """`prefect WORDS...` against this server, from the project's folder."""
        return subprocess.run(
            [sys.executable, "-m", "prefect", *words],
            cwd=PROJECT,
            env=self.variables,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def runs(self, *flows: str) -> list[FlowRun]:
        """The runs of these flows, the newest first."""
        with SyncPrefectClient(self.api_url, httpx_settings=ON_LOOPBACK) as client:
            return client.read_flow_runs(
                flow_filter=FlowFilter(name=FlowFilterName(any_=list(flows))),
                sort=FlowRunSort.EXPECTED_START_TIME_DESC,
            )

    def last_words(self, run: FlowRun) -> str:
        """The newest line of a run's log; empty where there is none."""
        with SyncPrefectClient(self.api_url, httpx_settings=ON_LOOPBACK) as client:
            lines = client.read_logs(
                LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id])), limit=1, sort=LogSort.TIMESTAMP_DESC
            )
        return lines[0].message.splitlines()[0] if lines and lines[0].message else ""

    def check(self) -> None:
        """
        Raises:
            SlidecubeError: the server or the worker has ended.
        """
        for child in self.children:
            child.check()

    def __enter__(self) -> LocalPrefect:
        try:
            self.start_server()
            self._set_up()
            self.start_worker()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """
        Raises:
            SlidecubeError: the block ended since the server was away, or answered with an error, for about a minute,
                which is how long its client tries again.
        """
        self._stack.close()
        if is_of_server(error):
            raise SlidecubeError(
                f"The Prefect server did not respond, or not with an answer ({type(error).__name__}).",
                f"The machine may be too busy; try again. See {self.logs}.",
            ) from error

    def start_server(self) -> None:
        """Start the server; where it has ended, again at the same address.

        Raises:
            SlidecubeError: it ended, or did not respond.
        """
        self.progress("server")
        self.home.mkdir(parents=True, exist_ok=True)
        self.url = self.url or f"http://127.0.0.1:{free_port()}"
        port = self.url.rpartition(":")[2]
        environment = self.variables | {"PREFECT_SERVER_UI_ENABLED": str(self.user_interface).lower()}
        command = [
            sys.executable,
            "-m",
            "prefect",
            "server",
            "start",
            "--host",
            "127.0.0.1",
            "--port",
            port,
        ]
        server = Child.start("Prefect server", command, environment, self.logs / "prefect-server.log")
        self._keep(server)
        opener = build_opener(ProxyHandler({}))
        deadline = time.monotonic() + START_S
        while True:
            server.check()
            try:
                with opener.open(f"{self.api_url}/health", timeout=5):
                    return
            except (URLError, OSError):
                if time.monotonic() > deadline:
                    raise SlidecubeError(
                        f"The Prefect server did not respond within {START_S:.0f} s.", f"See {server.log}."
                    ) from None
                time.sleep(0.5)

    def _set_up(self) -> None:
        self.progress("set-up")
        answer = subprocess.run(
            [sys.executable, "-m", "flows.setup"],
            cwd=PROJECT,
            env=self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        (self.logs / "set-up.log").write_text(answer.stdout, encoding="utf-8")
        if answer.returncode != 0:
            raise SlidecubeError(f"Setting the Prefect server up failed: {answer.stdout[-2000:]}")

    def start_worker(self) -> None:
        """Start the worker; where it has ended, again."""
        self.progress("worker")
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process"]
        self._keep(Child.start("worker", command, self.variables, self.logs / "worker.log"))

    def _keep(self, child: Child) -> None:
        self.children.append(child)
        self._stack.callback(child.stop)
