"""A map as a folder: rasters, polygons, report and picture, written as the rows of the map are computed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray

from model.bundle.markdown import one_line
from model.bundle.summaries import ReleaseRecord
from model.detector.pass_status import GONE, WORDS
from model.inputs.cubes import UNMAPPED, Georeference, georeference, label_window
from model.inputs.windows import Box, whole
from model.maps.map_description import MapDescription, MapRows
from model.maps.map_picture import Caption, Gathered, draw
from model.maps.map_rasters import RowRaster, disk_named, landslide_polygons
from model.maps.map_report import REPORT, write_report
from model.maps.validity import MEANINGS, flags_of
from model.releases.categories import LANDSLIDE, NO_DATA, NOT_LANDSLIDE, palette
from model.releases.exposure import ExposureRow, exposure
from model.releases.finished_map import FinishedMap, PageImages, scene_extent
from model.releases.release_products import POLYGONS, add_products
from model.releases.web_page.page import PAGE
from model.scores.scores import Scores, Tally
from pipeline.files import whole_folder

NO_VALIDITY = 255
"""no-data value of the validity raster, which has a value everywhere"""
PICTURE = "quicklook.png"
BAND_DESCRIPTIONS = {
    "probability": "calibrated probability of landslide, 0 to 1; NaN no data",
    "score": "change in units of the spread before the event, larger is likelier; 0 not searched, NaN no data",
    "change_db": "backscatter after minus before, smoothed, the scene's own steps removed, dB; NaN no data",
    "status": "over the passes after the event: "
    + "; ".join(f"{value} {words}" for value, words in WORDS.items())
    + f"; {NO_DATA} no data",
    "landslides": f"{LANDSLIDE} landslide, {NOT_LANDSLIDE} no landslide, {NO_DATA} no data",
    "validity": "0 valid; otherwise the sum of flags: "
    + "; ".join(f"{flag} {words}" for flag, words in MEANINGS.items()),
}


Polygons = Callable[[dict[str, Any]], gpd.GeoDataFrame]
"""the polygons of a map whose rows have all been made, from the attributes that they share"""


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
        writer = _MapWriter(description, reference, folder)
        for part in rows:
            writer.add(part)
        scores = writer.scores()
        frame = writer.finish(polygons_of)
        mapped = frame[frame["status"] != GONE] if "status" in frame else frame
        draw(writer.gathered, _caption(description, reference, scores), folder / PICTURE)
        exposed = exposure(description.exposure, mapped, scene_extent(reference, scene.facts.shape))
        record = ReleaseRecord(
            path=target,
            kind=description.kind,
            area=scene.facts.area,
            cube=scene.facts.uri,
            cube_version=scene.facts.version,
            model=description.model,
            track=scene.selection.track,
            passes_before=len(scene.selection.before),
            passes_after=len(scene.selection.after),
            days_since_event=round(scene.selection.days_since_event, 3),
            polygons=len(frame),
            mapped_km2=round(float(mapped["area_m2"].sum()) / 1e6, 6),
            statuses=_statuses(frame),
            threshold=description.threshold,
            no_data_share=writer.no_data / scene.pixels,
            expected=description.expected,
            expected_words=description.expected_words,
            smallest_m2=description.smallest_m2,
            flagged_share=writer.flagged_share(),
            auprc=scores.auprc if scores else None,
            prevalence=scores.prevalence if scores else None,
            scored_on=description.scored_on
            if scores
            else "no pixels: no labelled landslide has a prediction",
            picture=target / PICTURE,
            report=target / REPORT,
            page=target / PAGE,
            simulated=description.simulated,
            seconds=round(time.monotonic() - started, 1),
        )
        write_report(folder, record, description, scores, exposed)
        with disk_named(folder / POLYGONS):
            add_products(_finished(description, record, folder, frame, writer.gathered, exposed))
    return record


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
    return FinishedMap(
        folder=folder,
        record=record,
        cube=scene.cube,
        facts=scene.facts,
        selection=scene.selection,
        reference=georeference(scene.cube),
        frame=frame,
        images=PageImages(
            before=gathered.before.image,
            after=gathered.after.image,
            dem=gathered.dem.image,
            score=gathered.score.image,
            block_px=gathered.score.factor,
        ),
        backscatter=description.backscatter,
        highest=description.highest,
        warning=description.warning,
        flag_meanings=MEANINGS,
        remarks=description.remarks,
        tags=description.tags,
        model_item=description.model_item,
        exposure=exposed,
    )


class _MapWriter:
    """Writes the rasters and polygons of a map; counts what the report needs."""

    def __init__(self, description: MapDescription, reference: Georeference, folder: Path) -> None:
        self._description, self._reference, self._folder = description, reference, folder
        shape = description.scene.facts.shape
        self.gathered = Gathered(shape)
        self.no_data = 0
        self._flagged = dict.fromkeys(MEANINGS, 0)
        self._tally = Tally(description.highest)
        self._score_name = "probability" if description.kind == "model" else "score"
        names: dict[str, Literal["float32", "uint8"]] = {self._score_name: "float32"}
        if description.threshold is not None:
            names["landslides"] = "uint8"
        if description.kind == "detector":
            names |= {"status": "uint8", "change_db": "float32"}
        with ExitStack() as stack:
            self._rasters = {
                name: stack.enter_context(
                    RowRaster(
                        folder / f".{name}.tif", shape, reference, dtype, palette=palette(name, MEANINGS)
                    )
                )
                for name, dtype in names.items()
            }
            validity = RowRaster(
                folder / ".validity.tif", shape, reference, "uint8", NO_VALIDITY,
                palette=palette("validity", MEANINGS),
            )  # fmt: skip
            self._rasters["validity"] = stack.enter_context(validity)
            stack.pop_all()

    def add(self, rows: MapRows) -> None:
        """Write rows to every raster, count them, and add them to the picture."""
        description, scene, box = self._description, self._description.scene, rows.box
        invalid = ~np.isfinite(rows.score)
        self.no_data += int(invalid.sum())
        self._rasters[self._score_name].write(box, rows.score)
        if description.threshold is not None:
            classes = rows.classes
            if classes is None:
                classes = np.where(rows.score >= description.threshold, LANDSLIDE, NOT_LANDSLIDE).astype(
                    np.uint8
                )
                classes[invalid] = NO_DATA
            self._rasters["landslides"].write(box, classes)
            self.gathered.mapped.add(box, np.where(invalid, np.nan, classes == LANDSLIDE))
        flags = rows.flags
        if flags is None:
            flags = flags_of(scene.cube, description.inputs, scene.selection, box, invalid)
        self._rasters["validity"].write(box, flags)
        for flag in self._flagged:
            self._flagged[flag] += int(((flags & flag) > 0).sum())
        if rows.status is not None:
            self._rasters["status"].write(box, rows.status)
        if rows.change_db is not None:
            self._rasters["change_db"].write(box, rows.change_db)
        self.gathered.score.add(box, rows.score)
        self.gathered.before.add(box, rows.before_db)
        self.gathered.after.add(box, rows.after_db)
        if rows.dem is not None:
            self.gathered.dem.add(box, rows.dem)
        if "landslides" in scene.cube:
            labels = label_window(scene.cube, box)
            self.gathered.add_truth(box, labels)
            counted = ~invalid & (labels != UNMAPPED) & _inside(box, description.scored)
            self._tally.add(rows.score[counted], labels[counted] == 1)

    def scores(self) -> Scores | None:
        """Scores against the labels; None where there is no labelled landslide."""
        if not self._tally.has_landslides:
            return None
        return self._tally.ranking().scores(self._description.threshold)

    def flagged_share(self) -> dict[str, float]:
        """Share of the scene's pixels by the meaning of each flag that occurs."""
        pixels = self._description.scene.pixels
        return {MEANINGS[flag]: count / pixels for flag, count in self._flagged.items() if count}

    def finish(self, polygons_of: Polygons | None) -> gpd.GeoDataFrame:
        """Publish the rasters, and make the polygons."""
        description = self._description
        for name, raster in self._rasters.items():
            raster.describe(BAND_DESCRIPTIONS[name], description.tags)
            raster.publish(self._folder / f"{name}.tif")
        attributes = description.polygon_attributes
        frame = polygons_of(attributes) if polygons_of else self._polygons_of_classes(attributes)
        for raster in self._rasters.values():
            raster.path.unlink()
        return frame

    def _polygons_of_classes(self, attributes: dict[str, Any]) -> gpd.GeoDataFrame:
        smallest_m2 = self._description.smallest_m2 or 0.0
        return landslide_polygons(
            self._rasters["landslides"].path,
            self._rasters[self._score_name].path,
            self._reference,
            max(1, math.ceil(smallest_m2 / self._reference.pixel_area_m2 - 1e-9)),
            attributes,
        )


def _statuses(frame: gpd.GeoDataFrame) -> dict[str, int]:
    """Number of polygons by status, in the order of the values; empty for a map without a status."""
    if "status" not in frame:
        return {}
    counts = frame["status"].value_counts()
    return {words: int(counts[value]) for value, words in WORDS.items() if value in counts}


def _inside(box: Box, areas: tuple[Box, ...]) -> NDArray[np.bool_]:
    """(y, x) whether a pixel of `box` belongs to one of `areas`."""
    inside = np.zeros((box.height, box.width), dtype=bool)
    for area in areas:
        inside[
            max(area.top - box.top, 0) : max(area.bottom - box.top, 0),
            max(area.left - box.left, 0) : max(area.right - box.left, 0),
        ] = True
    return inside


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
