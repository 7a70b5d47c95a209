"""What keeps pairs from being made is found out before anything is fetched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.insar.readiness import obstacle
from pipeline.settings import settings


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., None]]:
    """A machine with nothing on the PATH, no login and these settings."""

    def set_up(**given: str) -> None:
        for name, value in {"PATH": str(tmp_path), "NETRC": str(tmp_path / "netrc"), **given}.items():
            monkeypatch.setenv(name, value)
        settings.cache_clear()

    monkeypatch.delenv("EARTHDATA_TOKEN", raising=False)
    monkeypatch.chdir(tmp_path)
    yield set_up
    settings.cache_clear()


def log_in(folder: Path) -> None:
    (folder / "netrc").write_text("machine urs.earthdata.nasa.gov login somebody password secret-word\n")


def test_without_engine_and_topsapp_the_way_out_is_named(
    machine: Callable[..., None], tmp_path: Path
) -> None:
    log_in(tmp_path)
    machine(SLIDECUBE_INSAR_BACKEND="isce2")
    said = obstacle("bursts")
    assert said is not None and "no container engine, and no topsApp.py" in said
    assert "docker/isce2" in said and "SLIDECUBE_INSAR_BACKEND=pygmtsar" in said
    assert len(said) < 500


def test_a_topsapp_of_the_path_is_a_way(machine: Callable[..., None], tmp_path: Path) -> None:
    log_in(tmp_path)
    script = tmp_path / "topsApp.py"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    machine(SLIDECUBE_INSAR_BACKEND="isce2")
    assert obstacle("bursts") is None


def test_without_the_extra_the_in_process_backend_says_so(
    machine: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in(tmp_path)
    machine(SLIDECUBE_INSAR_BACKEND="pygmtsar")
    monkeypatch.setattr("pipeline.insar.pygmtsar.pygmtsar_backend.find_spec", lambda name: None)
    said = obstacle("bursts")
    assert said is not None and "slidecube[insar]" in said


def test_without_a_login_the_account_is_named_and_nothing_secret(
    machine: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.insar.pygmtsar.pygmtsar_backend.find_spec", lambda name: object())
    machine(SLIDECUBE_INSAR_BACKEND="pygmtsar")
    said = obstacle("bursts")
    assert said is not None and "no login found" in said and "urs.earthdata.nasa.gov" in said
    machine(SLIDECUBE_INSAR_BACKEND="pygmtsar", EARTHDATA_TOKEN="word")
    assert obstacle("granules") is None
    log_in(tmp_path)
    assert obstacle("bursts") is None
