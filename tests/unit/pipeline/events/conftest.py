"""A data folder of its own for each test of events, and sources on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.settings import settings
from tests.unit.loopback import Loopback, brisk_settings, standing_for_all_hosts
from tests.unit.pipeline.events.made_feeds import Sources


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SLIDECUBE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("SLIDECUBE_AOI_DIR", raising=False)
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def sources() -> Iterator[Sources]:
    with brisk_settings(retries=0), Loopback() as server, standing_for_all_hosts(server):
        yield Sources(server)
