"""The flow `build-datacube`: from an area to the next version of its cube.

A new version that has everything that the archives list is announced as `datacube.ready`, any other as
`datacube.incomplete`. A run that fails, crashes or leaves something out is announced as `build.failed`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import httpx
from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, TaskRun
from prefect.deployments import run_deployment
from prefect.events import emit_event
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.futures import PrefectFuture, as_completed
from prefect.states import Completed, Failed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect.tasks import Task, exponential_backoff
from prefect.utilities.annotations import quote
from pydantic import Field

from flows import chain
from flows.serving import log_progress
from flows.serving.artifacts import show_passes, show_quicklook
from flows.serving.event_schedules import is_under_way
from flows.serving.limits import INTERFEROMETRY, LIMITS, archive_limits, slot_of
from flows.serving.notifications import announcements
from flows.serving.run_log import in_pages
from flows.serving.server_errors import is_of_server
from pipeline.areas.area import AreaOfInterest, known_areas, load_area
from pipeline.build import run as build
from pipeline.catalogue.catalogue import Catalogue
from pipeline.errors import ArchiveError, BusyError, DiskError, SlidecubeError

log = logging.getLogger(__name__)

LAYERS_AT_ONCE = 3
"""Layers of one run that are built at once: each holds the arrays of one pass in memory."""
PAIRS_AT_ONCE = LIMITS[INTERFEROMETRY]
"""Pairs of one run that are begun before the other layers; see `BuildPlan.in_order`."""


WAITS_S = (10.0, 20.0, 40.0, 80.0, 160.0)
"""Waits before a layer is submitted again whose task ended because Prefect's server was away."""

CHAIN = "train-model"
"""the flow that makes a version's model and map"""

AreaName = Annotated[str, Field(examples=known_areas())]
"""Prefect's pages offer the areas that are known when the flow is deployed, and take any other text: the area of an
event comes later."""

T = TypeVar("T")


def unvisited(value: T) -> T:
    """A parameter of a task that Prefect passes on without searching it for futures."""
    return cast(T, quote(value))


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


@task(name="catalogue", **RETRIES)
def find_catalogue(area: AreaOfInterest, replay: Path | None) -> Catalogue:
    """One search of the archives, or the replay of an earlier one."""
    with slot_of(*archive_limits(area)):
        return build.find_catalogue(area, replay)


@task(name="plan", cache_policy=NO_CACHE)
def make_plan(area: AreaOfInterest, catalogue: Catalogue, pairs: bool) -> build.BuildPlan:
    """The layers that are wanted, and which of them the cube holds."""
    return build.make_plan(area, catalogue, pairs)


def limit_names(area: AreaOfInterest, layer: build.LayerTask) -> list[str]:
    """Prefect's limits for the limit that the layer's kind names."""
    return {"archive": archive_limits(area), "processor": [INTERFEROMETRY], None: []}[layer.kind.limit]


@task(name="layer", task_run_name="{layer.label}", **RETRIES)
def build_layer(area: AreaOfInterest, layer: build.LayerTask) -> None:
    """Fetch, derive and commit one layer, within the limit of its kind."""
    limits = limit_names(area, layer)
    with slot_of(*limits) if limits else nullcontext():
        build.build_layer(area, layer)


build_pair = build_layer.with_options(name="pair")
"""The same for a pair, under its own name in Prefect's pages."""


@dataclass(frozen=True)
class PrefectTasks:
    """Workers of a flow run: each layer is a task run of its own."""

    area: AreaOfInterest
    processors: int = PAIRS_AT_ONCE

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
                building = build_pair if layer.kind.limit == "processor" else build_layer
                try:
                    runs[building.submit(self.area, layer)] = layer
                except (httpx.HTTPError, PrefectException) as refused:
                    if not is_of_server(refused) or wait_s is None:
                        raise
                    again.append(layer)
            for run in as_completed(list(runs)):
                error = _ended(run)
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


def _ended(run: PrefectFuture[Any]) -> object:
    """None where a task run completed, else its error, or the message of its state."""
    try:
        run.wait()  # before this call `run.state` asks the server, which may not have the final state yet
        state = run.state
        return None if state.is_completed() else _error_of(state)
    except (httpx.HTTPError, PrefectException) as error:
        return error


def _error_of(state: State[Any]) -> object:
    """The error of a run that did not complete, or the message of its state."""
    found = state.result(raise_on_failure=False)
    return found if isinstance(found, BaseException) else str(state.message)


@task(name="publish", cache_policy=NO_CACHE)
def publish(
    area: AreaOfInterest, plan: build.BuildPlan, catalogue: Catalogue, failed: dict[str, str]
) -> build.Published:
    """A new version of the layers that the cube holds, or the current one if nothing changed."""
    return build.publish(area, plan, catalogue, failed)


@flow(
    name="build-datacube",
    flow_run_name="{aoi}",
    task_runner=cast("TaskRunner[Any]", ThreadPoolTaskRunner(max_workers=LAYERS_AT_ONCE + PAIRS_AT_ONCE)),
    on_failure=[announcements.build_failed],
    on_crashed=[announcements.build_failed],
)
@in_pages
def build_datacube(aoi: AreaName, catalogue: str | None = None, pairs: bool = True) -> State[Any]:
    """Build or renew the cube of an area.

    Parameters:
        aoi: name of an area (`slidecube areas`) or path of an area file.
        catalogue: path of a saved catalogue to replay; without it the archives are searched.
        pairs: whether new pairs are made, which takes hours. Without them the version and its map are made at once; a
            later run adds them.

    One run builds an area at a time: a second one ends at once, by the name "Busy".
    """
    area = load_area(aoi)
    with ExitStack() as stack:
        try:
            stack.enter_context(build.writer_lock(area, wait=False))
        except BusyError as busy:
            return Completed(name="Busy", message=f"{busy.message} This run ended at once.")
        found = find_catalogue(area, Path(catalogue) if catalogue else None)
        plan = make_plan(area, unvisited(found), pairs)
        show_passes(plan)
        failed = build.build_layers(plan, PrefectTasks(area), log_progress.in_log())
        published = publish(area, unvisited(plan), unvisited(found), failed)
    if published.new:
        from pipeline.cube.cube_quicklook import write_quicklook  # with matplotlib, only where a version came

        show_quicklook(published, write_quicklook(published.uri))
    announce(published)
    return verdict(published)


def reason(state: State[Any]) -> str:
    """Why a task run did not complete: the message of its error."""
    return words_of(_error_of(state))


def words_of(error: object) -> str:
    """Why a layer's task did not complete: an error's own message, with its type where it is none of ours."""
    if isinstance(error, BaseException) and not isinstance(error, SlidecubeError):
        return f"{type(error).__name__}: {error}"
    return str(error)


def announce(published: build.Published) -> None:
    """Start training and mapping: by the event of a new version, or by a run for a version that lacks one of them.

    Only a complete version is ready. Of an incomplete one the event names what it lacks; the next run that finds it
    unchanged, or `reconcile`, has it trained and mapped.
    """
    if published.new:
        emit_event(
            event="datacube.ready" if published.complete else "datacube.incomplete",
            resource={
                "prefect.resource.id": f"datacube.{published.area}.{published.version}",
                "prefect.resource.name": f"{published.area} version {published.version}",
                "datacube.area": published.area,
                "datacube.version": str(published.version),
                "datacube.uri": published.uri,
            },
            payload={"missing": list(published.missing), "undelivered": list(published.undelivered)},
        )
        return
    if lacks := chain.standing(chain.version_of(published.uri)).lacks:
        start_chain(published.uri, lacks)


def start_chain(cube: str, lacks: tuple[str, ...]) -> None:
    """Schedule the flow that makes what a version lacks; if it is not deployed, log how to run it."""
    logger = get_run_logger()
    try:
        with get_client(sync_client=True) as client:
            if is_under_way(client, CHAIN, "cube", cube, lambda: chain.in_work(chain.version_of(cube))):
                logger.info("%s lacks its %s: %s is under way", cube, " and ".join(lacks), CHAIN)
                return
        run_deployment(f"{CHAIN}/{CHAIN}", parameters={"cube": cube}, timeout=0, as_subflow=False)
    except ObjectNotFound:
        logger.warning(
            "%s lacks its %s; run `python -m flows.setup`, then `reconcile`",
            cube,
            " and ".join(lacks),
        )
    else:
        logger.info("%s lacks its %s: %s is scheduled", cube, " and ".join(lacks), CHAIN)


def verdict(published: build.Published) -> State[Any]:
    """The state that the run ends in: failed where the version is incomplete, else what was published."""
    where = f"{published.area} version {published.version} ({published.uri})"
    missing = f" Missing: {'; '.join(published.missing)}." if published.missing else ""
    if published.failed:
        return Failed(
            name="Incomplete",
            message=f"{where} lacks what failed: {'; '.join(published.failed)} Run again to read only these.",
        )
    if not published.complete:
        return Failed(
            name="Incomplete",
            message=f"{where} lacks what the archives list: {'; '.join(published.undelivered)}",
        )
    if not published.new:
        return Completed(name="Unchanged", message=f"Nothing to do: {where} is up to date.{missing}")
    return Completed(message=f"Published {where}: {published.layers_built} layers built.{missing}")
