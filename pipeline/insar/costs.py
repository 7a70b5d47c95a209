"""The pairs of a plan with their estimated costs, for `slidecube plan`."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from pipeline.archives.archive import SLC_GRANULES
from pipeline.archives.registry import serving
from pipeline.areas.area import AreaOfInterest, Interferometry
from pipeline.catalogue.slc import Pair
from pipeline.console import plain_table, readable_size
from pipeline.insar.estimates import bytes_of_all, estimate, fetch_mode
from pipeline.insar.hyp3.hyp3_credits import bill, login_text
from pipeline.insar.job import REMOTE
from pipeline.settings import settings


def pair_rows(
    area: AreaOfInterest,
    pairs: tuple[Pair, ...],
    unpaired: tuple[str, ...],
    held: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """The pairs with their estimated costs, as `slidecube plan --json` prints them; none without interferometry.

    `held` are the ids of the pairs that the cube has already. The total does not count them.
    """
    backend = settings().insar_backend
    if area.interferometry is None or backend == "none":
        return {"pairs": [], "unpaired": [], "interferometry": None}
    mode = fetch_mode(area)
    rows: list[dict[str, Any]] = []
    for pair in pairs:
        cost = estimate(pair, mode, backend)
        rows.append(
            {
                "pair": pair.id, "track": pair.relative_orbit,
                "start": pair.reference.instant.isoformat(), "end": pair.secondary.instant.isoformat(),
                "when": f"{area.when(pair.reference.instant)}-{area.when(pair.secondary.instant)}",
                "days": round(pair.days, 1), "perpendicular_baseline_m": pair.perpendicular_baseline_m,
                "polarisation": pair.polarisation, "bursts": list(pair.burst_ids),
                "fetch_bytes": cost.bytes_to_fetch, "granule_bytes": cost.bytes_whole_granules,
                "scratch_bytes": cost.scratch_bytes, "memory_bytes": cost.memory_bytes, "hours": cost.hours,
                "jobs": cost.jobs, "held": pair.id in held,
            }
        )  # fmt: skip
    wanted = tuple(pair for pair in pairs if pair.id not in held)
    costs = [row for row in rows if not row["held"]]
    total = {
        "backend": backend, "fetch": mode,
        "login": serving(SLC_GRANULES).login_note(mode).text if wanted else None, "wanted": len(wanted),
        "fetch_bytes": bytes_of_all(wanted, mode, backend),
        "granule_bytes": bytes_of_all(wanted, "granules"),
        "scratch_bytes": max((p["scratch_bytes"] for p in costs), default=0),
        "memory_bytes": max((p["memory_bytes"] for p in costs), default=0),
        "hours": round(sum(p["hours"] for p in costs), 2),
    }  # fmt: skip
    if backend in REMOTE:
        total |= _credits(area, wanted, costs) | {"login": login_text() if wanted else None}
    return {"pairs": rows, "unpaired": list(unpaired), "interferometry": total}


def _credits(area: AreaOfInterest, wanted: tuple[Pair, ...], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Credits of the wanted pairs in all, and what the account has; each pair's are added to its row."""
    asked = bill(wanted, area.interferometry or Interferometry(), area.footprint.bounds)
    for row, cost in zip(rows, asked.credits, strict=True):
        row["credits"] = cost
    known = [cost for cost in asked.credits if cost is not None]
    return {
        "credits": sum(known) if len(known) == len(asked.credits) else None,
        "credits_left": asked.left,
        "credits_note": asked.note,
    }


def print_pairs(console: Console, rows: dict[str, Any]) -> None:
    """Print the pairs as a table."""
    if rows["pairs"]:
        table = plain_table(
            "pair", "event", "days", "baseline", "bursts", "to fetch", "scratch", "time", "cube",
            wrapped=("bursts", "time"),
        )  # fmt: skip
        for p in rows["pairs"]:
            baseline = p["perpendicular_baseline_m"]
            sizes = [readable_size(p[f"{what}_bytes"]) for what in ("fetch", "scratch")]
            table.add_row(
                p["pair"],
                p["when"],
                f"{p['days']:.0f}",
                "-" if baseline is None else f"{baseline:.0f} m",
                str(len(p["bursts"])) + (f" in {p['jobs']} jobs" if p["jobs"] > 1 else ""),
                *sizes,
                _duration(p["hours"]),
                "held" if p["held"] else "wanted",
            )
        console.print(table)
    total = rows["interferometry"]
    if total and total["wanted"]:
        fetch, granules, scratch, memory = (
            readable_size(total[f"{what}_bytes"]) for what in ("fetch", "granule", "scratch", "memory")
        )
        console.print(
            f"{total['wanted']} {'pair' if total['wanted'] == 1 else 'pairs'} by {total['backend']}: "
            f"{fetch} to fetch in all (whole granules: {granules}), "
            f"{scratch} of scratch disk and {memory} of memory a job, about {_duration(total['hours'])} on 2 cores.",
            highlight=False,
        )
        if "credits" in total:
            console.print(_credits_line(total), markup=False, highlight=False)
        console.print(f"login: {total['login']}", markup=False, highlight=False)
    for line in rows["unpaired"]:
        console.print(f"no pair: {line}", markup=False, highlight=False)


def _credits_line(total: dict[str, Any]) -> str:
    """What the pairs cost at HyP3 and what is left."""
    cost = "an unknown number of" if total["credits"] is None else f"at most {total['credits']:g}"
    left = total["credits_left"]
    short = left is not None and total["credits"] is not None and total["credits"] > left
    rest = "" if left is None else f", of {left:g} that are left{': not enough' if short else ''}"
    note = f" ({total['credits_note']})" if total["credits_note"] else ""
    return f"credits: {cost} at HyP3{rest}{note}"


def _duration(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{max(1, round(hours * 60))} min"
