"""A world without scenes that states scripted events, before the archives; shared by the tests of the feeds."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from httpx import Response
from starlette.testclient import TestClient

from pipeline.areas.area import AreaOfInterest
from pipeline.sandbox.posing.faults import Ledger
from pipeline.sandbox.posing.hosts import Archive
from pipeline.sandbox.posing.server_options import ServerOptions
from pipeline.sandbox.publication.sandbox_clock import ClockOrder
from pipeline.sandbox.seismicity.scripted_events import ScriptedEvents, write_events
from pipeline.sandbox.seismicity.world_events import events_of_world
from pipeline.sandbox.world import FORMAT, World

START = datetime(2018, 9, 5, 18, 7, 59, tzinfo=UTC)
MAIN, SECOND, RETRACTED, DEEP = "us6000sand", "us6000sanf", "us6000sane", "us6000sanb"
AREA = AreaOfInterest.model_validate(
    {
        "name": "told",
        "bbox": (142.00, 42.70, 142.04, 42.73),
        "event": {"kind": "earthquake", "start": START, "end": START, "source": "simulated"},
        "start": "2018-06-01T00:00:00Z",
        "end": "2018-12-01T00:00:00Z",
    }
)


class Feeds:
    """Archives of a world with events, whose clock the test sets."""

    def __init__(self, root: Path, *, simulated: bool = True, events: ScriptedEvents | None = None) -> None:
        for name in ("items", "blobs"):
            (root / name).mkdir(parents=True)
        document: dict[str, Any] = {
            "format": FORMAT,
            "simulated": simulated,
            "order": [],
            "notes": [],
            "digest": "",
        }
        document["area"] = AREA.model_dump(mode="json")
        (root / "world.json").write_text(json.dumps(document))
        self.world = World.open(root)
        self.events = events_of_world(self.world) if events is None else events
        write_events(root, self.events)
        self.archive = Archive([self.world], Ledger(), ServerOptions(clock_start=START, clock_rate=0))

    def after(self, **spans: float) -> datetime:
        """Set the clock to a time after the earthquake."""
        at = START + timedelta(**spans)
        self.archive.clock.change(ClockOrder(at=at))
        return at

    def get(self, host: str, path: str, **headers: str) -> Response:
        client = TestClient(self.archive, base_url=f"https://{host}", raise_server_exceptions=True)
        return client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})
