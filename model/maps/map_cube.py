"""From a cube and a model to a map; and to the map that needs no training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from model.bundle.expected import expected_for
from model.bundle.summaries import ReleaseRecord
from model.inputs import cubes
from model.inputs.channel_statistics import Statistics
from model.inputs.cube_channels import CubeChannels
from model.inputs.inputs import EventSpan, Inputs
from model.inputs.selection import Selection, select
from model.inputs.tracks import deciding_polarisations
from model.inputs.windows import Box, whole
from model.maps.log_ratio import DB_PER_NEPER, HIGHEST_DB, LogRatioPlan, log_ratio_rows
from model.maps.release import SMALLEST_M2, MapPlan, MapRows, release
from model.network.training_plan import InferencePlan, Standardise
from model.scores.probability_calibration import Calibration
from pipeline.errors import ModelError
from pipeline.progress import Progress, no_progress

if TYPE_CHECKING:
    import xarray as xr

    from model.bundle.bundle import ModelBundle
    from model.bundle.document import BundleDocument
    from model.bundle.learnt_event import LearntEvent


def map_cube(
    bundle: Path,
    cube: str,
    out: Path,
    *,
    event: EventSpan | None = None,
    windows: InferencePlan | None = None,
    smallest_m2: float = SMALLEST_M2,
    standardise: Standardise = "auto",
    allow_simulated: bool = False,
    progress: Progress = no_progress,
) -> ReleaseRecord:
    """Map a cube with a trained model.

    Args:
        bundle: folder that `train_bundle` wrote, here or elsewhere.
        cube: path of a cube, or name of a built area.
        out: folder of the map; a map that is there is replaced.
        event: None: the one that the cube records.
        smallest_m2: smallest area that becomes a polygon.
        standardise: with the statistics of the model's training area, or of this scene's own inputs, for which it is
            read once more; auto: its own where it is another scene than the model's.
        allow_simulated: map a real place with a model that was trained on a simulated area; the map says so.

    Raises:
        CubeError: there is no such cube.
        ModelError: the bundle is damaged; the cube lacks what the model needs; the model is of a simulated area and the
            cube is not; `out` holds something else.
    """
    from model.bundle.bundle import load

    loaded = load(bundle)
    document = loaded.document
    dataset, facts = cubes.load(cube)
    if document.simulated and not facts.simulated and not allow_simulated:
        raise ModelError(
            f"The model {document.digest[:12]} was trained on a simulated area, and {facts.area} is a real place.",
            "Train on a real cube, map with --log-ratio, or say --allow-simulated-model: the map then warns of it.",
        )
    selection = select(dataset, document.inputs, event)
    own = _own_scene(dataset, facts, document, selection)
    scored, words, remarks = _scored(facts, document, own)
    if loaded.warning:
        remarks = (loaded.warning, *remarks)
    remarks += _other_passes(document, selection)
    source = CubeChannels(dataset, document.inputs, selection)
    statistics = own.statistics if own is not None else document.statistics
    if standardise == "scene" or (standardise == "auto" and own is None):
        progress("statistics", 0, 1, "of this scene's own inputs")
        statistics = Statistics.of(source, statistics.channels, (whole(source.shape),)).model_copy(
            update={"clip_sd": statistics.clip_sd}
        )
        progress("statistics", 1, 1, "of this scene's own inputs")
        remarks += ("The inputs are standardised with the statistics of this scene, not of the model's.",)
    polarisation = deciding_polarisations(dataset, document.inputs)[0]
    calibrated = document.calibrated_for(len(selection.after))
    if calibrated.after != len(selection.after):
        remarks += (
            "Probabilities are calibrated, and the threshold is chosen, for another number of passes after the event: "
            f"{calibrated.after}.",
        )
    row, expected_words = expected_for(
        document.expected, len(selection.before), len(selection.after), len(document.learnt)
    )
    plan = MapPlan(
        cube=dataset,
        facts=facts,
        selection=selection,
        inputs=document.inputs,
        kind="model",
        model=document.digest,
        threshold=calibrated.threshold,
        highest=1.0,
        backscatter=polarisation,
        scored=scored,
        scored_on=words,
        simulated=facts.simulated or document.simulated,
        remarks=remarks,
        expected=row,
        expected_words=expected_words,
        smallest_m2=smallest_m2,
    )
    pictured = CubeChannels(
        dataset,
        Inputs(backscatter=(polarisation,), terrain=()),
        selection.model_copy(update={"views": selection.every_view[:1]}),
    )
    calibration, windows = calibrated.calibration, windows or InferencePlan()
    rows = _model_rows(loaded, statistics, calibration, source, pictured, dataset, windows, progress)
    return release(plan, rows, out)


def map_log_ratio(
    cube: str,
    out: Path,
    *,
    plan: LogRatioPlan | None = None,
    inputs: Inputs | None = None,
    event: EventSpan | None = None,
    progress: Progress = no_progress,
) -> ReleaseRecord:
    """Map the change of backscatter on slopes, without a trained model and without labels.

    Args:
        inputs: which passes and which track; its variables are not used.

    Raises:
        CubeError: there is no such cube.
        ModelError: no track has passes before and after the event; `out` holds something else.
    """
    dataset, facts = cubes.load(cube)
    if plan is None:
        plan = LogRatioPlan(polarisation="vh" if "vv" not in dataset and "vh" in dataset else "vv")
    wanted = (inputs or Inputs()).model_copy(update={"backscatter": (plan.polarisation,), "terrain": ()})
    selection = select(dataset, wanted, event)
    rule = (
        f"score: absolute {plan.smoothing_px} x {plan.smoothing_px} pixel mean of the change in "
        f"{plan.polarisation.upper()}, medians over the passes"
    )
    if "dem_slope_radians" in dataset:
        rule += f"; 0 on ground flatter than {plan.smallest_slope_deg:g} degrees"
    else:
        rule += "; the cube has no slope, so that flat ground is not left out"
    map_plan = MapPlan(
        cube=dataset,
        facts=facts,
        selection=selection,
        inputs=wanted,
        kind="log-ratio",
        model=None,
        threshold=None,
        highest=HIGHEST_DB,
        backscatter=plan.polarisation,
        scored=(whole(facts.shape),),
        scored_on="the whole scene; nothing was trained",
        simulated=facts.simulated,
        remarks=(rule,),
    )
    return release(
        map_plan, _watched(log_ratio_rows(dataset, selection, plan), facts.shape[0], progress), out
    )


def _watched(rows: Iterator[MapRows], height: int, progress: Progress) -> Iterator[MapRows]:
    for part in rows:
        yield part
        progress("map", part.box.bottom, height)


def _other_passes(document: BundleDocument, selection: Selection) -> tuple[str, ...]:
    """Where the cube has other numbers of passes than the model was trained on."""
    here = len(selection.before), len(selection.after)
    befores = sorted({len(one.selection.before) for one in document.learnt})
    if here[0] in befores and here[1] in document.cases:
        return ()
    before, after = (" or ".join(map(str, numbers)) for numbers in (befores, sorted(document.cases)))
    return (
        f"The model was trained on {before} passes before and {after} after the event; this map has {here[0]} "
        f"and {here[1]}.",
    )


def _model_rows(
    loaded: ModelBundle,
    statistics: Statistics,
    calibration: Calibration,
    source: CubeChannels,
    pictured: CubeChannels,
    cube: xr.Dataset,
    windows: InferencePlan,
    progress: Progress,
) -> Iterator[MapRows]:
    from model.network.ensemble import probability_of
    from model.network.inference import predict
    from model.network.network import choose_device

    document = loaded.document
    strips = predict(
        source,
        whole(source.shape),
        statistics,
        probability_of(loaded.networks, choose_device("auto"), document.inputs.channels, document.test_time),
        windows,
        progress,
    )
    for strip in strips:
        rows, columns = strip.box.slices
        before, after = pictured.read(strip.box)
        dem = None
        if "dem" in cube:
            dem = np.asarray(cube["dem"].isel(y=rows, x=columns).values, dtype=np.float32)
        yield MapRows(
            box=strip.box,
            score=calibration.apply(strip.probability),
            before_db=(DB_PER_NEPER * before).astype(np.float32),
            after_db=(DB_PER_NEPER * after).astype(np.float32),
            dem=dem,
        )


def _own_scene(
    cube: xr.Dataset, facts: cubes.CubeFacts, document: BundleDocument, selection: Selection
) -> LearntEvent | None:
    """The model's event on this very grid with a pass after it that is mapped here too, or None: then training saw
    another part of this scene. A later event on the same ground is another scene.
    """
    grid, seen = cubes.grid_of(cube), _after(selection)
    here = [
        one
        for one in document.learnt
        if grid and one.grid == grid and one.cube.shape == facts.shape and seen & _after(one.selection)
    ]
    return next((one for one in here if one.cube.digest == facts.digest), here[0] if here else None)


def _after(selection: Selection) -> set[str]:
    """Names of the passes after the event, of all views."""
    return {used.id for view in selection.every_view for used in view.after}


def _scored(
    facts: cubes.CubeFacts, document: BundleDocument, own: LearntEvent | None
) -> tuple[tuple[Box, ...], str, tuple[str, ...]]:
    """Where the map may be compared with labels without flattering a model that was trained on them."""
    if own is not None:
        return (
            own.split.test,
            "the test area of the model's own scene, which training did not see",
            ("The model was trained on another part of this scene.",),
        )
    remarks: tuple[str, ...] = ()
    if facts.area in {one.cube.area for one in document.learnt}:
        remarks = (
            "The model was trained on the same area, on another grid or at another event: the score may be flattered.",
        )
    return (whole(facts.shape),), "the whole scene, on which the model was not trained", remarks
