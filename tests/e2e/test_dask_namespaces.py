"""Dask workers in network namespaces of their own: only the wire and a shared folder reach them, as on two machines.

A worker has an address of its own and no way to the loopback of the flow run. Relays stand for the routes to Prefect's
server and to the archive.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from flows.serving.local_server import free_port
from pipeline.sandbox.posing.server import Sandbox
from tests.e2e.conftest import AREA
from tests.e2e.test_build_on_dask import Site, files_of, limit_of, one_process, server, site

__all__ = ["one_process", "server", "site"]

pytestmark = pytest.mark.slow


def ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")


@contextmanager
def namespace(name: str, block: str) -> Iterator[str]:
    """A network namespace `name` that reaches this one at `block`.1 and has the address `block`.2; the latter."""
    try:
        ip("netns", "add", name)
        ip("link", "add", f"{name}h", "type", "veth", "peer", "name", f"{name}g", "netns", name)
        ip("addr", "add", f"{block}.1/30", "dev", f"{name}h")
        ip("link", "set", f"{name}h", "up")
        for words in (
            ["addr", "add", f"{block}.2/30", "dev", f"{name}g"],
            ["link", "set", f"{name}g", "up"],
            ["link", "set", "lo", "up"],
            ["route", "add", "default", "via", f"{block}.1"],
        ):
            ip("-n", name, *words)
        yield f"{block}.2"
    finally:
        with suppress(OSError):
            ip("netns", "del", name)


@contextmanager
def relay(address: str, port: int) -> Iterator[int]:
    """A port at `address` that leads to a port of loopback."""
    listener = socket.create_server((address, 0), backlog=128)

    def copy(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def connect(near: socket.socket) -> None:
        with near, suppress(OSError), socket.create_connection(("127.0.0.1", port)) as far:
            back = threading.Thread(target=copy, args=(far, near), daemon=True)
            back.start()
            copy(near, far)
            back.join()

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=connect, args=listener.accept()[:1], daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


def test_workers_in_namespaces_of_their_own_make_the_bytes_of_one_process(
    site: Site, archive: Sandbox, tmp_path: Path, one_process: dict[str, bytes]
) -> None:
    number = os.getpid() % 250
    blocks = {f"sc{os.getpid()}{side}": f"198.{18 + side}.{number}" for side in (0, 1)}
    dask = str(Path(sys.executable).with_name("dask"))
    with ExitStack() as stack:
        try:
            found = {name: stack.enter_context(namespace(name, block)) for name, block in blocks.items()}
        except OSError as error:
            pytest.skip(f"no network namespace can be made: {error}")
        here = f"{next(iter(blocks.values()))}.1"
        proxy = urlsplit(archive.environment["HTTPS_PROXY"]).port
        api = urlsplit(site.server)
        assert proxy and api.port
        routes = {port: stack.enter_context(relay(here, port)) for port in (proxy, api.port)}
        site.server = f"http://{here}:{routes[api.port]}{api.path}"
        site.command.environment |= dict.fromkeys(("NO_PROXY", "no_proxy"), f"localhost,127.0.0.1,{here}")
        inside = site.environment | dict.fromkeys(
            ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"), f"http://{here}:{routes[proxy]}"
        )
        port = free_port()
        address = f"tcp://{here}:{port}"
        commands = [[dask, "scheduler", "--host", here, "--port", str(port), "--no-dashboard"]]
        for name, own in found.items():
            words = [
                dask,
                "worker",
                address,
                "--host",
                own,
                "--nthreads",
                "2",
                "--no-nanny",
                "--no-dashboard",
            ]
            commands.append(["ip", "netns", "exec", name, *words])
        for index, words in enumerate(commands):
            sink = stack.enter_context((tmp_path / f"{index}.log").open("wb"))
            child = subprocess.Popen(words, env=inside, cwd=tmp_path, stdout=sink, stderr=sink)
            stack.callback(child.wait)
            stack.callback(child.kill)
        # the worker's own loopback leads nowhere
        closed = subprocess.run(
            ["ip", "netns", "exec", next(iter(found)), sys.executable, "-c", PROBE.format(port=api.port)],
            check=False,
        )
        assert closed.returncode == 1
        with limit_of(6):
            ended = site.run(runner="dask", address=address)
        assert ended["name"] == "Completed", ended
    assert files_of(site.command.cube) == one_process
    for log in (tmp_path / "1.log", tmp_path / "2.log"):
        assert "Finished in state Completed" in log.read_text(), (
            f"{log.name}: each worker built layers of {AREA}"
        )


PROBE = """
import socket
try:
    socket.create_connection(("127.0.0.1", {port}), timeout=5)
except OSError:
    raise SystemExit(1)
"""
