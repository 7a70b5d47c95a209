"""Events from the runner to its caller: one JSON object a line on standard output.

The caller may run outside the container, so a failure is sent as an event and not as an exception. The caller ignores
all other lines.
"""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Any

from pipeline.errors import InterferometryError

MARK = "slidecube"
LONGEST_LINE = 16_384

EXIT_DONE = 0
EXIT_FAILED = InterferometryError.exit_code


def send_event(event: str, **values: Any) -> None:
    """Write one event for the caller. A closed output is ignored, since standard input shows that the caller ended."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.write(json.dumps({MARK: event, **values}) + "\n")
        sys.stdout.flush()


def send_failure(error: InterferometryError) -> None:
    """Write the event of a failed job."""
    send_event("failed", code=error.code, message=error.message[:4000], remedy=error.remedy[:2000])


def parse_event(line: str) -> dict[str, Any] | None:
    """The event in a line; None if the line is not an event."""
    if MARK not in line[:40] or len(line) > LONGEST_LINE:
        return None
    with contextlib.suppress(ValueError):
        event = json.loads(line)
        if isinstance(event, dict) and isinstance(event.get(MARK), str):
            return event
    return None


def error_of(event: dict[str, Any]) -> InterferometryError:
    """The error of an event `failed`."""
    return InterferometryError(
        str(event.get("code", "failed")), str(event.get("message", "")), str(event.get("remedy", ""))
    )
