"""The chain on a Prefect server whose database is PostgreSQL, as in docker/compose.yaml."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from flows.serving.prefect_file import PROJECT
from pipeline.sandbox.posing.server import Sandbox
from tests.e2e.conftest import AREA, SmallWorld
from tests.e2e.postgresql import ask, database, programs
from tests.e2e.prefect_server import Site, site_before

pytestmark = pytest.mark.slow
REQUIRED = "SLIDECUBE_TESTS_POSTGRESQL"
"""set where the database was installed for these tests, which then must run"""


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
def site(
    variables: dict[str, str], small_world: SmallWorld, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("postgresql")
    with (
        Sandbox(small_world.root) as archive,
        site_before(archive, small_world.aoi_dir, folder, **variables) as made,
    ):
        yield made


def count(variables: dict[str, str], query: str) -> int:
    """The number of rows that a query finds."""
    port = int(variables["PREFECT_SERVER_DATABASE_PORT"])
    word = variables["PREFECT_SERVER_DATABASE_PASSWORD"]
    return int(asyncio.run(ask(port, word, f"select count(*) from {query}")))


def test_a_build_is_followed_by_its_release(site: Site, variables: dict[str, str]) -> None:
    build = site.run("build-datacube", aoi=AREA)
    assert build.state is not None and build.state.is_completed(), build.state
    end = site.chained(site.version(AREA, 1))
    assert end.state is not None and end.state.name == "DetectorOnly", end.state
    release = (site.data / "maps" / AREA / "latest").resolve()
    assert json.loads((release / "report.json").read_text())["map"]["kind"] == "detector"
    (ready,) = site.events("release.ready")
    assert ready["resource"]["release.map"] == str(release)
    with site.client() as client:
        assert not any(limit.active_slots for limit in client.read_global_concurrency_limits())
    # all of this was in PostgreSQL, and in no file beside it
    assert count(variables, "flow_run where state_type = 'COMPLETED'") >= 2
    assert count(variables, "events where event in ('datacube.ready', 'release.ready')") == 2
    assert not list(Path(site.prefect.home).glob("*.db"))


def test_the_variables_are_those_of_the_shipped_services(variables: dict[str, str]) -> None:
    compose = yaml.safe_load((PROJECT / "docker" / "compose.yaml").read_text(encoding="utf-8"))
    theirs = compose["services"]["server"]["environment"]
    assert {name for name in theirs if name.startswith("PREFECT_SERVER_DATABASE_")} == set(variables)
    assert theirs["PREFECT_SERVER_DATABASE_DRIVER"] == variables["PREFECT_SERVER_DATABASE_DRIVER"]
