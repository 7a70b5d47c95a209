"""Server and worker are killed in the middle of a build: nothing is lost, and nothing is left behind."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from pipeline.cube.layers import RECORD
from pipeline.cube.verify import verify_cube
from pipeline.sandbox.posing.faults import Fault
from pipeline.sandbox.posing.server import Sandbox
from tests.e2e.conftest import AREA, SmallWorld
from tests.e2e.prefect_server import Site, site_before

pytestmark = pytest.mark.slow
BUILD = "build-datacube"
LEASE_S = 300
"""for which Prefect grants a slot before its holder must renew it"""


@pytest.fixture
def site(small_world: SmallWorld, tmp_path: Path) -> Iterator[Site]:
    with Sandbox(small_world.root) as archive, site_before(archive, small_world.aoi_dir, tmp_path) as made:
        yield made


def until(reached: Callable[[], bool], site: Site, patience_s: float = 180.0) -> None:
    deadline = time.monotonic() + patience_s
    while not reached():
        assert time.monotonic() < deadline, f"see {site.prefect.logs}"
        time.sleep(0.3)


def kill(site: Site, name: str) -> None:
    """Kill a child and everything that it started, as a machine that loses its power does."""
    (child,) = (each for each in site.prefect.children if each.name == name)
    site.prefect.children.remove(child)
    process = psutil.Process(child.process.pid)
    doomed = [*process.children(recursive=True), process]
    for each in doomed:
        each.kill()
    child.process.wait(20)
    psutil.wait_procs(doomed, timeout=20)


def engines(site: Site) -> list[psutil.Process]:
    """The processes of flow runs that the worker has started."""
    (worker,) = (each for each in site.prefect.children if each.name == "worker")
    below = psutil.Process(worker.process.pid).children(recursive=True)
    return [each for each in below if "prefect.engine" in " ".join(each.cmdline())]


def layers(site: Site) -> int:
    """How many layers the cube's folder holds, without their overviews, which are made when they are published."""
    folders = (site.data / "cubes" / AREA / "layers").glob("[0-9a-z]*")
    records = [json.loads((folder / RECORD).read_text()) for folder in folders]
    return sum(record["recipe"]["kind"] != "overview" for record in records)


def slots_in_use(site: Site) -> int:
    with site.client() as client:
        return sum(limit.active_slots for limit in client.read_global_concurrency_limits())


def let_leases_expire(home: Path) -> int:
    """Put the end of every lease into the past, as if the time had passed; returns how many there were."""
    folder = home / "concurrency_leases"
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    index = json.loads((folder / "expirations.json").read_text())
    for name, expires in index.items():
        assert datetime.fromisoformat(expires) < datetime.now(UTC) + timedelta(seconds=LEASE_S + 1)
        with suppress(FileNotFoundError):  # released since the index was read
            lease = json.loads((folder / f"{name}.json").read_text())
            (folder / f"{name}.json").write_text(json.dumps(lease | {"expiration": past}))
    (folder / "expirations.json").write_text(json.dumps(dict.fromkeys(index, past)))
    return len(index)


def test_killed_server_and_worker_lose_no_layer_leak_no_slot_and_the_next_run_completes_the_version(
    site: Site,
) -> None:
    site.archive.add_fault(Fault(action="delay", host="*blob*", delay_s=1.0, times=None))
    with site.client() as client:
        deployment = client.read_deployment_by_name(f"{BUILD}/{BUILD}")
        first = client.create_flow_run_from_deployment(deployment.id, parameters={"aoi": AREA})
    until(lambda: layers(site) >= 2, site)
    assert site.events("prefect.flow-run.heartbeat"), "by whose absence a killed run is found"

    kill(site, "Prefect server")
    time.sleep(5)  # layers that have a slot go on without the server, the others wait for it
    assert engines(site), "the build waits for its server, and does not end"
    before = layers(site)
    site.prefect.start_server()
    until(lambda: layers(site) > before, site)  # the build goes on with the new one
    until(lambda: slots_in_use(site) > 0, site)
    kill(site, "worker")
    held = layers(site)
    assert not (site.data / "cubes" / AREA / "latest").exists() and not list(site.data.glob("maps/*"))

    site.archive.reset()
    site.prefect.start_worker()
    second = site.run(BUILD, aoi=AREA)
    assert second.state is not None and second.state.name == "Completed", second.state
    built = re.search(r"(\d+) layers built", second.state.message or "")
    assert built and 0 < int(built[1]) == layers(site) - held, "what was whole on the disk is not read again"
    assert verify_cube(site.version(AREA, 1)).sound
    assert [each.name for each in (site.data / "cubes" / AREA / "versions").iterdir()] == ["1.zarr"]

    assert let_leases_expire(site.prefect.home) > 0
    until(lambda: slots_in_use(site) == 0, site)
    end = site.chained(site.version(AREA, 1))
    assert end.state is not None and end.state.name == "DetectorOnly"
    assert len(site.prefect.runs("train-model")) == 1, "the chain starts once for a version"
    with site.client() as client:
        left = client.read_flow_run(first.id).state
    assert left is not None and not left.is_completed()
