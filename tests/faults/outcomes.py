"""What became of a hostile input: one word for each, by which they are counted."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from pipeline.errors import SlidecubeError
from tests.faults.corpus import SECRET

NAMED, HARMLESS = "named error", "harmless"
BAD = ("traceback", "hang", "outside read or write", "secret shown", "wrong value")
OUTCOMES = (NAMED, HARMLESS, *BAD)
BOUND_S = 20.0
"""for one input; a second on an idle machine"""

NOTED: list[str] = []
"""outcomes of the inputs of the test that is running, for `tests.faults.tally`"""


def note(outcome: str, inputs: int = 1) -> None:
    """State the outcome of the inputs of a test; of a test that gives one input to two commands the last counts."""
    NOTED[:] = [outcome] * inputs


class TooLongError(BaseException):
    """The bound is over; no `except Exception` may catch it."""


@contextmanager
def bounded(seconds: float) -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise TooLongError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class WrongValueError(Exception):
    """An input was accepted and gave other values than it states."""


def outcome_of(action: Callable[[], Any], folder: Path) -> tuple[str, str]:
    """What becomes of an input that `action` reads, and the words of its error; `folder` alone may be written."""
    around = {path.name for path in folder.parent.iterdir()}
    words, found = "", HARMLESS
    try:
        with bounded(BOUND_S):
            action()
    except SlidecubeError as error:
        words, found = str(error), NAMED
        if not words.strip() or len(words) > 20_000 or error.exit_code == 1:
            found = "traceback"
    except TooLongError:
        found = "hang"
    except WrongValueError as error:
        words, found = str(error), "wrong value"
    except Exception as error:
        words, found = f"{type(error).__name__}: {error}", "traceback"
    if SECRET in words or "root:x:0:0" in words:
        found = "secret shown"
    if {path.name for path in folder.parent.iterdir()} != around or (folder / "owned").exists():
        found = "outside read or write"
    return found, words[:300]
