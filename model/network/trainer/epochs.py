"""Epochs of a module by Lightning's trainer, in this process: nothing is evaluated or kept."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from model.network.trainer.lightning_guard import LightningEnvironment, lightning, quiet, torch
from model.network.trainer.processes import signals_kept


class Epoch(Sized, Protocol):
    """The batches of an epoch, on the device of the network; each epoch begins it anew."""

    def __iter__(self) -> Iterator[Any]:
        """The batches."""


def run_epochs(
    module: lightning.LightningModule,
    batches: Epoch,
    device: torch.device,
    *,
    count: int = 1,
    largest_norm: float | None = None,
) -> None:
    """Train a module for `count` epochs.

    Args:
        largest_norm: of the gradients, which are scaled down to it.

    Raises:
        ModelError: what the module raises.
    """
    on_gpu = device.type == "cuda"
    with quiet(), TemporaryDirectory(prefix="slidecube-") as unused, signals_kept() as signals:
        trainer = lightning.Trainer(
            accelerator="gpu" if on_gpu else "cpu",
            devices=[torch.cuda.current_device()] if on_gpu else 1,
            max_epochs=count,
            gradient_clip_val=largest_norm,
            limit_val_batches=0,
            use_distributed_sampler=False,
            callbacks=[signals],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            plugins=[LightningEnvironment()],
            default_root_dir=unused,
        )
        trainer.fit(module, train_dataloaders=batches)
