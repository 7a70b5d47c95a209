"""A build by Prefect's threads and by 1, 2 and 4 Dask workers on this machine: what the workers cost and bring.

`python -m tests.bench dask_build`. Passes of `SIDE_KM` kilometres, served on loopback by an archive that answers at
once, which shows what the processors bound, and by one that waits before each answer, which shows what waiting bounds.
The archive's limit is raised so that it does not bound. Of each run: seconds from the start of the process to its end,
from the first layer's begin to the last one's end, of publishing, and CPU seconds of all its processes. Each cube must
have the same digest.

The model of docs/scale.md is fitted to nothing: its terms are these figures.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.client.schemas.objects import TaskRun
from prefect.settings import PREFECT_API_URL
from prefect.testing.utilities import prefect_test_harness

from flows.serving.deployments import make_limits
from flows.serving.local_server import QUIET
from pipeline.archives.planetary import PlanetaryComputer
from pipeline.cube import versions
from pipeline.cube.addresses import open_store
from pipeline.sandbox.posing.faults import Fault
from pipeline.sandbox.posing.server import Sandbox
from tests.bench.hokkaido import write_area
from tests.bench.scenes import write_scenes

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
LATENCIES_S = tuple(float(v) for v in os.environ.get("BENCH_LATENCIES_S", "0,0.3").split(","))
SIDE_KM = float(os.environ.get("BENCH_SIDE_KM", "20"))
WORKERS = tuple(int(v) for v in os.environ.get("BENCH_WORKERS", "0,1,2,4").split(","))
"""0: threads of the flow run's own process"""
SLOTS = 64
STEPS = ("catalogue", "plan", "publish")
"""tasks that are no layers, by the begin of their names"""
CENTRE = (142.0, 42.75)


def main() -> None:
    """Build in every way `ROUNDS` times, in turns, and print the medians."""
    root = Path(tempfile.mkdtemp(prefix="slidecube-bench-", dir=os.environ.get("BENCH_DIR")))
    try:
        _run(root)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _run(root: Path) -> None:
    (root / "aoi").mkdir()
    half_y, half_x = SIDE_KM / 222, SIDE_KM / 222 / np.cos(np.radians(CENTRE[1]))
    west, south, east, north = CENTRE[0] - half_x, CENTRE[1] - half_y, CENTRE[0] + half_x, CENTRE[1] + half_y
    area = write_area(root / "aoi", bbox=[float(v) for v in (west, south, east, north)])
    print("making the passes ...", flush=True)
    write_scenes(root / "world", area)
    with prefect_test_harness(server_startup_timeout=600), get_client(sync_client=True) as client:
        make_limits(client)
        client.update_global_concurrency_limit(
            PlanetaryComputer.name, GlobalConcurrencyLimitUpdate(limit=SLOTS)
        )
        for latency_s in LATENCIES_S:
            with Sandbox(root / "world") as sandbox:
                if latency_s:
                    wait = Fault(
                        action="delay", host="*.blob.core.windows.net", delay_s=latency_s, times=None
                    )
                    sandbox.add_fault(wait)
                _report(latency_s, _rounds(root, sandbox, client))


def _rounds(root: Path, sandbox: Sandbox, client: SyncPrefectClient) -> dict[int, list[dict[str, float]]]:
    found: dict[int, list[dict[str, float]]] = {workers: [] for workers in WORKERS}
    digests = set()
    for number in range(ROUNDS):
        for workers in WORKERS if number % 2 == 0 else reversed(WORKERS):
            figures, digest = _build(root, sandbox, client, workers)
            found[workers].append(figures)
            digests.add(digest)
            print(f"round {number + 1}, {workers} workers: {json.dumps(figures)}", flush=True)
    if len(digests) != 1:
        raise RuntimeError(f"the cubes differ: {digests}")
    return found


def _build(
    root: Path, sandbox: Sandbox, client: SyncPrefectClient, workers: int
) -> tuple[dict[str, float], str]:
    data = root / "data"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "SLIDECUBE_"))}
    environment |= sandbox.environment | QUIET
    environment |= {
        "SLIDECUBE_AOI_DIR": str(root / "aoi"),
        "SLIDECUBE_DATA_DIR": str(data),
        "PREFECT_API_URL": str(PREFECT_API_URL.value()),
    }
    given: dict[str, Any] = {"aoi": "hokkaido"} | ({"runner": "dask", "jobs": workers} if workers else {})
    began, used = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "tests.e2e.flow_run", json.dumps(given)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    wall_s, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode or '"COMPLETED"' not in done.stdout:
        raise RuntimeError(f"{given}: {done.stdout[-1000:]} {done.stderr[-3000:]}")
    newest = max(client.read_flow_runs(limit=200), key=lambda run: run.created or run.expected_start_time)
    time.sleep(3)  # the last states of its tasks
    tasks = [task for task in client.read_task_runs(limit=200) if task.flow_run_id == newest.id]
    digest = versions.read_manifest(open_store(data / "cubes" / "hokkaido"), 1).substance
    shutil.rmtree(data)
    return {
        "wall_s": round(wall_s, 1),
        "layers_s": round(_span([t for t in tasks if not t.name.startswith(STEPS)]), 1),
        "publish_s": round(_span([t for t in tasks if t.name.startswith("publish")]), 1),
        "cpu_s": round(after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime, 1),
    }, digest


def _span(tasks: list[TaskRun]) -> float:
    begins = [task.start_time for task in tasks if task.start_time]
    ends = [task.end_time for task in tasks if task.end_time]
    return (max(ends) - min(begins)).total_seconds() if begins and ends else float("nan")


def _report(latency_s: float, found: dict[int, list[dict[str, float]]]) -> None:
    print(f"\nlatency {latency_s:g} s per answer, {len(os.sched_getaffinity(0))} cores")
    print(f"{'':10}{'wall s':>10}{'layers s':>10}{'publish s':>11}{'CPU s':>10}", flush=True)
    for workers, rounds in found.items():
        m = {key: float(np.median([one[key] for one in rounds])) for key in rounds[0]}
        name = f"{workers} workers" if workers else "threads"
        print(
            f"{name:10}{m['wall_s']:10.1f}{m['layers_s']:10.1f}{m['publish_s']:11.1f}{m['cpu_s']:10.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
