"""A small bundle that nobody trained, and pieces of it to spoil."""

from __future__ import annotations

import copy
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from model.bundle.bundle import new_document
from model.bundle.document import DOCUMENT, WEIGHTS, BundleDocument
from model.inputs.channel_statistics import Statistics
from model.inputs.cubes import CubeFacts
from model.inputs.inputs import Inputs
from model.inputs.windows import Box
from model.network.training_plan import NetworkSpec, TrainingPlan
from model.network.weights import build_members, weights_of
from model.scores.probability_calibration import Calibration
from model.split.split import Split
from tests.unit.made_results import SCORES, SELECTION

INPUTS = Inputs(terrain=("slope",))
SPEC = NetworkSpec(encoder_depth=3, decoder_channels=(8, 8, 8), in_channels=len(INPUTS.channels))


@cache
def made_weights() -> bytes:
    """The weights of one network."""
    return weights_of(build_members(SPEC, 1))


@cache
def made_document() -> BundleDocument:
    """Its document."""
    count = len(INPUTS.channels)
    boxes = {
        part: (Box(top=0, left=96 * number, height=64, width=64),)
        for number, part in enumerate(("train", "validation", "test"))
    }
    return new_document(
        made_weights(),
        inputs=INPUTS,
        network=SPEC,
        parameters=1,
        statistics=Statistics(channels=INPUTS.channels, mean=(0.0,) * count, sd=(1.0,) * count, pixels=64),
        training=TrainingPlan(),
        cases=(1,),
        test_time="mirrored",
        seed=0,
        split=Split(buffer_px=32, **boxes),
        grid=None,
        cube=CubeFacts(uri="made", area="made", digest="c" * 64, shape=(256, 256), simulated=True),
        selection=SELECTION,
        history=(),
        best_step=1,
        validation=SCORES,
        test=SCORES,
        calibration=Calibration(slope=0.5, intercept=-0.25, pixels=64, error_before=0.25, error_after=0.125),
        expected=(),
        device="cpu",
    )


def as_json() -> dict[str, Any]:
    """The document as plain values, which may be changed."""
    values: dict[str, Any] = copy.deepcopy(made_document().model_dump(mode="json"))
    return values


def write_bundle(folder: Path, document: Any = None, weights: bytes | None = None) -> Path:
    """Write the two files that a bundle is read from; with weights, the document states their sha256.

    Args:
        document: anything that can be written as JSON; None: as made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    values = as_json() if document is None else document
    raw = made_weights() if weights is None else weights
    if weights is not None and isinstance(values, dict):
        values["weights_sha256"] = hashlib.sha256(raw).hexdigest()
    (folder / DOCUMENT).write_text(json.dumps(with_identity(values)), encoding="utf-8")
    (folder / WEIGHTS).write_bytes(raw)
    return folder


def with_identity(values: Any) -> Any:
    """The values with the digest that they have, as somebody would write who changes a bundle with intent."""
    try:
        document = BundleDocument.model_validate(values)
    except ValueError:
        return values
    return {**values, "digest": document.identity}
