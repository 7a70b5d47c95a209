"""A real Prefect server and worker before simulated archives, shared by the tests of the flows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactCollectionFilter,
    ArtifactCollectionFilterKey,
    FlowRunFilter,
    FlowRunFilterId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import FlowRun, Log, TaskRun

from flows.serving.local_server import ON_LOOPBACK, QUIET, LocalPrefect
from flows.serving.prefect_file import PROJECT
from pipeline.sandbox.posing.server import Sandbox
from tests.e2e.conftest import AREA, SmallWorld

TOO_EARLY = "too-early"
"""the small area as it was before the first pass after the event, and without an inventory"""


@dataclass
class Site:
    """Everything that a user of the flows has around."""

    prefect: LocalPrefect
    archive: Sandbox
    data: Path

    def user(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The command of a user in the project's folder, with no setting but the address of the server."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "SLIDECUBE_"))}
        environment |= {
            "PREFECT_HOME": str(self.prefect.home),
            "PREFECT_API_URL": self.prefect.api_url,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "DO_NOT_TRACK": "1",
        }
        return subprocess.run(
            words, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=300, check=False
        )

    def run(self, deployment: str, **parameters: object) -> FlowRun:
        """A flow run of a deployment, as `prefect deployment run` makes it, once it has ended."""
        with self.client() as client:
            found = client.read_deployment_by_name(f"{deployment}/{deployment}")
            made = client.create_flow_run_from_deployment(found.id, parameters=parameters)
        return self.end_of(made.id)

    def typed(self, command: str) -> FlowRun:
        """The flow run that a user's `prefect deployment run ...` made, once it has ended."""
        answer = self.user(*command.split())
        assert answer.returncode == 0, answer.stdout + answer.stderr
        found = re.search(r"UUID: ([0-9a-f-]{36})", answer.stdout)
        assert found, answer.stdout
        return self.end_of(UUID(found[1]))

    def end_of(self, run_id: UUID, patience_s: float = 180.0) -> FlowRun:
        """The run once it has ended."""
        deadline = time.monotonic() + patience_s
        with self.client() as client:
            while True:
                run = client.read_flow_run(run_id)
                if run.state is not None and run.state.is_final():
                    return run
                self.prefect.check()
                assert time.monotonic() < deadline, f"{run.name}: still {run.state}, see {self.prefect.logs}"
                time.sleep(0.5)

    def chained(self, uri: str, patience_s: float = 60.0) -> FlowRun:
        """The end of the training that somebody started for the version `uri`."""
        deadline = time.monotonic() + patience_s
        while True:
            for run in self.prefect.runs("train-model"):
                if run.parameters.get("cube") == uri:
                    return self.end_of(run.id)
            assert time.monotonic() < deadline, "no training was started"
            time.sleep(0.5)

    def artifact(self, key: str) -> str:
        """The newest artifact of that key, as text."""
        with self.client() as client:
            found = client.read_latest_artifacts(
                artifact_filter=ArtifactCollectionFilter(key=ArtifactCollectionFilterKey(any_=[key]))
            )
        return str(found[0].data)

    def events(self, name: str, patience_s: float = 30.0) -> list[dict[str, Any]]:
        """The events of that name, at least one."""
        deadline = time.monotonic() + patience_s
        order = {"filter": {"event": {"name": [name]}, "occurred": {"since": "2020-01-01T00:00:00Z"}}}
        with self.client() as client:
            while True:
                found: list[dict[str, Any]] = client.request("POST", "/events/filter", json=order).json()[
                    "events"
                ]
                if found:
                    return found
                assert time.monotonic() < deadline, f"no event {name}"
                time.sleep(0.5)

    def log(self, run: FlowRun, patience_s: float = 30.0) -> list[Log]:
        """The lines of an ended run and its tasks in Prefect's pages, once its engine's last one is there.

        The lines come in batches, and each task has a last line of its own.
        """
        deadline = time.monotonic() + patience_s
        wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id]))
        with self.client() as client:
            while True:
                lines = client.read_logs(wanted, limit=200)
                if any(line.task_run_id is None and "Finished in state" in line.message for line in lines):
                    return lines
                assert time.monotonic() < deadline, [line.message for line in lines]
                time.sleep(0.5)

    def tasks(self, run: FlowRun) -> list[TaskRun]:
        """The task runs of a flow run."""
        with self.client() as client:
            return client.read_task_runs(
                flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])), limit=200
            )

    def retried(self, run: FlowRun) -> int:
        """How many tasks of a run needed a second try."""
        return sum(task.run_count > 1 for task in self.tasks(run))

    def client(self) -> SyncPrefectClient:
        """A client of the server."""
        return SyncPrefectClient(self.prefect.api_url, httpx_settings=ON_LOOPBACK)

    def version(self, area: str, number: int) -> str:
        """Path of a version."""
        return str((self.data / "cubes" / area / "versions" / f"{number}.zarr").resolve())


@cache
def _empty_database() -> bytes:
    """A database with Prefect's tables and nothing in them, which a new server takes some eight seconds to make."""
    with TemporaryDirectory() as home:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")} | QUIET
        subprocess.run(
            [sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"],
            env=environment | {"PREFECT_HOME": home},
            check=True,
            capture_output=True,
            timeout=180,
        )
        return (Path(home) / "prefect.db").read_bytes()


def new_home(folder: Path) -> Path:
    """A home for a server, with an empty database, in `folder`."""
    home = folder / "home"
    home.mkdir()
    (home / "prefect.db").write_bytes(_empty_database())
    return home


@pytest.fixture(scope="module")
def site(small_world: SmallWorld, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Server, worker and archives; each flow run of a test has an area or a cube of its own."""
    folder = tmp_path_factory.mktemp("site")
    too_early = yaml.safe_load((small_world.aoi_dir / f"{AREA}.yaml").read_text())
    too_early |= {"name": TOO_EARLY, "end": "2018-09-05T19:00:00Z"}
    del too_early["inventory"]
    (small_world.aoi_dir / f"{TOO_EARLY}.yaml").write_text(yaml.safe_dump(too_early))
    with Sandbox(small_world.root) as archive, site_before(archive, small_world.aoi_dir, folder) as made:
        yield made


@contextmanager
def site_before(archive: Sandbox, aoi_dir: Path, folder: Path, **more: str) -> Iterator[Site]:
    """Server and worker of their own before an archive, in `folder`; `more` is added to what flow runs see."""
    environment = {
        **archive.environment,
        "SLIDECUBE_AOI_DIR": str(aoi_dir),
        "SLIDECUBE_DATA_DIR": str(folder / "data"),
        "SLIDECUBE_SEARCH_INTERVAL_S": "0",
        "SLIDECUBE_RETRIES": "0",
        "SLIDECUBE_BACKOFF_S": "0.05",
        **more,
    }
    home = folder / "home" if "PREFECT_SERVER_DATABASE_DRIVER" in more else new_home(folder)
    local = LocalPrefect(home, folder / "logs", environment, user_interface=False)
    with local as prefect:
        yield Site(prefect, archive, folder / "data")
