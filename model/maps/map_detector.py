"""A map of a cube by the training-free detector: score, class, status, polygons, without a label or a model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray

from model.bundle.summaries import ReleaseRecord
from model.detector import detection as found
from model.detector.change_score import Array
from model.detector.detection import Detection, Detector, detect
from model.detector.detector_plan import DetectorPlan
from model.detector.pass_status import meanings
from model.detector.scene_statistics import SceneStatistics
from model.detector.scene_views import every_view, polarisations_of
from model.detector.searched_ground import layer
from model.inputs import cubes
from model.inputs.cubes import Georeference, georeference
from model.inputs.inputs import Inputs
from model.inputs.windows import Box, whole
from model.maps import validity
from model.maps.accuracy.tested_detector import tested_detector
from model.maps.detector_polygons import object_polygons
from model.maps.map_description import MapDescription, MappedScene, MapRows
from model.maps.map_plan import DetectorMapPlan
from model.maps.release import release
from model.releases.categories import LANDSLIDE, NO_DATA, NOT_LANDSLIDE
from model.scores.mapped_objects import smallest_pixels
from pipeline.progress import Progress, no_progress

ROWS_PX = 256
HIGHEST_SCORE = 100.0
"""scores above it count as it in the figures of a map with labels"""
FLAGS = {
    found.TOO_FLAT: validity.TOO_FLAT,
    found.WATER: validity.WATER,
    found.NO_BEFORE: validity.NO_PASS_BEFORE,
    found.FEW_BEFORE: validity.FEW_BEFORE,
    found.NO_AFTER: validity.NO_PASS_AFTER,
    found.UNSEEN: validity.LAYOVER_SHADOW,
}
"""flags of the validity raster by the detector's reasons"""


def map_detector(
    cube: str, out: Path, *, plan: DetectorMapPlan | None = None, progress: Progress = no_progress
) -> ReleaseRecord:
    """Map a cube without a trained model and without labels.

    Args:
        cube: path of a cube, or name of a built area.
        out: folder of the map; a map that is there is replaced.

    Raises:
        CubeError: the cube does not exist.
        ModelError: no track has passes enough before and one after the event; too few pixels can be searched; `out`
            holds something else.
    """
    plan = plan or DetectorMapPlan()
    dataset, facts = cubes.load(cube)
    polarisations = polarisations_of(dataset)
    inputs = Inputs.model_validate(
        {
            **plan.inputs.model_dump(),
            "backscatter": polarisations,
            "terrain": (),
            "change": (),
            "geometry": (),
            "coherence": (),
            "further": (),
        }
    )
    scene = MappedScene(dataset, facts, every_view(dataset, inputs, plan.event))
    detector = Detector.of(dataset, scene.selection, polarisations, plan.detector)
    if plan.threshold is not None:
        detector = detector.with_threshold(plan.threshold)
    tested = tested_detector(
        scene.selection,
        float(np.sqrt(np.prod(cubes.pixel_m(dataset)))),
        plan.smallest_m2,
        default=plan.model_copy(update={"event": None, "inputs": Inputs(), "exposure": ()})
        == DetectorMapPlan(),
        slope="dem_slope_radians" in dataset,
    )
    description = MapDescription(
        scene=scene,
        inputs=inputs,
        kind="detector",
        model=None,
        threshold=detector.statistics.thresholds.landslide,
        highest=HIGHEST_SCORE,
        backscatter=polarisations[0],
        scored=(whole(facts.shape),),
        scored_on="the whole scene; nothing was trained",
        simulated=facts.simulated,
        remarks=_remarks(detector, plan.threshold),
        accuracy=tested.accuracy,
        worth=tested.statements,
        smallest_m2=plan.smallest_m2,
        exposure=plan.exposure,
        status_values=meanings(plan.detector.confirmed_after, plan.detector.gone_after),
    )
    work = _Work(detector, plan.smallest_m2, georeference(dataset), out.absolute().parent, progress)
    return release(description, work.rows(), out, work.polygons)


@dataclass
class _Work:
    """The detection of a scene, which is made when the first rows are asked for."""

    detector: Detector
    smallest_m2: float
    reference: Georeference
    scratch: Path
    progress: Progress

    @cached_property
    def detection(self) -> Detection:
        """The scene's scores and objects, made once."""
        smallest_px = smallest_pixels(self.smallest_m2, self.reference.pixel_area_m2)
        return detect(self.detector, smallest_px, self.scratch, self.progress)

    def rows(self) -> Iterator[MapRows]:
        """The rows of the map from top to bottom."""
        detection = self.detection
        mapped = detection.mapped()
        height, width = detection.score.shape
        for top in range(0, height, ROWS_PX):
            box = Box(top=top, left=0, height=min(ROWS_PX, height - top), width=width)
            yield _rows_of(detection, box, mapped)
            self.progress("map", box.bottom, height)

    def polygons(self, attributes: dict[str, Any]) -> gpd.GeoDataFrame:
        """The polygons of the scene."""
        return object_polygons(self.detection, self.reference, attributes)


def _rows_of(detection: Detection, box: Box, mapped: NDArray[np.bool_]) -> MapRows:
    rows, _ = box.slices
    score = np.array(detection.score[rows])
    classes = np.where(mapped[detection.objects[rows]], LANDSLIDE, NOT_LANDSLIDE).astype(np.uint8)
    classes[~np.isfinite(score)] = NO_DATA
    reasons, flags = detection.reasons[rows], np.zeros(score.shape, dtype=np.uint8)
    for reason, flag in FLAGS.items():
        flags[(reasons & reason) > 0] |= flag
    change, before, after = (_float32(values[rows]) for values in detection.levels)
    return MapRows(
        box=box,
        score=score,
        before_db=before,
        after_db=after,
        dem=layer(detection.detector.cube, "dem", box),
        change_db=change,
        classes=classes,
        status=detection.pixel_status(rows),
        flags=flags,
    )


def _float32(values: NDArray[np.float16]) -> Array:
    return np.asarray(values, dtype=np.float32)


def _remarks(detector: Detector, asked: float | None) -> tuple[str, ...]:
    """What was done, and what could not be, in sentences for the report."""
    plan, statistics, cube = detector.plan, detector.statistics, detector.cube
    names = " and ".join(name.upper() for name in detector.polarisations)
    remarks = [
        f"Score: the change of {names} in units of each pixel's own spread before the event, after a mean of "
        f"{plan.smoothing_m:g} m; all tracks and polarisations that see a pixel together. Larger is likelier; it is "
        "no probability.",
        _threshold_in_words(plan, statistics)
        if asked is None
        else f"Threshold {asked:g}, as it was asked for.",
    ]
    if len(detector.polarisations) == 1:
        remarks.append(
            f"The cube has {names} alone: landslides that change only the other polarisation are not found."
        )
    if "dem_slope_radians" not in cube:
        remarks.append(
            "The cube has no slope: slopes are not masked, so that flat terrain is searched too, and a change counts "
            "alike on gentle and on steep ground."
        )
    else:
        remarks.append(f"Terrain below {plan.smallest_slope_deg:g} degrees is not searched (score 0).")
        if plan.gentle_weight < 1:
            remarks.append(
                f"Up to {plan.gentle_slope_deg:g} degrees the score is multiplied by {plan.gentle_weight:g}, from "
                f"{plan.steep_slope_deg:g} degrees on by 1: landslides are rare on gentle slopes, and one there is "
                "missed more easily."
            )
    tracks = [int(v) for v in cube["track"].values] if "track" in cube.coords else []
    unmasked = [view.track for view in detector.selection.every_view if view.relative_orbit not in tracks]
    if "layover_shadow" not in cube or unmasked:
        of = f" of {', '.join(unmasked)}" if unmasked and "layover_shadow" in cube else ""
        remarks.append(f"The cube has no layover and shadow{of}: they are not masked.")
    fewest = min(len(view.before) for view in detector.selection.every_view)
    if fewest < 8:
        remarks.append(
            f"A track has {fewest} passes before the event; the spread is better known from 8 or more."
        )
    return tuple(remarks)


def _threshold_in_words(plan: DetectorPlan, statistics: SceneStatistics) -> str:
    return (
        f"Threshold {statistics.thresholds.landslide:.2f}: {plan.false_km2_per_1000:g} km² of 1000 km² of this "
        f"scene's own passes before the event ({statistics.quiet_passes}, each compared with the others) lie above "
        "it. A pass after the event that differs in weather can have more."
    )
