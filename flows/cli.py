"""The commands `slidecube demo` and `slidecube watch`."""

from __future__ import annotations

import json
import os
import signal
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click
from rich.console import Console

from pipeline.command_group import SuggestingGroup
from pipeline.console import as_json, plain_console, plain_table, reports_errors
from pipeline.errors import IncompleteError
from pipeline.events.option_types import INSTANT
from pipeline.settings import settings

if TYPE_CHECKING:  # imported when a command runs
    from flows.demo import DemoResult
    from flows.event_demo import EventDemoResult
    from flows.serving.terminal import Stages


def _as_interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _demonstrated(folder: Path, stages: Stages, fresh: bool) -> DemoResult:
    from flows.demo import run_demo

    return run_demo(folder, stages, fresh=fresh)


def _followed(folder: Path, stages: Stages) -> EventDemoResult:
    from flows.event_demo import run_event_demo

    return run_event_demo(folder, stages)


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("data/demo"),
    show_default=True,
    help="Folder of the simulated world, the cube, the model, the map and the logs.",
)
@click.option("--fresh", is_flag=True, help="Remove the results of an earlier demo in this folder first.")
@click.option(
    "--event",
    is_flag=True,
    help="Follow a simulated event instead, from the feeds to its last pass; always anew, in the subfolder event.",
)
@reports_errors
def demo(folder: Path, fresh: bool, event: bool) -> None:
    """Run the whole chain on a simulated earthquake, through the real flows.

    Simulates an event, serves it as the archives would, starts a Prefect server and a worker, runs
    `prefect deployment run build-datacube --param aoi=sandbox`, waits for the model and the map that follow, and
    stops what it started. A second run uses the results of the first one.
    """
    console = Console()
    folder = folder / "event" if event else folder  # so that it shares nothing with the other demo
    # the flows have this folder as their data folder, and this process reads the same one
    os.environ["SLIDECUBE_DATA_DIR"] = str(folder.resolve())
    settings.cache_clear()
    signal.signal(signal.SIGTERM, _as_interrupt)

    from flows.serving.terminal import Stages

    with Stages(console) as stages:
        result = (
            _followed(folder.resolve(), stages) if event else _demonstrated(folder.resolve(), stages, fresh)
        )
    console.print()
    for name, text in result.lines():
        console.print(f"{name:<8}", end=" ", style="bold", markup=False)
        console.print(text, markup=False, highlight=False, soft_wrap=True)


@click.group(cls=SuggestingGroup)
def watch() -> None:
    """Keep watch for events: the schedule on the Prefect server, or one look now."""


def _turn(*, active: bool, dry_run: bool, json_: bool) -> None:
    from flows.serving.schedules import is_active, of_watch, turn
    from flows.serving.server_client import server_client

    rows = []
    with server_client() as client:
        for name, slug in of_watch():
            changes = is_active(client, name, slug) != active
            if changes and not dry_run:
                turn(client, name, slug, active=active)
            rows.append(
                {
                    "deployment": name,
                    "schedule": slug,
                    "active": active,
                    "changed": changes,
                    "dry_run": dry_run,
                }
            )
            if not json_:
                click.echo(f"{name}: schedule {slug} {_turned(active, changes, dry_run)}")
    if json_:
        click.echo(json.dumps(rows, indent=1))


def _turned(active: bool, changes: bool, dry_run: bool) -> str:
    word = "on" if active else "off"
    if not changes:
        return f"is {word} already"
    return f"{'would be' if dry_run else 'is'} turned {word}"


dry_run_ = click.option("--dry-run", is_flag=True, help="Print what would change, and change nothing.")


@watch.command()
@dry_run_
@as_json
@reports_errors
def on(dry_run: bool, json_: bool) -> None:
    """Turn the watch on: a look every 15 minutes, by the server of PREFECT_API_URL and its worker."""
    _turn(active=True, dry_run=dry_run, json_=json_)


@watch.command()
@dry_run_
@as_json
@reports_errors
def off(dry_run: bool, json_: bool) -> None:
    """Turn the watch off; events that are open stay so."""
    _turn(active=False, dry_run=dry_run, json_=json_)


@watch.command()
@click.option("--at", type=INSTANT, help="The instant that counts as now, for replays; else the clock's.")
@dry_run_
@as_json
@reports_errors
def once(at: datetime | None, dry_run: bool, json_: bool) -> None:
    """Look at the sources once, without a Prefect server, and list what changed.

    The exit status is 6 where a source failed; what the others stated is kept.
    """
    from pipeline.events.watching import watch as look_once

    report = look_once(at, dry_run=dry_run)
    if json_:
        click.echo(json.dumps(report.model_dump(mode="json"), indent=1))
    else:
        console = plain_console()
        for source in report.sources:
            console.print(f"{source.title}: {source.said}")
        table = plain_table("event", "what", "tier", "history", wrapped=("event", "history"))
        for change in report.changes:
            table.add_row(change.name, change.what, change.tier, change.words)
        console.print(table if report.changes else "No event changed.")
    if report.failures:
        # the reasons stand above, but for those of the ledger
        unseen = [source.title for source in report.sources if source.failures]
        words = f"{' and '.join(unseen)} could not be read whole" if unseen else "Not all was read"
        raise IncompleteError(f"{words}; the next look reads it again.", " ".join(report.damaged))
