"""How far a long piece of work is, in the log of the flow run that does it."""

from __future__ import annotations

from collections.abc import Callable

from prefect import get_run_logger

STEPS = 20
"""lines for one stage at most"""


def in_log() -> Callable[[str, int, int, str], None]:
    """What the model stage calls as (stage, done, total, remark); every twentieth part becomes a line."""
    log = get_run_logger()
    last: tuple[str, int] = ("", -1)

    def report(stage: str, done: int, total: int, remark: str) -> None:
        nonlocal last
        now = (stage, STEPS * done // max(total, 1))
        if now != last:
            last = now
            log.info("%s: %d of %d%s", stage, done, total, f", {remark}" if remark else "")

    return report
