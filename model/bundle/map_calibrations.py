"""The calibration of the pixels of a map: that of its passes, and of pixels that one of two views sees alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.bundle.document import BundleDocument
from model.inputs.channel import Array
from model.inputs.channel_registry import name_in_view
from model.inputs.channels.coherence_channels import SEEN
from model.inputs.pass_subsets import in_directions
from model.inputs.selection import Selection
from model.scores.probability_calibration import Calibration


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


def calibrations_of(document: BundleDocument, selection: Selection) -> Calibrations:
    """The calibration of the map's passes; and, where two views are mapped, of pixels that one of them sees alone."""
    views = selection.every_view
    alone: dict[str, Calibration] = {}
    if document.inputs.views == "any" and len(views) > 1:
        for view in views:
            only = in_directions(selection, [view.direction])
            alone[name_in_view(SEEN, view.direction)] = document.calibrated_for(only).calibration
    return Calibrations(document.calibrated_for(selection).calibration, alone)
