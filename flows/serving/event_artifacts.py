"""What a run that watches shows in Prefect's pages."""

from __future__ import annotations

from typing import Any

from prefect.artifacts import create_table_artifact

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
