"""Settings: a malformed one is named by its environment variable, and its value is not shown."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.errors import SettingsError
from pipeline.settings import settings


def test_a_malformed_setting_is_named_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIDECUBE_INSAR_BACKEND", "gamma")
    monkeypatch.setenv("SLIDECUBE_INSAR_CPUS", "0")
    settings.cache_clear()
    with pytest.raises(SettingsError) as wrong:
        settings()
    for word in ("SLIDECUBE_INSAR_CPUS", "SLIDECUBE_INSAR_BACKEND", "'isce2', 'pygmtsar' or 'none'"):
        assert word in str(wrong.value)
    assert "gamma" not in str(wrong.value)


def test_a_malformed_setting_ends_a_command_with_its_own_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIDECUBE_SLC_FETCH", "zips")
    settings.cache_clear()
    ended = CliRunner().invoke(main, ["areas"])
    assert ended.exit_code == 2
    assert "SLIDECUBE_SLC_FETCH" in ended.output
    assert "Traceback" not in ended.output
