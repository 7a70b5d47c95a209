"""Settings: a malformed one is named by its environment variable, and its value is not shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.errors import SettingsError
from pipeline.settings import settings


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    yield
    settings.cache_clear()


def test_a_malformed_setting_is_named_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIDECUBE_INSAR_BACKEND", "gamma")
    monkeypatch.setenv("SLIDECUBE_INSAR_CPUS", "0")
    settings.cache_clear()
    with pytest.raises(SettingsError) as wrong:
        settings()
    for word in ("SLIDECUBE_INSAR_CPUS", "SLIDECUBE_INSAR_BACKEND", "'isce2', 'pygmtsar', 'hyp3' or 'none'"):
        assert word in str(wrong.value)
    assert "gamma" not in str(wrong.value)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "  ",
        "s3://key:secret@bucket/cubes",
        "s3://",
        "https://x.example/data",
        "~nobody-here/data",
        "gs:/b",
    ],
)
@pytest.mark.parametrize("name", ["SLIDECUBE_DATA_DIR", "SLIDECUBE_AOI_DIR"])
def test_only_a_local_folder_is_one(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    settings.cache_clear()
    with pytest.raises(SettingsError, match=name):
        settings()


def test_the_home_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIDECUBE_DATA_DIR", "~/slidecube data")
    settings.cache_clear()
    assert settings().data_dir == Path.home() / "slidecube data"


@pytest.mark.parametrize("where", ["environment", ".env"])
@pytest.mark.parametrize(
    ("name", "meant"), [("SLIDECUBE_DATA_DRI", "SLIDECUBE_DATA_DIR"), ("slidecube_retry", "SLIDECUBE_RETRIES"),
                        ("SLIDECUBE_XYZZY", "SLIDECUBE_XYZZY")],
)  # fmt: skip
def test_a_variable_that_is_no_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, meant: str, where: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if where == ".env":
        (tmp_path / ".env").write_text(f"{name}=s3cret\n")
    else:
        monkeypatch.setenv(name, "s3cret")
    settings.cache_clear()
    with pytest.raises(SettingsError, match=name) as caught:
        settings()
    assert meant in str(caught.value) and "s3cret" not in str(caught.value)


def test_variables_of_the_tests_are_none_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIDECUBE_TESTS_ENGINE", "podman")
    settings.cache_clear()
    assert settings().retries >= 0


def test_a_malformed_setting_ends_a_command_with_its_own_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIDECUBE_SLC_FETCH", "zips")
    settings.cache_clear()
    ended = CliRunner().invoke(main, ["areas"])
    assert ended.exit_code == 2
    assert "SLIDECUBE_SLC_FETCH" in ended.output
    assert "Traceback" not in ended.output


def test_the_data_folder_may_be_an_object_store_beside_a_folder_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SLIDECUBE_DATA_DIR", "s3://bucket/prefix/")
    monkeypatch.setenv("SLIDECUBE_WORK_DIR", str(tmp_path))
    settings.cache_clear()
    assert (settings().data_store, settings().data_dir) == ("s3://bucket/prefix", tmp_path)
    monkeypatch.setenv("SLIDECUBE_DATA_DIR", str(tmp_path / "data"))
    settings.cache_clear()
    assert (settings().data_store, settings().data_dir) == (None, tmp_path / "data")
    monkeypatch.setenv("SLIDECUBE_DATA_STORE", "s3://bucket")
    settings.cache_clear()
    with pytest.raises(SettingsError, match="SLIDECUBE_DATA_STORE"):
        settings()
