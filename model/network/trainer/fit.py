"""One training by Lightning's trainer, in this process or in several, which then average their gradients.

The number of processes does not change a batch, with two exceptions: the loss is the mean over parts, and on a CPU
batch normalisation sees a part (on GPUs it is synchronised).
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from model.network.trainer.checkpoint import FILE, CheckpointFiles
from model.network.trainer.evaluations import Evaluations
from model.network.trainer.lightning_guard import (
    LightningEnvironment,
    ModelCheckpoint,
    lightning,
    quiet,
    torch,
)
from model.network.trainer.loggers import loggers_in
from model.network.trainer.mean_weights import mean_of_weights
from model.network.trainer.network_step import NetworkStep
from model.network.trainer.processes import Fitted, Listener, Messenger, SharedStrategy, fitted, signals_kept
from model.network.trainer.scene_batches import SceneBatches
from model.network.training_plan import LARGEST_NORM, NetworkSpec, TrainingPlan
from model.network.training_scene import Scene
from pipeline.errors import ModelError
from pipeline.progress import Progress

PATIENCE = timedelta(hours=1)
"""how long processes wait for the one that evaluates the network on the validation area"""


@dataclass(frozen=True)
class Task:
    """One training."""

    scenes: tuple[Scene, ...]
    spec: NetworkSpec
    plan: TrainingPlan
    seed: int
    device: torch.device
    identity: str
    """sha256 of everything that decides the weights but the software"""

    @property
    def settings(self) -> dict[str, Any]:
        """What loggers note."""
        return {
            "seed": self.seed,
            "network": self.spec.model_dump(mode="json"),
            "training": self.plan.model_dump(mode="json"),
        }

    @property
    def folder(self) -> Path | None:
        """Where the training keeps its state and writes its figures."""
        return self.plan.checkpoints / self.identity[:24] if self.plan.checkpoints else None


def fit(network: torch.nn.Module, task: Task, progress: Progress) -> Fitted:
    """Train a network, which has the best weights at the end.

    Raises:
        ModelError: no chip holds a landslide, the loss is no longer a number, the package of a logger is not installed,
            the checkpoint is malformed, or another process failed.
    """
    processes = task.plan.processes
    step, data = NetworkStep(network.train(), task.plan), SceneBatches(task.scenes, task.plan, task.seed)
    with quiet(), TemporaryDirectory(prefix="slidecube-") as unused, signals_kept() as signals:
        folder = task.folder or Path(unused)
        if processes == 1:
            begun = _Begun()
            trainer = _trainer(task, folder, progress, signals, begun)
            start = _start(task, folder)
            try:
                trainer.fit(step, datamodule=data, ckpt_path=start)
            except (
                Exception
            ) as error:  # Lightning and torch raise what they like on a state that does not fit
                if start is None or begun.yes:
                    raise
                raise _malformed(start, error) from error
            found: Fitted | None = fitted(trainer)
        else:
            listener = Listener(progress)
            messenger = Messenger(listener.sender, max(1, torch.get_num_threads() // processes))
            trainer = _trainer(task, folder, messenger.progress, signals, messenger)
            with listener.listening(lambda: trainer.strategy.launcher.kill(signal.SIGTERM)):
                trainer.fit(step, datamodule=data, ckpt_path=_start(task, folder))
            found = trainer.strategy.fitted
        if found is None:
            raise ModelError("The processes of the training ended without a result.")
        (folder / FILE).unlink(missing_ok=True)
    return found


class _Begun(lightning.Callback):
    """Whether the training began, after everything of a checkpoint was taken over."""

    yes = False

    def on_train_start(self, trainer: lightning.Trainer, module: NetworkStep) -> None:
        """Note it."""
        self.yes = True


def _malformed(file: Path, error: Exception) -> ModelError:
    return ModelError(
        f"{file} is of this training, and its content does not fit it ({type(error).__name__}).",
        "Remove it; the training then begins anew.",
    )


def _start(task: Task, folder: Path) -> Path | None:
    """The checkpoint of an earlier, unfinished training."""
    file = folder / FILE
    return file if CheckpointFiles(task.identity).usable(file) else None


def _trainer(
    task: Task, folder: Path, progress: Progress, *callbacks: lightning.Callback
) -> lightning.Trainer:
    """The trainer of a task, which evaluates after each epoch of `SceneBatches`."""
    plan, on_gpu = task.plan, task.device.type == "cuda"
    more: list[lightning.Callback] = []
    if plan.ema_decay is not None:
        more.append(mean_of_weights(plan.ema_decay))
    if task.folder is not None:
        more.append(
            ModelCheckpoint(
                folder, Path(FILE).stem, save_on_train_epoch_end=True, enable_version_counter=False
            )
        )
    several: dict[str, Any] = {"devices": [torch.cuda.current_device()] if on_gpu else 1}
    if plan.processes > 1:
        strategy = SharedStrategy(
            process_group_backend="nccl" if on_gpu else "gloo",
            timeout=PATIENCE,
            # a shallow encoder keeps the weights of the halvings that it does not use: static_graph allows for them
            static_graph=True,
        )
        several = {"devices": plan.processes, "strategy": strategy, "sync_batchnorm": on_gpu}
    return lightning.Trainer(
        accelerator="gpu" if on_gpu else "cpu",
        **several,
        precision="bf16-mixed" if on_gpu and plan.precision == "bfloat16" else "32-true",
        max_steps=plan.steps,
        gradient_clip_val=LARGEST_NORM,
        check_val_every_n_epoch=1,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        inference_mode=False,
        use_distributed_sampler=False,
        callbacks=[Evaluations(plan, progress), *callbacks, *more],
        logger=loggers_in(folder, plan.logger, task.settings) if task.folder else False,
        enable_checkpointing=task.folder is not None,
        enable_progress_bar=False,
        enable_model_summary=False,
        plugins=[LightningEnvironment(), CheckpointFiles(task.identity)],
        default_root_dir=folder,
    )
