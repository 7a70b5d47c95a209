"""A map as a folder: rasters, polygons, report and picture, written while the scene streams by."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from model.bundle.expected import ExpectedScore
from model.bundle.summaries import ReleaseRecord
from model.inputs.cubes import UNMAPPED, CubeFacts, Georeference, georeference, label_window
from model.inputs.inputs import Inputs
from model.inputs.selection import Selection
from model.inputs.windows import Box, whole
from model.maps.map_picture import Caption, Gathered, draw
from model.maps.map_rasters import (
    LANDSLIDE,
    NO_DATA,
    NOT_LANDSLIDE,
    RowRaster,
    landslide_polygons,
    write_polygons,
)
from model.maps.map_report import REPORT, write_report
from model.maps.validity import MEANINGS, flags_of
from model.scores.scores import Scores, Tally
from pipeline.files import whole_folder

SMALLEST_M2 = 400.0
"""smallest polygon, 4 pixels of 10 m: a mean of few speckled looks makes single pixels meaningless"""
FLAGGED_NO_DATA = 255
"""no value of the validity raster: every pixel has one"""
PICTURE = "quicklook.png"


@dataclass(frozen=True)
class MapRows:
    """Finished rows of a map, full width, each (y, x)."""

    box: Box
    score: NDArray[np.float32]
    """higher means landslide; NaN no data"""
    before_db: NDArray[np.float32]
    after_db: NDArray[np.float32]
    dem: NDArray[np.float32] | None = None
    change_db: NDArray[np.float32] | None = None
    """written as a raster of its own where given"""


@dataclass(frozen=True)
class MapPlan:
    """What is mapped and what must be said of it."""

    cube: xr.Dataset
    facts: CubeFacts
    selection: Selection
    inputs: Inputs
    kind: Literal["model", "log-ratio"]
    model: str | None
    """digest of the model"""
    threshold: float | None
    """score from which on a pixel is landslide; None: no polygons are drawn"""
    highest: float
    """top of the score's scale"""
    backscatter: str
    """polarisation of the picture"""
    scored: tuple[Box, ...]
    """areas whose labels the map is compared with; none: nowhere"""
    scored_on: str
    """these areas in words"""
    simulated: bool
    remarks: tuple[str, ...] = field(default=())
    """warnings and rules that belong into the report"""
    expected: ExpectedScore | None = None
    """of the model with as many passes"""
    expected_words: str = ""
    smallest_m2: float = SMALLEST_M2
    """smallest area that becomes a polygon"""


def release(plan: MapPlan, rows: Iterator[MapRows], target: Path) -> ReleaseRecord:
    """Write the folder, whole or not at all.

    Raises:
        ModelError: something else is at `target`, or the cube has no coordinate reference system.
    """
    started = time.monotonic()
    reference = georeference(plan.cube)
    with whole_folder(target, REPORT) as folder:
        written = _Streamed(plan, reference, folder)
        for part in rows:
            written.add(part)
        scores = written.scores()
        polygons, mapped_km2 = written.finish()
        draw(written.gathered, _caption(plan, reference, scores), folder / PICTURE)
        record = ReleaseRecord(
            path=target,
            kind=plan.kind,
            area=plan.facts.area,
            cube=plan.facts.uri,
            cube_version=plan.facts.version,
            model=plan.model,
            track=plan.selection.track,
            passes_before=len(plan.selection.before),
            passes_after=len(plan.selection.after),
            days_since_event=round(plan.selection.days_since_event, 3),
            polygons=polygons,
            mapped_km2=mapped_km2,
            no_data_share=written.no_data / (plan.facts.shape[0] * plan.facts.shape[1]),
            expected=plan.expected,
            expected_words=plan.expected_words,
            smallest_m2=plan.smallest_m2 if plan.threshold is not None else None,
            flagged_share=written.flagged_share(),
            auprc=scores.auprc if scores else None,
            prevalence=scores.prevalence if scores else None,
            scored_on=plan.scored_on if scores else "nowhere: no labelled landslide with a prediction there",
            picture=target / PICTURE,
            report=target / REPORT,
            simulated=plan.simulated,
            seconds=round(time.monotonic() - started, 1),
        )
        write_report(folder, record, plan.facts, plan.selection, scores, plan.remarks)
    return record


class _Streamed:
    """The files of a release while rows come in."""

    def __init__(self, plan: MapPlan, reference: Georeference, folder: Path) -> None:
        self._plan, self._reference, self._folder = plan, reference, folder
        shape = plan.facts.shape
        self.gathered = Gathered(shape)
        self.no_data = 0
        self._flagged = dict.fromkeys(MEANINGS, 0)
        self._tally = Tally(plan.highest)
        self._score_name = "probability" if plan.kind == "model" else "score"
        names: dict[str, Literal["float32", "uint8"]] = {self._score_name: "float32"}
        if plan.threshold is not None:
            names["landslides"] = "uint8"
        if plan.kind == "log-ratio":
            names["change_db"] = "float32"
        with ExitStack() as stack:
            self._rasters = {
                name: stack.enter_context(RowRaster(folder / f".{name}.tif", shape, reference, dtype))
                for name, dtype in names.items()
            }
            validity = RowRaster(folder / ".validity.tif", shape, reference, "uint8", FLAGGED_NO_DATA)
            self._rasters["validity"] = stack.enter_context(validity)
            stack.pop_all()

    def add(self, rows: MapRows) -> None:
        """Write rows to every raster, count them, and keep what the picture needs."""
        plan, box = self._plan, rows.box
        invalid = ~np.isfinite(rows.score)
        self.no_data += int(invalid.sum())
        self._rasters[self._score_name].write(box, rows.score)
        if plan.threshold is not None:
            classes = np.where(rows.score >= plan.threshold, LANDSLIDE, NOT_LANDSLIDE).astype(np.uint8)
            classes[invalid] = NO_DATA
            self._rasters["landslides"].write(box, classes)
        flags = flags_of(plan.cube, plan.inputs, plan.selection, box, invalid)
        self._rasters["validity"].write(box, flags)
        for flag in self._flagged:
            self._flagged[flag] += int(((flags & flag) > 0).sum())
        if rows.change_db is not None:
            self._rasters["change_db"].write(box, rows.change_db)
        self.gathered.score.add(box, rows.score)
        self.gathered.before.add(box, rows.before_db)
        self.gathered.after.add(box, rows.after_db)
        if rows.dem is not None:
            self.gathered.dem.add(box, rows.dem)
        if "landslides" in plan.cube:
            labels = label_window(plan.cube, box)
            self.gathered.add_truth(box, labels)
            counted = ~invalid & (labels != UNMAPPED) & _inside(box, plan.scored)
            self._tally.add(rows.score[counted], labels[counted] == 1)

    def scores(self) -> Scores | None:
        """Against the labels; None where there is no labelled landslide."""
        if not self._tally.has_landslides:
            return None
        return self._tally.ranking().scores(self._plan.threshold)

    def flagged_share(self) -> dict[str, float]:
        """Share of the scene's pixels by the meaning of each flag that occurs."""
        pixels = self._plan.facts.shape[0] * self._plan.facts.shape[1]
        return {MEANINGS[flag]: count / pixels for flag, count in self._flagged.items() if count}

    def finish(self) -> tuple[int | None, float | None]:
        """Publish the rasters and the polygons; number of polygons and their area in square kilometres."""
        plan = self._plan
        tags = {
            "AREA": plan.facts.area,
            "CUBE_VERSION": str(plan.facts.version if plan.facts.version is not None else "unknown"),
            "CUBE_DIGEST": plan.facts.digest,
            "MODEL": plan.model or "none (log-ratio)",
            "TRACK": plan.selection.track,
            "PASSES_BEFORE": ", ".join(p.id for view in plan.selection.every_view for p in view.before),
            "PASSES_AFTER": ", ".join(p.id for view in plan.selection.every_view for p in view.after),
            "SIMULATED": f"yes: {_stamp(plan)}" if plan.simulated else "no",
            "REVIEW": "unreviewed",
            "EXPECTED": plan.expected_words,
        }
        meaning = {
            "probability": "calibrated probability of landslide, 0 to 1; NaN no data",
            "score": "size of the smoothed backscatter change on slopes, dB; NaN no data",
            "change_db": "backscatter after minus before, medians over passes, dB; NaN no data",
            "landslides": f"{LANDSLIDE} landslide, {NOT_LANDSLIDE} none, {NO_DATA} no data",
            "validity": "0 valid; flags that add up: "
            + "; ".join(f"{flag} {words}" for flag, words in MEANINGS.items()),
        }
        for name, raster in self._rasters.items():
            raster.describe(meaning[name], tags)
            raster.publish(self._folder / f"{name}.tif")
        result: tuple[int | None, float | None] = (None, None)
        if plan.threshold is not None:
            frame = landslide_polygons(
                self._rasters["landslides"].path,
                self._rasters[self._score_name].path,
                self._reference,
                max(1, math.ceil(plan.smallest_m2 / self._reference.pixel_area_m2 - 1e-9)),
                {
                    "passes_before": len(plan.selection.before),
                    "passes_after": len(plan.selection.after),
                    "track": plan.selection.track,
                    "newest_pass": max(
                        view.after[-1].instant for view in plan.selection.every_view
                    ).isoformat(),
                    "days_since_event": round(plan.selection.days_since_event, 3),
                    "expected_auprc": plan.expected.auprc if plan.expected else math.nan,
                    "expected_prevalence": plan.expected.prevalence if plan.expected else math.nan,
                    "model": plan.model,
                    "simulated": plan.simulated,
                    "review": "unreviewed",
                },
            )
            write_polygons(frame, self._folder / "landslides.gpkg")
            result = len(frame), round(float(frame["area_m2"].sum()) / 1e6, 6)
        for raster in self._rasters.values():
            raster.path.unlink()
        return result


def _inside(box: Box, areas: tuple[Box, ...]) -> NDArray[np.bool_]:
    """(y, x) whether a pixel of `box` belongs to one of `areas`."""
    inside = np.zeros((box.height, box.width), dtype=bool)
    for area in areas:
        inside[
            max(area.top - box.top, 0) : max(area.bottom - box.top, 0),
            max(area.left - box.left, 0) : max(area.right - box.left, 0),
        ] = True
    return inside


def _caption(plan: MapPlan, reference: Georeference, scores: Scores | None) -> Caption:
    figure = (
        f"\nAUPRC {scores.auprc:.3f} at prevalence {scores.prevalence:.4f}, on {plan.scored_on}"
        if scores
        else ""
    )
    if plan.expected is not None:
        figure += f"\nexpected with so many passes: AUPRC {plan.expected.auprc:.3f} at {plan.expected.prevalence:.4f}"
    elif plan.kind == "model":
        figure += "\nthe model was never scored with so many passes"
    made = f"model {plan.model[:12]}" if plan.model else "log-ratio, no training"
    complete = plan.scored == (whole(plan.facts.shape),)
    return Caption(
        title=(
            f"{plan.facts.area}: {made}; {plan.selection.track}, {plan.selection.days_since_event:.1f} days after "
            f"the event{figure}"
        ),
        backscatter=plan.backscatter.upper(),
        average="mean" if plan.kind == "model" else "median",
        passes_before=len(plan.selection.before),
        passes_after=len(plan.selection.after),
        score="probability of landslide" if plan.kind == "model" else "size of change on slopes, dB",
        highest=1.0 if plan.kind == "model" else 6.0,
        threshold=plan.threshold,
        simulated=plan.simulated,
        stamp=_stamp(plan),
        pixel_m=reference.pixel_m[0],
        framed=() if complete else plan.scored,
    )


def _stamp(plan: MapPlan) -> str:
    """What must be read first."""
    if plan.facts.simulated:
        return "SIMULATED AREA: no real place, no real landslides"
    return "SIMULATED MODEL: it has seen no real landslide" if plan.simulated else ""
