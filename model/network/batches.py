"""Batches for training: random chips of one or several scenes, standardised and augmented."""

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
    """Endless batches. The same generator gives the same batches.

    Each chip of a batch is of a scene that is drawn for it, so that the means of batch normalisation are those of a
    prediction: of all scenes (events, numbers of passes), not of one of them. Fixed chips are of one scene a batch.
    """

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

    def skip(self, count: int) -> None:
        """Draw the next `count` batches without reading them, as a training that goes on after them does."""
        for _ in range(count):
            self._drawn()

    def _begun(self) -> _Begun:
        """Draw a batch, and read its chips if the scenes are not on the device."""
        numbers, boxes, changes = self._drawn()
        order = np.argsort(numbers, kind="stable")
        reads = [
            self._stores[number].read([boxes[index] for index in order if numbers[index] == number])
            for number in np.unique(numbers)
        ]
        return _Begun(None if changes is None else changes.of(order), reads)

    def _drawn(self) -> tuple[NDArray[np.int64], list[Box], Changes | None]:
        """(chip,) the numbers of the scenes, and the chips of this process with their changes."""
        plan = self._plan
        numbers = self._scenes_of_chips()
        if plan.sampling == "fixed chips":
            boxes = self._fixed(int(numbers[0]))
        else:
            boxes = self._random(numbers)
        changes = self._changes(numbers)
        if changes is not None:
            changes = changes.of(np.arange(plan.batch)[self._part])
        return numbers[self._part], boxes[self._part], changes

    def _scenes_of_chips(self) -> NDArray[np.int64]:
        """(chip,) the number of the scene of each chip."""
        batch, count = self._plan.batch, len(self._scenes)
        if count == 1:
            return np.zeros(batch, dtype=np.int64)
        size = 1 if self._plan.sampling == "fixed chips" else batch
        return np.broadcast_to(self._rng.integers(count, size=size), batch)

    def _random(self, numbers: NDArray[np.int64]) -> list[Box]:
        """A random chip of each scene; the first ones hold a landslide."""
        plan = self._plan
        with_landslide = round(plan.batch * plan.share_with_landslide)
        boxes = []
        for index, number in enumerate(numbers):
            share = 1.0 if index < with_landslide else 0.0
            boxes += self._tables[number].draw(1, share, plan.stride_px // 2, self._rng)
        return boxes

    def _changes(self, numbers: NDArray[np.int64]) -> Changes | None:
        """The random changes of each chip; None: there are none."""
        plan = self._plan
        every = [self._scenes[number].statistics for number in numbers]
        views = ViewChannels.of(every[0].channels)
        if not plan.augmentation and views is None:
            return None
        changes = Changes.together(
            [draw_changes(1, one.channels, one.sd, plan.augmentation, self._rng) for one in every]
        )
        return changes if views is None else replace(changes, shown=draw_shown(len(every), plan, self._rng))

    def _finished(self, begun: _Begun) -> Tensors:
        """The batch on the device, standardised and augmented."""
        parts = [read() for read in begun.reads]
        tensors = parts[0]
        if len(parts) > 1:
            inputs, targets, masks = (torch.cat(one) for one in zip(*parts, strict=True))
            tensors = inputs.contiguous(memory_format=torch.channels_last), targets, masks
        if begun.changes is None:
            return tensors
        return apply_changes(tensors, begun.changes, self._scenes[0].statistics.channels)

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

    changes: Changes | None
    reads: Sequence[Callable[[], Tensors]]
    """the remaining work, which uses torch: one for the chips of each scene"""


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
