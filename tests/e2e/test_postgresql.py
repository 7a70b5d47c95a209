"""An event from the feed to its release on a Prefect server whose database is PostgreSQL, as in docker/compose.yaml."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import yaml

from flows.event_play import EventPlay, Step
from flows.serving.prefect_file import PROJECT
from pipeline.areas.area import AreaOfInterest
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
EVENT = "usgs-us6000sand"
REQUIRED = "SLIDECUBE_TESTS_POSTGRESQL"
"""set where the database was installed for these tests, which then must run"""


@dataclass
class Stage:
    """Everything around the event, and the instant at which it is looked at."""

    site: Site
    play: EventPlay
    at: datetime


@pytest.fixture(scope="module")
def variables() -> Iterator[dict[str, str]]:
    found = programs()
    if found is None:
        if os.environ.get(REQUIRED):
            pytest.fail(f"{REQUIRED} is set, and there is no PostgreSQL")
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    with database(found) as made:
        yield made


@pytest.fixture(scope="module")
def stage(
    variables: dict[str, str], small_world: SmallWorld, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """The small world with an earthquake in the feeds, a day later; server and worker of their own before it."""
    folder = tmp_path_factory.mktemp("postgresql")
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


def count(variables: dict[str, str], query: str) -> int:
    """The number of rows that a query finds."""
    port = int(variables["PREFECT_SERVER_DATABASE_PORT"])
    word = variables["PREFECT_SERVER_DATABASE_PASSWORD"]
    return int(asyncio.run(ask(port, word, f"select count(*) from {query}")))


def test_an_event_in_the_feed_becomes_a_release(stage: Stage, variables: dict[str, str]) -> None:
    """Watch, area, schedule, cube and map, each by the worker; all that Prefect keeps of it is in PostgreSQL."""
    site = stage.site
    (release,) = stage.play.step(Step(stage.at, "the landslide alert"))
    assert (release.area, release.version, release.after) == (EVENT, 1, 2)
    assert (release.score.average_precision or 0.0) > 2 * release.score.prevalence
    assert json.loads((release.folder / "report.json").read_text())["map"]["kind"] == "detector"
    (ready,) = site.events("release.ready")
    assert ready["resource"]["release.map"] == str(release.folder)
    with site.client() as client:
        assert not any(limit.active_slots for limit in client.read_global_concurrency_limits())
        build = client.read_deployment_by_name("build-datacube/build-datacube")
        assert [one.slug for one in build.schedules if one.slug and EVENT in one.slug] == [f"event-{EVENT}"]
    assert count(variables, "flow_run where state_type = 'COMPLETED'") >= 5
    told = "'event.detected', 'datacube.ready', 'release.ready'"
    assert count(variables, f"events where event in ({told})") == 3
    assert not list(Path(site.prefect.home).glob("*.db"))


def test_the_variables_are_those_of_the_shipped_services(variables: dict[str, str]) -> None:
    compose = yaml.safe_load((PROJECT / "docker" / "compose.yaml").read_text(encoding="utf-8"))
    theirs = compose["services"]["server"]["environment"]
    assert {name for name in theirs if name.startswith("PREFECT_SERVER_DATABASE_")} == set(variables)
    assert theirs["PREFECT_SERVER_DATABASE_DRIVER"] == variables["PREFECT_SERVER_DATABASE_DRIVER"]
