"""Progress of long work: one type for every room."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called repeatedly during long work. A call is cheap and safe from any thread."""

    def __call__(self, what: str, done: int, total: int | None = None, remark: str = "", /) -> None:
        """
        Args:
            what: what is being done, such as a layer, a file or a stage.
            done: how much of it is done.
            total: how much there is; None where that is not known.
            remark: a figure or a name to show with it.
        """
        ...


def no_progress(what: str, done: int, total: int | None = None, remark: str = "", /) -> None:
    """A progress that shows nothing."""
