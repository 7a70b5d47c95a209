"""A private PostgreSQL on loopback, of Debian's package or of any other that has its programs on the PATH."""

from __future__ import annotations

import asyncio
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg

from flows.serving.local_server import free_port

DEBIAN = Path("/usr/lib/postgresql")
"""where Debian keeps the programs, by major version"""


def programs() -> Path | None:
    """The folder of `initdb` and `postgres`, of the newest version; None: PostgreSQL is not installed."""
    if (found := shutil.which("initdb")) and (Path(found).parent / "postgres").is_file():
        return Path(found).parent
    versions = [each for each in DEBIAN.glob("*/bin") if (each / "initdb").is_file()]
    return max(versions, key=lambda each: int(each.parent.name), default=None)


@contextmanager
def database(folder_of_programs: Path) -> Iterator[dict[str, str]]:
    """A running cluster with the database `prefect`; yields the server's variables, as docker/compose.yaml has them.

    PostgreSQL refuses to run as root: then the user `postgres`, or `nobody`, runs it, in a folder of its own below the
    folder of temporary files, since that of the test is closed to others.
    """
    unprivileged, folder = _who(), Path(tempfile.mkdtemp(prefix="slidecube-postgresql-"))
    # a password as people choose them: with characters that mean something in an address
    word, port = f"p@ss/w:rd%20?{secrets.token_urlsafe(8)}", free_port()
    try:
        (folder / "word").write_text(word)
        if unprivileged:
            for path in (folder, folder / "word"):
                os.chown(path, unprivileged["user"], unprivileged["group"])
        made = subprocess.run(
            [
                str(folder_of_programs / "initdb"), "--pgdata", str(folder / "data"), "--username", "prefect",
                "--pwfile", str(folder / "word"), "--auth", "scram-sha-256", "--encoding", "UTF8", "--no-sync",
            ],
            cwd=folder, capture_output=True, text=True, timeout=60, check=False, **unprivileged,
        )  # fmt: skip
        assert made.returncode == 0, made.stdout + made.stderr
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": folder,
            "fsync": "off",
        }
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [
                    str(folder_of_programs / "postgres"), "-D", str(folder / "data"),
                    *(word for key, value in settings.items() for word in ("-c", f"{key}={value}")),
                ],
                cwd=folder, stdout=log, stderr=log, start_new_session=True, **unprivileged,
            )  # fmt: skip
        try:
            _make_database(port, word, server, folder / "log")
            yield {
                "PREFECT_SERVER_DATABASE_DRIVER": "postgresql+asyncpg",
                "PREFECT_SERVER_DATABASE_HOST": "127.0.0.1",
                "PREFECT_SERVER_DATABASE_PORT": str(port),
                "PREFECT_SERVER_DATABASE_NAME": "prefect",
                "PREFECT_SERVER_DATABASE_USER": "prefect",
                "PREFECT_SERVER_DATABASE_PASSWORD": word,
            }
        finally:
            server.send_signal(signal.SIGQUIT)  # at once: nothing of it is kept
            server.wait(20)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _who() -> dict[str, Any]:
    """What `subprocess` needs to run as an ordinary user where this process is root's."""
    if os.geteuid() != 0:
        return {}
    known = {each.pw_name: each for each in pwd.getpwall()}
    user = known.get("postgres") or known["nobody"]
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


async def ask(port: int, word: str, query: str, name: str = "prefect") -> Any:
    """The first value that a query returns."""
    connection = await asyncpg.connect(
        host="127.0.0.1", port=port, user="prefect", password=word, database=name, timeout=10
    )
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def _make_database(port: int, word: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Make the database `prefect` as soon as the server answers."""
    deadline = time.monotonic() + 60
    while True:
        try:
            asyncio.run(ask(port, word, "create database prefect", "postgres"))
            return
        except (OSError, asyncpg.PostgresError) as error:
            assert server.poll() is None and time.monotonic() < deadline, f"{error}: {log.read_text()}"
            time.sleep(0.2)
