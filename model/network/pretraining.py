"""Self-supervised pretraining: a network is trained on the scene without labels before it is trained on few labels.

Patches of the standardised channels are hidden, and the network fills them in from what surrounds them, as masked
autoencoders do (He et al. 2022, with a U-Net in place of the transformer). To fill in backscatter after the event from
backscatter before, terrain and the surroundings, it has to learn what changes everywhere (season, speckle,
incidence) and what does not. No label is read. Only the training area is read: the weights are independent of the
test area.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from scipy import ndimage

from model.inputs.cubes import CubeFacts
from model.inputs.windows import Box
from model.network.network import build, choose_device
from model.network.parts.imagenet import same_filter_for_both_dates
from model.network.torch_guard import torch
from model.network.training_plan import (
    LARGEST_BATCH,
    LARGEST_NORM,
    LARGEST_PX,
    MOST_STEPS,
    STRIDE_PX,
    NetworkSpec,
)
from model.network.training_scene import Scene
from model.network.weights import WeightsError, forms_of, read_weights
from model.split.chips import window_sums
from model.split.partition import Mask, Partition
from pipeline.errors import ModelError
from pipeline.files import read_regular, whole_folder
from pipeline.progress import Progress, no_progress
from pipeline.records import Frozen

WEIGHTS = "weights.safetensors"
DOCUMENT = "pretraining.json"
LARGEST_DOCUMENT_BYTES = 1 << 20
CELL_PX = 32
"""side of the cells in which labels are kept or left out"""


class PretrainingPlan(Frozen):
    """The length of pretraining, and what is hidden."""

    steps: int = Field(300, ge=1, le=MOST_STEPS)
    chip_px: int = Field(64, ge=STRIDE_PX, le=LARGEST_PX, multiple_of=STRIDE_PX)
    batch: int = Field(8, ge=2, le=LARGEST_BATCH)
    learning_rate: float = Field(2e-3, gt=0)
    patch_px: int = Field(8, ge=2, description="side of a hidden patch")
    share_hidden: float = Field(0.5, gt=0, lt=1)


@dataclass(frozen=True)
class Pretrained:
    """Weights of encoder and decoder, and the mean loss of the last tenth of the steps."""

    weights: dict[str, torch.Tensor]
    loss: float
    """mean squared error of hidden, standardised values; a constant prediction has about 1"""


def pretrain(
    scenes: Sequence[Scene],
    spec: NetworkSpec,
    plan: PretrainingPlan,
    seed: int,
    progress: Progress = no_progress,
) -> Pretrained:
    """Train a network to fill in hidden patches of the training areas.

    Raises:
        ModelError: no chip fits into a training area.
    """
    from model.network.trainer.epochs import run_epochs  # which imports Lightning
    from model.network.trainer.masked_step import MaskedStep

    device = choose_device("auto")
    rng = np.random.default_rng([seed, 77])
    windows = [_windows(scene, plan.chip_px) for scene in scenes]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        start = "random" if spec.initial_weights == "pretrained" else spec.initial_weights
        network = build(spec.model_copy(update={"classes": 1, "initial_weights": start}))
        if start == "imagenet":
            same_filter_for_both_dates(network, scenes[0].statistics.channels)
        head = torch.nn.Conv2d(_width(network), spec.in_channels, 3, padding=1)
        network.segmentation_head = head
        network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        step = MaskedStep(network, plan.learning_rate, plan.steps, progress)
        run_epochs(
            step, _HiddenBatches(scenes, windows, plan, rng, device), device, largest_norm=LARGEST_NORM
        )
    losses = step.losses
    kept = {
        name: tensor.detach().cpu().clone()
        for name, tensor in network.state_dict().items()
        if not name.startswith("segmentation_head.")
    }
    return Pretrained(weights=kept, loss=float(np.mean(losses[-max(1, len(losses) // 10) :])))


class PretrainingOrigin(Frozen):
    """The origin of pretrained weights."""

    network: NetworkSpec
    channels: tuple[str, ...] = Field(description="names of the inputs, in order")
    plan: PretrainingPlan
    seed: int
    cubes: tuple[CubeFacts, ...] = Field((), description="read without their labels")


class PretrainingDocument(PretrainingOrigin):
    """The document of a folder of pretrained weights."""

    format: Literal["slidecube-pretraining-1"] = "slidecube-pretraining-1"
    loss: float = Field(description="mean squared error of hidden, standardised values; 1 is a constant's")
    weights_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


def save(made: Pretrained, origin: PretrainingOrigin, target: Path) -> PretrainingDocument:
    """Write the folder `target` with the weights and their origin, whole or not at all.

    Raises:
        ModelError: `target` exists and holds something else.
    """
    weights = save_tensors({name: tensor.contiguous() for name, tensor in made.weights.items()})
    document = PretrainingDocument(
        **{name: getattr(origin, name) for name in PretrainingOrigin.model_fields},
        loss=made.loss,
        weights_sha256=hashlib.sha256(weights).hexdigest(),
    )
    with whole_folder(target, DOCUMENT) as folder:
        (folder / WEIGHTS).write_bytes(weights)
        (folder / DOCUMENT).write_text(document.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return document


def load(
    folder: Path, spec: NetworkSpec, channels: tuple[str, ...]
) -> tuple[dict[str, torch.Tensor], PretrainingDocument]:
    """Weights to start the training of a network of these inputs from, and their origin.

    Raises:
        ModelError: they cannot be read, are damaged, or are those of other inputs or of another network.
    """
    document = _document(folder)
    if document.channels != channels:
        raise ModelError(
            f"The pretrained weights are for the inputs {', '.join(document.channels)}; these are "
            f"{', '.join(channels)}.",
            "Pretrain with the same inputs.",
        )
    same = {"initial_weights": "random", "classes": 1, "in_channels": len(channels)}
    if document.network.model_copy(update=same) != spec.model_copy(update=same):
        raise ModelError(
            f"The pretrained weights are those of a {document.network.architecture} of other sizes.",
            "Pretrain the network that is to be trained.",
        )
    forms = {name: form for name, form in forms_of(spec).items() if not name.startswith("segmentation_head.")}
    try:
        weights = read_weights(folder / WEIGHTS, forms)
        tensors: dict[str, torch.Tensor] = load_tensors(weights)
    except (OSError, WeightsError, SafetensorError) as error:
        raise _unreadable(folder, error) from error
    if hashlib.sha256(weights).hexdigest() != document.weights_sha256:
        raise ModelError(f"The weights in {folder} are not those of its {DOCUMENT}.", "Pretrain again.")
    return tensors, document


def _document(folder: Path) -> PretrainingDocument:
    file = folder / DOCUMENT
    try:
        return PretrainingDocument.model_validate_json(read_regular(file, LARGEST_DOCUMENT_BYTES))
    except (OSError, ValidationError) as error:
        raise _unreadable(folder, error) from error


def _unreadable(folder: Path, error: Exception) -> ModelError:
    why = error.message if isinstance(error, WeightsError) else type(error).__name__
    return ModelError(f"{folder} holds no pretrained weights that can be read ({why}).", "Pretrain again.")


def _width(network: torch.nn.Module) -> int:
    """Channels that the decoder gives to the head.

    Raises:
        ModelError: the network has no `segmentation_head` that another head can replace.
    """
    head = getattr(network, "segmentation_head", torch.nn.Identity())
    convolutions = [m for m in head.modules() if isinstance(m, torch.nn.Conv2d)]
    if not convolutions:
        raise ModelError(
            f"{type(network).__name__} cannot be pretrained: it has no segmentation_head with a convolution.",
            "Take a U-Net, or name the last layer of the network `segmentation_head`.",
        )
    return convolutions[0].in_channels


def _windows(scene: Scene, size: int) -> NDArray[np.int64]:
    """(n, 2) starts of every chip without pixels closed to training and with some valid training pixels."""
    shape = scene.labels.shape
    seen = scene.split.train_mask(shape) & scene.usable
    if min(shape) >= size:
        fits = window_sums(scene.split.closed_mask(shape), size) == 0
        found = np.argwhere(fits & (window_sums(seen, size) > 0))
        if len(found):
            return found
    raise ModelError(f"No chip of {size} pixels fits into the training area.", "Take smaller chips (--chip).")


@dataclass(frozen=True)
class _HiddenBatches:
    """The batches of pretraining as `MaskedStep` takes them."""

    scenes: Sequence[Scene]
    windows: Sequence[NDArray[np.int64]]
    plan: PretrainingPlan
    rng: np.random.Generator
    device: torch.device

    def __len__(self) -> int:
        return self.plan.steps

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        for _ in range(self.plan.steps):
            number = int(self.rng.integers(len(self.scenes)))
            values, valid = _batch(self.scenes[number], self.windows[number], self.plan, self.rng)
            hidden = _hidden(values.shape, self.plan, self.rng)
            seen = torch.from_numpy(np.where(hidden, np.float32(0), values))
            yield (
                seen.to(self.device, memory_format=torch.channels_last),
                torch.from_numpy(values).to(self.device),
                torch.from_numpy((hidden & valid[:, None]).astype(np.float32)).to(self.device),
            )


def _batch(
    scene: Scene, windows: NDArray[np.int64], plan: PretrainingPlan, rng: np.random.Generator
) -> tuple[NDArray[np.float32], Mask]:
    """(chip, channel, y, x) standardised values; (chip, y, x) where they count."""
    train = scene.split.train_mask(scene.labels.shape)
    values, masks = [], []
    for top, left in windows[rng.integers(len(windows), size=plan.batch)]:
        box = Box(top=int(top), left=int(left), height=plan.chip_px, width=plan.chip_px)
        scaled, valid = scene.statistics.standardise(scene.channels.read(box))
        values.append(scaled)
        masks.append(valid & train[box.slices])
    return np.stack(values), np.stack(masks)


def _hidden(shape: tuple[int, ...], plan: PretrainingPlan, rng: np.random.Generator) -> NDArray[np.bool_]:
    """(chip, channel, y, x) patches, drawn separately for each channel: a network may infer one channel from
    another."""
    coarse = tuple(-(-side // plan.patch_px) for side in shape[2:])
    drawn = rng.random((*shape[:2], *coarse)) < plan.share_hidden
    full = drawn.repeat(plan.patch_px, axis=2).repeat(plan.patch_px, axis=3)
    return full[:, :, : shape[2], : shape[3]]


@dataclass(frozen=True)
class FewerLabels:
    """A partition that uses only some of its training labels. Satisfies `model.split.partition.Partition`."""

    parts: Partition
    kept: Mask
    """(y, x) training pixels whose labels are used"""

    def boxes(self, part: str) -> tuple[Box, ...]:
        """The rectangles of the parts."""
        return self.parts.boxes(part)

    def train_mask(self, shape: tuple[int, int]) -> Mask:
        """(y, x) the training pixels whose labels are used."""
        return self.parts.train_mask(shape) & self.kept

    def closed_mask(self, shape: tuple[int, int]) -> Mask:
        """(y, x) as the parts."""
        return self.parts.closed_mask(shape)


def keep_labels(train: Mask, labels: NDArray[np.uint8], share: float, seed: int) -> Mask:
    """(y, x) a connected part of the training area that holds about `share` of its pixels and some landslides.

    This is how an interpreter works: one corner is mapped completely, not single pixels everywhere. Cells of 32 pixels
    are taken by their distance from a cell with landslides that the seed draws; with one seed, a larger share contains
    the smaller ones.

    Raises:
        ModelError: the training area holds no landslide.
    """
    if share >= 1.0:
        return train.copy()
    rows, columns = np.arange(train.shape[0]) // CELL_PX, np.arange(train.shape[1]) // CELL_PX
    across = int(columns[-1]) + 1
    cell = rows[:, None] * across + columns[None, :]
    count = int(cell.max()) + 1
    pixels = np.bincount(cell[train], minlength=count)
    slid = np.flatnonzero(np.bincount(cell[train & (labels == 1)], minlength=count))
    if slid.size == 0:
        raise ModelError("The training area holds no landslide.", "Use a larger area.")
    start = int(slid[int(np.random.default_rng([seed, 5]).integers(slid.size))])
    field = np.ones((count // across, across))
    field[start // across, start % across] = 0
    order = np.argsort(ndimage.distance_transform_edt(field).ravel(), kind="stable")
    enough = int(np.searchsorted(pixels[order].cumsum(), share * pixels.sum())) + 1
    chosen = np.zeros(count, dtype=bool)
    chosen[order[:enough]] = True
    kept: Mask = train & chosen[cell]
    return kept
