"""The flow `map-landslides`: a version of a cube and a bundle to a map, or to the map that needs no training."""

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
from model import api
from model.bundle.summaries import ReleaseRecord


def run_name() -> str:
    """Name of the flow run that is going on: the end of its cube's path, as in `hokkaido/versions/3.zarr`."""
    return "/".join(Path(str(flow_run.parameters["cube"])).parts[-3:])


@task(name="map", cache_policy=NO_CACHE)
def make_map(version: chain.CubeVersion, bundle: Path | None) -> ReleaseRecord | chain.Refusal:
    """The map of the bundle, or without one the log-ratio map."""
    target = version.map(bundle)
    progress = log_progress.in_log()
    if bundle is None:
        return chain.attempt(target, lambda out: api.map_log_ratio(version.uri, out, progress=progress))
    return chain.attempt(target, lambda out: api.map_cube(bundle, version.uri, out, progress=progress))


@flow(name="map-landslides", flow_run_name=run_name)
def map_landslides(cube: str, bundle: str | None = None) -> State[Any]:
    """Map the landslides of a cube.

    Parameters:
        cube: path of a version of a cube, or of a cube's root for its newest.
        bundle: path of a model bundle; without it the training-free log-ratio map is made.

    Ends Completed with the map's folder as its result; by the name "Unchanged" where that map is there; by the name
    "Refused" where no map is possible, such as for a cube without a pass after the event.
    """
    version = chain.version_of(cube)
    source = Path(bundle) if bundle else None
    target = version.map(source)
    with chain.lock(target.parent):
        if target.is_dir():
            return Completed(name="Unchanged", message=f"The map is there: {target}.", data=target)
        outcome = make_map(version, source)
    if isinstance(outcome, chain.Refusal):
        return Completed(name="Refused", message=outcome.why, data=outcome)
    show_map(outcome)
    return Completed(message=f"The map is in {target}.", data=target)
