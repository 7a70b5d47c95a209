"""What a run that watches or follows shows in Prefect's pages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from prefect.artifacts import create_table_artifact

from pipeline.events.following.area_document import title_of
from pipeline.events.ledger import Entry
from pipeline.events.watching import WatchReport


def plain_cell(text: str) -> str:
    """A text of a source without brackets, which Prefect's pages read as links and markup."""
    return text.translate(str.maketrans("[]<>`", "()‹›'"))


def show_watch(report: WatchReport) -> None:
    """A table of the sources that were looked at, and of the events that changed with what was decided."""
    rows: list[dict[str, Any]] = [
        {
            "what": source.title, "result": source.result,
            "said": plain_cell(source.said),
        }
        for source in report.sources
    ]  # fmt: skip
    rows += [
        {
            "what": change.name, "result": change.what, "said": plain_cell(change.words), "tier": change.tier,
            "magnitude": change.event.magnitude, "depth (km)": change.event.depth_km,
            "start (UTC)": change.event.start.isoformat(timespec="seconds"), "place": plain_cell(change.event.place),
            "reasons": plain_cell("; ".join(change.decision.reasons)),
        }
        for change in report.changes
    ]  # fmt: skip
    columns = dict.fromkeys(
        name for row in rows for name in row
    )  # Prefect shows the columns of the first row
    create_table_artifact(
        table=[columns | row for row in rows],
        key="watch-events",
        description=f"Sources of events at {report.at:%Y-%m-%d %H:%M} UTC; {len(report.changes)} events changed.",
    )


def show_events(
    now: datetime, entries: Sequence[Entry], failed: dict[str, str], remarks: dict[str, str]
) -> None:
    """A table of all events: where each stands, what it waits for, and what stands in its way."""
    rows: list[dict[str, Any]] = [
        {
            "event": entry.name,
            "what": plain_cell(title_of(entry.event)),
            "tier": entry.tier,
            "state": f"{entry.state}, paused" if entry.paused else entry.state,
            "map": entry.map_status or "",
            "areas": ", ".join(area.name for area in entry.areas),
            "waiting for": plain_cell(entry.waiting_for),
            "next look (UTC)": entry.next_look.isoformat(timespec="minutes") if entry.next_look else "",
            "missing": plain_cell("; ".join(entry.missing)),
            "remark": plain_cell(remarks.get(entry.name, "")),
        }
        for entry in entries
    ]
    rows += [
        {"event": name, "state": "not followed", "remark": plain_cell(why)} for name, why in failed.items()
    ]
    columns = dict.fromkeys(name for row in rows for name in row)
    create_table_artifact(
        table=[columns | row for row in rows],
        key="events",
        description=f"Events at {now:%Y-%m-%d %H:%M} UTC: {len(rows)}",
    )
