"""The files of a map but its report and picture: rasters, polygons, and the counts that the report needs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import geopandas as gpd
import numpy as np
import rasterio
from numpy.typing import NDArray

from model.detector.pass_status import WORDS
from model.inputs.cubes import UNMAPPED, Georeference, label_window
from model.inputs.windows import Box
from model.maps.accuracy.label_comparison import NONE, NOT_COUNTED, SLIDE, compared
from model.maps.accuracy.scene_findings import ProbabilityTally
from model.maps.map_description import MapDescription, MapRows
from model.maps.map_picture import Gathered
from model.maps.map_rasters import RowRaster, landslide_polygons
from model.maps.validity import MEANINGS, TOO_FLAT, WATER, flags_of
from model.releases.categories import LANDSLIDE, NO_DATA, NOT_LANDSLIDE, palette
from model.scores.map_findings import LabelComparison, SceneFindings
from model.scores.mapped_objects import smallest_pixels
from model.scores.scores import MappedPixels, Scores, Tally

NO_VALIDITY = 255
"""no-data value of the validity raster, which has a value everywhere"""
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


class MapWriter:
    """Writes the rasters and polygons of a map; counts what the report needs."""

    def __init__(self, description: MapDescription, reference: Georeference, folder: Path) -> None:
        self._description, self._reference, self._folder = description, reference, folder
        shape = description.scene.facts.shape
        self.gathered = Gathered(shape)
        self.no_data = 0
        self._flagged = dict.fromkeys(MEANINGS, 0)
        self._tally = Tally(description.highest)
        self._mapped, self._searched = MappedPixels(), 0
        self._probabilities = ProbabilityTally()
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
            if "landslides" in description.scene.cube:
                labels = RowRaster(folder / ".labels.tif", shape, reference, "uint8", NOT_COUNTED)
                self._labels: RowRaster | None = stack.enter_context(labels)
            else:
                self._labels = None
            stack.pop_all()

    def add(self, rows: MapRows) -> None:
        """Write rows to every raster, count them, and add them to the picture."""
        description, scene, box = self._description, self._description.scene, rows.box
        invalid = ~np.isfinite(rows.score)
        self.no_data += int(invalid.sum())
        self._rasters[self._score_name].write(box, rows.score)
        if description.tested is not None:
            self._probabilities.add(rows.score[~invalid])
        classes = None
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
        self._searched += int((~invalid & ((flags & (TOO_FLAT | WATER)) == 0)).sum())
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
            slid = labels == 1
            if classes is not None:
                self._mapped.add(classes[counted] == LANDSLIDE, slid[counted])
            if self._labels is not None:
                kinds = np.where(counted, np.where(slid, SLIDE, NONE), NOT_COUNTED).astype(np.uint8)
                self._labels.write(box, kinds)

    def scores(self) -> Scores | None:
        """Scores against the labels; None where there is no labelled landslide.

        F1, precision and recall are of the class raster, which is not the threshold alone where objects were cleaned.
        """
        if not self._tally.has_landslides:
            return None
        found = self._tally.ranking().scores(self._description.threshold)
        return self._mapped.in_place_of(found) if self._description.threshold is not None else found

    def findings(self, mapped: gpd.GeoDataFrame) -> SceneFindings | None:
        """What a model's map says of its own scene.

        Args:
            mapped: the polygons.
        """
        tested = self._description.tested
        if tested is None:
            return None
        area = mapped["area_m2"].to_numpy() / 1e6
        inside = float((mapped["mean_probability"].to_numpy() * area).sum())
        return self._probabilities.findings(tested, float(area.sum()), inside, self._reference.pixel_area_m2)

    def beside_labels(self, mapped: gpd.GeoDataFrame) -> LabelComparison | None:
        """The polygons beside the labels; None where no labelled pixel is scored."""
        if self._labels is None or not self._mapped.pixels:
            return None
        self._labels.close()
        with rasterio.open(self._labels.path) as labels:
            return compared(mapped.geometry, labels, self._mapped.landslides, self._reference)

    @property
    def searched_km2(self) -> float:
        """Area with a prediction that is neither flat nor water, where these are not searched."""
        return self._searched * self._reference.pixel_area_m2 / 1e6

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
        return polygons_of(attributes) if polygons_of else self._polygons_of_classes(attributes)

    def clear(self) -> None:
        """Remove the scratch rasters."""
        for raster in (*self._rasters.values(), *([self._labels] if self._labels else [])):
            raster.path.unlink()

    def _polygons_of_classes(self, attributes: dict[str, Any]) -> gpd.GeoDataFrame:
        smallest_m2 = self._description.smallest_m2 or 0.0
        return landslide_polygons(
            self._rasters["landslides"].path,
            self._rasters[self._score_name].path,
            self._reference,
            smallest_pixels(smallest_m2, self._reference.pixel_area_m2),
            attributes,
        )


def _inside(box: Box, areas: tuple[Box, ...]) -> NDArray[np.bool_]:
    """(y, x) whether a pixel of `box` belongs to one of `areas`."""
    inside = np.zeros((box.height, box.width), dtype=bool)
    for area in areas:
        inside[
            max(area.top - box.top, 0) : max(area.bottom - box.top, 0),
            max(area.left - box.left, 0) : max(area.right - box.left, 0),
        ] = True
    return inside
