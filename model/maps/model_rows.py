"""The rows of a map as a model predicts them. Imports torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from model.bundle.bundle import ModelBundle
from model.bundle.map_calibrations import Calibrations
from model.inputs.change import DB_PER_NEPER
from model.inputs.channel_statistics import Statistics
from model.inputs.cube_channels import CubeChannels
from model.inputs.inputs import Inputs
from model.inputs.windows import whole
from model.maps.map_description import MappedScene, MapRows
from model.network.ensemble import probability_of
from model.network.inference import predict
from model.network.network import choose_device
from model.network.training_plan import InferencePlan
from pipeline.progress import Progress


@dataclass(frozen=True)
class Prediction:
    """A model and the settings of its prediction on one scene."""

    bundle: ModelBundle
    channels: CubeChannels
    statistics: Statistics
    calibrations: Calibrations
    windows: InferencePlan
    polarisation: str
    """of the picture"""


def model_rows(prediction: Prediction, scene: MappedScene, progress: Progress) -> Iterator[MapRows]:
    """Calibrated probabilities in strips of full width, from top to bottom, with the picture's backscatter."""
    document = prediction.bundle.document
    # the picture shows the first track alone
    pictured = CubeChannels(
        scene.cube,
        Inputs.model_validate({"backscatter": (prediction.polarisation,), "terrain": ()}),
        scene.selection.model_copy(update={"views": scene.selection.every_view[:1]}),
    )
    strips = predict(
        prediction.channels,
        whole(prediction.channels.shape),
        prediction.statistics,
        probability_of(
            prediction.bundle.networks, choose_device("auto"), document.inputs.channels, document.test_time
        ),
        prediction.windows,
        progress,
    )
    for strip in strips:
        rows, columns = strip.box.slices
        before, after = pictured.read(strip.box)
        dem = None
        if "dem" in scene.cube:
            dem = np.asarray(scene.cube["dem"].isel(y=rows, x=columns).values, dtype=np.float32)
        yield MapRows(
            box=strip.box,
            score=prediction.calibrations.apply(strip.probability, strip.channels, document.inputs.channels),
            before_db=(DB_PER_NEPER * before).astype(np.float32),
            after_db=(DB_PER_NEPER * after).astype(np.float32),
            dem=dem,
        )
