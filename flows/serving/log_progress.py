"""The progress of long work, in the log of its flow run."""

from __future__ import annotations

from prefect import get_run_logger

from pipeline.progress import Progress

STEPS = 20
"""lines for one stage at most"""


def in_log() -> Progress:
    """A progress that writes a line to the log of the flow run for every twentieth part of a stage."""
    log = get_run_logger()
    last: tuple[str, int] = ("", -1)

    def report(what: str, done: int, total: int | None = None, remark: str = "", /) -> None:
        nonlocal last
        now = (what, STEPS * done // max(total, 1) if total is not None else done)
        if now != last:
            last = now
            end = f", {remark}" if remark else ""
            log.info("%s: %d%s%s", what, done, "" if total is None else f" of {total}", end)

    return report
