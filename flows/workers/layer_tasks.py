"""Layers of a build as tasks of Prefect: in threads of the flow run, or on Dask workers.

This module is imported by its name in every process: a Dask worker finds here what it runs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import httpx
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.exceptions import PrefectException
from prefect.futures import PrefectFuture, as_completed
from prefect.settings import PREFECT_API_URL
from prefect.tasks import Task, exponential_backoff

from flows.serving.limits import INTERFEROMETRY, LIMITS, archive_limits, slot_of
from flows.serving.run_log import library_log
from flows.serving.server_errors import is_of_server
from flows.workers.dask_workers import DaskWorkers, dask_workers
from flows.workers.worker_check import REMEDY, Common, ensure_common, marked, objection
from pipeline.areas.area import AreaOfInterest
from pipeline.build import run as build
from pipeline.errors import ArchiveError, DiskError, SettingsError, SlidecubeError

log = logging.getLogger(__name__)

LAYERS_AT_ONCE = 3
"""Layers of one run that are built at once: each holds the arrays of one pass in memory."""
PAIRS_AT_ONCE = LIMITS[INTERFEROMETRY]
"""Pairs of one run that are begun before the other layers; see `BuildPlan.in_order`."""

WAITS_S = (10.0, 20.0, 40.0, 80.0, 160.0)
"""Waits before a layer is submitted again whose task ended because Prefect's server was away."""


def is_transient(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Whether another try may help: an archive failed for a reason that may pass, or Prefect's server was away."""
    error = state.result(raise_on_failure=False)
    return is_of_server(error) or (isinstance(error, ArchiveError) and error.transient)


# pipeline.archives has already tried again within seconds; these retries wait for failures that last minutes
RETRIES: dict[str, Any] = {
    "retries": 4,
    "retry_delay_seconds": exponential_backoff(backoff_factor=10),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": is_transient,
    "cache_policy": NO_CACHE,
}


def limit_names(area: AreaOfInterest, layer: build.LayerTask) -> list[str]:
    """Prefect's limits for the limit that the layer's kind names."""
    return {"archive": archive_limits(area), "processor": [INTERFEROMETRY], None: []}[layer.kind.limit]


@task(name="layer", task_run_name="{layer.label}", **RETRIES)
def build_layer(area: AreaOfInterest, layer: build.LayerTask, common: Common | None = None) -> None:
    """Fetch, derive and commit one layer, within the limit of its kind.

    `common` is what a worker that is not the flow run's own process must have in common with it.
    """
    limits = limit_names(area, layer)
    with library_log():
        if common is not None:
            ensure_common(area, common)
        with slot_of(*limits) if limits else nullcontext():
            build.build_layer(area, layer)


build_pair = build_layer.with_options(name="pair")
"""The same for a pair, under its own name in Prefect's pages."""


@dataclass(frozen=True)
class PrefectTasks:
    """Workers of a flow run: each layer is a task run of its own."""

    area: AreaOfInterest
    processors: int = PAIRS_AT_ONCE
    workers: DaskWorkers | None = None
    """None: threads of the flow run's own process"""
    common: Common | None = None
    """what other processes must have in common with this one"""

    def make(self, tasks: Iterable[build.LayerTask]) -> build.Outcomes:
        """Submit the layers in their order; yields each when its task run has ended.

        A layer whose run ended because Prefect's server was away is submitted again; a layer that is whole on the disk
        is then found there.
        """
        waiting = list(tasks)
        for wait_s in (*WAITS_S, None):
            again = []
            runs = {}
            for layer in waiting:
                try:
                    runs[self._submit(layer)] = layer
                except (httpx.HTTPError, PrefectException) as refused:
                    if not is_of_server(refused) or wait_s is None:
                        raise
                    again.append(layer)
            for run in as_completed(list(runs)):
                error = self._ended(run)
                if isinstance(error, DiskError):
                    raise error
                if is_of_server(error) and wait_s is not None:
                    again.append(runs[run])
                else:
                    yield runs[run], None if error is None else words_of(error)
            if not again or wait_s is None:
                return
            log.warning("Prefect's server was away: %d tasks begin again in %.0f s", len(again), wait_s)
            time.sleep(wait_s)
            waiting = again

    def _submit(self, layer: build.LayerTask) -> PrefectFuture[Any]:
        building = build_pair if layer.kind.limit == "processor" else build_layer
        if self.workers is None:
            return building.submit(self.area, layer)
        return self.workers.submit(building, area=self.area, layer=layer, common=self.common)

    def _ended(self, run: PrefectFuture[Any]) -> object:
        """None where a task run completed, else its error, or the message of its state."""
        try:
            run.wait()  # before this call `run.state` asks the server, which may not have the final state yet
            if self.workers is not None and (lost := self.workers.loss_of(run)) is not None:
                return lost
            state = run.state
            return None if state.is_completed() else _error_of(state)
        except (httpx.HTTPError, PrefectException) as error:
            return error


def _error_of(state: State[Any]) -> object:
    """The error of a run that did not complete, or the message of its state."""
    found = state.result(raise_on_failure=False)
    return found if isinstance(found, BaseException) else str(state.message)


def reason(state: State[Any]) -> str:
    """Why a task run did not complete: the message of its error."""
    return words_of(_error_of(state))


def words_of(error: object) -> str:
    """Why a layer's task did not complete: an error's own message, with its type where it is none of ours."""
    if isinstance(error, BaseException) and not isinstance(error, SlidecubeError):
        return f"{type(error).__name__}: {error}"
    return str(error)


@contextmanager
def tasks_on_dask(area: AreaOfInterest, jobs: int, address: str | None) -> Iterator[PrefectTasks]:
    """Layers as tasks on Dask workers, which have the flow run's code, libraries, store and Prefect server.

    Raises:
        SettingsError: `PREFECT_API_URL` is not set, no scheduler or worker is there, or one of the workers differs.
        SlidecubeError: prefect-dask is not installed.
    """
    if not (server := PREFECT_API_URL.value()):
        raise SettingsError(
            "PREFECT_API_URL is not set: no server would hold the limits of the archives over all workers.",
            "Name one that the workers reach, or use runner=threads.",
        )
    with dask_workers(jobs, address, LAYERS_AT_ONCE) as workers, marked(area, server) as common:
        if objections := workers.objections(objection, area, common):
            where, words = min(objections.items())
            others = f", and {len(objections) - 1} more do not fit" if len(objections) > 1 else ""
            raise SettingsError(f"The Dask worker {where} {words}{others}.", REMEDY)
        yield PrefectTasks(area, workers=workers, common=common)
