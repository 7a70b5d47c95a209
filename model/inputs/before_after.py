"""Before, during or after an event: the same rule for passes and for pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any, Literal

import numpy as np

from model.inputs.inputs import EventSpan

When = Literal["before", "after", "neither"]


@dataclass(frozen=True)
class Rule:
    """A pass earlier than `until` is before the event, one later than `since` after it; UTC."""

    until: datetime
    since: datetime

    def when(self, instant: datetime) -> When:
        """Whether an instant is before or after the event, or neither."""
        return "before" if instant < self.until else "after" if instant > self.since else "neither"


def rule_of(
    instants: Sequence[datetime], span: EventSpan, compare: Literal["instants", "dates"]
) -> tuple[Rule, str]:
    """The rule for the passes of a cube, and a remark, which may be empty.

    Args:
        instants: of all passes. If they have no time of day, a pass on a day of the event is neither before nor after.
        compare: 'dates' counts the whole UTC day on which the event starts as before, as the published code does.
    """
    first = datetime.combine(span.start.date(), time(), UTC)
    last = datetime.combine(span.end.date(), time.max, UTC)
    if compare == "dates":
        return Rule(first + timedelta(days=1), last), (
            "compared by dates, as published: a pass on the event's UTC day counts as before, even after the event"
        )
    if all(t.hour == t.minute == t.second == t.microsecond == 0 for t in instants):
        return Rule(first, last), (
            "the cube's times are dates: a pass on a day of the event is neither before nor after"
        )
    return Rule(span.start, span.end), ""


def utc(value: Any) -> datetime:
    """A numpy instant as one with a time zone, to the microsecond."""
    microseconds = int(np.datetime64(value, "us").astype(np.int64))
    return datetime.fromtimestamp(microseconds // 1_000_000, UTC).replace(
        microsecond=microseconds % 1_000_000
    )
