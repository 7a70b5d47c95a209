"""Training, validation and test areas that share no pixel and have a buffer between them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from model.inputs.windows import Box, mask_of
from pipeline.errors import ModelError
from pipeline.records import Frozen

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
MOST_CUTS = 40
"""largest number of positions that are tried along an axis"""
MOST_BOXES = 64
"""most areas of a part, each of which is compared with those of the other parts"""
CELL_PX = 16
"""cuts lie on multiples of this, or of a multiple of it in a large scene"""
GOOD_ENOUGH = 0.1
"""a layout whose score is within this of the best may be drawn by the seed"""


class SplitPlan(Frozen):
    """How a scene is divided. Shares are of landslide pixels and of labelled area alike."""

    train: float = Field(0.6, gt=0, lt=1)
    validation: float = Field(0.15, gt=0, lt=1)
    test: float = Field(0.25, gt=0, lt=1)
    buffer_px: int = Field(32, ge=0, description="pixels between two parts that belong to neither")
    shortest_px: int = Field(128, ge=1, description="shortest side of a part: the chip")

    @model_validator(mode="after")
    def _whole(self) -> SplitPlan:
        if abs(self.train + self.validation + self.test - 1) > 1e-6:
            raise ValueError("train, validation and test do not add up to 1")
        return self


class Split(Frozen):
    """The areas of each part, in pixels of the cube's grid."""

    train: tuple[Box, ...] = Field(min_length=1, max_length=MOST_BOXES)
    validation: tuple[Box, ...] = Field(min_length=1, max_length=MOST_BOXES)
    test: tuple[Box, ...] = Field(
        max_length=MOST_BOXES, description="empty: the model is tested on other events alone"
    )
    buffer_px: int = Field(ge=0)

    @model_validator(mode="after")
    def _no_leak(self) -> Split:
        for first, second in (("train", "validation"), ("train", "test"), ("validation", "test")):
            for a in self.boxes(first):
                for b in self.boxes(second):
                    if a.gap(b) < self.buffer_px:
                        raise ValueError(
                            f"{first} {a.slices} and {second} {b.slices} are {a.gap(b)} pixels apart, less than the "
                            f"buffer of {self.buffer_px}"
                        )
        return self

    def boxes(self, part: str) -> tuple[Box, ...]:
        """The areas of a part."""
        found: tuple[Box, ...] = getattr(self, part)
        return found

    def train_mask(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """(y, x) the training areas."""
        return mask_of(self.train, shape)

    def closed_mask(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """(y, x) everything else: chips stay inside the training areas."""
        return ~self.train_mask(shape)


def divide(labels: NDArray[np.uint8], usable: NDArray[np.bool_], plan: SplitPlan, seed: int) -> Split:
    """Three rectangles of the scene, each with landslides, as close to the planned shares as the scene allows.

    A layout has three bands along one axis, or one band and two parts that divide the rest along the other axis. All
    cuts are tried; the seed draws among the arrangements whose best cut scores about as well as the best of all.

    Args:
        labels: (y, x) 1 landslide, 0 none, 255 not mapped.
        usable: (y, x) whether the inputs are valid.

    Raises:
        ModelError: there is no landslide, the scene is too small, or no layout gives every part landslides.
    """
    positive = (labels == 1) & usable
    known = (labels <= 1) & usable
    if not (labels == 1).any():
        raise ModelError(
            "The cube's labels hold no landslide.",
            "Check the inventory's extent and filter in the area file.",
        )
    if not positive.any():
        raise ModelError(
            "No landslide pixel has valid inputs.",
            "Check the coverage of the passes, or choose another --track.",
        )
    height, width = labels.shape
    shortest, gap = plan.shortest_px, plan.buffer_px
    if max(height, width) < 2 * shortest + gap or min(height, width) < shortest:
        raise ModelError(
            f"The cube ({height} x {width} pixels) is too small for three parts of at least {shortest} pixels with "
            f"{gap} between them.",
            "Take smaller chips (--chip) or a larger area.",
        )
    cell = CELL_PX * max(1, int(np.ceil(max(height, width) / CELL_PX / MOST_CUTS)))
    counter = _Counter(positive, known, cell)
    best: dict[str, tuple[float, dict[Part, Box]]] = {}
    for name, layout in _layouts(height, width, plan, cell):
        score = counter.score(layout, plan)
        if np.isfinite(score) and (name not in best or score < best[name][0]):
            best[name] = (score, layout)
    if not best:
        lacking = "no layout of three separate parts gives each of them landslides and other pixels"
        raise ModelError(
            f"The cube cannot be split into train, validation and test: {lacking}.",
            "Take smaller chips (--chip), a larger area, or an inventory with more landslides.",
        )
    lowest = min(score for score, _ in best.values())
    good = sorted(name for name, (score, _) in best.items() if score <= lowest + GOOD_ENOUGH)
    _, chosen = best[good[int(np.random.default_rng(seed).integers(len(good)))]]
    return Split(
        train=(chosen["train"],), validation=(chosen["validation"],), test=(chosen["test"],), buffer_px=gap
    )


class _Counter:
    """Landslide and labelled pixels in boxes whose edges lie on multiples of a cell or at the scene's edge."""

    def __init__(self, positive: NDArray[np.bool_], known: NDArray[np.bool_], cell: int) -> None:
        self._cell, self._shape = cell, known.shape
        self._positive, self._known = self._integral(positive), self._integral(known)

    def _integral(self, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
        rows = np.add.reduceat(mask, np.arange(0, mask.shape[0], self._cell), axis=0, dtype=np.int64)
        cells = np.add.reduceat(rows, np.arange(0, mask.shape[1], self._cell), axis=1)
        return np.pad(cells.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))

    def _sum(self, integral: NDArray[np.int64], box: Box) -> int:
        top, left = -(-box.top // self._cell), -(-box.left // self._cell)
        bottom = -(-box.bottom // self._cell) if box.bottom == self._shape[0] else box.bottom // self._cell
        right = -(-box.right // self._cell) if box.right == self._shape[1] else box.right // self._cell
        bottom, right = max(bottom, top), max(right, left)
        return int(
            integral[bottom, right] - integral[top, right] - integral[bottom, left] + integral[top, left]
        )

    def score(self, layout: dict[Part, Box], plan: SplitPlan) -> float:
        """Distance from the wanted shares; infinite if a part has no landslide or only landslides."""
        positives = {part: self._sum(self._positive, box) for part, box in layout.items()}
        known = {part: self._sum(self._known, box) for part, box in layout.items()}
        if any(positives[part] == 0 or positives[part] >= known[part] for part in PARTS):
            return float("inf")
        all_positive, all_known = int(self._positive[-1, -1]), int(self._known[-1, -1])
        wanted = {"train": plan.train, "validation": plan.validation, "test": plan.test}
        return sum(
            abs(positives[part] / all_positive - wanted[part])
            + 0.5 * abs(known[part] / all_known - wanted[part])
            for part in PARTS
        )


def _layouts(height: int, width: int, plan: SplitPlan, cell: int) -> Iterator[tuple[str, dict[Part, Box]]]:
    for transposed in (False, True):
        long, wide = (width, height) if transposed else (height, width)
        for name, spans in _spans(long, wide, plan, cell):
            yield (
                f"{'columns' if transposed else 'rows'} {name}",
                {part: _box(span, transposed) for part, span in spans.items()},
            )


Span = tuple[int, int, int, int]
"""start and end along the cut axis, start and end across it"""


def _box(span: Span, transposed: bool) -> Box:
    a, b, c, d = span
    if transposed:
        return Box(top=c, left=a, height=d - c, width=b - a)
    return Box(top=a, left=c, height=b - a, width=d - c)


def _spans(long: int, wide: int, plan: SplitPlan, cell: int) -> Iterator[tuple[str, dict[Part, Span]]]:
    shortest, gap = plan.shortest_px, plan.buffer_px
    orders: list[tuple[Part, Part, Part]] = [
        ("train", "validation", "test"),
        ("train", "test", "validation"),
        ("validation", "train", "test"),
    ]
    cuts = range(cell, long, cell)
    for one in cuts:
        if one < shortest or long - one - gap < shortest:
            continue
        # train is a band; validation and test share the rest side by side
        for other in range(cell, wide, cell):
            if wide < 2 * shortest + gap or other < shortest or wide - other - gap < shortest:
                continue
            for first, second in (("validation", "test"), ("test", "validation")):
                for name, band, rest in (
                    ("first", (0, one), (one + gap, long)),
                    ("last", (one + gap, long), (0, one)),
                ):
                    yield (
                        f"train {name} beside {first} and {second}",
                        {
                            "train": (*band, 0, wide),
                            first: (*rest, 0, other),  # type: ignore[dict-item]
                            second: (*rest, other + gap, wide),  # type: ignore[dict-item]
                        },
                    )
        for two in cuts:
            if two - one - gap < shortest or long - two - gap < shortest:
                continue
            bands = ((0, one, 0, wide), (one + gap, two, 0, wide), (two + gap, long, 0, wide))
            for order in (*orders, *((c, b, a) for a, b, c in orders)):
                yield " ".join(order), dict(zip(order, bands, strict=True))
