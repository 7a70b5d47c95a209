"""A map beside the labels of its scene, polygon by polygon."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from rasterio.features import geometry_mask
from rasterio.windows import Window
from rasterio.windows import transform as window_transform

from model.inputs.cubes import UNMAPPED, Georeference
from model.scores.map_findings import LabelComparison

SLIDE, NONE, NOT_COUNTED = 1, 0, UNMAPPED
"""values of the raster of labels: landslide, none, or not counted (no label, no prediction, not in the scored area)"""


def compared(
    polygons: Iterable[Any], labels: Any, landslide_pixels: int, reference: Georeference
) -> LabelComparison:
    """Count what is false and missed.

    Args:
        polygons: shapely polygons of the map, in its coordinates.
        labels: open raster of labels (`SLIDE`, `NONE`, `NOT_COUNTED`).
        landslide_pixels: of the raster.
    """
    counts: list[tuple[int, int]] = []
    for polygon in polygons:
        window = _window(polygon.bounds, labels)
        values = labels.read(1, window=window)
        inside = geometry_mask(
            [polygon],
            out_shape=values.shape,
            transform=window_transform(window, reference.affine),
            invert=True,
        )
        found = values[inside]
        counts.append((int((found != NOT_COUNTED).sum()), int((found == SLIDE).sum())))
    counted = [(pixels, hits) for pixels, hits in counts if pixels]
    mapped, hits = _total(counted, 0), _total(counted, 1)
    km2 = reference.pixel_area_m2 / 1e6
    return LabelComparison(
        polygons=len(counted),
        false_polygons=sum(not one for _, one in counted),
        mapped_km2=mapped * km2,
        false_km2=(mapped - hits) * km2,
        landslide_km2=landslide_pixels * km2,
        missed_km2=(landslide_pixels - hits) * km2,
    )


def _window(bounds: tuple[float, float, float, float], file: Any) -> Window:
    window: Window = file.window(*bounds).round_offsets().round_lengths()
    return window


def _total(rows: Sequence[tuple[int, int]], column: int) -> int:
    return int(np.sum([row[column] for row in rows])) if rows else 0
