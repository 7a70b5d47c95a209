"""The chips of a fold as a `DataModule` of Lightning, which is an optional extra."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, cast

import xarray as xr

from model.inputs.inputs import Inputs
from model.network.chips.chip_dataset import ChipDataset, ChipOptions, ChipPart, Sample
from model.network.torch_guard import torch
from pipeline.errors import ModelError

Base: Any = object
"""the class of Lightning, of whichever of its two packages is installed"""
if not TYPE_CHECKING:
    try:
        from lightning.pytorch import LightningDataModule as Base
    except ImportError:
        try:
            from pytorch_lightning import LightningDataModule as Base
        except ImportError:
            Base = None


class LoaderOptions(ChipOptions, total=False):
    """Further settings of `ChipDataModule`: those of `ChipDataset`, and of its loaders."""

    workers: int
    """processes that read chips; default: 0, the training process itself"""
    share_with_landslide: float | None
    """share of the training chips drawn that hold a landslide; None: every chip once an epoch; default: 0.7"""


class ChipDataModule(Base or object):  # type: ignore[misc]
    """The chips of one fold for a trainer of Lightning: `trainer.fit(task, slidecube.ChipDataModule("sandbox"))`.

    Batches are those of `ChipDataset`: `image`, `mask`, `bounds`, `transform`, `crs`. The cube is read once, for the
    three parts together, at the first `setup`.

    Args:
        cube: name of a built area, path of a cube or of a version, or an open dataset.
        inputs: `Inputs` or its fields; None: the best that the cube has.
        fold: which rectangle is tested, from 0.
        chip: side of a chip, pixels.
        batch: chips in a batch.
        options: see `LoaderOptions`; `augment` is True unless it says otherwise.

    Raises:
        ModelError: Lightning is not installed.
    """

    def __init__(
        self,
        cube: str | Path | xr.Dataset,
        inputs: Inputs | Mapping[str, Any] | None = None,
        fold: int = 0,
        chip: int = 128,
        batch: int = 8,
        **options: Unpack[LoaderOptions],
    ) -> None:
        if Base is None:
            raise ModelError(
                "ChipDataModule needs Lightning, which is not installed.",
                "Install it: pip install 'slidecube[lightning]'. `slidecube.ChipDataset` works without it.",
            )
        super().__init__()
        self.batch_size = batch
        """chips in a batch"""
        self._cube, self._inputs, self._fold, self._chip = cube, inputs, fold, chip
        self._workers = options.pop("workers", 0)
        self._share = options.pop("share_with_landslide", 0.7)
        options.setdefault("augment", True)
        self._options = cast(ChipOptions, options)
        self._chips: ChipDataset | None = None

    def setup(self, stage: str | None = None) -> None:
        """Read the cube, once for all stages.

        Raises:
            CubeError, ModelError: as `ChipDataset`.
        """
        self._training_chips()

    def _training_chips(self) -> ChipDataset:
        if self._chips is None:
            self._chips = ChipDataset(
                self._cube, self._inputs, "train", self._fold, self._chip, **self._options
            )
        return self._chips

    def chips(self, part: ChipPart) -> ChipDataset:
        """The dataset of a part."""
        chips = self._training_chips()
        return chips if part == "train" else chips.of_part(part)

    def train_dataloader(self) -> torch.utils.data.DataLoader[Sample]:
        """Training chips in random order; an epoch has as many draws as there are chips."""
        chips = self.chips("train")
        generator = torch.Generator().manual_seed(self._options.get("seed", 0))
        sampler: torch.utils.data.Sampler[int]
        if self._share is None:
            sampler = torch.utils.data.RandomSampler(chips, generator=generator)
        else:
            weights = chips.weights(self._share).tolist()
            sampler = torch.utils.data.WeightedRandomSampler(weights, len(chips), generator=generator)
        return self._loader(chips, sampler=sampler, drop_last=len(chips) > self.batch_size)

    def val_dataloader(self) -> torch.utils.data.DataLoader[Sample]:
        """Validation chips in order."""
        return self._loader(self.chips("validation"))

    def test_dataloader(self) -> torch.utils.data.DataLoader[Sample]:
        """Test chips in order."""
        return self._loader(self.chips("test"))

    def _loader(self, chips: ChipDataset, **more: Any) -> torch.utils.data.DataLoader[Sample]:
        return torch.utils.data.DataLoader(
            chips,
            batch_size=self.batch_size,
            num_workers=self._workers,
            persistent_workers=self._workers > 0,
            generator=torch.Generator().manual_seed(self._options.get("seed", 0) + 1),
            **more,
        )
