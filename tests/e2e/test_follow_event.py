"""An event from the ledger to its map by itself: on a real Prefect server and worker, against archives on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from prefect.client.schemas.objects import FlowRun

from pipeline.cube.verify import verify_cube
from pipeline.events.detected_event import DetectedEvent
from pipeline.events.ledger import Entry
from pipeline.sandbox.posing.server import Sandbox
from tests.e2e.conftest import SmallWorld
from tests.e2e.prefect_server import Site, site_before

pytestmark = pytest.mark.slow
EVENT = datetime(2018, 9, 5, 18, 7, 59, tzinfo=UTC)
NAME = "usgs-us2000h8ty"
FOLLOW = "follow-events"


@pytest.fixture(scope="module")
def site(small_world: SmallWorld, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("followed")
    event = DetectedEvent(
        source="usgs",
        id="us2000h8ty",
        updated=EVENT,
        kind="earthquake",
        start=EVENT,
        end=EVENT,
        longitude=142.045,
        latitude=42.731,
        magnitude=6.6,
        depth_km=35.0,
        place="Atsuma",
        shaking=(142.03, 42.72, 142.06, 42.742),
    )
    ledger = folder / "data" / "events"
    ledger.mkdir(parents=True)
    entry = Entry.model_validate({"revisions": [event], "decision": {"tier": "build"}})
    (ledger / f"{NAME}.json").write_text(entry.model_dump_json())
    with Sandbox(small_world.root) as archive, site_before(archive, small_world.aoi_dir, folder) as made:
        yield made


def kept(site: Site) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((site.data / "events" / f"{NAME}.json").read_text())
    return found


def schedules(site: Site) -> list[Any]:
    with site.client() as client:
        build = client.read_deployment_by_name("build-datacube/build-datacube")
        return [each for each in client.read_deployment_schedules(build.id) if each.slug == f"event-{NAME}"]


def built(site: Site) -> FlowRun:
    (run,) = site.prefect.runs("build-datacube")
    return site.end_of(run.id)


def test_an_event_becomes_area_schedule_cube_and_map_by_itself(site: Site) -> None:
    first = site.run(FOLLOW, at="2018-09-06T08:00:00Z")
    assert first.state is not None and first.state.is_completed(), first.state
    area = (site.data / "areas" / f"{NAME}.yaml").read_text()
    assert "track 46" in area and "taken" in area
    (own,) = schedules(site)
    assert own.active and own.parameters == {"aoi": NAME, "pairs": False}
    assert "event.waiting" in {event["event"] for event in site.events("event.waiting")}
    run = built(site)
    assert run.state is not None and run.state.is_completed(), run.state
    assert (run.parameters["aoi"], run.parameters["pairs"]) == (NAME, False)
    assert verify_cube(site.version(NAME, 1)).sound
    end = site.chained(site.version(NAME, 1))
    assert end.state is not None and end.state.name == "DetectorOnly", end.state


def test_a_later_look_says_where_it_stands_and_reads_nothing_again(site: Site) -> None:
    site.archive.reset()
    again = site.run(FOLLOW, at="2018-09-06T09:00:00Z")
    assert again.state is not None and again.state.is_completed(), again.state
    document = kept(site)
    assert document["state"] == "mapped" and document["map_status"] in ("first", "provisional", "confirmed")
    (row,) = json.loads(site.artifact("events"))
    assert row["event"] == NAME and "waiting for" in row and row["areas"] == NAME
    build = site.run("build-datacube", aoi=NAME, pairs=False)
    assert build.state is not None and build.state.name == "Unchanged"
    assert not [one for one in site.archive.log if one.method == "GET" and one.path.endswith(".tiff")]


def test_setting_up_again_keeps_its_schedule_and_a_dismissal_removes_it(site: Site) -> None:
    (before,) = schedules(site)
    answer = site.user("python", "-m", "flows.setup")
    assert answer.returncode == 0 and f"event-{NAME}" in answer.stdout
    (after,) = schedules(site)
    assert (after.id, after.active, after.parameters) == (before.id, True, before.parameters)
    path = site.data / "events" / f"{NAME}.json"
    path.write_text(json.dumps(kept(site) | {"state": "dismissed"}))
    run = site.run(FOLLOW, at="2018-09-06T10:00:00Z")
    assert run.state is not None and run.state.name == "Unchanged", run.state
    assert schedules(site) == [] and (site.data / "areas" / f"{NAME}.yaml").is_file()
    assert verify_cube(site.version(NAME, 1)).sound
