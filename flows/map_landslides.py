"""The flow `map-landslides`: the map of a cube's version, by a bundle or by the detector, which needs no training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from flows import chain
from flows.serving import log_progress
from flows.serving.artifacts import show_map
from flows.serving.notifications import announcements
from flows.serving.run_log import in_pages
from model import api
from model.maps.map_plan import plan_with_threshold
from pipeline.lock import held
from pipeline.places import bundle_named


def run_name() -> str:
    """Name of the running flow run: the end of its cube's path, as in `hokkaido/versions/3.zarr`."""
    return "/".join(Path(str(flow_run.parameters["cube"])).parts[-3:])


@task(name="map", cache_policy=NO_CACHE)
def make_map(
    version: chain.CubeVersion,
    bundle: str | None,
    replace: bool,
    plan: api.MapPlan | api.DetectorMapPlan | None = None,
) -> api.Result[api.ReleaseRecord] | chain.Refusal:
    """The map by the bundle, or without one that of the detector."""
    progress = log_progress.in_log()
    return chain.attempt(lambda: api.map(version.uri, bundle, plan, replace=replace, progress=progress))


@flow(name="map-landslides", flow_run_name=run_name)
@in_pages
def map_landslides(
    cube: str,
    bundle: str | None = None,
    replace: bool = False,
    threshold: float | None = None,
    recall: float | None = None,
    precision: float | None = None,
) -> State[Any]:
    """Map the landslides of a cube.

    Parameters:
        cube: name of a built area, path of a cube's root for its newest version, or path of a version.
        bundle: folder of a model bundle, or name of an area for its newest; without it the training-free detector
            maps.
        replace: make the map in place of another one that was made with other options or changed by hand.
        threshold: lowest calibrated probability that is mapped; without a bundle, lowest score of the detector.
        recall: instead, the share of the landslide area that is mapped, by the events that the bundle was tested on.
        precision: instead, the share of the mapped area that is landslide, likewise.

    The run ends Completed with the map's folder as its result. The name of its state is "Unchanged" if that map exists,
    and "Refused" if no map is possible, such as for a cube without a pass after the event.
    """
    version = chain.version_of(cube)
    source = None if bundle is None else str(bundle_named(bundle))  # a wrong name is an error, not a refusal
    plan = plan_with_threshold(source, threshold=threshold, recall=recall, precision=precision)
    with held(version.place.maps / ".lock"):
        outcome = make_map(version, source, replace, plan)
    if isinstance(outcome, chain.Refusal):
        return Completed(name="Refused", message=outcome.why, data=outcome)
    folder = outcome.record.path
    if not outcome.new:
        return Completed(name="Unchanged", message=f"The map exists: {folder}.", data=folder)
    show_map(outcome.record)
    announcements.release_ready(outcome.record, chain.status_after(outcome.record.seen_after))
    return Completed(message=f"The map is in {folder}: {announcements.summary(outcome.record)}.", data=folder)
