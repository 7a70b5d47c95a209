"""How far a long piece of work is, in the log of the flow run that does it."""

from __future__ import annotations

from prefect import get_run_logger

from pipeline.progress import Progress

STEPS = 20
"""lines for one stage at most"""


def in_log() -> Progress:
    """What the model stage calls as (stage, done, total, remark); every twentieth part becomes a line."""
    log = get_run_logger()
    last: tuple[str, int] = ("", -1)

    def report(stage: str, done: int, total: int | None = None, remark: str = "", /) -> None:
        nonlocal last
        now = (stage, STEPS * done // max(total or 1, 1))
        if now != last:
            last = now
            log.info("%s: %d of %s%s", stage, done, total, f", {remark}" if remark else "")

    return report
