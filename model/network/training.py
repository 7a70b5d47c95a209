"""Training: a budget of steps, the best weights by validation AUPRC."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from pydantic import JsonValue

from model.network.inference import labelled_pixels, predicted_areas, predictions
from model.network.network import build, choose_device, parameters
from model.network.parts.imagenet import same_filter_for_both_dates
from model.network.torch_guard import torch
from model.network.training_plan import NetworkSpec, TrainingPlan
from model.network.training_scene import Scene, Trained
from pipeline.errors import ModelError
from pipeline.progress import Progress, no_progress
from pipeline.records import digest_of_json

__all__ = ["labelled_pixels", "predicted_areas", "predictions", "train"]


def train(
    scenes: Scene | Sequence[Scene],
    spec: NetworkSpec,
    plan: TrainingPlan,
    seed: int,
    progress: Progress = no_progress,
    start: dict[str, torch.Tensor] | None = None,
) -> Trained:
    """Train a network; the weights of the step with the best validation AUPRC are kept.

    With several scenes (events, or one scene with other numbers of passes) each chip of a batch is of a scene that is
    drawn for it, and standardised with the statistics of that scene. The score is the mean of the scenes' AUPRC; their
    pixels are never pooled.
    The same seed on the same machine with the same number of threads gives the same weights.

    With `plan.processes` above 1 further processes are started, one for each GPU, and each trains on its part of every
    batch. They read the same scratch copies of the scenes.

    Args:
        start: weights to start from, such as those of pretraining; None: as `spec` says.

    Raises:
        ModelError: no chip holds a landslide, the loss is no longer a number, there are too few GPUs, or another
            process failed.
    """
    from model.network.trainer.fit import Task, fit  # which imports Lightning

    scenes = (scenes,) if isinstance(scenes, Scene) else tuple(scenes)
    device = choose_device(plan.device)
    _refuse_too_few_gpus(plan, device)
    with _deterministic(seed, device):
        network = _initial(scenes, spec, start)
        task = Task(scenes, spec, plan, seed, device, _identity(scenes, spec, plan, seed, start))
        found = fit(network, task, progress)
    return Trained(
        network=network.to(device).eval(),
        history=found.history,
        best=found.best,
        parameters=parameters(network),
        chips=found.chips,
        device=str(device),
    )


def _refuse_too_few_gpus(plan: TrainingPlan, device: torch.device) -> None:
    count = torch.cuda.device_count()
    if device.type == "cuda" and count < plan.processes:
        raise ModelError(
            f"{plan.processes} processes need a GPU each, and there are {count}.",
            f"Train with --processes {max(1, count)}.",
        )


def _initial(
    scenes: tuple[Scene, ...], spec: NetworkSpec, start: dict[str, torch.Tensor] | None
) -> torch.nn.Module:
    """The network before the first step."""
    network = build(spec, pretrained=start is None)
    if start is not None:
        _start_from(network, start)
    elif spec.initial_weights == "imagenet":
        same_filter_for_both_dates(network, scenes[0].statistics.channels)
    return network


def _identity(
    scenes: tuple[Scene, ...],
    spec: NetworkSpec,
    plan: TrainingPlan,
    seed: int,
    start: dict[str, torch.Tensor] | None,
) -> str:
    """sha256 of everything that decides the weights of a training but the software."""
    trained = plan.model_dump(mode="json", exclude={"device", "processes", "compiled"})
    data: list[JsonValue] = [
        {
            "statistics": scene.statistics.model_dump(mode="json"),
            "labels": hashlib.sha256(np.ascontiguousarray(scene.labels).tobytes()).hexdigest(),
            "usable": hashlib.sha256(np.packbits(scene.usable).tobytes()).hexdigest(),
            "train": hashlib.sha256(
                np.packbits(scene.split.train_mask(scene.labels.shape)).tobytes()
            ).hexdigest(),
        }
        for scene in scenes
    ]
    weights = None
    if start is not None:
        values = b"".join(value.cpu().numpy().tobytes() for value in start.values())
        weights = hashlib.sha256(values).hexdigest()
    network = spec.model_dump(mode="json")
    return digest_of_json(
        {"network": network, "plan": trained, "seed": seed, "scenes": data, "start": weights}
    )


def _start_from(network: torch.nn.Module, start: dict[str, torch.Tensor]) -> None:
    """Load weights to start from; only those of the head may be absent.

    Raises:
        ModelError: they are those of another network.
    """
    own = network.state_dict()
    absent = [name for name in own if name not in start and not name.startswith("segmentation_head.")]
    other = [name for name, value in start.items() if name not in own or own[name].shape != value.shape]
    if absent or other:
        raise ModelError(
            "The weights to start from are those of another network "
            f"({len(absent)} of its weights are absent, {len(other)} are unknown or of another shape).",
            "Pretrain the network with the same inputs and sizes.",
        )
    network.load_state_dict(own | start)


@contextmanager
def _deterministic(seed: int, device: torch.device) -> Iterator[None]:
    """Seeds and deterministic algorithms, undone afterwards.

    On a GPU some operations of the network have no deterministic form: results there can be repeated only
    approximately.
    """
    before = torch.are_deterministic_algorithms_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    cudnn = torch.backends.cudnn.deterministic
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(device.type == "cpu")
        torch.backends.cudnn.deterministic = True
        # filling what is written anyway costs a small network a fifth of its step
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before)
            torch.backends.cudnn.deterministic = cudnn
            torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
