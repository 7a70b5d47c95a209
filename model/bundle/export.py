"""A bundle as one file that runs without slidecube, checked against the bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from model.bundle.bundle import ModelBundle
from model.bundle.document import BundleDocument
from model.bundle.map_calibrations import Calibrations, calibrations_of
from model.inputs.pass_subsets import limit_passes
from model.network.ensemble import log_odds_rounding, probability_of, rounding_of
from model.network.export.export_files import (
    TOLERANCE,
    ExportKind,
    outputs_of_file,
    write_network,
)
from model.network.export.exported_network import ExportedNetwork
from model.network.network import choose_device
from model.scores.probability_calibration import Calibration, CaseCalibration
from pipeline.errors import ModelError
from pipeline.files import whole_file
from pipeline.records import Frozen

Expects = Literal["raw", "standardised"]
CHECKED = ((1, 64, 64), (2, 96, 160), (1, 256, 224))
"""batch, height and width of the windows that are compared"""


class ExportRecord(Frozen):
    """An exported bundle."""

    path: Path
    kind: ExportKind
    model: str = Field(description="digest of the bundle")
    expects: Expects
    passes_after: int = Field(description="whose calibration and threshold it holds")
    threshold: float
    largest_difference: float = Field(
        description="of a probability from the bundle's own, over the windows compared, beyond what the bundle's own "
        "float32 probabilities resolve"
    )
    tolerance: float
    size_bytes: int
    simulated: bool


def export_bundle(
    bundle: ModelBundle, kind: ExportKind, file: Path, expects: Expects = "raw", after: int | None = None
) -> ExportRecord:
    """Write a bundle as one file, whole and only if it gives the bundle's own probabilities.

    Args:
        expects: what goes in. raw: values of the channels, NaN where unknown, which the file standardises by the
            training area's statistics; standardised: values standardised by the statistics of the scene, as
            `slidecube map` does for a scene that the bundle was not trained on.
        after: passes after the event, whose calibration the file holds; None: as many as the bundle's own scene has.

    Raises:
        ModelError: it cannot be exported, a package is missing, or the file gives other probabilities.
    """
    document = bundle.document
    passes = limit_passes(document.selection, None, after)
    case, calibrations = document.calibrated_for(passes), calibrations_of(document, passes)
    names = document.inputs.channels
    network = ExportedNetwork(
        bundle.networks,
        document.statistics,
        calibrations.whole,
        document.test_time,
        standardised=expects == "standardised",
        alone={names.index(name): one for name, one in calibrations.alone.items()},
    )
    with whole_file(file) as partial:
        write_network(network, kind, _metadata(document, case, calibrations, expects, kind), partial)
        difference = _largest_difference(bundle, calibrations, expects, partial, kind)
        if not difference <= TOLERANCE[kind]:
            raise ModelError(
                f"The exported file gives other probabilities than the bundle: they differ by up to {difference:.2g}, "
                f"and {TOLERANCE[kind]:g} is allowed.",
                "Nothing was written.",
            )
    return ExportRecord(
        path=file,
        kind=kind,
        model=document.digest,
        expects=expects,
        passes_after=case.after,
        threshold=case.threshold,
        largest_difference=difference,
        tolerance=TOLERANCE[kind],
        size_bytes=file.stat().st_size,
        simulated=document.simulated,
    )


def _largest_difference(
    bundle: ModelBundle, calibrations: Calibrations, expects: Expects, file: Path, kind: ExportKind
) -> float:
    """The largest difference of a probability beyond rounding; infinite where one of both has none."""
    document = bundle.document
    windows = [_window(document, *size) for size in CHECKED]
    given = [
        np.stack([_standardised(document, one) for one in batch]) if expects == "standardised" else batch
        for batch in windows
    ]
    largest = 0.0
    device, names = choose_device("cpu"), document.inputs.channels
    predict = probability_of(bundle.networks, device, names, document.test_time)
    for batch, found in zip(windows, outputs_of_file(file, kind, given), strict=True):
        for channels, ours in zip(batch, found, strict=True):
            scaled, valid = document.statistics.standardise(channels)
            probability = predict(scaled)
            calibrated = calibrations.apply(probability, channels, names)
            expected = np.where(valid, calibrated, np.float32(np.nan))
            if found.shape[1:] != expected.shape or (np.isnan(ours) != np.isnan(expected)).any():
                return float("inf")
            coarse = rounding_of(bundle.networks, scaled, device, names, document.test_time)
            coarse = 2.0 * coarse + log_odds_rounding(probability)
            steepest = max(abs(one.slope) for one in (calibrations.whole, *calibrations.alone.values()))
            # a map calibrates the log-odds of float32 probabilities, and the file those of the networks
            rounding = steepest * coarse * expected * (1.0 - expected)
            largest = max(largest, float(np.nanmax(np.abs(ours - expected) - rounding)))
    return largest


def _window(document: BundleDocument, batch: int, height: int, width: int) -> NDArray[np.float32]:
    """(chip, channel, y, x) random values in the range of the channels, some of them unknown."""
    rng = np.random.default_rng([batch, height, width])
    count = len(document.statistics.channels)
    noise = rng.standard_normal((batch, count, height, width)) * 1.5
    mean, sd = (
        np.array(values)[:, None, None] for values in (document.statistics.mean, document.statistics.sd)
    )
    values: NDArray[np.float32] = (mean + sd * noise).astype(np.float32)
    values[:, :, 3:9, 4:20] = np.nan
    values[:, -1, -7:, :5] = np.nan
    return values


def _standardised(document: BundleDocument, channels: NDArray[np.float32]) -> NDArray[np.float32]:
    """The channels as somebody standardises them: unknown values stay NaN."""
    scaled, _ = document.statistics.standardise(channels)
    return np.where(np.isfinite(channels), scaled, np.float32(np.nan)).astype(np.float32)


def _words(calibration: Calibration) -> dict[str, float]:
    return {"slope": calibration.slope, "intercept": calibration.intercept}


def _metadata(
    document: BundleDocument,
    case: CaseCalibration,
    calibrations: Calibrations,
    expects: Expects,
    kind: ExportKind,
) -> dict[str, Any]:
    """What somebody who has only the file must know."""
    statistics, meanings = document.statistics, document.inputs.meanings
    return {
        "format": "slidecube-export-1",
        "model": document.digest,
        "area": document.area_names,
        "simulated": document.simulated,
        "warning": "Trained on a SIMULATED area: it must not guide decisions in the field."
        if document.simulated
        else "",
        "input": {
            "name": "channels",
            "shape": [
                "batch",
                len(statistics.channels),
                "rows, a multiple of 32",
                "columns, a multiple of 32",
            ],
            "type": "float32",
            "unknown": "NaN",
            "expects": expects,
            "standardisation": "the file standardises, by these statistics of the training area"
            if expects == "raw"
            else "(value - mean) / sd by the statistics of the scene; these are of the training area",
            "clipped_at_sd": statistics.clip_sd,
            "channels": [
                {"name": name, "meaning": meanings.get(name.partition("@")[0], ""), "mean": mean, "sd": sd}
                for name, mean, sd in zip(statistics.channels, statistics.mean, statistics.sd, strict=True)
            ],
        },
        "output": {
            "name": "probability",
            "shape": ["batch", "rows", "columns"],
            "meaning": "calibrated probability of a landslide, NaN where the inputs are not valid",
            "calibration": _words(calibrations.whole),
            "calibration_of_pixels_that_one_view_sees": {
                name: _words(one) for name, one in calibrations.alone.items()
            },
            "passes_after": case.after,
            "threshold": case.threshold,
        },
        "test_time": document.test_time,
        "members": document.members,
        "tolerance": TOLERANCE[kind],
        "attribution": [one.cube.attribution for one in document.training_events if one.cube.attribution],
        "licences": [one.cube.licence for one in document.training_events if one.cube.licence],
        "software": document.software,
    }
