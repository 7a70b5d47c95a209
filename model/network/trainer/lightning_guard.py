"""Import Lightning from this module only. Importing it takes seconds, so nothing but a training does."""

# ruff: noqa: I001  (torch_guard comes before what imports torchvision)

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from model.network.torch_guard import torch
import pytorch_lightning as lightning
from lightning_fabric.plugins import CheckpointIO
from lightning_fabric.plugins.environments import LightningEnvironment
from pytorch_lightning.callbacks import ModelCheckpoint, WeightAveraging
from pytorch_lightning.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.strategies.launchers import _MultiProcessingLauncher as MultiProcessingLauncher

__all__ = [
    "LOGGERS",
    "CSVLogger",
    "CheckpointIO",
    "DDPStrategy",
    "LightningEnvironment",
    "Logger",
    "MLFlowLogger",
    "ModelCheckpoint",
    "MultiProcessingLauncher",
    "TensorBoardLogger",
    "WeightAveraging",
    "lightning",
    "quiet",
    "torch",
]

LOGGERS = ("pytorch_lightning", "lightning_fabric", "lightning_utilities")


@contextmanager
def quiet() -> Iterator[None]:
    """Lightning's remarks on devices and its advice do not reach the user, and packages that it calls send no reports.

    The environment is as before afterwards: Lightning sets the port at which processes meet.
    """
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    environment = dict(os.environ)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        for name in set(os.environ) - set(environment):
            del os.environ[name]
        os.environ.update(environment)
