"""A cube built by several processes: the bytes of one process, the archives' limits over all, workers that die."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import StateType
from prefect.settings import PREFECT_API_URL
from prefect.testing.utilities import prefect_test_harness

from flows.serving.deployments import make_limits
from flows.serving.limits import LIMITS
from flows.serving.local_server import QUIET, free_port
from pipeline.archives.planetary import PlanetaryComputer
from pipeline.cube.verify import verify_cube
from pipeline.sandbox.posing.faults import Fault, Request
from pipeline.sandbox.posing.server import Sandbox
from tests.e2e.conftest import AREA, Command, SmallWorld, command_for

pytestmark = pytest.mark.slow
pytest.importorskip("prefect_dask")
PATIENCE_S = 600.0


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a Prefect server that holds the limits."""
    with prefect_test_harness(server_startup_timeout=300):
        with get_client(sync_client=True) as client:
            make_limits(client)
        yield str(PREFECT_API_URL.value())


@pytest.fixture(scope="module")
def one_process(small_world: SmallWorld, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of the cube that one process builds."""
    with Sandbox(small_world.root) as archive:
        made = command_for(archive, small_world, tmp_path_factory.mktemp("one"))
        made.run("build", AREA, "--no-quicklook")
        return files_of(made.cube)


def files_of(cube: Path) -> dict[str, bytes]:
    """Every file of the layers and the versions, but for the journal, which holds times of day."""
    parts = [path for part in ("layers", "versions") for path in sorted((cube / part).rglob("*"))]
    return {
        str(p.relative_to(cube)): p.read_bytes() for p in parts if p.is_file() and "journal" not in p.name
    }


@dataclass
class Site:
    """A data folder before an archive and a Prefect server, in which flows run in processes of their own."""

    command: Command
    server: str

    @property
    def environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in self.command.environment.items() if not k.startswith("PREFECT_")}
        return QUIET | inherited | {"PREFECT_API_URL": self.server, "PYTHONUNBUFFERED": "1"}

    def start(self, **parameters: Any) -> subprocess.Popen[str]:
        words = [sys.executable, "-m", "tests.e2e.flow_run", json.dumps({"aoi": AREA} | parameters)]
        return subprocess.Popen(
            words, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def end(self, flow: subprocess.Popen[str]) -> dict[str, str]:
        out, err = flow.communicate(timeout=PATIENCE_S)
        assert flow.returncode == 0, err[-5000:]
        found: dict[str, str] = json.loads(out.splitlines()[-1])
        return found

    def run(self, **parameters: Any) -> dict[str, str]:
        return self.end(self.start(**parameters))

    def layers(self) -> int:
        return len(list((self.command.cube / "layers").glob("[0-9a-z]*")))


@pytest.fixture
def site(archive: Sandbox, slidecube: Command, server: str) -> Site:
    return Site(slidecube, server)


@contextmanager
def limit_of(slots: int) -> Iterator[SyncPrefectClient]:
    """The archive's limit, as an operator sets it; no slot is in use."""
    name = PlanetaryComputer.name
    with get_client(sync_client=True) as client:
        client.update_global_concurrency_limit(
            name, GlobalConcurrencyLimitUpdate(limit=slots, active_slots=0)
        )
        yield client
        client.update_global_concurrency_limit(
            name, GlobalConcurrencyLimitUpdate(limit=LIMITS[name], active_slots=0)
        )


def layer_of(path: str) -> str:
    """What the layers that read a file have in common: its pass and polarisation, or that it is no backscatter."""
    found = re.search(r"_(20\d{6}T\d\d).*\b(vv|vh)\b", path)
    return f"{found[1]} {found[2]}" if found else "elevation"


def layers_at_once(log: tuple[Request, ...]) -> int:
    """The most layers for which the archive was sending something at the same moment."""
    moments = []
    for one in log:
        if "blob" in one.host and one.method == "GET":
            layer, end = layer_of(one.path), one.at.timestamp()
            moments += [(end - one.seconds, 1, layer), (end, -1, layer)]
    at_once: dict[str, int] = {}
    most = 0
    for _, step, layer in sorted(moments):
        at_once[layer] = at_once.get(layer, 0) + step
        most = max(most, sum(count > 0 for count in at_once.values()))
    return most


def until(reached: Any) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def spawned(flow: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes of the workers that a flow run has started."""
    below = psutil.Process(flow.pid).children(recursive=True)
    return [each for each in below if "spawn_main" in " ".join(each.cmdline())]


def test_two_workers_make_the_bytes_of_one_process_within_the_archives_limit(
    site: Site, archive: Sandbox, one_process: dict[str, bytes]
) -> None:
    archive.add_fault(Fault(action="delay", host="*blob*", delay_s=0.3, times=None))
    with limit_of(2) as client:
        ended = site.run(runner="dask", jobs=2)
        assert ended["name"] == "Completed", ended
        (run,) = [r for r in client.read_flow_runs() if str(r.parameters.get("runner")) == "dask"]
        tasks = [task for task in client.read_task_runs(limit=200) if task.flow_run_id == run.id]
        lines = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id])), limit=200)
    assert files_of(site.command.cube) == one_process
    assert layers_at_once(archive.log) == 2
    made = [task for task in tasks if not task.name.startswith(("catalogue", "plan", "publish"))]
    assert made and {task.state_type for task in made} == {StateType.COMPLETED}
    ids = {task.id for task in made}
    assert "pipeline.archives.inventories" in {line.name for line in lines if line.task_run_id in ids}


def test_a_worker_that_is_killed_loses_no_layer(
    site: Site, archive: Sandbox, one_process: dict[str, bytes]
) -> None:
    archive.add_fault(Fault(action="delay", host="*blob*", delay_s=0.5, times=None))
    with limit_of(6):
        flow = site.start(runner="dask", jobs=2)
        until(lambda: site.layers() >= 2)
        killed = spawned(flow)[0]
        killed.kill()
        archive.reset()
        ended = site.end(flow)
    assert ended["name"] == "Completed", ended
    assert verify_cube(str(site.command.cube)).sound
    assert files_of(site.command.cube) == one_process


@contextmanager
def scheduler_and_worker(
    site: Site, logs: Path, **more: str
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A Dask scheduler and a worker of it, as an operator starts them; `more` is added to the worker's settings."""
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    dask = str(Path(sys.executable).with_name("dask"))
    commands = {
        "scheduler": ([dask, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"], {}),
        "worker": ([dask, "worker", address, "--nthreads", "2", "--no-nanny", "--no-dashboard"], more),
    }
    children = []
    try:
        for name, (words, extra) in commands.items():
            with (logs / f"{name}.log").open("wb") as sink:
                children.append(
                    subprocess.Popen(words, env=site.environment | extra, cwd=logs, stdout=sink, stderr=sink)
                )
        yield address, children[-1]
    finally:
        for child in reversed(children):
            child.kill()
            child.wait()


def test_a_worker_with_another_data_folder_is_refused_before_anything_is_read(
    site: Site, archive: Sandbox, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    with scheduler_and_worker(site, tmp_path, SLIDECUBE_DATA_DIR=str(elsewhere)) as (address, _), limit_of(6):
        ended = site.run(runner="dask", address=address)
    assert ended["type"] == "FAILED"
    assert str(elsewhere) in ended["message"] and "Dask worker" in ended["message"]
    assert not [
        one for one in archive.log if "blob" in one.host and one.method == "GET" and one.bytes_sent > 10**6
    ]
    assert not list((site.command.cube / "layers").glob("*"))


def test_when_the_last_worker_is_gone_the_run_ends_by_name_and_the_next_one_completes(
    site: Site, archive: Sandbox, tmp_path: Path, one_process: dict[str, bytes]
) -> None:
    archive.add_fault(Fault(action="delay", host="*blob*", delay_s=0.5, times=None))
    with scheduler_and_worker(site, tmp_path) as (address, worker), limit_of(6):
        # once the worker is there
        site.command.environment["SLIDECUBE_TESTS_WORKERS_WAIT_S"] = "20"
        flow = site.start(runner="dask", address=address)
        until(lambda: site.layers() >= 2)
        worker.kill()
        ended = site.end(flow)
    assert ended["type"] == "FAILED"
    assert "No Dask worker was left" in ended["message"]
    archive.reset()
    with limit_of(6):
        again = site.run()
    assert again["name"] == "Completed", again
    assert {name: raw for name, raw in files_of(site.command.cube).items() if name.startswith("layers")} == {
        name: raw for name, raw in one_process.items() if name.startswith("layers")
    }
