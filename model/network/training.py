"""Training: masked loss, a budget of steps, the best weights by validation AUPRC."""

from __future__ import annotations

import hashlib
import logging
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from model.inputs.cubes import UNMAPPED
from model.inputs.windows import Box
from model.network.batches import Batches, Tensors
from model.network.distributed import Group, process_group
from model.network.inference import NetworkProbability, Probability, predict
from model.network.network import build, choose_device, log_odds, parameters
from model.network.parts.checkpoint import Checkpoint
from model.network.parts.imagenet import same_filter_for_both_dates
from model.network.parts.losses import Loss, own_loss
from model.network.torch_guard import torch
from model.network.training_plan import Check, InferencePlan, NetworkSpec, TrainingPlan
from model.network.training_scene import Scene, Trained
from model.scores.scores import Ranking
from pipeline.errors import ModelError
from pipeline.progress import Progress, no_progress
from pipeline.records import digest_of_json

log = logging.getLogger(__name__)


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
    scenes = (scenes,) if isinstance(scenes, Scene) else tuple(scenes)
    on_gpus = choose_device(plan.device).type == "cuda"
    task = _Task(scenes, spec, plan, seed, start)
    with process_group(plan.processes, on_gpus, _fit, task) as group:
        trained = _fit(task, group, progress)
    if trained is None:
        raise ModelError("Training made no step.")
    return trained


@dataclass(frozen=True)
class _Task:
    """One training; every process of it has the same."""

    scenes: tuple[Scene, ...]
    spec: NetworkSpec
    plan: TrainingPlan
    seed: int
    start: dict[str, torch.Tensor] | None
    """weights to start from"""


def _fit(task: _Task, group: Group, progress: Progress = no_progress) -> Trained | None:
    """Train in one of the processes; the first one evaluates the network and returns it."""
    plan = task.plan
    device = choose_device(plan.device)
    rng = np.random.default_rng(task.seed)
    batches = Batches(task.scenes, plan, rng, device, part=group.part)
    with _deterministic(task.seed, device):
        learner = _Learner(_initial(task, group, device), plan, group, device)
        checkpoint = Checkpoint(plan.checkpoints, _identity(task)) if plan.checkpoints is not None else None
        done = learner.go_on(checkpoint.read() if checkpoint else None)
        batches.skip(done)
        losses: list[float] = []
        for step, batch in enumerate(batches.take(plan.steps - done), start=done + 1):
            losses.append(learner.step(batch))
            best = learner.best
            remark = f"loss {losses[-1]:.3f}" + (f", best AUPRC {best.validation_auprc:.3f}" if best else "")
            progress("train", step, plan.steps, remark)
            if group.rank > 0 or (step % plan.validate_every and step != plan.steps):
                continue
            learner.evaluate(step, float(np.mean(losses)), task.scenes)
            losses.clear()
            if checkpoint is not None:
                checkpoint.write(learner.state(step))
        if learner.best is None:
            return None
        kept = build(task.spec, pretrained=False).to(device)
    kept.load_state_dict(learner.best_weights)
    if checkpoint is not None:
        checkpoint.remove()
    return Trained(
        network=kept.eval(),
        history=tuple(learner.history),
        best=learner.best,
        parameters=parameters(kept),
        chips=batches.chips,
        device=str(device),
    )


def _identity(task: _Task) -> str:
    """sha256 of everything that decides the weights of a training but the software."""
    plan = task.plan.model_dump(mode="json", exclude={"device", "processes", "compiled"})
    scenes: list[JsonValue] = [
        {
            "statistics": scene.statistics.model_dump(mode="json"),
            "labels": hashlib.sha256(np.ascontiguousarray(scene.labels).tobytes()).hexdigest(),
            "usable": hashlib.sha256(np.packbits(scene.usable).tobytes()).hexdigest(),
            "train": hashlib.sha256(
                np.packbits(scene.split.train_mask(scene.labels.shape)).tobytes()
            ).hexdigest(),
        }
        for scene in task.scenes
    ]
    start = None
    if task.start is not None:
        values = b"".join(value.cpu().numpy().tobytes() for value in task.start.values())
        start = hashlib.sha256(values).hexdigest()
    network = task.spec.model_dump(mode="json")
    return digest_of_json(
        {"network": network, "plan": plan, "seed": task.seed, "scenes": scenes, "start": start}
    )


def _initial(task: _Task, group: Group, device: torch.device) -> torch.nn.Module:
    """The network before the first step, on the device."""
    # the other processes receive the weights of the first one before they begin
    network = build(task.spec, pretrained=task.start is None and group.rank == 0)
    if task.start is not None:
        _start_from(network, task.start)
    elif task.spec.initial_weights == "imagenet":
        same_filter_for_both_dates(network, task.scenes[0].statistics.channels)
    return group.prepared(network, device).to(device)


class _Learner:
    """A network with its optimiser; and the best weights so far."""

    def __init__(
        self, network: torch.nn.Module, plan: TrainingPlan, group: Group, device: torch.device
    ) -> None:
        self._network, self._plan, self._group, self._device = network, plan, group, device
        self._own_loss: Loss | None = own_loss(plan.loss) if plan.loss else None
        kind = torch.optim.AdamW if plan.optimiser == "adamw" else torch.optim.Adam
        self._optimiser = kind(network.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimiser, lambda step: _rate(step, plan))
        self._mean = _Mean(network, plan.ema_decay)
        on_gpu = device.type == "cuda"
        self._run: Callable[[torch.Tensor], torch.Tensor] = group.shared(network, device)
        if plan.compiled and on_gpu:
            self._run = torch.compile(self._run)
        self._mixed = torch.autocast("cuda", torch.bfloat16, enabled=on_gpu and plan.precision == "bfloat16")
        self.history: list[Check] = []
        self.best: Check | None = None
        self.best_weights: dict[str, torch.Tensor] = {}

    def state(self, step: int) -> dict[str, Any]:
        """Everything that the next steps depend on, as tensors and plain values."""
        return {
            "step": step,
            "network": self._network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "schedule": self._schedule.state_dict(),
            "mean": self._mean.state(),
            "random": torch.get_rng_state(),
            "history": [check.model_dump() for check in self.history],
            "best": self.best.model_dump() if self.best else None,
            "best_weights": self.best_weights,
        }

    def go_on(self, state: dict[str, Any] | None) -> int:
        """Take over the state of an earlier training; returns its number of steps, 0 where there is none."""
        if state is None:
            return 0
        self._network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._schedule.load_state_dict(state["schedule"])
        self._mean.load(state["mean"])
        torch.set_rng_state(state["random"])
        self.history = [Check.model_validate(check) for check in state["history"]]
        self.best = Check.model_validate(state["best"]) if state["best"] else None
        self.best_weights = state["best_weights"]
        log.info("the training goes on after step %d", state["step"])
        return int(state["step"])

    def step(self, batch: Tensors) -> float:
        """One step of the optimiser; returns the loss before it, the mean over all processes.

        Raises:
            ModelError: the loss is no longer a finite number.
        """
        inputs, targets, masks = batch
        self._network.train()
        with self._mixed:
            logits = log_odds(self._run(inputs))
        if self._own_loss is not None:
            loss = self._own_loss(logits.float(), targets, masks)
        else:
            loss = masked_loss(logits.float(), targets, masks, self._plan.dice_weight)
        value = self._group.mean(loss)
        if not math.isfinite(value):
            raise ModelError(
                "The training loss is no longer a finite number.",
                "Train with a lower learning rate (--learning-rate).",
            )
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._network.parameters(), 5.0)
        self._optimiser.step()
        self._schedule.step()
        self._mean.update()
        return value

    def evaluate(self, step: int, loss: float, scenes: Sequence[Scene]) -> None:
        """Score the mean network on the validation areas, and keep its weights if they are the best so far."""
        network = self._mean.network
        auprc = float(np.mean([_validation_auprc(scene, network, self._device) for scene in scenes]))
        check = Check(step=step, loss=loss, validation_auprc=auprc)
        self.history.append(check)
        log.info("step %d: loss %.4f, validation AUPRC %.4f", step, check.loss, check.validation_auprc)
        if self.best is None or auprc > self.best.validation_auprc:
            self.best = check
            self.best_weights = {k: v.detach().cpu().clone() for k, v in network.state_dict().items()}


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


def _validation_auprc(scene: Scene, network: torch.nn.Module, device: torch.device) -> float:
    was_training = network.training
    probability = NetworkProbability(network, device)
    score, truth = predictions(scene, scene.split.boxes("validation"), probability)
    network.train(was_training)
    return Ranking.of(score, truth).auprc


def _exponential(decay: float) -> Callable[[Any, Any, Any], None]:
    """A step of the exponential mean; the first ones decay faster, so that it does not stay near the initial weights.

    The decay of step n is at most (1 + n) / (10 + n), as in TensorFlow's ExponentialMovingAverage with `num_updates`.
    """

    @torch.no_grad()
    def average(means: list[torch.Tensor], values: list[torch.Tensor], count: torch.Tensor | int) -> None:
        kept = min(decay, (1 + int(count)) / (10 + int(count)))
        for mean, value in zip(means, values, strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - kept)
            else:
                mean.copy_(value)

    return average


class _Mean:
    """The network that is evaluated: the trained one, or the exponential mean of its weights."""

    def __init__(self, network: torch.nn.Module, decay: float | None) -> None:
        self._network, self._averaged = network, None
        if decay is not None:
            self._averaged = torch.optim.swa_utils.AveragedModel(
                network, multi_avg_fn=_exponential(decay), use_buffers=True
            )

    def update(self) -> None:
        """Update the mean after a step."""
        if self._averaged is not None:
            self._averaged.update_parameters(self._network)

    def state(self) -> dict[str, Any]:
        """The mean so far; empty where there is none."""
        return {} if self._averaged is None else self._averaged.state_dict()

    def load(self, state: dict[str, Any]) -> None:
        """Take over an earlier mean."""
        if self._averaged is not None:
            self._averaged.load_state_dict(state)

    @property
    def network(self) -> torch.nn.Module:
        """The network that is evaluated and kept."""
        evaluated: torch.nn.Module = self._network if self._averaged is None else self._averaged.module
        return evaluated


def predictions(
    scene: Scene, areas: Sequence[Box], probability: Probability
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(n,) probability and (n,) truth of every labelled pixel with valid inputs in `areas`."""
    return labelled_pixels(predicted_areas(scene, areas, probability))


def predicted_areas(
    scene: Scene, areas: Sequence[Box], probability: Probability, plan: InferencePlan | None = None
) -> list[tuple[NDArray[np.float32], NDArray[np.uint8]]]:
    """(y, x) probability, NaN where an input is not valid, and (y, x) labels of each of `areas`.

    Each area is predicted from its own pixels alone.
    """
    found = []
    for area in areas:
        strips = predict(scene.channels, area, scene.statistics, probability, plan)
        predicted = np.concatenate([strip.probability for strip in strips])
        found.append((predicted, scene.labels[area.slices]))
    return found


def labelled_pixels(
    predicted: Sequence[tuple[NDArray[np.float32], NDArray[np.uint8]]],
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(n,) probability and (n,) truth of the pixels of (y, x) probabilities and labels that have both."""
    scores, truths = [], []
    for probability, labels in predicted:
        counted = np.isfinite(probability) & (labels != UNMAPPED)
        scores.append(probability[counted])
        truths.append(labels[counted] == 1)
    return np.concatenate(scores), np.concatenate(truths)


def masked_loss(
    logits: torch.Tensor, target: torch.Tensor, mask: torch.Tensor, dice_weight: float
) -> torch.Tensor:
    """Cross entropy plus Dice over the pixels that count; 0 where none does.

    Args:
        logits: (chip, y, x)
        target: (chip, y, x) 0 or 1
        mask: (chip, y, x) 1 where the pixel counts
    """
    weight = mask.to(logits.dtype)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    mean_entropy = (entropy * weight).sum() / weight.sum().clamp(min=1.0)
    probability = torch.sigmoid(logits) * weight
    truth = target * weight
    dice = 1.0 - (2.0 * (probability * truth).sum() + 1.0) / (probability.sum() + truth.sum() + 1.0)
    return mean_entropy + dice_weight * dice


def _rate(step: int, plan: TrainingPlan) -> float:
    """The factor of the learning rate: a linear rise, then half a cosine; or always 1."""
    if plan.schedule == "constant":
        return 1.0
    rise = max(1, round(plan.steps * plan.warm_up))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, plan.steps - rise)))


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
