"""Dask workers in network namespaces of their own that share only an object store, as machines of a cluster.

A worker has an address of its own, no way to the loopback of the flow run, and does not see the flow run's folder.
Relays stand for the routes to Prefect's server, to the archive and to the store.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from flows.serving.local_server import free_port
from pipeline.cube.addresses import open_store
from pipeline.cube.verify import verify_cube
from pipeline.sandbox.posing.server import Sandbox
from tests.e2e.conftest import AREA
from tests.e2e.test_build_on_dask import Site, limit_of, one_process, server, site
from tests.s3_server import SECRET_KEY, variables

__all__ = ["one_process", "server", "site"]

pytestmark = pytest.mark.slow


def ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")


@dataclass(frozen=True)
class Started:
    """A process as an operator starts it, and where its output goes."""

    words: list[str]
    environment: dict[str, str]
    log: Path


HIDING = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"')
"""begins a command that does not see what the folder named next holds"""
QUIET_WORKER = ("--nthreads", "2", "--no-nanny", "--no-dashboard")


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


@contextmanager
def started(*commands: Started) -> Iterator[None]:
    """Processes that are ended with the block."""
    with ExitStack() as stack:
        for one in commands:
            sink = stack.enter_context(one.log.open("wb"))
            child = subprocess.Popen(
                one.words, env=one.environment, cwd=one.log.parent, stdout=sink, stderr=sink
            )
            stack.callback(child.wait)
            stack.callback(child.kill)
        yield


def test_workers_that_share_only_an_object_store_make_the_bytes_of_one_process(
    site: Site,
    archive: Sandbox,
    tmp_path: Path,
    one_process: dict[str, bytes],
    s3_bucket: str,
    s3_endpoint: str,
) -> None:
    blocks = {f"sc{os.getpid()}{side}": f"198.{18 + side}.{os.getpid() % 250}" for side in (0, 1)}
    dask = str(Path(sys.executable).with_name("dask"))
    with ExitStack() as stack:
        try:
            found = {name: stack.enter_context(namespace(name, block)) for name, block in blocks.items()}
        except OSError as error:
            pytest.skip(f"no network namespace can be made: {error}")
        here = f"{next(iter(blocks.values()))}.1"
        api = urlsplit(site.server)
        ports = [api.port, urlsplit(archive.environment["HTTPS_PROXY"]).port, urlsplit(s3_endpoint).port]
        server_port, proxy_port, store_port = (stack.enter_context(relay(here, port or 0)) for port in ports)
        site.server = f"http://{here}:{server_port}{api.path}"
        cubes = f"{s3_bucket}/data"
        site.command.environment |= dict.fromkeys(("NO_PROXY", "no_proxy"), f"localhost,127.0.0.1,{here}")
        site.command.environment |= variables(f"http://{here}:{store_port}") | {
            "SLIDECUBE_DATA_DIR": cubes,
            "SLIDECUBE_WORK_DIR": str(tmp_path / "flow"),
        }
        inside = site.environment | dict.fromkeys(
            ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"), f"http://{here}:{proxy_port}"
        )
        port = free_port()
        address = f"tcp://{here}:{port}"
        words = [dask, "scheduler", "--host", here, "--port", str(port), "--no-dashboard"]
        commands = [Started(words, inside, tmp_path / "scheduler.log")]
        for name, own in found.items():
            (tmp_path / name).mkdir()
            words = [*HIDING, str(tmp_path / "flow"), dask, "worker", address, "--host", own, *QUIET_WORKER]
            mine = inside | {"SLIDECUBE_WORK_DIR": str(tmp_path / name)}
            commands.append(Started(["ip", "netns", "exec", name, *words], mine, tmp_path / f"{name}.log"))
        (tmp_path / "flow").mkdir()
        stack.enter_context(started(*commands))
        # the worker's own loopback leads nowhere
        closed = subprocess.run(
            ["ip", "netns", "exec", next(iter(found)), sys.executable, "-c", PROBE.format(port=api.port)],
            check=False,
        )
        assert closed.returncode == 1
        with limit_of(6):
            ended = site.run(runner="dask", address=address)
        assert ended["name"] == "Completed", ended
    store = open_store(f"{cubes}/cubes/{AREA}")
    keys = [f"{part}/{key}" for part in ("layers", "versions") for key in store.files(part)]
    assert {key: store.read(key) for key in keys} == one_process
    assert verify_cube(store.uri).sound
    for name in blocks:
        log = (tmp_path / f"{name}.log").read_text()
        assert "Finished in state Completed" in log, f"{name}: each worker built layers of {AREA}"
        assert SECRET_KEY not in log
    left = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix in ("", ".json", ".png")]
    assert [path for path in left if "layers" in path.parts or "versions" in path.parts] == []


PROBE = """
import socket
try:
    socket.create_connection(("127.0.0.1", {port}), timeout=5)
except OSError:
    raise SystemExit(1)
"""
