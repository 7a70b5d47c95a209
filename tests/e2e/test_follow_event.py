"""An event from the feed to its release, and what follows, by a real Prefect server and worker before archives.

Where PostgreSQL is installed, Prefect keeps what it knows in it, as in docker/compose.yaml; elsewhere in a file.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.schemas.objects import FlowRun

from flows.event_play import EventPlay, Step
from flows.serving.prefect_file import PROJECT
from pipeline.areas.area import AreaOfInterest
from pipeline.cube.verify import verify_cube
from pipeline.sandbox.posing.server import Sandbox
from pipeline.sandbox.posing.server_options import ServerOptions
from pipeline.sandbox.seismicity.scripted_events import write_events
from pipeline.sandbox.seismicity.world_events import events_of_world
from pipeline.sandbox.world import World
from pipeline.settings import settings
from tests.e2e.conftest import SmallWorld
from tests.e2e.postgresql import ask, database, programs
from tests.e2e.prefect_server import Site, site_before

pytestmark = pytest.mark.slow
NAME = "usgs-us6000sand"
FOLLOW = "follow-events"
REQUIRED = "SLIDECUBE_TESTS_POSTGRESQL"
"""set where the database was installed for these tests, which then must use it"""


@dataclass
class Stage:
    """Everything around the event, and the instant at which it is looked at first."""

    site: Site
    play: EventPlay
    at: datetime

    def later(self, hours: int) -> str:
        return (self.at + timedelta(hours=hours)).isoformat()


@pytest.fixture(scope="module")
def variables() -> Iterator[dict[str, str]]:
    """Those of PostgreSQL; none where it is not installed."""
    found = programs()
    if found is None:
        if os.environ.get(REQUIRED):
            pytest.fail(f"{REQUIRED} is set, and there is no PostgreSQL")
        yield {}
        return
    with database(found) as made:
        yield made


@pytest.fixture(scope="module")
def postgresql(variables: dict[str, str]) -> dict[str, str]:
    if not variables:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    return variables


@pytest.fixture(scope="module")
def stage(
    variables: dict[str, str], small_world: SmallWorld, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """The small world with an earthquake in the feeds, a day later; server and worker of their own before it."""
    folder = tmp_path_factory.mktemp("followed")
    world = World.open(small_world.without(folder / "world"))
    write_events(world.root, events_of_world(world, second=False, others=False))
    start = AreaOfInterest.model_validate(world.document["area"]).event.start
    with (
        Sandbox(world.root, options=ServerOptions(clock_rate=0)) as archive,
        site_before(archive, small_world.aoi_dir, folder, **variables) as site,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("SLIDECUBE_DATA_DIR", str(site.data))
        settings.cache_clear()
        yield Stage(site, EventPlay(world, archive, site.prefect), start + timedelta(days=1, hours=2))
    settings.cache_clear()


@pytest.fixture(scope="module")
def site(stage: Stage) -> Site:
    return stage.site


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


def count(variables: dict[str, str], query: str) -> int:
    """The number of rows that a query finds."""
    port = int(variables["PREFECT_SERVER_DATABASE_PORT"])
    word = variables["PREFECT_SERVER_DATABASE_PASSWORD"]
    return int(asyncio.run(ask(port, word, f"select count(*) from {query}")))


def test_an_event_in_the_feed_becomes_area_schedule_cube_and_release_by_itself(stage: Stage) -> None:
    site = stage.site
    (release,) = stage.play.step(Step(stage.at, "the landslide alert"))
    area = (site.data / "areas" / f"{NAME}.yaml").read_text()
    assert "track 46" in area and "taken" in area
    (own,) = schedules(site)
    assert own.active and own.parameters == {"aoi": NAME, "pairs": False}
    run = built(site)
    assert run.state is not None and run.state.is_completed(), run.state
    assert (run.parameters["aoi"], run.parameters["pairs"]) == (NAME, False)
    assert verify_cube(site.version(NAME, 1)).sound
    end = site.chained(site.version(NAME, 1))
    assert end.state is not None and end.state.name == "DetectorOnly", end.state
    assert (release.area, release.version, release.after) == (NAME, 1, 2)
    assert (release.score.average_precision or 0.0) > 2 * release.score.prevalence
    assert json.loads((release.folder / "report.json").read_text())["map"]["kind"] == "detector"
    (ready,) = site.events("release.ready")
    assert ready["resource"]["release.map"] == str(release.folder)
    with site.client() as client:
        assert not any(limit.active_slots for limit in client.read_global_concurrency_limits())


def test_all_that_prefect_keeps_of_it_is_in_postgresql(site: Site, postgresql: dict[str, str]) -> None:
    assert count(postgresql, "flow_run where state_type = 'COMPLETED'") >= 5
    told = "'event.detected', 'datacube.ready', 'release.ready'"
    assert count(postgresql, f"events where event in ({told})") == 3
    assert not list(Path(site.prefect.home).glob("*.db"))


def test_a_later_look_says_where_it_stands_and_reads_nothing_again(stage: Stage) -> None:
    site = stage.site
    site.archive.reset()
    again = site.run(FOLLOW, at=stage.later(1))
    assert again.state is not None and again.state.is_completed(), again.state
    assert "event.waiting" in {event["event"] for event in site.events("event.waiting")}
    document = kept(site)
    assert document["state"] == "mapped" and document["map_status"] in ("first", "provisional", "confirmed")
    (row,) = json.loads(site.artifact("events"))
    assert row["event"] == NAME and "waiting for" in row and row["areas"] == NAME
    build = site.run("build-datacube", aoi=NAME, pairs=False)
    assert build.state is not None and build.state.name == "Unchanged"
    assert not [one for one in site.archive.log if one.method == "GET" and one.path.endswith(".tiff")]


def test_setting_up_again_keeps_its_schedule_and_a_dismissal_removes_it(stage: Stage) -> None:
    site = stage.site
    (before,) = schedules(site)
    answer = site.user("python", "-m", "flows.setup")
    assert answer.returncode == 0 and f"event-{NAME}" in answer.stdout
    (after,) = schedules(site)
    assert (after.id, after.active, after.parameters) == (before.id, True, before.parameters)
    path = site.data / "events" / f"{NAME}.json"
    path.write_text(json.dumps(kept(site) | {"state": "dismissed"}))
    run = site.run(FOLLOW, at=stage.later(2))
    assert run.state is not None and run.state.name == "Unchanged", run.state
    assert schedules(site) == [] and (site.data / "areas" / f"{NAME}.yaml").is_file()
    assert verify_cube(site.version(NAME, 1)).sound


def test_the_variables_are_those_of_the_shipped_services(postgresql: dict[str, str]) -> None:
    compose = yaml.safe_load((PROJECT / "docker" / "compose.yaml").read_text(encoding="utf-8"))
    theirs = compose["services"]["server"]["environment"]
    assert {name for name in theirs if name.startswith("PREFECT_SERVER_DATABASE_")} == set(postgresql)
    assert theirs["PREFECT_SERVER_DATABASE_DRIVER"] == postgresql["PREFECT_SERVER_DATABASE_DRIVER"]
