"""A fold of a cube as a torch `Dataset` of chips, in the form of torchgeo's samples."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

import numpy as np
import xarray as xr
from affine import Affine

from model.inputs.channel_statistics import Statistics
from model.inputs.cubes import UNMAPPED
from model.inputs.inputs import EventSpan, Inputs
from model.inputs.windows import Box, starts
from model.network.augmentation import draw_changes, mirror_signs
from model.network.chips.fold_scene import open_fold
from model.network.torch_guard import torch
from model.split.chips import ChipTable
from model.split.folds import Fold, FoldPlan
from model.split.leakage import assert_no_leak
from pipeline.errors import ModelError

Sample = dict[str, Any]
"""one chip: `image`, `mask`, `bounds`, `transform`, `crs`"""
ChipPart = Literal["train", "validation", "test"]
PARTS: tuple[ChipPart, ...] = ("train", "validation", "test")
CHANGES: tuple[Literal["mirror along track", "gain"], ...] = ("mirror along track", "gain")
"""what `augment` does besides shifting a chip"""


class ChipOptions(TypedDict, total=False):
    """Further settings of `ChipDataset`."""

    stride: int
    """distance of neighbouring training chips, pixels; default: half a chip"""
    folds: FoldPlan
    """how the scene is cut; default: four rectangles with buffers of 32 pixels, as in the protocol `strict`"""
    event: EventSpan | None
    """None: the event that the cube records"""
    augment: bool
    """shift, mirror along the track, and shift the gain of training chips at random; default: False"""
    seed: int
    """of these random changes; default: 0"""
    transforms: Callable[[Sample], Sample] | None
    """called with every sample, as in torchgeo"""


class ChipDataset(torch.utils.data.Dataset[Sample]):
    """Chips of one fold of a cube, standardised with the statistics of its training part.

        >>> from torch.utils.data import DataLoader
        >>> chips = slidecube.ChipDataset("sandbox", part="train", fold=0, chip=64)
        >>> batch = next(iter(DataLoader(chips, batch_size=4, shuffle=True)))
        >>> batch["image"].dtype, tuple(batch["mask"].shape), sorted(batch)
        (torch.float32, (4, 64, 64), ['bounds', 'crs', 'image', 'mask', 'transform'])

    A sample is a dictionary that torch's own collation and Lightning's transfer to a device take:

    - `image`: (channel, y, x) float32, standardised, 0 where unknown; `channels` names them;
    - `mask`: (y, x) int64, 1 landslide, 0 none, 255 ignored: not mapped, without valid inputs, of another part, or (in
      validation and test) already in an earlier chip, so that every pixel of the rectangle counts once;
    - `bounds`: (9,) float64, as in torchgeo: start, stop and step of x, y and time, which are metres of the cube's grid
      and seconds since 1970 UTC, from the first to the last pass that the inputs use;
    - `transform`: (6,) float64, the affine (a, b, c, d, e, f) from (column, row) of a pixel's corner to coordinates;
    - `crs`: text such as "EPSG:32654"; empty where the cube records none.

    Training chips hold no pixel of the validation and test rectangles; the leakage guard of the protocol `strict`
    checks this. Validation and test chips tile their rectangle; a rectangle that is smaller than a chip gets inputs
    around it, whose labels are ignored. The channels are copied once, when the dataset is made, to an unnamed file in
    the folder of temporary files (`TMPDIR`); worker processes of a `DataLoader` read the same file.

    Args:
        cube: name of a built area, path of a cube (its newest version is taken) or of a version, or an open dataset.
        inputs: `Inputs` or its fields; None: the best that the cube has, as `slidecube.train` takes.
        part: "train", "validation" or "test".
        fold: which rectangle is tested, from 0.
        chip: side of a chip, pixels.
        options: see `ChipOptions`.

    Raises:
        CubeError: there is no such cube.
        ModelError: it cannot be trained on (no labels, no passes, a missing variable, too small), the part or the fold
            does not exist, or training would leak.
    """

    def __init__(
        self,
        cube: str | Path | xr.Dataset,
        inputs: Inputs | Mapping[str, Any] | None = None,
        part: ChipPart = "train",
        fold: int = 0,
        chip: int = 128,
        **options: Unpack[ChipOptions],
    ) -> None:
        if chip < 1 or options.get("stride", 1) < 1:
            raise ModelError(f"A chip and its stride have 1 pixel or more, not {chip}.")
        self._options = options
        self._chip = chip
        self._scene = open_fold(cube, inputs, fold, options.get("folds", FoldPlan()), options.get("event"))
        self._choose(part)

    def _choose(self, part: ChipPart) -> None:
        """Make the chips of a part."""
        if part not in PARTS:
            raise ModelError(f"There is no part {part!r}; there are {', '.join(PARTS)}.")
        self.part: ChipPart = part
        """which chips these are"""
        self.transforms = self._options.get("transforms")
        """called with every sample, as in torchgeo; None: nothing is"""
        self._table: ChipTable | None = None
        self._random: tuple[int | None, np.random.Generator] | None = None
        scene = self._scene
        if part == "train":
            stride = self._options.get("stride", max(1, self._chip // 2))
            self._table = ChipTable(scene.fold, scene.labels, scene.usable, self._chip, stride)
            self._boxes = self._table.every()
            assert_no_leak(scene.fold, scene.shape, scene.fold.buffer_px, self._boxes)
            self._counted = list(self._boxes)
            if self._options.get("augment", False):
                mirror_signs(self.channels)  # refuses a channel that cannot be mirrored
        else:
            (area,) = scene.fold.boxes(part)
            self._boxes, self._counted = _tiled(area, self._chip, scene.shape)

    def of_part(self, part: ChipPart) -> ChipDataset:
        """The chips of another part of the same fold, of the same copy of the channels: nothing is read again.

        Raises:
            ModelError: there is no such part.
        """
        other = copy.copy(self)
        other._choose(part)
        return other

    def __len__(self) -> int:
        return len(self._boxes)

    def __getitem__(self, index: int) -> Sample:
        """The sample of one chip.

        Raises:
            IndexError: there is no such chip.
        """
        scene, box, counted = self._scene, self._boxes[index], self._counted[index]
        rng = self._generator() if self._table is not None and self._options.get("augment", False) else None
        if rng is not None and self._table is not None:
            stride = self._options.get("stride", max(1, self._chip // 2))
            box = counted = self._table.shifted(box, stride // 2, rng)
        values, valid = scene.statistics.standardise(scene.channels.read(box))
        allowed = np.zeros(valid.shape, dtype=bool)
        rows, columns = counted.slices
        allowed[
            rows.start - box.top : rows.stop - box.top, columns.start - box.left : columns.stop - box.left
        ] = True
        if self._table is not None:
            allowed &= self._table.counted[box.slices]
        known = allowed & valid & scene.usable[box.slices]
        mask = np.where(known, scene.labels[box.slices], np.uint8(UNMAPPED)).astype(np.int64)
        if rng is not None:
            values, mask = self._changed(values, mask, rng)
        affine = scene.affine @ Affine.translation(box.left, box.top)
        sample: Sample = {
            "image": torch.from_numpy(np.ascontiguousarray(values)),
            "mask": torch.from_numpy(np.ascontiguousarray(mask)),
            "bounds": torch.tensor(self._bounds(affine, box), dtype=torch.float64),
            "transform": torch.tensor(tuple(affine)[:6], dtype=torch.float64),
            "crs": scene.crs,
        }
        return sample if self.transforms is None else self.transforms(sample)

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the image's channels, in order."""
        return self._scene.inputs.channels

    @property
    def inputs(self) -> Inputs:
        """The inputs that the channels are made by."""
        return self._scene.inputs

    @property
    def statistics(self) -> Statistics:
        """Mean and standard deviation of each channel over the training part, by which the image is standardised."""
        return self._scene.statistics

    @property
    def fold(self) -> Fold:
        """The rectangles of validation and test, and the buffer."""
        return self._scene.fold

    @property
    def boxes(self) -> tuple[Box, ...]:
        """Where each chip lies, in pixels of the cube."""
        return tuple(self._boxes)

    @property
    def crs(self) -> str:
        """The coordinate reference system as text; empty where the cube records none."""
        return self._scene.crs

    def weights(self, share_with_landslide: float = 0.7) -> torch.Tensor:
        """(chip,) float64 weights for torch's `WeightedRandomSampler`: so large a share of the draws holds a landslide.

        Most chips of a scene hold none. Chips that hold one are equally likely among themselves, and so are the others.

        Raises:
            ModelError: these are not training chips, or the share is not between 0 and 1.
        """
        if self._table is None or not 0 <= share_with_landslide <= 1:
            raise ModelError("Weights are those of training chips, for a share between 0 and 1.")
        count = self._table.with_landslide
        others = len(self) - count
        found = torch.full((len(self),), share_with_landslide / count if others else 1 / count)
        found[count:] = (1 - share_with_landslide) / max(others, 1)
        return found.double()

    def _changed(
        self, values: np.ndarray, mask: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """The chip mirrored along the track by chance, with a random gain, as `slidecube.train` does it."""
        changes = draw_changes(1, self.channels, self.statistics.sd, CHANGES, rng)
        if changes.mirrored[0]:
            values, mask = values[:, ::-1] * mirror_signs(self.channels)[:, None, None], mask[::-1]
        return values + changes.shift[0][:, None, None], mask

    def _generator(self) -> np.random.Generator:
        """The random numbers of this process: those of a worker depend on the seed that its `DataLoader` gave it.

        So no two workers, and no two epochs, draw the same; the same seeds and number of workers repeat all draws.
        """
        worker = torch.utils.data.get_worker_info()
        given = None if worker is None else int(worker.seed)
        if self._random is None or self._random[0] != given:
            seed = self._options.get("seed", 0)
            self._random = (given, np.random.default_rng([seed] if given is None else [seed, given]))
        return self._random[1]

    def _bounds(self, affine: Affine, box: Box) -> tuple[float, ...]:
        """Start, stop and step of x, y and time."""
        left, top = affine @ (0, 0)
        right, bottom = affine @ (box.width, box.height)
        first, last = self._scene.seconds
        return (left, right, affine.a, bottom, top, -affine.e, first, last, 1.0)


def _tiled(area: Box, size: int, shape: tuple[int, int]) -> tuple[list[Box], list[Box]]:
    """Chips that cover a rectangle, inside the scene; and of each the part of the rectangle that no earlier one holds.

    Raises:
        ModelError: the scene is smaller than a chip.
    """
    if min(shape) < size:
        raise ModelError(
            f"A scene of {shape[0]} x {shape[1]} pixels is smaller than a chip of {size}.",
            "Take smaller chips.",
        )
    rows = _spans(area.top, area.height, size, shape[0])
    columns = _spans(area.left, area.width, size, shape[1])
    boxes, counted = [], []
    for top, first, below in rows:
        for left, west, east in columns:
            boxes.append(Box(top=top, left=left, height=size, width=size))
            counted.append(Box(top=first, left=west, height=below - first, width=east - west))
    return boxes, counted


def _spans(start: int, length: int, size: int, whole: int) -> list[tuple[int, int, int]]:
    """Along one axis: where each chip begins, and start and end of what it is the first to hold of the rectangle."""
    found, end = [], start
    for offset in starts(length, size, size):
        # a rectangle that is shorter than a chip: the chip reaches beyond it, and stays inside the scene
        begin = min(start + offset, whole - size)
        found.append((begin, end, min(start + offset + size, start + length)))
        end = found[-1][2]
    return found
