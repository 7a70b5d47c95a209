"""The folder of the demo: marked as such, so that nothing is used or removed that no demo made."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from pipeline.errors import SlidecubeError
from pipeline.files import read_regular, write_whole

MARK = ".slidecube-demo.json"
CONTENT = {"format": "slidecube-demo-1", "made by": "slidecube demo"}
MOST_MARK_BYTES = 4096
FOLDERS = ("world", "cubes", "insar", "models", "maps", "logs", "prefect")
"""what a demo writes to, below its folder"""
OF_ONE_RUN = ("logs", "prefect")
"""made anew by every run"""


def claim(root: Path) -> None:
    """Mark a folder as that of the demo, unless it is marked.

    Raises:
        SlidecubeError: it holds what no demo made, in a place that a demo writes to.
    """
    if is_claimed(root):
        return
    if taken := [name for name in (*FOLDERS, MARK) if (root / name).exists()]:
        raise SlidecubeError(
            f"{root} holds {', '.join(taken)}, and no demo of this release made it: nothing was changed.",
            "Name another folder with --folder.",
        )
    root.mkdir(parents=True, exist_ok=True)
    write_whole(root / MARK, json.dumps(CONTENT) + "\n")


def is_claimed(root: Path) -> bool:
    """Whether a folder has the mark of the demo."""
    try:
        return bool(json.loads(read_regular(root / MARK, MOST_MARK_BYTES)) == CONTENT)
    except (OSError, ValueError, RecursionError):
        return False


def remove_results(root: Path, area: str) -> None:
    """Remove what earlier demos made in their folder: the world, and cube, model and maps of their area.

    Cubes of other areas stay, and so do bundles that a person named and the maps by them.

    Raises:
        SlidecubeError: the folder is not marked.
    """
    if not is_claimed(root):
        raise SlidecubeError(f"{root} is no folder of the demo: nothing was removed.")
    for name in ("world", *OF_ONE_RUN, f"cubes/{area}", f"insar/{area}"):
        _remove(root / name)
    by_chain = {
        "models": re.compile(r"v\d+(\.refused\.json)?"),
        "maps": re.compile(rf"v\d+-(detector|log-ratio|{re.escape(area)}-v\d+-[0-9a-f]{{8}})"),
    }
    for kind, pattern in by_chain.items():
        folder = root / kind / area
        for path in folder.iterdir() if folder.is_dir() and not folder.is_symlink() else ():
            if pattern.fullmatch(path.name):
                _remove(path)


def remove_run(root: Path) -> None:
    """Remove the logs and the Prefect server of the run before, in a marked folder."""
    if is_claimed(root):
        for name in OF_ONE_RUN:
            _remove(root / name)


def _remove(path: Path) -> None:
    """Remove a file or a folder; of a symbolic link the link alone."""
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)
