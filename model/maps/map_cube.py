"""A map of a cube by a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.bundle.document import CARD, WEIGHTS
from model.bundle.expected_scores import expected_for
from model.bundle.map_calibrations import calibrations_of
from model.bundle.mlm import item_of
from model.bundle.summaries import ReleaseRecord
from model.detector.land import OverLand
from model.inputs import cubes
from model.inputs.channel_statistics import Statistics
from model.inputs.cube_channels import CubeChannels
from model.inputs.selection import Selection
from model.inputs.tracks import deciding_polarisations
from model.inputs.windows import whole
from model.maps.accuracy.map_statements import model_statements
from model.maps.accuracy.scene_findings import TestedModel
from model.maps.accuracy.tested_threshold import tested_model
from model.maps.map_description import MapDescription, MappedScene
from model.maps.map_plan import MapPlan
from model.maps.model_passes import has_views, passes_to_map, remarks_on_case
from model.maps.release import release
from model.maps.scored_area import ScoredArea, scored_area, training_event_of
from model.scores.input_ranges import OutOfRange
from pipeline.errors import ModelError
from pipeline.progress import Progress, no_progress

if TYPE_CHECKING:
    import xarray as xr

    from model.bundle.document import BundleDocument


def map_cube(
    bundle: Path,
    cube: str,
    out: Path,
    *,
    plan: MapPlan | None = None,
    progress: Progress = no_progress,
) -> ReleaseRecord:
    """Map a cube with a trained model.

    Args:
        bundle: folder that `train_bundle` wrote, here or elsewhere.
        cube: path of a cube, or name of a built area.
        out: folder of the map; a map that is there is replaced.

    Raises:
        CubeError: the cube does not exist.
        ModelError: the bundle is damaged; the cube lacks an input of the model; the model is of a simulated area and
            the cube is not; `out` holds something else.
    """
    from model.bundle.bundle import load
    from model.maps.model_rows import Prediction, model_rows

    plan, loaded = plan or MapPlan(), load(bundle)
    document = loaded.document
    dataset, facts = cubes.load(cube)
    if document.simulated and not facts.simulated and not plan.allow_simulated:
        raise ModelError(
            f"The model {document.digest[:12]} was trained on a simulated area, and {facts.area} is a real one.",
            "Train on a real cube, map without a bundle, or give --allow-simulated-model: the map then warns of it.",
        )
    scene = MappedScene(dataset, facts, passes_to_map(dataset, document, plan))
    own = training_event_of(scene, document)
    area = scored_area(scene, document, own)
    channels = CubeChannels(dataset, document.inputs, scene.selection)
    statistics = own.statistics if own is not None else document.statistics
    of_scene = plan.standardise == "scene" or (
        plan.standardise == "auto" and (own is None or not has_views(statistics, scene.selection))
    )
    if of_scene:
        statistics = _statistics_of_scene(channels, statistics, dataset, progress)
    warnings = (loaded.warning,) if loaded.warning else ()
    remarks = (*warnings, *area.remarks, *_remarks(scene.selection, document, of_scene))
    outside = OutOfRange(document.input_ranges, statistics) if document.input_ranges else None
    tested = tested_model(document, scene.selection, plan, outside)
    description = replace(
        _described(scene, document, area, remarks, (plan, tested)),
        exposure=plan.exposure,
        model_item=_item_in(bundle.absolute(), item_of(document, WEIGHTS, CARD)),
    )
    prediction = Prediction(
        loaded,
        channels,
        statistics,
        calibrations_of(document, scene.selection),
        plan.windows,
        description.backscatter,
        outside,
    )
    return release(description, model_rows(prediction, scene, progress), out)


def _described(
    scene: MappedScene,
    document: BundleDocument,
    area: ScoredArea,
    remarks: tuple[str, ...],
    how: tuple[MapPlan, TestedModel],
) -> MapDescription:
    """The description of a model's map."""
    plan, tested = how
    expected, words = expected_for(document.expected, scene.selection)
    return MapDescription(
        scene=scene,
        inputs=document.inputs,
        kind="model",
        model=document.digest,
        threshold=tested.threshold,
        highest=1.0,
        backscatter=deciding_polarisations(scene.cube, document.inputs)[0],
        scored=area.boxes,
        scored_on=area.words,
        simulated=scene.facts.simulated or document.simulated,
        remarks=remarks,
        expected=expected,
        expected_words=words,
        accuracy=tested.accuracy,
        worth=model_statements(tested, scene.selection, plan.smallest_m2),
        tested=tested,
        smallest_m2=plan.smallest_m2,
    )


def _item_in(bundle: Path, item: dict[str, Any]) -> dict[str, Any]:
    """The item of a bundle with the paths of its files where the bundle lies."""
    assets = {
        key: {**asset, "href": str(bundle / Path(asset["href"]).name)}
        for key, asset in item["assets"].items()
    }
    return {**item, "assets": assets}


def _statistics_of_scene(
    channels: CubeChannels, trained: Statistics, cube: xr.Dataset, progress: Progress
) -> Statistics:
    """The statistics of the scene's own inputs over land, with the clipping of the model."""
    progress("statistics", 0, 1, "of the scene's own inputs")
    land = OverLand(channels, trained.channels, cube)
    own = Statistics.of(land, trained.channels, (whole(channels.shape),))
    progress("statistics", 1, 1, "of the scene's own inputs")
    return own.model_copy(update={"clip_sd": trained.clip_sd})


def _remarks(selection: Selection, document: BundleDocument, of_scene: bool) -> tuple[str, ...]:
    """Where the map differs from the model's training: numbers of passes, statistics, calibration."""
    before, after = len(selection.before), len(selection.after)
    trained_before = list(document.passes_before_in_training)
    remarks = []
    if before not in trained_before or after not in document.cases:
        remarks.append(
            f"The model was trained on {_or(trained_before)} passes before and {_or(sorted(document.cases))} after "
            f"the event; this map has {before} and {after}."
        )
    if of_scene:
        remarks.append(
            "The inputs are standardised with the statistics of this scene over land, not of the model's."
        )
    return (*remarks, *remarks_on_case(document, selection))


def _or(numbers: list[int]) -> str:
    return " or ".join(map(str, numbers))
