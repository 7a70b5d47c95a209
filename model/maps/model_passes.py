"""The passes of a cube that a model maps, and the calibration that belongs to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from model.bundle.expected_scores import passes_in_words
from model.inputs.channel import Array
from model.inputs.channel_registry import SEEN, name_in_view
from model.inputs.channel_statistics import Statistics
from model.inputs.pass_subsets import distance, in_directions, limit_passes
from model.inputs.selection import Selection, absent_directions, select
from model.maps.map_plan import MapPlan
from model.scores.probability_calibration import Calibration
from pipeline.errors import ModelError

if TYPE_CHECKING:
    import xarray as xr

    from model.bundle.document import BundleDocument


@dataclass(frozen=True)
class Calibrations:
    """The calibration of a map's pixels."""

    whole: Calibration
    """of pixels that all mapped views see"""
    alone: dict[str, Calibration]
    """by the channel that is 1 where a view sees a pixel: of pixels that this view sees alone"""

    def apply(self, probability: Array, channels: Array, names: tuple[str, ...]) -> Array:
        """(y, x) calibrated probability.

        Args:
            probability: (y, x) as predicted.
            channels: (channel, y, x) as read, not standardised.
            names: of the channels.
        """
        found = self.whole.apply(probability)
        seen = {name: channels[names.index(name)] > 0 for name in self.alone}
        for name, calibration in self.alone.items():
            others = np.any([mask for other, mask in seen.items() if other != name], axis=0)
            only = seen[name] & ~others
            if only.any():
                found[only] = calibration.apply(probability[only])
        return found


def passes_to_map(dataset: xr.Dataset, document: BundleDocument, plan: MapPlan) -> Selection:
    """The passes that are mapped: those of the model's inputs, as far as the plan takes them and the model knows their
    views.

    Raises:
        ModelError: the cube lacks what the inputs need, or the plan asks for a track that the model does not take.
    """
    inputs, track = document.inputs, plan.track
    if track is not None and inputs.track == "both" and inputs.views == "every" and track != "both":
        raise ModelError(
            f"The model {document.digest[:12]} needs passes of both directions, and --track {track} asks for one.",
            "Train a model again: `slidecube train` makes one that maps any direction.",
        )
    if inputs.track != "both" and track is not None:
        inputs = inputs.model_copy(update={"track": "best" if track == "both" else track})
    found = select(dataset, inputs, plan.event, track if inputs.track == "both" else None)
    if inputs.views == "any":
        found = in_directions(found, document.directions)
        if track == "best":
            found = in_directions(found, [found.every_view[0].direction])
    if plan.before is None and plan.after is None:
        return found
    return limit_passes(found, plan.before, plan.after)


def has_views(statistics: Statistics, selection: Selection) -> bool:
    """Whether the statistics know every view, of inputs with channels of presence."""
    return not statistics.without_value or {v.direction for v in selection.every_view} <= set(
        statistics.directions
    )


def calibrations_of(document: BundleDocument, selection: Selection) -> Calibrations:
    """The calibration of the map's passes; and, where two views are mapped, of pixels that one of them sees alone."""
    views = selection.every_view
    alone: dict[str, Calibration] = {}
    if document.inputs.views == "any" and len(views) > 1:
        for view in views:
            only = in_directions(selection, [view.direction])
            alone[name_in_view(SEEN, view.direction)] = document.calibrated_for(only).calibration
    return Calibrations(document.calibrated_for(selection).calibration, alone)


def remarks_on_case(document: BundleDocument, selection: Selection) -> list[str]:
    """Where the map's calibration is that of another case, and which view is absent."""
    remarks, before = [], len(selection.before)
    calibrated = document.calibrated_for(selection)
    if distance(calibrated.views, before, calibrated.after, selection)[:2] != (0, 0):
        of = (
            passes_in_words(calibrated.views, before, calibrated.after)
            if calibrated.views
            else calibrated.after
        )
        remarks.append(
            f"Calibration and threshold are those of another number of passes after the event: {of}."
        )
    if document.inputs.views == "any" and (absent := absent_directions(selection.every_view)):
        remarks.append(
            f"No {' and no '.join(absent)} pass is mapped: the network is told so; with both directions it is better."
        )
    return remarks
