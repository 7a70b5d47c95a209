"""The status in Prefect's pages: every event, area and map, text from outside without markup of its own."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from flows.serving import artifacts
from model.holdings.status import AreaStatus, DiskUse, EventStatus, MapStatus, Status

NOON = datetime(2018, 9, 6, 12, tzinfo=UTC)


def test_the_status_is_a_table_of_everything(monkeypatch):
    made = {}
    monkeypatch.setattr(
        artifacts, "create_markdown_artifact", lambda text, **more: made.update(more, text=text)
    )
    event = EventStatus(
        name="usgs-1", state="waiting", tier="build", start=NOON, next_pass="| <b>track</b> [46](x)"
    )
    shown = MapStatus(
        name="v1-detector", kind="detector", cube_version=1, polygons=3, mapped_km2=1.0, review="partly reviewed",
        simulated=False, written=NOON, newest=True,
    )  # fmt: skip
    area = AreaStatus(name="test", version=1, versions=(1,), maps=(shown,), refused=("v1, model: no labels",))
    artifacts.show_status(
        Status(
            at=NOON, data_dir=Path("data"), events=(event,), areas=(area,), problems=("cube x: gone",),
            disk=(DiskUse(kind="cubes", size_bytes=10**9),), free_bytes=10**10,
        )
    )  # fmt: skip
    assert made["key"] == "status"
    for part in ("usgs", "waiting", "v1-detector", "partly reviewed", "no labels", "cube x", "1.0 GB"):
        assert part in made["text"].replace("\\", ""), part
    assert "<b>" not in made["text"] and "[46](" not in made["text"]
    rows = [line for line in made["text"].splitlines() if "usgs" in line]
    assert len(rows) == 1 and rows[0].replace("\\|", "").count("|") == 6
