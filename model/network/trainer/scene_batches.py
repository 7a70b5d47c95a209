"""The scenes of a training as Lightning reads them: an epoch is what lies between two evaluations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from model.network.batches import Batches, Tensors
from model.network.trainer.lightning_guard import lightning, torch
from model.network.training_plan import TrainingPlan
from model.network.training_scene import Scene


class SceneBatches(lightning.LightningDataModule):
    """Batches of the training areas, and the scenes whose validation areas are scored.

    Every process draws the same random batch and trains on its own part of it. The first one alone evaluates.
    """

    def __init__(self, scenes: tuple[Scene, ...], plan: TrainingPlan, seed: int) -> None:
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.chips = 0
        """number of chips of all scenes, once set up"""
        self._scenes, self._plan, self._seed = scenes, plan, seed
        self._taken = 0

    def setup(self, stage: str) -> None:
        """Find the chips.

        Raises:
            ModelError: no chip fits or holds a landslide, or a channel cannot be mirrored.
        """
        trainer = self.trainer
        self._batches = Batches(
            self._scenes,
            self._plan,
            np.random.default_rng(self._seed),
            trainer.strategy.root_device,
            part=slice(trainer.global_rank, None, trainer.world_size),
        )
        self.chips = self._batches.chips

    def train_dataloader(self) -> _Epoch:
        """The batches up to the next evaluation."""
        done, plan = self.trainer.global_step, self._plan
        self._batches.skip(done - self._taken)  # of a training that is resumed
        count = min(plan.validate_every, plan.steps - done)
        self._taken = done + count
        return _Epoch(self._batches, count)

    def val_dataloader(self) -> _Evaluated:
        """The scenes, for the first process."""
        return _Evaluated(self._scenes if self.trainer.is_global_zero else ())

    def transfer_batch_to_device(self, batch: object, device: torch.device, dataloader_idx: int) -> object:
        """Nothing: batches are on the device already, and scenes are read from where they lie."""
        return batch


@dataclass(frozen=True)
class _Epoch:
    batches: Batches
    count: int

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Tensors]:
        return self.batches.take(self.count)


@dataclass(frozen=True)
class _Evaluated:
    scenes: tuple[Scene, ...]

    def __len__(self) -> int:
        return len(self.scenes)

    def __iter__(self) -> Iterator[Scene]:
        return iter(self.scenes)
