"""What the runner says to its caller: one JSON object a line on standard output, nothing else that counts.

The caller may sit outside the container, so a failure crosses as words and not as an exception. Other lines are
ignored.
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


def say(event: str, **values: Any) -> None:
    """Tell the caller; one that is gone is not missed here, since standard input tells of that."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.write(json.dumps({MARK: event, **values}) + "\n")
        sys.stdout.flush()


def say_failure(error: InterferometryError) -> None:
    """Tell the caller why there will be no product."""
    say("failed", code=error.code, message=error.message[:4000], remedy=error.remedy[:2000])


def heard(line: str) -> dict[str, Any] | None:
    """The event that a line holds; None where it holds none."""
    if MARK not in line[:40] or len(line) > LONGEST_LINE:
        return None
    with contextlib.suppress(ValueError):
        event = json.loads(line)
        if isinstance(event, dict) and isinstance(event.get(MARK), str):
            return event
    return None


def error_of(event: dict[str, Any]) -> InterferometryError:
    """The error that an event `failed` stands for."""
    return InterferometryError(
        str(event.get("code", "failed")), str(event.get("message", "")), str(event.get("remedy", ""))
    )
