"""The flow `build-datacube`: from an area to the next version of its cube, announced as `datacube.ready`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar, cast

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.deployments import run_deployment
from prefect.events import emit_event
from prefect.exceptions import ObjectNotFound
from prefect.futures import wait
from prefect.states import Completed, Failed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect.tasks import Task, exponential_backoff
from prefect.utilities.annotations import quote

from flows import chain
from flows.serving.artifacts import show_passes, show_quicklook
from flows.serving.limits import INTERFEROMETRY, LIMITS, PLANETARY_COMPUTER, place_at
from pipeline.area import AreaOfInterest, load_area
from pipeline.build import run as build
from pipeline.catalogue.catalogue import Catalogue
from pipeline.cube.cube_quicklook import write_quicklook
from pipeline.errors import ArchiveError, SlidecubeError

LAYERS_AT_ONCE = 3
"""Layers of one run in work at once: each holds the arrays of one pass in memory."""
PAIRS_AT_ONCE = LIMITS[INTERFEROMETRY]
"""Pairs of one run that are begun beside the layers; the rest follow, so that none waits in a layer's place."""


T = TypeVar("T")


def unvisited(value: T) -> T:
    """A parameter of a task that Prefect passes on without searching it for futures."""
    return cast(T, quote(value))


def is_transient(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Whether trying again may help: an archive failed, and said or showed that it will pass."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, ArchiveError) and error.transient


# The library has already tried again within seconds; these retries wait out what lasts minutes.
patiently: dict[str, Any] = {
    "retries": 4,
    "retry_delay_seconds": exponential_backoff(backoff_factor=10),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": is_transient,
    "cache_policy": NO_CACHE,
}


@task(name="catalogue", **patiently)
def find_catalogue(area: AreaOfInterest, replay: Path | None) -> Catalogue:
    """One search of the archives, or the replay of an earlier one."""
    with place_at(PLANETARY_COMPUTER):
        return build.find_catalogue(area, replay)


@task(name="plan", cache_policy=NO_CACHE)
def make_plan(area: AreaOfInterest, catalogue: Catalogue, pairs: bool) -> build.BuildPlan:
    """Layers wanted, and which of them the cube holds."""
    return build.make_plan(area, catalogue, pairs)


@task(name="layer", task_run_name="{layer.label}", **patiently)
def build_layer(area: AreaOfInterest, layer: build.LayerTask, catalogue: Catalogue) -> None:
    """Fetch, derive and commit one layer."""
    if layer.kind == "labels":  # from wherever the inventory was published
        build.build_layer(area, layer, catalogue)
        return
    with place_at(PLANETARY_COMPUTER):
        build.build_layer(area, layer, catalogue)


@task(name="pair", task_run_name="{layer.label}", **patiently)
def build_pair(area: AreaOfInterest, layer: build.LayerTask, catalogue: Catalogue) -> None:
    """Fetch, process and commit one pair; a pair that fails for what it is is not tried again."""
    with place_at(INTERFEROMETRY):
        build.build_layer(area, layer, catalogue)


@task(name="publish", cache_policy=NO_CACHE)
def publish(
    area: AreaOfInterest, plan: build.BuildPlan, catalogue: Catalogue, failed: dict[str, str]
) -> build.Published:
    """A new version out of the layers that are held, or the current one where nothing changed."""
    return build.publish(area, plan, catalogue, failed)


@flow(
    name="build-datacube",
    flow_run_name="{aoi}",
    task_runner=cast("TaskRunner[Any]", ThreadPoolTaskRunner(max_workers=LAYERS_AT_ONCE + PAIRS_AT_ONCE)),
)
def build_datacube(aoi: str, catalogue: str | None = None, pairs: bool = True) -> State[Any]:
    """Build or renew the cube of an area.

    Parameters:
        aoi: name of an area (`slidecube areas`) or path of an area file.
        catalogue: path of a saved catalogue to replay; without it the archives are searched.
        pairs: whether new pairs are made, which takes hours; without them a map of what is there follows at once, and
            a later run adds them.
    """
    area = load_area(aoi)
    with build.writer_lock(area):
        found = find_catalogue(area, Path(catalogue) if catalogue else None)
        plan = make_plan(area, unvisited(found), pairs)
        show_passes(plan)
        runs = {
            layer.recipe.digest: (build_pair if layer.kind == "interferometry" else build_layer).submit(
                area, layer, unvisited(found)
            )
            for layer in in_order(plan.wanted)
        }
        wait(list(runs.values()))
        failed = {digest: reason(run.state) for digest, run in runs.items() if not run.state.is_completed()}
        published = publish(area, unvisited(plan), unvisited(found), failed)
    if published.new:
        show_quicklook(published, write_quicklook(published.uri))
    announce(published)
    return verdict(published)


def in_order(layers: tuple[build.LayerTask, ...]) -> list[build.LayerTask]:
    """The first pairs, which take longest, beside the other layers; the other pairs after them."""
    pairs = [layer for layer in layers if layer.kind == "interferometry"]
    others = [layer for layer in layers if layer.kind != "interferometry"]
    return [*pairs[:PAIRS_AT_ONCE], *others, *pairs[PAIRS_AT_ONCE:]]


def reason(state: State[Any]) -> str:
    """Why a layer's task did not complete, in the words of its error."""
    error = state.result(raise_on_failure=False)
    if isinstance(error, SlidecubeError):
        return str(error)
    return f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else str(state.message)


def announce(published: build.Published) -> None:
    """Have model and map follow: by the event for a new version, by a run where an earlier one was not finished."""
    if published.new:
        emit_event(
            event="datacube.ready",
            resource={
                "prefect.resource.id": f"datacube.{published.area}.{published.version}",
                "prefect.resource.name": f"{published.area} version {published.version}",
                "datacube.area": published.area,
                "datacube.version": str(published.version),
                "datacube.uri": published.uri,
            },
        )
        return
    if lacks := chain.standing(chain.version_of(published.uri)).lacks:
        start_chain(published.uri, lacks)


def start_chain(cube: str, lacks: tuple[str, ...]) -> None:
    """Schedule the flow that finishes a version; where it is not deployed, say how to run it."""
    log = get_run_logger()
    try:
        run_deployment("train-model/train-model", parameters={"cube": cube}, timeout=0, as_subflow=False)
    except ObjectNotFound:
        log.warning(
            "%s lacks its %s; run `python -m flows.serving.deployments`, then `reconcile`",
            cube,
            " and ".join(lacks),
        )
    else:
        log.info("%s lacks its %s: train-model is scheduled", cube, " and ".join(lacks))


def verdict(published: build.Published) -> State[Any]:
    """The state that the run ends in: failed where a layer failed, else what was published."""
    where = f"{published.area} version {published.version} ({published.uri})"
    missing = f" Missing: {'; '.join(published.missing)}." if published.missing else ""
    if published.failed:
        return Failed(
            name="Incomplete",
            message=f"{where} is without what failed: {'; '.join(published.failed)} Run again to read only these.",
        )
    if not published.new:
        return Completed(name="Unchanged", message=f"Nothing to do: {where} is up to date.{missing}")
    return Completed(message=f"Published {where}: {published.layers_built} layers built.{missing}")
