"""Layers that have data in far less of the grid than their sources promise."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.layers.kind import LayerTask

SHORT_SHARE, SHORT_MARGIN = 0.8, 0.05
"""A layer falls short of its plan below this share of what was promised, less this share of the grid."""


@dataclass(frozen=True)
class Shortfall:
    """A layer that was built, and has data in far less of the grid than its sources cover as the archive lists them."""

    task: LayerTask
    found: float
    """share of the grid with data, 0..1"""
    before_covers_more: bool
    """whether the latest version has a layer in its position that covers more"""
    lost: tuple[str, ...] = ()
    """ids of the sources of that layer that are no longer listed, where they are why"""

    @property
    def words(self) -> str:
        """For people."""
        if self.lost:
            more = f" and {len(self.lost) - 1} more" if len(self.lost) > 1 else ""
            return (
                f"{self.found:.0%} of the grid would have data without {self.lost[0]}{more}, which the version before "
                "has and the archive no longer lists; `exclude` of the area leaves it out"
            )
        if self.found == 0:
            return "no pixel has data"
        promised = "its sources cover more" if self.task.promised is None else f"not {self.task.promised:.0%}"
        return f"{self.found:.0%} of the grid has data, {promised} as the archive lists"


def falls_short(found: float, promised: float | None) -> bool:
    """Whether a layer has data in far less of the grid than was promised, both 0..1.

    Footprints are outlines of four or five corners and borders are eroded: a fifth of the promise and 5 % of the grid
    may be lacking. Of backscatter `found` counts squares (`pipeline.layers.mosaic_borders.Squares`), since products
    that mask shadow and layover lack up to half of the pixels of steep terrain. A layer without any data falls short,
    unless none was promised.
    """
    if found == 0:
        return promised is None or promised > 0
    return promised is not None and found < SHORT_SHARE * promised - SHORT_MARGIN
