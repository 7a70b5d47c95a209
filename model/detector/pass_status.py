"""The status of a pixel or of an object over the passes after the event, as OPERA DIST-S1 has one for disturbances."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NONE, FIRST, PROVISIONAL, CONFIRMED, GONE, CONFIRMED_GONE, NO_DATA = 0, 1, 2, 3, 4, 5, 255
"""values of the status raster"""
WORDS = {
    NONE: "none",
    FIRST: "first",
    PROVISIONAL: "provisional",
    CONFIRMED: "confirmed",
    GONE: "gone",
    CONFIRMED_GONE: "confirmed, since gone",
}

Mask = NDArray[np.bool_]
Status = NDArray[np.uint8]


def meanings(confirmed_after: int, gone_after: int) -> dict[int, str]:
    """What each value means, by the plan's numbers."""
    lost = f"the newest {gone_after} passes" if gone_after > 1 else "the newest pass"
    return {
        NONE: "no pass saw a landslide",
        FIRST: "one pass saw it, or only all passes together show it",
        PROVISIONAL: "two passes saw it"
        if confirmed_after <= 3
        else f"2 to {confirmed_after - 1} passes saw it",
        CONFIRMED: f"{confirmed_after} or more passes saw it",
        GONE: f"fewer than {confirmed_after} passes saw it, and {lost} of each track that saw it did not",
        CONFIRMED_GONE: f"{confirmed_after} or more passes saw it, and {lost} of each track that saw it did not",
        NO_DATA: "no data",
    }


def at_least_first(status: Status) -> Status:
    """The status of what is an object: one that only all passes together show counts as seen once."""
    return np.where(status == NONE, FIRST, status).astype(np.uint8)


class StatusCount:
    """Counts passes in their order, over any number of pixels or objects."""

    def __init__(self, shape: tuple[int, ...], tracks: int, confirmed_after: int, gone_after: int) -> None:
        """
        Args:
            tracks: number of tracks; whether something is gone is asked of each track that saw it.
        """
        self._confirmed_after, self._gone_after = confirmed_after, gone_after
        self.seen = np.zeros(shape, dtype=np.uint8)
        """passes that saw it"""
        self.looked = np.zeros(shape, dtype=np.uint8)
        """passes that had data there"""
        self.first = np.full(shape, -1, dtype=np.int16)
        """number of the first pass that saw it, -1 none"""
        self.last = np.full(shape, -1, dtype=np.int16)
        """number of the last pass that saw it, -1 none"""
        self._passes = 0
        self._seen_by = np.zeros((tracks, *shape), dtype=bool)
        self._misses = np.zeros((tracks, *shape), dtype=np.uint8)

    def add(self, track: int, looked: Mask, seen: Mask) -> None:
        """The next pass.

        Args:
            looked: whether the pass has data.
            seen: whether it saw a landslide; counts only where it has data.
        """
        seen = seen & looked
        self.looked += looked
        self.seen += seen
        self.first[seen & (self.first < 0)] = self._passes
        self.last[seen] = self._passes
        self._passes += 1
        self._seen_by[track] |= seen
        misses = self._misses[track]
        misses[seen] = 0
        misses[looked & ~seen & (misses < 255)] += 1

    def status(self) -> Status:
        """The value of each pixel or object."""
        ever = self.seen > 0
        still = (self._seen_by & (self._misses < self._gone_after)).any(axis=0)
        confirmed = self.seen >= self._confirmed_after
        result = np.full(ever.shape, NONE, dtype=np.uint8)
        result[ever] = FIRST
        result[self.seen >= 2] = PROVISIONAL
        result[confirmed] = CONFIRMED
        result[ever & ~still] = GONE
        result[confirmed & ~still] = CONFIRMED_GONE
        result[self.looked == 0] = NO_DATA
        return result
