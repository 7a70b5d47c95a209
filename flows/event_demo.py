"""`slidecube demo --event`: the play of an event on a server and a worker of its own, with a table of what came out."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from flows.demo_folder import claim
from flows.event_play import EventPlay, Release, steps_of, table_of
from flows.serving.local_server import LocalPrefect
from flows.serving.terminal import Stages
from pipeline.errors import IncompleteError, SlidecubeError
from pipeline.events import ledger
from pipeline.events.following.area_store import StoredArea
from pipeline.files import write_whole
from pipeline.lock import LockedError, held
from pipeline.sandbox.play_world import make_play
from pipeline.sandbox.posing.server import Sandbox
from pipeline.sandbox.posing.server_options import ServerOptions
from pipeline.settings import settings

REPORT = "event-play.md"
OF_ONE_RUN = ("prefect", "logs")
LAST_LOOK = timedelta(hours=1)
"""From the last step to the look that writes its map into the event's history."""
OF_AN_AREA = ("cubes", "maps", "models", "insar")


@dataclass(frozen=True)
class EventDemoResult:
    """What the play made."""

    releases: tuple[Release, ...]
    report: Path
    logs: Path

    def lines(self) -> list[tuple[str, str]]:
        """(name, text) of what a person opens first."""
        last = self.releases[-1]
        score = last.score.average_precision
        return [
            ("releases", f"{len(self.releases)}, listed in {self.report}"),
            ("page", f"{last.folder / 'index.html'}  (opens in a browser without a network)"),
            (
                "score",
                f"average precision of the last {'none' if score is None else f'{score:.3f}'} at a prevalence of "
                f"{last.score.prevalence:.3f}. Simulated data: it says nothing of real landslides.",
            ),
            ("events", "SLIDECUBE_DATA_DIR=... slidecube event list --all shows the ledger of this folder"),
            ("logs", f"{self.logs}"),
        ]


def run_event_demo(root: Path, stages: Stages) -> EventDemoResult:
    """Follow a simulated event under `root`, which is the data folder of this process's settings; always anew.

    Only what an earlier play made is removed.

    Raises:
        SlidecubeError: the folder holds what no demo made, another demo is running in it, or a step failed.
    """
    claim(root)
    try:
        with held(root / ".demo.lock", wait=False):
            remove_play(root)
            return _run(root, stages)
    except LockedError:
        raise SlidecubeError(
            f"Another demo is running in {root}.", "Wait for it, or name another folder with --folder."
        ) from None


def remove_play(root: Path) -> None:
    """Remove what an earlier play made: server, logs, and of each simulated event its entry, areas, cubes and maps."""
    for name in OF_ONE_RUN:
        shutil.rmtree(root / name, ignore_errors=True)
    for name in ledger.names():
        entry = ledger.read(name)
        if not entry.event.simulated:
            continue
        for area in entry.areas:
            for folder in OF_AN_AREA:
                shutil.rmtree(root / folder / area.name, ignore_errors=True)
            stored = StoredArea(area.name)
            for path in (stored.path, stored.listed):
                path.unlink(missing_ok=True)
        (ledger.folder() / f"{name}.json").unlink(missing_ok=True)
    shutil.rmtree(ledger.folder() / ".sources", ignore_errors=True)


def _run(root: Path, stages: Stages) -> EventDemoResult:
    stages.begin("Simulating an earthquake and its passes")
    world = make_play(root / "world", progress=lambda what, done, total=None, remark="": stages.note(what))
    steps = steps_of(world)
    with Sandbox(world, options=ServerOptions(clock_start=steps[0].at, clock_rate=0)) as archives:
        environment = {
            **archives.environment,
            "SLIDECUBE_DATA_DIR": str(settings().data_dir.resolve()),
            "SLIDECUBE_SEARCH_INTERVAL_S": "0",
            "OMP_WAIT_POLICY": "PASSIVE",
        }
        stages.begin("Starting a Prefect server and a worker")
        with LocalPrefect(root / "prefect", root / "logs", environment) as prefect:
            play = EventPlay(world, archives, prefect, stages.note)
            for step in steps:
                stages.begin(f"{step.at:%d %b %H:%M} {step.what}")
                play.step(step)
            play.run("follow-events", steps[-1].at + LAST_LOOK)
            stages.begin("Stopping worker, server and archives")
    if not play.releases:
        raise IncompleteError("No map came out.", f"See {root / 'logs'}.")
    return EventDemoResult(tuple(play.releases), _reported(root, play.releases), root / "logs")


def _reported(root: Path, releases: Sequence[Release]) -> Path:
    """Write the table of the releases, and where the time went."""
    lines = ["# Releases of the simulated event", "", table_of(releases), "", "Seconds by flow:", ""]
    for one in releases:
        spent = ", ".join(f"{name} {value:.0f}" for name, value in one.seconds.items())
        lines.append(f"- {one.area} v{one.version}: {spent}")
    write_whole(root / REPORT, "\n".join(lines) + "\n")
    return root / REPORT
