"""Reviews of copies of a map, each killed (SIGKILL) at another operation on the disk.

Run as `python reviewer.py MAPS POINTS`, MAPS a folder `<data>/maps/quiet` with the map `unversioned-detector`; makes
`<data>.<n>` for each point and prints, as JSON, the operation at which each was killed. Processes are forked, so that
libraries are imported once.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from model.maps.review.map_review import ReviewRequest, review_map
from pipeline.settings import settings

WATCHED = ("fsync", "link", "rename", "replace", "mkdir", "unlink", "rmdir")


def main() -> None:
    """One undisturbed run that counts, then a killed one for each point."""
    source, points = Path(sys.argv[1]), int(sys.argv[2])
    data = source.parents[1]
    operations = _forked(_copy(data, "undisturbed"), 0)
    deadly = sorted({1 + round(n * (operations - 1) / (points - 1)) for n in range(points)})
    for number in deadly:
        assert _forked(_copy(data, str(number)), number) == -signal.SIGKILL
    print(json.dumps(deadly))


def _copy(data: Path, name: str) -> Path:
    target = data.with_name(f"{data.name}.{name}")
    shutil.copytree(data, target, symlinks=True)
    return target


def _forked(data: Path, deadly: int) -> int:
    """The number of operations of a run, or minus the signal that ended it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.environ["SLIDECUBE_DATA_DIR"] = str(data)
        settings.cache_clear()
        count = _watched(deadly)
        review_map(
            data / "maps/quiet/unversioned-detector",
            ReviewRequest(accept=(1,), reject=(2,), who="Ana", note="new"),
        )
        os.write(writer, str(count[0]).encode())
        os._exit(0)
    os.close(writer)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reader) as counted:
        return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else int(counted.read())


def _watched(deadly: int) -> list[int]:
    """Count these calls; before the `deadly`-th the process ends itself."""
    count = [0]

    def counting(honest: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **options: Any) -> Any:
            count[0] += 1
            if count[0] == deadly:
                os.kill(os.getpid(), signal.SIGKILL)
            return honest(*given, **options)

        return call

    for name in WATCHED:
        setattr(os, name, counting(getattr(os, name)))
    return count


if __name__ == "__main__":
    main()
