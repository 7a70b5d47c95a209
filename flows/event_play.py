"""An event from its first report to its last pass, on a simulated world whose clock is moved on from step to step.

Beside the demo the only module that imports the sandbox. The flows run in a worker's processes, as for a real event;
`at` tells them which instant counts as now. Between two steps nothing is published and no revision is stated, so that
the looks that the schedules would make there, each quarter of an hour and each hour, would find nothing new.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun

from flows import chain
from flows.serving.local_server import ON_LOOPBACK, LocalPrefect
from pipeline.areas.area import load_area
from pipeline.build.contents import store_of
from pipeline.cube import addresses
from pipeline.cube.versions import current_version, read_manifest
from pipeline.errors import IncompleteError
from pipeline.events import ledger
from pipeline.events.following.waiting import THIN
from pipeline.sandbox.posing.server import Sandbox
from pipeline.sandbox.publication.timetable import read_timetable
from pipeline.sandbox.seismicity.scripted_events import read_events
from pipeline.sandbox.truth_scores import TruthScore, score_map
from pipeline.sandbox.world import World

STEP_LIMIT_S = 1800.0
SOON_AFTER = timedelta(minutes=5)
"""From a publication or a revision to the step that follows it."""
OF_A_VERSION = ("build-datacube", "train-model", "map-landslides")
FLOWS = ("watch-events", "follow-events", *OF_A_VERSION)
QUIET_S = 4.0
"""So long nothing may be in work before a step counts as over: an event starts the next flow a moment later."""


@dataclass(frozen=True)
class Step:
    """An instant at which something is new, and what it is."""

    at: datetime
    what: str


@dataclass(frozen=True)
class Release:
    """One map that came out of a step, beside the truth."""

    at: datetime
    what: str
    area: str
    version: int
    after: int
    """passes after the event in the cube"""
    score: TruthScore
    folder: Path
    seconds: dict[str, float]
    """of the step, by flow: the time that its runs took, and "all" from the first look to the map"""


@dataclass
class EventPlay:
    """Drives the flows of one Prefect server along the instants of a world."""

    world: World
    archives: Sandbox
    prefect: LocalPrefect
    note: Callable[[str], None] = print
    releases: list[Release] = field(default_factory=list)
    _left: frozenset[UUID] = field(default=frozenset(), init=False)

    def __post_init__(self) -> None:
        self._left = frozenset(run.id for run in self.prefect.runs(*FLOWS))

    def step(self, step: Step) -> list[Release]:
        """Move the clock there, watch, follow, wait for cubes and maps; returns the maps that are new.

        Raises:
            IncompleteError: it took longer than allowed.
        """
        began = time.monotonic()
        self.archives.set_clock(step.at, rate=0)
        known = {run.id for run in self.prefect.runs(*FLOWS)}
        self.note(f"{step.at:%Y-%m-%d %H:%M}  {step.what}")
        self.run("watch-events", step.at)
        self.run("follow-events", step.at)
        self.settle()
        all_s = time.monotonic() - began
        return self._released(step, known, all_s)

    def run(self, flow: str, at: datetime) -> FlowRun:
        """Run a flow at an instant, and wait until it has ended."""
        run_id = self.start(flow, at)
        deadline = time.monotonic() + STEP_LIMIT_S
        with self._client() as client:
            while True:
                run = client.read_flow_run(run_id)
                if run.state is not None and run.state.is_final():
                    self.note(f"    {flow}: {run.state.name}. {run.state.message or ''}"[:400])
                    return run
                self._wait(deadline, flow)

    def start(self, flow: str, at: datetime) -> UUID:
        """Begin a run of a flow's deployment; returns its id."""
        with self._client() as client:
            deployment = client.read_deployment_by_name(f"{flow}/{flow}")
            order = {"at": at.isoformat()}
            return client.create_flow_run_from_deployment(deployment.id, parameters=order).id

    def settle(self) -> None:
        """Wait until no cube, model or map is in work, and none that an event will start is lacking."""
        deadline, quiet_since = time.monotonic() + STEP_LIMIT_S, time.monotonic()
        while time.monotonic() - quiet_since < QUIET_S or (self._lacking() and self._chained()):
            if self.working():
                quiet_since = time.monotonic()
            self._wait(deadline, "cubes and maps of the event")

    def working(self) -> list[FlowRun]:
        """Runs of cubes, models and maps that have not ended, but those that a former server of this database began."""
        runs = self.prefect.runs(*OF_A_VERSION)
        soon = [run for run in runs if run.state is not None and not run.state.is_final()]
        soon = [run for run in soon if run.id not in self._left]
        return [run for run in soon if run.state is None or run.state.name != "Scheduled" or run.start_time]

    def areas(self) -> Iterator[str]:
        """The areas of all events, by name."""
        for name in ledger.names():
            yield from (area.name for area in ledger.read(name).areas)

    def _lacking(self) -> bool:
        """Whether the newest version of an area's cube, with a pass after the event, has neither map nor refusal."""
        for area in self.areas():
            found = addresses.latest_version(area)
            if found is None or not self._after(area):
                continue
            if chain.standing(chain.version_of(found.uri)).lacks:
                return True
        return False

    def _chained(self) -> bool:
        """Whether a build has ended whole, so that its event starts what follows."""
        builds = [run for run in self.prefect.runs(OF_A_VERSION[0]) if run.id not in self._left]
        return any(run.state is not None and run.state.is_completed() for run in builds)

    def _after(self, area: str) -> int:
        """Passes after the event in the newest version."""
        place, number = load_area(area), self._number(area)
        passes = read_manifest(store_of(place), number).timesteps if number is not None else ()
        return sum(one.instant > place.event.end for one in passes)

    def _number(self, area: str) -> int | None:
        return current_version(store_of(load_area(area)))

    def _released(self, step: Step, known: set[UUID], all_s: float) -> list[Release]:
        seconds = {name: round(self._took_s(name, known), 1) for name in FLOWS} | {"all": round(all_s, 1)}
        seen = {(one.area, one.version) for one in self.releases}
        new = []
        for area in self.areas():
            version, number = addresses.latest_version(area), self._number(area)
            if version is None or number is None or (area, number) in seen:
                continue
            folder = chain.standing(chain.version_of(version.uri)).map
            if folder is not None:
                score = score_map(self.world.root, folder)
                new.append(
                    Release(step.at, step.what, area, number, self._after(area), score, folder, seconds)
                )
        self.releases.extend(new)
        for one in new:
            self.note(f"    {line_of(one)}")
        return new

    def _took_s(self, flow: str, known: set[UUID]) -> float:
        """Of the runs of a flow that are not known, all together."""
        runs = [run for run in self.prefect.runs(flow) if run.id not in known]
        return sum(run.total_run_time.total_seconds() for run in runs)

    def _client(self) -> SyncPrefectClient:
        return SyncPrefectClient(self.prefect.api_url, httpx_settings=ON_LOOPBACK)

    def _wait(self, deadline: float, what: str) -> None:
        if time.monotonic() > deadline:
            raise IncompleteError(f"The {what} took longer than {STEP_LIMIT_S / 60:.0f} minutes.")
        self.prefect.check()
        time.sleep(0.5)


def steps_of(world: World) -> list[Step]:
    """The instants of a world at which a revision is stated or a pass after the earthquake is there, ascending.

    A pass counts as there with its last slice.
    """
    events, table = read_events(world.root), read_timetable(world.root)
    found: dict[datetime, str] = {}
    for event in events.events if events else ():
        for number, one in enumerate(event.revisions, start=1):
            found[one.at] = f"{event.id}: revision {number}, M {one.magnitude}, {one.status}"
    first = min(found, default=None)
    passes: dict[str, tuple[datetime, str]] = {}
    for product in table.products if table else ():
        parts = product.id.split("_")
        if first is None or product.published is None or parts[-1] != "rtc" or product.published < first:
            continue
        orbit = parts[6]
        remark = "" if product.replaced else product.remark
        instants = [(f"{orbit} {remark}".strip(), product.published)]
        # nothing is expected then: the look of the day finds it
        instants += [(f"{orbit}, reprocessed", change.at + THIN) for change in product.replaced]
        for key, instant in instants:
            passes[key] = max(passes.get(key, (instant, key)), (instant, key))
    found |= {instant: f"pass of orbit {key}" for instant, key in passes.values()}
    return [Step(instant + SOON_AFTER, what) for instant, what in sorted(found.items())]


def line_of(one: Release) -> str:
    """A release in one line."""
    score = one.score.average_precision
    parts = ", ".join(f"{name} {value:.0f} s" for name, value in one.seconds.items() if value)
    return (
        f"{one.area} v{one.version}: {one.after} passes after; average precision "
        f"{'none' if score is None else f'{score:.3f}'} at a prevalence of {one.score.prevalence:.3f}; {parts}"
    )


def table_of(releases: Sequence[Release]) -> str:
    """All releases as a table in Markdown."""
    head = (
        "| new | area | version | passes after | average precision | s from step to map |\n"
        "|---|---|---|---|---|---|\n"
    )
    rows = [
        f"| {one.at:%d %b %H:%M} {one.what} | {one.area} | {one.version} | {one.after} | "
        f"{one.score.average_precision or 0.0:.3f} | {one.seconds['all']:.0f} |"
        for one in releases
    ]
    return head + "\n".join(rows) + "\n"
