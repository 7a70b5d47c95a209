"""An event from its first report to its last pass: feeds, area, passes one by one, releases beside the truth.

First step by step in this process, by the functions that the flows call; then by the flows, on a real Prefect server
whose server and worker are killed in the middle.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

import slidecube
from flows.event_play import EventPlay, Step, table_of
from flows.serving.event_schedules import BEGUN
from flows.serving.local_server import LocalPrefect
from pipeline.areas.area import load_area
from pipeline.build.contents import store_of
from pipeline.cube import addresses
from pipeline.cube.manifest import Manifest
from pipeline.cube.versions import current_version, read_manifest
from pipeline.events import ledger
from pipeline.events.following.area_look import Look, looked
from pipeline.events.following.area_making import areas_of
from pipeline.events.watching import watch
from pipeline.sandbox.play_world import BOX, PASSES_BEFORE, make_play
from pipeline.sandbox.posing.server import Sandbox
from pipeline.sandbox.posing.server_options import ServerOptions
from pipeline.sandbox.publication.timetable import Publication, read_timetable
from pipeline.sandbox.seismicity.scripted_events import read_events
from pipeline.sandbox.truth_scores import TruthScore, score_map
from pipeline.sandbox.world import World
from pipeline.settings import settings
from tests.e2e.prefect_server import new_home
from tests.e2e.test_restarts import let_leases_expire

MAIN, SECOND, RETRACTED = "usgs-us6000sand", "usgs-us6000sanf", "usgs-us6000sane"
SOON = timedelta(minutes=5)

pytestmark = pytest.mark.slow


@dataclass
class Stage:
    """A world, the archives before it, and the passes after the earthquake in order of flight."""

    world: World
    archives: Sandbox

    @property
    def start(self) -> datetime:
        return load_area(str(next((self.world.root / "aoi").glob("*.yaml")))).event.start

    @property
    def after(self) -> list[int]:
        return [one["absolute_orbit"] for one in self.world.document["passes"] if one["after"]]

    def products(self, orbit: int) -> list[Publication]:
        table = read_timetable(self.world.root)
        assert table is not None
        return [one for one in table.products if f"_{orbit:06d}_" in one.id and one.id.endswith("_rtc")]

    def published(self, orbit: int) -> datetime:
        """When the last slice of a pass is there; a second item of one comes later."""
        firsts = [one for one in self.products(orbit) if one.remark != "duplicate"]
        return max(one.published for one in firsts if one.published is not None)

    def doubled(self, orbit: int) -> datetime:
        """When a second item of each slice of a pass is there."""
        seconds = [one for one in self.products(orbit) if one.remark == "duplicate"]
        return max(one.published for one in seconds if one.published is not None)

    def go(self, at: datetime) -> datetime:
        return self.archives.set_clock(at, rate=0)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_play(tmp_path_factory.mktemp("event") / "world")


@contextmanager
def staged(world: World, data: Path) -> Iterator[Stage]:
    """The archives of a world, to which this process is directed with a data folder."""
    own = {"DATA_DIR": str(data), "SEARCH_INTERVAL_S": "0", "BACKOFF_S": "0.05"}
    with (
        Sandbox(world, options=ServerOptions(clock_rate=0)) as archives,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in archives.environment.items():
            patch.setenv(name, value)
        for name, value in own.items():
            patch.setenv(f"SLIDECUBE_{name}", value)
        settings.cache_clear()
        yield Stage(world, archives)
    settings.cache_clear()


@pytest.fixture
def stage(world: World, tmp_path: Path) -> Iterator[Stage]:
    with staged(world, tmp_path / "data") as made:
        yield made


@dataclass
class Alerted:
    """What is there once the landslide alert has come, before the first pass after the earthquake."""

    data: Path
    at: datetime
    area: str
    missing: tuple[str, ...]
    """what the build of the stack left out"""


@pytest.fixture(scope="module")
def first_build(world: World, tmp_path_factory: pytest.TempPathFactory) -> Alerted:
    data = tmp_path_factory.mktemp("alerted") / "data"
    with staged(world, data) as stage:
        at = stage.go(stage.start + timedelta(hours=7, minutes=10))
        watch(at)
        (area,) = (one.name for one in areas_of(ledger.read(MAIN), at).areas)
        return Alerted(data, at, area, slidecube.build(area).missing)


@pytest.fixture
def alerted(first_build: Alerted, stage: Stage, tmp_path: Path) -> Alerted:
    """A copy of it as the data folder of the stage, whose clock stands there."""
    shutil.copytree(first_build.data, tmp_path / "data")
    stage.go(first_build.at)
    return replace(first_build, data=tmp_path / "data")


def test_the_feeds_become_one_entry_an_event_however_often_they_are_revised(stage: Stage) -> None:
    events = read_events(stage.world.root)
    assert events is not None
    main = next(one for one in events.events if one.id == "us6000sand")
    tiers = []
    for revision in main.revisions:
        at = stage.go(revision.at + timedelta(minutes=18))
        report = watch(at)
        assert report.failures == ()
        assert watch(at).changes == (), "a second look finds nothing new"
        entry = ledger.read(MAIN)
        tiers.append(entry.tier)
        assert entry.event.magnitude == revision.magnitude
        assert entry.event.simulated
    assert tiers == ["watch", "watch", "watch", "build", "priority"], "the landslide alert comes late"
    assert [one.magnitude for one in main.revisions[:3]] == [5.6, 5.9, 5.8]
    assert any("EQ1550421" in note.words for note in ledger.read(MAIN).history), "merged by GDACS's own id"
    watch(stage.go(stage.start + timedelta(days=3)))
    assert {MAIN, SECOND} <= set(ledger.names())
    open_ones = [name for name in ledger.names() if ledger.read(name).state not in ledger.CLOSED]
    assert not [name for name in open_ones if name.startswith("gdacs-") and "1550302" not in name]
    assert ledger.read(SECOND).open


def test_a_retracted_event_is_said(stage: Stage) -> None:
    events = read_events(stage.world.root)
    assert events is not None
    first, gone = next(one for one in events.events if one.id == "us6000sane").revisions
    watch(stage.go(first.at + SOON))
    assert ledger.read(RETRACTED).tier == "watch"
    watch(stage.go(gone.at + SOON))
    assert ledger.read(RETRACTED).state == "retracted"


def test_the_passes_arrive_one_by_one_and_each_map_stands_beside_the_truth(
    stage: Stage, alerted: Alerted
) -> None:
    reprocessed, late, missing, twice = stage.after[:4]
    area = alerted.area
    simulated = load_area(str(next((stage.world.root / "aoi").glob("*.yaml"))))
    assert load_area(area).footprint.covers(simulated.footprint)
    assert load_area(area).tracks == (46, 68)
    assert load_area(area).bbox == BOX, "the extent that the landslide alert states"

    assert alerted.missing == ("labels: no inventory (the area names none)",)
    manifest = _manifest(area)
    assert _orbits(manifest, after=True) == []
    assert len(_orbits(manifest, after=False)) in {2 * PASSES_BEFORE, 2 * PASSES_BEFORE - 4}
    look = _look(area, alerted.at)
    assert (look.waiting.next is not None, len(look.waiting.came)) == (True, 0)
    assert [one.flown for one in look.account.missing] == [True], (
        "flown two hours after the earthquake, not there yet"
    )

    found: dict[int, TruthScore] = {}
    for orbit in (reprocessed, late, twice):
        stage.go(stage.published(orbit) - SOON)
        before = _orbits(_manifest(area), after=True)
        found[orbit] = _build_and_map(stage, area, stage.published(orbit) + SOON)
        assert _orbits(_manifest(area), after=True) == sorted([*before, orbit])
        look = _look(area, stage.archives.now)
    scores = [found[orbit].average_precision or 0.0 for orbit in (reprocessed, late, twice)]
    assert scores[0] > 3 * found[reprocessed].prevalence
    assert scores[-1] > scores[0], "a map grows with passes"
    assert missing not in _orbits(_manifest(area), after=True)
    lacking = [one for one in look.account.missing if one.flown]
    assert len(lacking) == 1, "ASF lists it, the archive never has it"

    number = current_version(store_of(load_area(area)))
    assert stage.archives.now < stage.doubled(twice)
    stage.go(stage.doubled(twice) + SOON)
    again = slidecube.build(area)
    assert (again.new, again.layers_built) == (False, 0), "a second item of a slice is not read"
    assert current_version(store_of(load_area(area))) == number


def test_a_reprocessed_file_is_taken_and_named(stage: Stage, alerted: Alerted) -> None:
    first, area = stage.after[0], alerted.area
    (change, *_) = (change for one in stage.products(first) for change in one.replaced)
    stage.go(stage.published(first) + SOON)
    slidecube.build(area)
    before = _layers(_manifest(area))
    stage.go(change.at + timedelta(hours=1))
    slidecube.build(area)
    after = _layers(_manifest(area))
    changed = {orbit for orbit, layers in after.items() if before.get(orbit) not in (None, layers)}
    assert changed == {first}
    assert set(before) <= set(after)


def test_the_flows_make_releases_and_a_kill_of_server_and_worker_loses_nothing(
    stage: Stage, alerted: Alerted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The stack before the event is there; server and worker are killed while the first pass after it is built."""
    environment = {
        **stage.archives.environment,
        **{name: value for name, value in os.environ.items() if name.startswith("SLIDECUBE_")},
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    area = alerted.area
    assert len(_orbits(_manifest(area), after=False)) == 16
    first_pass = stage.go(stage.published(stage.after[0]) + SOON)
    local = LocalPrefect(new_home(tmp_path), tmp_path / "logs", environment, user_interface=False)
    with local as prefect:
        play = EventPlay(stage.world, stage.archives, prefect)
        play.run("watch-events", first_pass)
        play.start("follow-events", first_pass)
        _kill_in_the_middle(play, prefect)
    let_leases_expire(tmp_path / "home")
    _let_the_killed_run_be_old(tmp_path / "home")
    again = LocalPrefect(tmp_path / "home", tmp_path / "logs", environment, user_interface=False)
    with again as prefect:
        play = EventPlay(stage.world, stage.archives, prefect)
        play.step(Step(first_pass + timedelta(hours=1), "after the kill"))
        found = play.releases
    with capsys.disabled():
        print("\n" + table_of(found), [one.seconds for one in found])
    (release,) = found
    assert (release.area, release.after) == (area, 1)
    assert (release.score.average_precision or 0.0) > 3 * release.score.prevalence
    assert (release.folder / "index.html").is_file()
    entry = ledger.read(MAIN)
    assert len(entry.areas) == 1, "nothing is made twice"


def _let_the_killed_run_be_old(home: Path) -> None:
    """Put the start of every run into the past, as if the time had passed after which one is no longer just begun.

    The killed one is still running for the server, which is not there now.
    """
    past = datetime.now(UTC) - BEGUN - timedelta(seconds=2)
    with closing(sqlite3.connect(home / "prefect.db")) as file, file:
        order = "update flow_run set start_time = ? where state_type = 'RUNNING'"
        assert file.execute(order, (f"{past:%Y-%m-%d %H:%M:%S.%f}",)).rowcount > 0


def _kill_in_the_middle(play: EventPlay, prefect: LocalPrefect) -> None:
    """Kill server and worker, and every process that they started, once a build of the new pass runs."""
    deadline = time.monotonic() + 300
    while not any(run.state is not None and run.state.is_running() for run in play.working()):
        assert time.monotonic() < deadline, "no build was begun"
        time.sleep(0.2)
    roots = [psutil.Process(child.process.pid) for child in prefect.children]
    processes = [one for root in roots for one in (root, *root.children(recursive=True))]
    for one in processes:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    for child in prefect.children:
        child.process.wait()


def _build_and_map(stage: Stage, area: str, at: datetime) -> TruthScore:
    stage.go(at)
    slidecube.build(area)
    version = addresses.latest_version(area)
    assert version is not None
    return score_map(stage.world.root, slidecube.map(version.uri).record.path)


def _manifest(area: str) -> Manifest:
    store = store_of(load_area(area))
    number = current_version(store)
    assert number is not None
    return read_manifest(store, number)


def _look(area: str, at: datetime) -> Look:
    return looked(load_area(area), at, ask_asf=True)


def _orbits(manifest: Manifest, *, after: bool) -> list[int]:
    """Absolute orbits of the cube's passes before or after the event."""
    end = manifest.event.end
    return sorted(one.absolute_orbit for one in manifest.timesteps if (one.instant > end) == after)


def _layers(manifest: Manifest) -> dict[int, dict[str, str]]:
    return {one.absolute_orbit: one.layers for one in manifest.timesteps}
