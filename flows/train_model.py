"""The flows `train-model` and `reconcile`: from a version of a cube to its bundle, `model.ready`, and its map."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.states import Completed, Failed

from flows import chain
from flows.map_landslides import map_landslides, run_name
from flows.serving import log_progress
from flows.serving.artifacts import show_bundle, show_status
from flows.serving.run_log import in_pages
from model import api
from model.holdings.status import status
from model.network.training_plan import TrainingPlan
from model.releases.announcement.latest_map import point_at
from model.training.experiment import Experiment
from pipeline.lock import LockedError, held


@task(name="train", cache_policy=NO_CACHE)
def train(
    version: chain.CubeVersion, request: api.TrainingRequest, replace: bool
) -> api.Result[api.BundleRecord] | chain.Refusal:
    """A bundle trained on the version."""
    progress = log_progress.in_log()
    return chain.attempt(lambda: api.train(version.uri, request, replace=replace, progress=progress))


@flow(name="train-model", flow_run_name=run_name)
@in_pages
def train_model(
    cube: str,
    plan: TrainingPlan | None = None,
    seed: int = 0,
    experiment: Experiment | None = None,
    replace: bool = False,
) -> State[Any]:
    """Train on one version of a cube, announce the bundle, and map the version.

    Parameters:
        cube: name of a built area, path of a cube's root for its newest version, or path of a version.
        plan: steps, batch and the like, as in `--param 'plan={"steps": 600}'`; without it the defaults.
        seed: of the weights and of the order of the chips.
        experiment: inputs, encoder, division of the scene, as in `--param 'experiment={"settled": {"track": 46}}'`;
            without it the best inputs that the cube has. For the protocols, use the flow `ablate`.
        replace: train in place of the bundle that the version has.

    The run makes only what the version lacks; its state has the name "Unchanged" if that is nothing. It fails if plan,
    seed or experiment are given and the version has a bundle made with others. If the cube cannot be trained on, for
    lack of labels or of a pass after the event, the name is "DetectorOnly", with the map that needs no training; if
    that map is not possible either, the name is "Refused". While another run makes the same, it is "Busy".
    """
    version = chain.version_of(cube)
    asked = (plan, seed, experiment) != (None, 0, None)
    request = api.TrainingRequest(
        plan=plan or TrainingPlan(), seed=seed, experiment=experiment or Experiment()
    )
    with ExitStack() as stack:
        try:
            stack.enter_context(held(chain.lock_of(version), wait=False))
        except LockedError:
            message = f"Another run makes the model and the map of {version.uri}. This run ended at once."
            return Completed(name="Busy", message=message)
        stack.enter_context(held(version.place.models / ".lock"))
        before = chain.standing(version)
        if "model" in before.lacks or replace or (asked and before.bundle is not None):
            train_version(version, request, replace)
        map_version(version)
        return verdict(before, chain.standing(version))


def map_version(version: chain.CubeVersion) -> None:
    """Map a version by what serves there, and beside it by the bundle that a person chose for events."""
    found = chain.standing(version)
    if "map" in found.lacks:
        mapped = map_landslides(version.uri, str(found.bundle) if found.bundle else None)
        if isinstance(mapped, chain.Refusal):
            chain.refuse(version, "map", mapped)
    chosen = found.chosen
    if chosen is None or chosen.what not in found.lacks:
        return
    mapped = map_landslides(version.uri, str(chosen.bundle))
    if isinstance(mapped, chain.Refusal):
        chain.refuse(version, chosen.what, mapped)
    elif (own := chain.standing(version).map) is not None:
        point_at(own, version.place.latest_map)  # the map beside it was written last


def train_version(version: chain.CubeVersion, request: api.TrainingRequest, replace: bool) -> None:
    """Train on a version and announce its bundle, or write down why there is none."""
    outcome = train(version, request, replace)
    if isinstance(outcome, chain.Refusal):
        get_run_logger().warning("no model: %s", outcome.why)
        chain.refuse(version, "model", outcome)
    elif outcome.new:
        show_bundle(outcome.record)
        announce(version, outcome.record.path)


def announce(version: chain.CubeVersion, bundle: Path) -> None:
    """Emit the event that the version has a model."""
    place = version.place
    emit_event(
        event="model.ready",
        resource={
            "prefect.resource.id": f"model.{place.area}.{place.label}",
            "prefect.resource.name": f"model of {place.area} {place.label}",
            "model.area": place.area,
            "model.uri": str(bundle),
            "model.cube": version.uri,
        },
    )


def verdict(before: chain.Standing, after: chain.Standing) -> State[Any]:
    """The state that a run of the chain ends in."""
    uri = after.version.uri
    if not before.lacks and after == before:
        name = "Unchanged"
        message = f"Nothing to do for {uri}."
    elif after.map is None and "map" in after.refused:
        name = "Refused"
        message = f"{uri} gets no map: {after.refused['map']}"
    elif after.bundle is None and "model" in after.refused:
        name = "DetectorOnly"
        why = after.refused["model"]
        message = f"{uri} gets no model: {why} The map of the training-free detector is in {after.map}."
    else:
        name = "Completed"
        message = f"The model is in {after.bundle}, the map in {after.map}."
    return Completed(name=name, message=message)


@flow(name="reconcile")
@in_pages
def reconcile() -> State[Any]:
    """Finish the newest version of every cube that lacks a model or a map; do nothing if none does.

    A cube that is damaged stops no other; the run names it and fails in the end. The artifact `status` shows events,
    areas, maps and the disk as they are then.
    """
    end = _reconciled()
    show_status(status())
    return end


def _reconciled() -> State[Any]:
    versions, failed = chain.latest_versions()
    unfinished = [version for version in versions if chain.standing(version).lacks]
    if not unfinished and not failed:
        return Completed(
            name="Unchanged", message=f"Nothing to do: {len(versions)} cubes, none lacks anything."
        )
    ends = {version.uri: train_model(version.uri, return_state=True) for version in unfinished}
    failed += [f"{uri}: {end.message}" for uri, end in ends.items() if not end.is_completed()]
    if failed:
        return Failed(message=" ".join(failed))
    return Completed(message=f"Finished {', '.join(ends)}.")
