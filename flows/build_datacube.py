"""The flow `build-datacube`: from an area to the next version of its cube.

A new version that has everything that the archives list is announced as `datacube.ready`, any other as
`datacube.incomplete`. A run that fails, crashes or leaves something out is announced as `build.failed`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.deployments import run_deployment
from prefect.events import emit_event
from prefect.exceptions import ObjectNotFound
from prefect.states import Completed, Failed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect.utilities.annotations import quote
from pydantic import Field

from flows import chain
from flows.serving import log_progress
from flows.serving.artifacts import show_passes, show_quicklook
from flows.serving.event_schedules import is_under_way
from flows.serving.limits import archive_limits, slot_of
from flows.serving.notifications import announcements
from flows.serving.run_log import in_pages
from flows.workers.dask_workers import Runner
from flows.workers.layer_tasks import LAYERS_AT_ONCE, PAIRS_AT_ONCE, RETRIES, PrefectTasks, tasks_on_dask
from pipeline.areas.area import AreaOfInterest, known_areas, load_area
from pipeline.build import run as build
from pipeline.catalogue.catalogue import Catalogue
from pipeline.errors import BusyError

CHAIN = "train-model"
"""the flow that makes a version's model and map"""

AreaName = Annotated[str, Field(examples=known_areas())]
"""Prefect's pages offer the areas that are known when the flow is deployed, and take any other text: the area of an
event comes later."""

Jobs = Annotated[int, Field(ge=1, le=256)]

T = TypeVar("T")


def unvisited(value: T) -> T:
    """A parameter of a task that Prefect passes on without searching it for futures."""
    return cast(T, quote(value))


@task(name="catalogue", **RETRIES)
def find_catalogue(area: AreaOfInterest, replay: Path | None) -> Catalogue:
    """One search of the archives, or the replay of an earlier one."""
    with slot_of(*archive_limits(area)):
        return build.find_catalogue(area, replay)


@task(name="plan", cache_policy=NO_CACHE)
def make_plan(area: AreaOfInterest, catalogue: Catalogue, pairs: bool) -> build.BuildPlan:
    """The layers that are wanted, and which of them the cube holds."""
    return build.make_plan(area, catalogue, pairs)


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
def build_datacube(
    aoi: AreaName,
    catalogue: str | None = None,
    pairs: bool = True,
    runner: Runner = "threads",
    jobs: Jobs = 2,
    address: str | None = None,
) -> State[Any]:
    """Build or renew the cube of an area.

    Parameters:
        aoi: name of an area (`slidecube areas`) or path of an area file.
        catalogue: path of a saved catalogue to replay; without it the archives are searched.
        pairs: whether new pairs are made, which takes hours. Without them the version and its map are made at once; a
            later run adds them.
        runner: threads of this process, or dask for layers on several processes or machines.
        jobs: workers of a Dask cluster that starts here, each of which builds as many layers at once as threads do.
        address: of a running Dask scheduler, whose workers have the same release, settings and data folder; None: a
            cluster starts here.

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
        with _workers(area, plan, runner, jobs, address) as workers:
            failed = build.build_layers(plan, workers, log_progress.in_log())
        published = publish(area, unvisited(plan), unvisited(found), failed)
    if published.new:
        from pipeline.cube.cube_quicklook import write_quicklook  # with matplotlib, only where a version came

        show_quicklook(published, write_quicklook(published.uri))
    announce(published)
    return verdict(published)


def _workers(
    area: AreaOfInterest, plan: build.BuildPlan, runner: Runner, jobs: int, address: str | None
) -> AbstractContextManager[PrefectTasks]:
    """What builds the layers of the plan; no cluster where there are none."""
    if runner == "threads" or not plan.wanted:
        return nullcontext(PrefectTasks(area))
    return tasks_on_dask(area, jobs, address)


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
