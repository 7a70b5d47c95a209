"""The ablation as a flow: trials as tasks, a report at the end, failures by name."""

from __future__ import annotations

import pytest
from prefect.testing.utilities import prefect_test_harness

from flows.ablate import ablate
from flows.workers.dask_workers import task_runner
from model.experiments.ablations.ablation_plan import AblationPlan
from model.network.training_plan import NetworkSpec, PaperPlan
from pipeline.errors import SettingsError
from tests.small_cube import small_cube, write

PLAN = AblationPlan(
    network=NetworkSpec(encoder_depth=3, decoder_channels=(32, 16, 8), in_channels=1, classes=2),
    rows=("VH", "random"),
    passes=(1,),
    seeds=(0,),
    paper=PaperPlan(epochs=1, batch=8, chip_px=32),
)


@pytest.fixture(scope="module", autouse=True)
def server():
    with prefect_test_harness(server_startup_timeout=120):
        yield


def test_an_ablation_runs_as_a_flow_and_a_second_run_trains_nothing(tmp_path, monkeypatch):
    cube = str(write(small_cube(256, before=4, after=3), tmp_path / "one.zarr"))
    state = ablate(cube, PLAN, str(tmp_path / "out"), return_state=True)
    assert state.is_completed(), state.message
    assert "| VH | 1 |" in (tmp_path / "out" / "report.md").read_text()
    monkeypatch.setattr(
        "model.experiments.paper.run", lambda *args: pytest.fail("a finished trial was run again")
    )
    assert ablate(cube, PLAN, str(tmp_path / "out"), return_state=True).is_completed()
    narrow = PLAN.model_copy(update={"passes": (9,), "rows": ("VV",)})
    state = ablate(str(tmp_path / "none.zarr"), narrow, str(tmp_path / "out"), return_state=True)
    assert state.is_failed() and "no cube" in state.message.lower()


def test_trials_run_in_threads_or_on_dask(monkeypatch):
    assert type(task_runner("threads", 2, None)).__name__ == "ThreadPoolTaskRunner"
    pytest.importorskip("prefect_dask")
    assert type(task_runner("dask", 2, None)).__name__ == "DaskTaskRunner"


def test_a_scheduler_without_workers_is_named_and_one_with_a_worker_is_used(monkeypatch):
    pytest.importorskip("prefect_dask")
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr("flows.workers.dask_workers.WORKERS_WAIT_S", 0.5)
    quiet = {"n_workers": 0, "processes": False, "dashboard_address": None, "host": "127.0.0.1"}
    with distributed.LocalCluster(**quiet, protocol="tcp") as cluster:
        with pytest.raises(SettingsError) as caught:
            task_runner("dask", 2, cluster.scheduler_address)
        assert cluster.scheduler_address in caught.value.message
        cluster.scale(1)
        monkeypatch.setattr("flows.workers.dask_workers.WORKERS_WAIT_S", 60)
        assert task_runner("dask", 2, cluster.scheduler_address).address == cluster.scheduler_address


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "no address", "carrier-pigeon://127.0.0.1:5"])
def test_an_address_without_a_scheduler_is_named(address, monkeypatch):
    pytest.importorskip("prefect_dask")
    monkeypatch.setattr("flows.workers.dask_workers.CONNECT_S", 0.5)
    with pytest.raises(SettingsError) as caught:
        task_runner("dask", 2, address)
    assert address in caught.value.message and caught.value.exit_code == 2
