"""Which burst of an annotation starts at a given time; every processor must choose the same one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

START_TOLERANCE_S = 1.3
"""Bursts of a swath follow each other in 2.76 s; half of that distinguishes them."""


def index_of_burst(
    starts: Sequence[datetime | None], stated: Sequence[str | None], start: datetime, number: int
) -> int | None:
    """Index in the annotation's list of the burst that starts at about `start`; None where none does.

    `starts` and `stated` are those of the list: azimuth times, None where unreadable, and the numbers (`burstId`) that
    annotation states since processor 3.40. Of several that start within the tolerance the one with that number is
    taken, else the nearest.
    """
    apart = [abs((time - start).total_seconds()) if time else float("inf") for time in starts]
    near = [index for index, seconds in enumerate(apart) if seconds <= START_TOLERANCE_S]
    same = [index for index in near if (stated[index] or "").strip() == str(number)]
    return min(same or near, key=apart.__getitem__, default=None)
