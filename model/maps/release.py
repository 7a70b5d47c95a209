"""A map as a folder: rasters, polygons, report and picture, written as the rows of the map are computed."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd

from model.bundle.markdown import one_line
from model.bundle.summaries import ReleaseRecord
from model.detector.pass_status import GONE, WORDS
from model.inputs.cubes import Georeference, georeference
from model.inputs.windows import whole
from model.maps.accuracy.map_statements import detector_statements, label_statement, scene_statements
from model.maps.map_description import MapDescription, MappedScene, MapRows
from model.maps.map_picture import Caption, Gathered, draw
from model.maps.map_rasters import disk_named
from model.maps.map_report import REPORT, write_report
from model.maps.map_writer import MapWriter, Polygons
from model.maps.validity import MEANINGS
from model.releases.categories import scale_of, score_ramp
from model.releases.event_facts import awaited, event_facts
from model.releases.exposure import ExposureRow, exposure
from model.releases.finished_map import FinishedMap, PageImages, scene_extent
from model.releases.pass_footprints import pass_footprints
from model.releases.polygon_attributes import described, reviewed
from model.releases.release_products import POLYGONS, add_products
from model.releases.web_page.page import PAGE
from model.releases.web_page.page_images import pictures_of
from model.reviews.review_store import read_reviews
from model.reviews.verdict import Reviews
from model.scores.map_findings import LabelComparison, SceneFindings
from model.scores.scores import Scores
from pipeline.errors import ModelError
from pipeline.files import whole_folder
from pipeline.object_storage.result_copies import keep

log = logging.getLogger(__name__)
PICTURE = "quicklook.png"


def release(
    description: MapDescription, rows: Iterator[MapRows], target: Path, polygons_of: Polygons | None = None
) -> ReleaseRecord:
    """Write the folder of a map, whole or not at all.

    Args:
        rows: the map from top to bottom, computed as they are written.
        polygons_of: None: the connected pixels of the class raster.

    Raises:
        ModelError: `target` holds something else, or the cube has no coordinate reference system.
    """
    started = time.monotonic()
    scene = description.scene
    reference = georeference(scene.cube)
    with whole_folder(target, REPORT) as folder:
        writer = MapWriter(description, reference, folder)
        for part in rows:
            writer.add(part)
        scores = writer.scores()
        frame = writer.finish(polygons_of)
        mapped = frame[frame["status"] != GONE] if "status" in frame else frame
        mapped_km2 = float(mapped["area_m2"].sum()) / 1e6
        findings, beside = writer.findings(mapped), writer.beside_labels(mapped)
        writer.clear()
        draw(writer.gathered, _caption(description, reference, scores), folder / PICTURE)
        exposed = exposure(description.exposure, mapped, scene_extent(reference, scene.facts.shape))
        record = ReleaseRecord(
            **_described(description),
            path=target,
            polygons=len(frame),
            mapped_km2=round(mapped_km2, 6),
            statuses=_statuses(frame),
            no_data_share=writer.no_data / scene.pixels,
            findings=findings,
            beside_labels=beside,
            statements=_statements(description, (mapped_km2, writer.searched_km2), findings, beside),
            flagged_share=writer.flagged_share(),
            auprc=scores.auprc if scores else None,
            prevalence=scores.prevalence if scores else None,
            scored_on=description.scored_on
            if scores
            else "no pixels: no labelled landslide has a prediction",
            picture=target / PICTURE,
            report=target / REPORT,
            page=target / PAGE,
            seconds=round(time.monotonic() - started, 1),
        )
        finished = _finished(description, record, folder, frame, writer.gathered, exposed)
        finished = reviewed(finished, _reviews(scene.facts.area))
        write_report(folder, finished.record, description, scores, exposed)
        with disk_named(folder / POLYGONS):
            add_products(finished)
    keep(target)
    return finished.record


def _reviews(area: str) -> Reviews | None:
    """What persons said of the area's maps; None: it cannot be read, which does not keep a map from being made."""
    try:
        return read_reviews(area)
    except ModelError as error:
        log.warning("%s", error)
        return None


def _described(description: MapDescription) -> dict[str, Any]:
    """The fields of the record that are known before the map is computed."""
    facts, selection = description.scene.facts, description.scene.selection
    return {
        "kind": description.kind,
        "area": facts.area,
        "cube": facts.uri,
        "cube_version": facts.version,
        "model": description.model,
        "track": selection.track,
        "passes_before": len(selection.before),
        "passes_after": len(selection.after),
        "every_pass_after": sum(len(view.after) for view in selection.every_view),
        "days_since_event": round(selection.days_since_event, 3),
        "threshold": description.threshold,
        "expected": description.expected,
        "expected_words": description.expected_words,
        "accuracy": description.accuracy,
        "smallest_m2": description.smallest_m2,
        "simulated": description.simulated,
    }


def _finished(
    description: MapDescription,
    record: ReleaseRecord,
    folder: Path,
    frame: gpd.GeoDataFrame,
    gathered: Gathered,
    exposed: tuple[ExposureRow, ...],
) -> FinishedMap:
    """What the products of the release need of the map."""
    scene = description.scene
    reference = georeference(scene.cube)
    images = PageImages(
        before=gathered.before.image,
        after=gathered.after.image,
        dem=gathered.dem.image,
        score=gathered.score.image,
        block_px=gathered.score.factor,
    )
    mapped = described(frame, scene.cube, reference, record)
    finished = FinishedMap(
        folder=folder,
        record=record,
        variables=tuple(sorted(str(name) for name in scene.cube.data_vars)),
        facts=scene.facts,
        selection=scene.selection,
        reference=reference,
        mapped=mapped,
        frame=mapped,
        pictures=pictures_of(
            images, reference.pixel_m[0], score_ramp(*scale_of(record, description.highest))
        ),
        footprints=_footprints(scene),
        event=event_facts(scene.facts.area, scene.cube.attrs.get("event")),
        backscatter=description.backscatter,
        highest=description.highest,
        warning=description.warning,
        flag_meanings=MEANINGS,
        status_meanings=description.status_values,
        remarks=description.remarks,
        tags=description.tags,
        model_item=description.model_item,
        exposure=exposed,
        awaited=awaited(scene.facts),
    )
    return replace(finished, record=record.model_copy(update={"title": finished.title}))


def _footprints(scene: MappedScene) -> dict[str, Any]:
    """Of the passes that are used."""
    used = {one.id for view in scene.selection.every_view for one in (*view.before, *view.after)}
    return {name: geometry for name, geometry in pass_footprints(scene.facts).items() if name in used}


def _statements(
    description: MapDescription,
    km2: tuple[float, float],
    findings: SceneFindings | None,
    beside: LabelComparison | None,
) -> tuple[str, ...]:
    """What the map is worth, in sentences.

    Args:
        km2: mapped, and searched by the detector.
    """
    if findings is not None and description.tested is not None:
        of_scene = scene_statements(findings, description.tested, km2[0])
    else:
        of_scene = detector_statements(*km2, tested=description.accuracy is not None)
    return (*description.worth, *of_scene, *([label_statement(beside)] if beside else []))


def _statuses(frame: gpd.GeoDataFrame) -> dict[str, int]:
    """Number of polygons by status, in the order of the values; empty for a map without a status."""
    if "status" not in frame:
        return {}
    counts = frame["status"].value_counts()
    return {words: int(counts[value]) for value, words in WORDS.items() if value in counts}


def _caption(description: MapDescription, reference: Georeference, scores: Scores | None) -> Caption:
    scene, expected, of_model = description.scene, description.expected, description.kind == "model"
    made = f"model {description.model[:12]}" if description.model else "training-free detector"
    days = scene.selection.days_since_event
    lines = [
        f"{one_line(scene.facts.area)}: {made}; {scene.selection.track}, {days:.1f} days after the event"
    ]
    if scores:
        lines.append(
            f"AUPRC {scores.auprc:.3f} at a prevalence of {scores.prevalence:.4f}, on {description.scored_on}"
        )
    if expected is not None:
        lines.append(
            "expected with this number of passes: "
            f"AUPRC {expected.auprc:.3f} at a prevalence of {expected.prevalence:.4f}"
        )
    elif of_model:
        lines.append("the model was never scored with this number of passes")
    complete = description.scored == (whole(scene.facts.shape),)
    return Caption(
        title="\n".join(lines),
        backscatter=description.backscatter.upper(),
        average="mean",
        passes_before=len(scene.selection.before),
        passes_after=len(scene.selection.after),
        score="probability of landslide" if of_model else "change score (no probability)",
        highest=1.0 if of_model else 8.0,
        warning=description.warning,
        pixel_m=reference.pixel_m[0],
        framed=() if complete else description.scored,
    )
