"""What commands and flows call: train a bundle on a cube, map a cube, map it without training. Torch is loaded late."""

from __future__ import annotations

from model.bundle.summaries import BundleRecord, ReleaseRecord
from model.maps.map_cube import map_cube, map_log_ratio
from model.maps.map_plan import LogRatioMapPlan, MapPlan
from model.network.training_plan import TrainingPlan
from model.training.experiment import Experiment
from model.training.train_bundle import train_bundle

__all__ = [
    "BundleRecord",
    "Experiment",
    "LogRatioMapPlan",
    "MapPlan",
    "ReleaseRecord",
    "TrainingPlan",
    "map_cube",
    "map_log_ratio",
    "train_bundle",
]
