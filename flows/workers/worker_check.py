"""What a Dask worker must have in common with the flow run that gives it layers: code, libraries, store, server.

A worker is a process of its own, perhaps on another machine, with its own environment. One with other code would write
layers under the name of an algorithm that it does not run, and one with another data folder would write them where
nobody looks.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from platform import python_version
from secrets import token_hex

import httpx
from pydantic import Field

import pipeline
from pipeline.areas.area import AreaOfInterest
from pipeline.build.run import store_of
from pipeline.cube.store import STAGING
from pipeline.errors import SettingsError, SlidecubeError
from pipeline.records import Frozen

ANSWER_S = 20.0
"""longest wait for an answer of Prefect's server, of which none has to be a good one"""
MARK = f"layers/{STAGING}workers"
"""of the run that holds the cube's lock; that of a killed run is replaced or swept by the next one"""
SHOWN = 3
"""differing libraries that are named"""


class Common(Frozen):
    """What the flow run has, and every worker must have."""

    code: str = Field(description="digest of the source of `pipeline`")
    versions: dict[str, str] = Field(description="of Python and of the libraries that `pipeline` requires")
    mark: str = Field(description="key of a file in the cube's store")
    content: str = Field(description="what that file holds")
    server: str = Field(description="address of the API of Prefect's server")


@cache
def code_digest() -> str:
    """Digest of the source of `pipeline`, as it is installed here."""
    root, digest = Path(pipeline.__file__).parent, sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root).as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that the distribution requires without an extra."""
    found = {"python": python_version()}
    for line in requires("slidecube") or ():
        name = re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0]
        if "extra ==" not in line:
            try:
                found[name] = version(name)
            except PackageNotFoundError:
                found[name] = "absent"
    return found


@contextmanager
def marked(area: AreaOfInterest, server: str) -> Iterator[Common]:
    """What the workers of a build must have in common with this process, while a mark of it is in the cube's store.

    Raises:
        DiskError: the store cannot be written.
    """
    store, content = store_of(area), token_hex(16)
    store.write(MARK, content.encode())
    try:
        yield Common(code=code_digest(), versions=versions(), mark=MARK, content=content, server=server)
    finally:
        store.delete(MARK)


def difference(area: AreaOfInterest, common: Common) -> str | None:
    """What this process has not in common with the flow run, in words; None: nothing."""
    if code_digest() != common.code:
        return "runs other code of slidecube"
    ours = versions()
    others = [name for name in sorted(ours | common.versions) if ours.get(name) != common.versions.get(name)]
    if others:
        named = ", ".join(f"{n} {ours.get(n, 'absent')}" for n in others[:SHOWN])
        return f"has other libraries ({named}{', ...' if len(others) > SHOWN else ''})"
    try:
        store = store_of(area)
        if store.read(common.mark) != common.content.encode():
            return f"does not see the store of the flow run: its own is {store.uri}"
    except SlidecubeError as error:
        return f"cannot read the cube's store: {error}"
    return None


def unreached(server: str) -> str | None:
    """Why Prefect's server cannot be reached from this process; None: it answers."""
    try:
        httpx.get(f"{server.rstrip('/')}/health", timeout=ANSWER_S)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return f"does not reach Prefect's server at {server} ({type(error).__name__})"
    return None


def objection(area: AreaOfInterest, common: Common) -> str | None:
    """Why this process cannot be a worker of the flow run, in words; None: it can."""
    return difference(area, common) or unreached(common.server)


def ensure_common(area: AreaOfInterest, common: Common) -> None:
    """
    Raises:
        SettingsError: this process has other code, other libraries or another store than the flow run.
    """
    if (words := difference(area, common)) is not None:
        raise SettingsError(f"The Dask worker on {socket.gethostname()} {words}.", REMEDY)


REMEDY = "Workers need the same release and libraries, the same SLIDECUBE_ settings, and the same data folder or store."
