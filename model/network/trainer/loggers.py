"""Where the evaluations of a training are written: a CSV file always, TensorBoard or MLflow by name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from model.network.trainer.lightning_guard import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger
from model.network.training_plan import LoggerName
from pipeline.errors import ModelError


def loggers_in(folder: Path, wanted: LoggerName, settings: dict[str, Any]) -> list[Logger]:
    """The loggers of a training: `metrics.csv` and `hparams.yaml` in its folder, and the one asked for.

    MLflow writes to the server of MLFLOW_TRACKING_URI, or to a database beside the folder.

    Args:
        settings: of the network and the training, which the loggers note.

    Raises:
        ModelError: the package of the logger is not installed.
    """
    loggers: list[Logger] = [CSVLogger(folder, name="", version="", flush_logs_every_n_steps=1)]
    try:
        if wanted == "tensorboard":
            loggers.append(TensorBoardLogger(folder, name="", version="", default_hp_metric=False))
        elif wanted == "mlflow":
            uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder.parent / 'mlflow.db'}"
            loggers.append(MLFlowLogger("slidecube", run_name=folder.name, tracking_uri=uri))
    except ModuleNotFoundError as error:
        raise ModelError(
            f"The logger {wanted} needs a package that is not installed.",
            f"Install it: pip install 'slidecube[{wanted}]'.",
        ) from error
    for logger in loggers:
        logger.log_hyperparams(settings)
    return loggers
