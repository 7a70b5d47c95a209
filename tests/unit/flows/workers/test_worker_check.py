"""What a Dask worker must have in common with the flow run that gives it layers."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.workers import worker_check
from flows.workers.worker_check import difference, ensure_common, marked, objection, unreached
from pipeline.build.run import store_of
from pipeline.errors import SettingsError
from pipeline.settings import settings
from tests.unit.pipeline.catalogue.test_passes import area

NOBODY = "http://127.0.0.1:9/api"


@pytest.fixture(autouse=True)
def data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("SLIDECUBE_DATA_DIR", str(tmp_path / "data"))
    settings.cache_clear()
    yield
    settings.cache_clear()


def test_the_same_process_has_everything_in_common_and_no_mark_stays():
    with marked(area(), NOBODY) as common:
        assert difference(area(), common) is None
        ensure_common(area(), common)
        assert store_of(area()).read(common.mark) == common.content.encode()
    assert store_of(area()).names("layers") == []
    assert {"python", "numpy", "zarr"} <= set(common.versions)


def test_other_code_other_libraries_and_another_folder_are_named(monkeypatch, tmp_path):
    with marked(area(), NOBODY) as common:
        other = common.model_copy(update={"code": "0" * 64})
        assert "other code" in (difference(area(), other) or "")
        other = common.model_copy(update={"versions": common.versions | {"numpy": "1.0"}})
        assert f"numpy {common.versions['numpy']}" in (difference(area(), other) or "")
        monkeypatch.setenv("SLIDECUBE_DATA_DIR", str(tmp_path / "elsewhere"))
        settings.cache_clear()
        assert str(tmp_path / "elsewhere") in (difference(area(), common) or "")
        with pytest.raises(SettingsError):
            ensure_common(area(), common)


def test_a_server_that_the_worker_does_not_reach_is_named(monkeypatch):
    monkeypatch.setattr(worker_check, "ANSWER_S", 2.0)
    assert NOBODY in (unreached(NOBODY) or "")
    with marked(area(), NOBODY) as common:
        assert NOBODY in (objection(area(), common) or "")
