"""Training: masked loss, a budget of steps, the best weights by validation AUPRC."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.channels import ChannelSource, Mask, Statistics
from model.chips import ChipTable, batch_of
from model.cubes import UNMAPPED
from model.inference import NetworkProbability, predict
from model.network import build, choose_device, parameters
from model.plan import Check, InferencePlan, NetworkSpec, Progress, TrainingPlan, no_progress
from model.scores import Ranking
from model.split import Split
from model.torch_guard import torch
from model.windows import Box
from pipeline.errors import ModelError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """What training leaves."""

    network: torch.nn.Module
    """with the best weights, in evaluation mode"""
    history: tuple[Check, ...]
    best: Check
    parameters: int
    chips: int
    device: str


@dataclass(frozen=True)
class Scene:
    """What is learned from: channels, labels and their division."""

    channels: ChannelSource
    labels: NDArray[np.uint8]
    """(y, x) 1, 0, or 255 not mapped"""
    usable: Mask
    """(y, x) whether the inputs are valid"""
    split: Split
    statistics: Statistics


def train(
    scene: Scene, spec: NetworkSpec, plan: TrainingPlan, seed: int, progress: Progress = no_progress
) -> Trained:
    """Train a network; the weights of the step with the best validation AUPRC are kept.

    The same seed on the same machine with the same number of threads gives the same weights.

    Raises:
        ModelError: no chip holds a landslide, or the loss is no longer a number.
    """
    device = choose_device(plan.device)
    table = ChipTable(scene.split.train, scene.labels, scene.usable, plan.chip_px, plan.stride_px)
    rng = np.random.default_rng(seed)
    with _deterministic(seed, device):
        network = build(spec).to(device)
        optimiser = torch.optim.AdamW(
            network.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, plan))
        history: list[Check] = []
        losses: list[float] = []
        best_weights: dict[str, torch.Tensor] = {}
        best: Check | None = None
        for step in range(1, plan.steps + 1):
            boxes = table.draw(plan.batch, plan.share_with_landslide, plan.stride_px // 2, rng)
            losses.append(_step(network, optimiser, boxes, scene, plan, device))
            schedule.step()
            remark = f"loss {losses[-1]:.3f}" + (f", best AUPRC {best.validation_auprc:.3f}" if best else "")
            progress("train", step, plan.steps, remark)
            if step % plan.validate_every and step != plan.steps:
                continue
            score, truth = predictions(scene, scene.split.validation, network, device)
            check = Check(
                step=step, loss=float(np.mean(losses)), validation_auprc=Ranking.of(score, truth).auprc
            )
            losses.clear()
            history.append(check)
            log.info("step %d: loss %.4f, validation AUPRC %.4f", step, check.loss, check.validation_auprc)
            if best is None or check.validation_auprc > best.validation_auprc:
                best = check
                best_weights = {k: v.detach().cpu().clone() for k, v in network.state_dict().items()}
    if best is None:
        raise ModelError("Training made no step.")
    network.load_state_dict(best_weights)
    return Trained(
        network=network.eval(),
        history=tuple(history),
        best=best,
        parameters=parameters(network),
        chips=len(table),
        device=str(device),
    )


def predictions(
    scene: Scene,
    areas: Sequence[Box],
    network: torch.nn.Module,
    device: torch.device,
    plan: InferencePlan | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(n,) probability and (n,) truth of every labelled pixel with valid inputs in `areas`.

    Each area is predicted from its own pixels alone.
    """
    scores, truths = [], []
    was_training = network.training
    probability = NetworkProbability(network, device)
    for area in areas:
        for strip in predict(scene.channels, area, scene.statistics, probability, plan):
            label = scene.labels[strip.box.slices]
            counted = np.isfinite(strip.probability) & (label != UNMAPPED)
            scores.append(strip.probability[counted])
            truths.append(label[counted] == 1)
    network.train(was_training)
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
    optimiser: torch.optim.Optimizer,
    boxes: list[Box],
    scene: Scene,
    plan: TrainingPlan,
    device: torch.device,
) -> float:
    inputs, targets, masks = batch_of(boxes, scene.channels, scene.labels, scene.statistics)
    network.train()
    logits = network(torch.from_numpy(inputs).to(device, memory_format=torch.channels_last))[:, 0]
    loss = masked_loss(
        logits, torch.from_numpy(targets).to(device), torch.from_numpy(masks).to(device), plan.dice_weight
    )
    value = float(loss.detach())
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
    """Linear rise, then half a cosine."""
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
    cudnn = torch.backends.cudnn.deterministic
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(device.type == "cpu")
        torch.backends.cudnn.deterministic = True
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before)
            torch.backends.cudnn.deterministic = cudnn
