"""Batches for training: random chips, standardised and augmented."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from model.inputs.windows import Box
from model.network.augmentation import Changes, ViewChannels, draw_changes, draw_shown, mirror_signs
from model.network.torch_guard import torch
from model.network.training_plan import TrainingPlan
from model.split.chips import ChipTable, batch_of

if TYPE_CHECKING:
    from model.network.training_scene import Scene

log = logging.getLogger(__name__)

Tensors = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""(chip, channel, y, x) standardised; (chip, y, x) target 0 or 1; (chip, y, x) whether the pixel counts"""
RESIDENT_SHARE = 0.4
"""share of the free memory of a GPU that may be filled with scenes"""
ROWS = 256
"""rows that are standardised at a time while a scene is copied to a device"""


class Batches:
    """Endless batches, each of chips of one scene. The same generator gives the same batches."""

    def __init__(
        self,
        scenes: Sequence[Scene],
        plan: TrainingPlan,
        rng: np.random.Generator,
        device: torch.device,
        *,
        resident: bool | None = None,
        part: slice = slice(None),
    ) -> None:
        """
        Args:
            part: the chips of a batch that this process gets, if several share it; each process draws the whole batch.
            resident: whether whole scenes are copied to the device once; None: if it is a GPU and they take at most
                `RESIDENT_SHARE` of its free memory.

        Raises:
            ModelError: no chip fits, or none holds a landslide that counts; or a channel cannot be mirrored.
        """
        self._plan, self._rng, self._scenes, self._part = plan, rng, tuple(scenes), part
        if "mirror along track" in plan.augmentation:
            for scene in scenes:
                mirror_signs(scene.statistics.channels)
        stride = plan.chip_px if plan.sampling == "fixed chips" else plan.stride_px
        self._tables = [
            ChipTable(scene.split, scene.labels, scene.usable, plan.chip_px, stride) for scene in scenes
        ]
        fits = _fits(scenes, device) if resident is None else resident
        kind = _Resident if fits else _Streamed
        self._stores: list[_Store] = [
            kind(scene, table, device) for scene, table in zip(scenes, self._tables, strict=True)
        ]
        self._waiting: list[list[Box]] = [[] for _ in scenes]

    @property
    def chips(self) -> int:
        """Number of chips of all scenes."""
        return sum(len(table) for table in self._tables)

    def take(self, count: int) -> Iterator[Tensors]:
        """The next `count` batches; each is read while the network is trained on the one before.

        The reading thread calls no function of torch: that would start a second set of torch's threads, which costs a
        small network as much time as its step.
        """
        with ThreadPoolExecutor(1, thread_name_prefix="batches") as reader:
            waiting = reader.submit(self._begun)
            for number in range(count):
                begun = waiting.result()
                if number + 1 < count:
                    waiting = reader.submit(self._begun)
                yield self._finished(begun)

    def _begun(self) -> _Begun:
        """Draw a batch, and read its chips if the scene is not on the device."""
        plan = self._plan
        number = int(self._rng.integers(len(self._scenes))) if len(self._scenes) > 1 else 0
        statistics = self._scenes[number].statistics
        if plan.sampling == "fixed chips":
            boxes = self._fixed(number)
        else:
            table = self._tables[number]
            boxes = table.draw(plan.batch, plan.share_with_landslide, plan.stride_px // 2, self._rng)
        changes, channels = None, statistics.channels
        views = ViewChannels.of(channels)
        if plan.augmentation or views is not None:
            changes = draw_changes(len(boxes), channels, statistics.sd, plan.augmentation, self._rng)
            if views is not None:
                changes = replace(changes, shown=draw_shown(len(boxes), plan, self._rng))
            changes = changes.of(self._part)
        return _Begun(number, changes, self._stores[number].read(boxes[self._part]))

    def _finished(self, begun: _Begun) -> Tensors:
        """The batch on the device, standardised and augmented."""
        tensors = begun.read()
        if begun.changes is None:
            return tensors
        return apply_changes(tensors, begun.changes, self._scenes[begun.scene].statistics.channels)

    def _fixed(self, number: int) -> list[Box]:
        """Chips in the shuffled order of an epoch; the next epoch begins where one ends."""
        waiting = self._waiting[number]
        chosen: list[Box] = []
        while len(chosen) < self._plan.batch:
            if not waiting:
                every = self._tables[number].all_with_landslide()
                waiting += [every[i] for i in self._rng.permutation(len(every))]
            chosen.append(waiting.pop())
        return chosen


def apply_changes(tensors: Tensors, changes: Changes, channels: tuple[str, ...]) -> Tensors:
    """A batch with the changes applied, on the same device."""
    inputs, targets, masks = tensors
    device = inputs.device
    chosen = torch.from_numpy(changes.mirrored).to(device)[:, None, None]
    shift = torch.from_numpy(changes.shift).to(device)[:, :, None, None]
    if changes.mirrored.any():
        sign = torch.from_numpy(mirror_signs(channels)).to(device)[:, None, None]
        inputs = torch.where(chosen[:, None], inputs.flip(2) * sign, inputs)
    inputs = inputs + shift
    masks = torch.where(chosen, masks.flip(1), masks)
    views = ViewChannels.of(channels)
    if changes.shown is not None and views is not None:
        inputs, seen = _with_shown(inputs, changes.shown, views)
        masks = masks & seen
    return (
        inputs.contiguous(memory_format=torch.channels_last),
        torch.where(chosen, targets.flip(1), targets),
        masks,
    )


def _with_shown(
    inputs: torch.Tensor, shown: NDArray[np.bool_], views: ViewChannels
) -> tuple[torch.Tensor, torch.Tensor]:
    """Chips in which the channels of a view are 0 where it is not shown or sees nothing; (chip, y, x) where any sees.

    0 is the training mean of a channel, and says in a channel of presence that the view is absent.
    """
    seen = inputs[:, list(views.seen)] * torch.from_numpy(shown).to(inputs.device)[:, :, None, None]
    factors = torch.cat([seen, torch.ones_like(seen[:, :1])], dim=1)
    return inputs * factors[:, torch.from_numpy(views.view).to(inputs.device)], seen.any(dim=1)


@dataclass(frozen=True)
class _Begun:
    """A batch that has been drawn but is not on the device yet."""

    scene: int
    changes: Changes | None
    read: Callable[[], Tensors]
    """the remaining work, which uses torch"""


class _Store(Protocol):
    """Where the chips of one scene come from."""

    def read(self, boxes: Sequence[Box]) -> Callable[[], Tensors]:
        """Standardised chips; the returned function copies them to the device."""


class _Streamed:
    """Chips read and standardised each time: memory does not grow with the scene."""

    def __init__(self, scene: Scene, table: ChipTable, device: torch.device) -> None:
        self._scene, self._table, self._device = scene, table, device

    def read(self, boxes: Sequence[Box]) -> Callable[[], Tensors]:
        """Standardised chips; the returned function copies them to the device."""
        scene = self._scene
        inputs, targets, masks = batch_of(
            boxes, scene.channels, scene.labels, scene.statistics, self._table.counted
        )
        return lambda: (
            torch.from_numpy(inputs).to(self._device, memory_format=torch.channels_last),
            torch.from_numpy(targets).to(self._device),
            torch.from_numpy(masks).to(self._device),
        )


class _Resident:
    """The whole scene on the device, standardised once; chips are cut there."""

    def __init__(self, scene: Scene, table: ChipTable, device: torch.device) -> None:
        height, width = scene.labels.shape
        # the channels of a pixel are adjacent in memory, as in the chips: cutting then copies whole runs
        self._inputs = torch.empty((height, width, len(scene.statistics.channels)), device=device)
        for top in range(0, height, ROWS):
            box = Box(top=top, left=0, height=min(ROWS, height - top), width=width)
            scaled, _ = scene.statistics.standardise(scene.channels.read(box))
            self._inputs[top : box.bottom] = torch.from_numpy(scaled).to(device).permute(1, 2, 0)
        self._targets = torch.from_numpy(scene.labels == 1).to(device)
        self._masks = torch.from_numpy(table.counted).to(device)

    def read(self, boxes: Sequence[Box]) -> Callable[[], Tensors]:
        """Standardised chips; the returned function cuts them on the device."""

        def cut(layer: torch.Tensor) -> torch.Tensor:
            return torch.stack([layer[box.slices] for box in boxes])

        return lambda: (
            cut(self._inputs).permute(0, 3, 1, 2),
            cut(self._targets).float(),
            cut(self._masks),
        )


def _fits(scenes: Sequence[Scene], device: torch.device) -> bool:
    if device.type != "cuda":
        return False
    needed = sum(scene.labels.size * (4 * len(scene.statistics.channels) + 2) for scene in scenes)
    free, _ = torch.cuda.mem_get_info(device)
    fits = needed <= RESIDENT_SHARE * free
    log.info("scenes take %.2f GiB: %s", needed / 2**30, "kept on the GPU" if fits else "read chip by chip")
    return fits
