"""The flows `train-model` and `reconcile`: from a version of a cube to its bundle, `model.ready`, and its map."""

from __future__ import annotations

from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.states import Completed, Failed

from flows import chain
from flows.map_landslides import map_landslides, run_name
from flows.serving import log_progress
from flows.serving.artifacts import show_bundle
from model import api
from model.bundle.summaries import BundleRecord
from model.network.training_plan import TrainingPlan
from model.training.experiment import Experiment


@task(name="train", cache_policy=NO_CACHE)
def train(
    version: chain.CubeVersion, plan: TrainingPlan | None, seed: int, experiment: Experiment | None = None
) -> BundleRecord | chain.Refusal:
    """A bundle trained on the version."""
    progress = log_progress.in_log()
    return chain.attempt(
        version.bundle,
        lambda out: api.train_bundle(
            version.uri, out, plan=plan, seed=seed, experiment=experiment, progress=progress
        ),
    )


@flow(name="train-model", flow_run_name=run_name)
def train_model(
    cube: str, plan: TrainingPlan | None = None, seed: int = 0, experiment: Experiment | None = None
) -> State[Any]:
    """Train on one version of a cube, announce the bundle, and map the version.

    Parameters:
        cube: path of a version of a cube, or of a cube's root for its newest.
        plan: steps, batch and the like, as in `--param 'plan={"steps": 600}'`; without it the library's own.
        seed: of the weights and of the order of the chips.
        experiment: inputs, encoder, division of the scene, as in `--param 'experiment={"settled": {"track": 46}}'`;
            without it the best inputs that the cube can give. The protocols are the flow `ablate`.

    Only what the version lacks is done; nothing left to do ends in the name "Unchanged". Where the cube cannot be
    trained on, for lack of labels or of a pass after the event, the chain ends by name: "LogRatioOnly" with the map
    that needs no training, "Refused" where that is not possible either.
    """
    version = chain.version_of(cube)
    with chain.lock(version.bundle.parent):
        before = chain.standing(version)
        if "model" in before.lacks:
            outcome = train(version, plan, seed, experiment)
            if isinstance(outcome, chain.Refusal):
                get_run_logger().warning("no model: %s", outcome.why)
                chain.refuse(version, "model", outcome)
            else:
                show_bundle(outcome)
                announce(version)
        after = chain.standing(version)
        if "map" in after.lacks:
            mapped = map_landslides(version.uri, str(version.bundle) if after.has_bundle else None)
            if isinstance(mapped, chain.Refusal):
                chain.refuse(version, "map", mapped)
        return verdict(before, chain.standing(version))


def announce(version: chain.CubeVersion) -> None:
    """Tell whoever listens that the version has a model."""
    emit_event(
        event="model.ready",
        resource={
            "prefect.resource.id": f"model.{version.area}.{version.label}",
            "prefect.resource.name": f"model of {version.area} {version.label}",
            "model.area": version.area,
            "model.uri": str(version.bundle),
            "model.cube": version.uri,
        },
    )


def verdict(before: chain.Standing, after: chain.Standing) -> State[Any]:
    """The state that a run of the chain ends in."""
    version = after.version
    if not before.lacks:
        name = "Unchanged"
        message = f"Nothing to do for {version.uri}."
    elif "map" in after.refused:
        name = "Refused"
        message = f"{version.uri} gets no map: {after.refused['map']}"
    elif "model" in after.refused:
        name = "LogRatioOnly"
        message = f"{version.uri} gets no model: {after.refused['model']} The log-ratio map is in {version.map(None)}."
    else:
        name = "Completed"
        message = f"The model is in {version.bundle}, the map in {version.map(version.bundle)}."
    return Completed(name=name, message=message)


@flow(name="reconcile")
def reconcile() -> State[Any]:
    """Finish the newest version of every cube that lacks a model or a map; do nothing where none does."""
    versions = chain.latest_versions()
    unfinished = [version for version in versions if chain.standing(version).lacks]
    if not unfinished:
        return Completed(
            name="Unchanged", message=f"Nothing to do: {len(versions)} cubes, none lacks anything."
        )
    ends = {version.uri: train_model(version.uri, return_state=True) for version in unfinished}
    failed = [f"{uri}: {end.message}" for uri, end in ends.items() if not end.is_completed()]
    if failed:
        return Failed(message=" ".join(failed))
    return Completed(message=f"Finished {', '.join(ends)}.")
