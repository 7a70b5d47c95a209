"""A data folder of its own, which the settings name."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.settings import settings

DAY = 86400.0


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    root = tmp_path / "data"
    root.mkdir()
    monkeypatch.setenv("SLIDECUBE_DATA_DIR", str(root))
    settings.cache_clear()
    yield root
    settings.cache_clear()


def aged(path: Path, days: float = 60.0) -> Path:
    """The path, and all below it, as if nothing had changed for so long."""
    when = time.time() - days * DAY
    for one in [*path.rglob("*"), path]:
        os.utime(one, (when, when), follow_symlinks=False)
    return path


def filled(folder: Path, name: str = "data.bin", size: int = 20_000) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(os.urandom(size))
    return folder
