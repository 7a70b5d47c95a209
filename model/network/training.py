"""Training: masked loss, a budget of steps, the best weights by validation AUPRC."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.inputs.cubes import UNMAPPED
from model.inputs.windows import Box
from model.network.batches import Batches, Tensors
from model.network.distributed import Group, together
from model.network.inference import NetworkProbability, Probability, predict
from model.network.network import build, choose_device, log_odds, parameters
from model.network.torch_guard import torch
from model.network.training_plan import Check, InferencePlan, NetworkSpec, TrainingPlan
from model.network.training_scene import Scene, Trained
from model.scores.scores import Ranking
from pipeline.errors import ModelError
from pipeline.progress import Progress, no_progress

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

    Several scenes (events, or views of one scene with other numbers of passes) take turns by chance, each with its own
    statistics; what is judged is the mean of their AUPRC, which are never pooled. The same seed on the same machine
    with the same number of threads gives the same weights.

    With `plan.processes` above 1 further processes are begun, one for each GPU, and each learns from its part of every
    batch. They read the same scratch copies of the scenes.

    Args:
        start: weights to start from where they fit, such as those of pretraining; None: as `spec` says.

    Raises:
        ModelError: no chip holds a landslide, the loss is no longer a number, there are too few GPUs, or another
            process failed.
    """
    scenes = (scenes,) if isinstance(scenes, Scene) else tuple(scenes)
    on_gpus = choose_device(plan.device).type == "cuda"
    with together(plan.processes, on_gpus, _fit, scenes, spec, plan, seed, start) as group:
        trained = _fit(scenes, spec, plan, seed, start, group, progress)
    if trained is None:
        raise ModelError("Training made no step.")
    return trained


def _fit(
    scenes: tuple[Scene, ...],
    spec: NetworkSpec,
    plan: TrainingPlan,
    seed: int,
    start: dict[str, torch.Tensor] | None,
    group: Group,
    progress: Progress = no_progress,
) -> Trained | None:
    """What each process of a training does; only the first one judges the network and has an answer."""
    device = choose_device(plan.device)
    rng = np.random.default_rng(seed)
    batches = Batches(scenes, plan, rng, device, part=group.part)
    with _deterministic(seed, device):
        # the others are sent the weights of the first one before they begin
        network = build(spec, pretrained=start is None and group.rank == 0)
        if start is not None:
            _start_from(network, start)
        network = group.prepared(network, device).to(device)
        kind = torch.optim.AdamW if plan.optimiser == "adamw" else torch.optim.Adam
        optimiser = kind(network.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, plan))
        mean = _Mean(network, plan.ema_decay)
        on_gpu = device.type == "cuda"
        run: Callable[[torch.Tensor], torch.Tensor] = group.shared(network, device)
        if plan.compiled and on_gpu:
            run = torch.compile(run)
        mixed = torch.autocast("cuda", torch.bfloat16, enabled=on_gpu and plan.precision == "bfloat16")
        history: list[Check] = []
        losses: list[float] = []
        best_weights: dict[str, torch.Tensor] = {}
        best: Check | None = None
        for step, batch in enumerate(batches.take(plan.steps), start=1):
            losses.append(_step(network, run, optimiser, batch, plan, mixed, group))
            schedule.step()
            mean.update()
            remark = f"loss {losses[-1]:.3f}" + (f", best AUPRC {best.validation_auprc:.3f}" if best else "")
            progress("train", step, plan.steps, remark)
            if group.rank > 0 or (step % plan.validate_every and step != plan.steps):
                continue
            auprc = float(np.mean([_validation_auprc(scene, mean.network, device) for scene in scenes]))
            check = Check(step=step, loss=float(np.mean(losses)), validation_auprc=auprc)
            losses.clear()
            history.append(check)
            log.info("step %d: loss %.4f, validation AUPRC %.4f", step, check.loss, check.validation_auprc)
            if best is None or check.validation_auprc > best.validation_auprc:
                best = check
                best_weights = {k: v.detach().cpu().clone() for k, v in mean.network.state_dict().items()}
        if best is None:
            return None
        kept = build(spec, pretrained=False).to(device)
    kept.load_state_dict(best_weights)
    return Trained(
        network=kept.eval(),
        history=tuple(history),
        best=best,
        parameters=parameters(kept),
        chips=batches.chips,
        device=str(device),
    )


def _start_from(network: torch.nn.Module, start: dict[str, torch.Tensor]) -> None:
    """Put weights in place; only the head may be absent.

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
    """A step of the exponential mean; the first ones decay faster, so that it does not stay where training began.

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
    """The network that is judged: the trained one, or the exponential mean of its weights."""

    def __init__(self, network: torch.nn.Module, decay: float | None) -> None:
        self._network, self._averaged = network, None
        if decay is not None:
            self._averaged = torch.optim.swa_utils.AveragedModel(
                network, multi_avg_fn=_exponential(decay), use_buffers=True
            )

    def update(self) -> None:
        """After a step."""
        if self._averaged is not None:
            self._averaged.update_parameters(self._network)

    @property
    def network(self) -> torch.nn.Module:
        """What is judged and kept."""
        judged: torch.nn.Module = self._network if self._averaged is None else self._averaged.module
        return judged


def predictions(
    scene: Scene,
    areas: Sequence[Box],
    probability: Probability,
    plan: InferencePlan | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(n,) probability and (n,) truth of every labelled pixel with valid inputs in `areas`.

    Each area is predicted from its own pixels alone.
    """
    scores, truths = [], []
    for area in areas:
        for strip in predict(scene.channels, area, scene.statistics, probability, plan):
            label = scene.labels[strip.box.slices]
            counted = np.isfinite(strip.probability) & (label != UNMAPPED)
            scores.append(strip.probability[counted])
            truths.append(label[counted] == 1)
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


def _step(
    network: torch.nn.Module,
    run: Callable[[torch.Tensor], torch.Tensor],
    optimiser: torch.optim.Optimizer,
    batch: Tensors,
    plan: TrainingPlan,
    mixed: AbstractContextManager[object],
    group: Group,
) -> float:
    """One step of the optimiser; the loss before it, of all processes.

    Args:
        run: the network, or its shared or compiled form.
        mixed: the context of the forward pass.
    """
    inputs, targets, masks = batch
    network.train()
    with mixed:
        logits = log_odds(run(inputs))
    loss = masked_loss(logits.float(), targets, masks, plan.dice_weight)
    value = group.mean(loss)
    if not math.isfinite(value):
        raise ModelError(
            "The training loss is no longer a finite number.",
            "Train with a lower learning rate (--learning-rate).",
        )
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimiser.step()
    return value


def _rate(step: int, plan: TrainingPlan) -> float:
    """Linear rise, then half a cosine; or always 1."""
    if plan.schedule == "constant":
        return 1.0
    rise = max(1, round(plan.steps * plan.warm_up))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, plan.steps - rise)))


@contextmanager
def _deterministic(seed: int, device: torch.device) -> Iterator[None]:
    """Seeds and deterministic algorithms, undone afterwards.

    On a GPU some operations of the network have no deterministic form: there the results repeat only nearly.
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
