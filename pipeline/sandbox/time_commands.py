"""`slidecube sandbox timetable | events | catalogue | play | clock`: what is published when, what feeds state."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import click
import requests
from pydantic import ValidationError

from pipeline.files import write_whole
from pipeline.sandbox.earth.parameters import SandboxError
from pipeline.sandbox.play_world import make_play
from pipeline.sandbox.posing.admin_host import ADMIN_HOST
from pipeline.sandbox.publication.sandbox_clock import ClockOrder, ClockState
from pipeline.sandbox.publication.timetable_plan import TimetablePlan, usual_troubles, write_timetable
from pipeline.sandbox.seismicity.scripted_events import write_events
from pipeline.sandbox.seismicity.world_events import events_of_world
from pipeline.sandbox.seismicity.year_catalogue import year_catalogue
from pipeline.sandbox.world import World

_WORLD = click.argument("world", type=click.Path(exists=True, file_okay=False, path_type=Path))
_SEED = click.option("--seed", type=click.IntRange(0), default=1, show_default=True)


@click.command()
@_WORLD
@_SEED
@click.option(
    "--troubles/--no-troubles",
    default=True,
    show_default=True,
    help="Of the passes after the event, one is reprocessed, one late, one missing, one duplicated.",
)
@click.option(
    "--plan", type=click.File("r", encoding="utf-8"), help="JSON file with the delays and passes instead."
)
def timetable(world: Path, seed: int, troubles: bool, plan: TextIO | None) -> None:
    """Draw when the archives publish what of WORLD; `slidecube sandbox serve --at` then shows it over time."""
    opened = World.open(world)
    if plan is not None:
        chosen = _plan(plan.read())
    else:
        chosen = usual_troubles(opened, seed) if troubles else TimetablePlan(seed=seed)
    table = write_timetable(opened, chosen)
    for one in table.products:
        if one.remark:
            click.echo(f"{one.id}: {one.remark}")
    published = [one for one in table.products if one.published is not None]
    click.echo(f"{len(table.products)} products, {len(published)} of them published at some time")


@click.command()
@_WORLD
@_SEED
@click.option("--second/--no-second", default=True, show_default=True, help="A second event that overlaps.")
@click.option(
    "--others/--no-others", default=True, show_default=True, help="One that is retracted, and a deep one."
)
def events(world: Path, seed: int, second: bool, others: bool) -> None:
    """Write the revisions of WORLD's earthquake, which the feeds of the USGS and of GDACS then state."""
    opened = World.open(world)
    found = events_of_world(opened, seed, second=second, others=others)
    write_events(opened.root, found)
    for event in found.events:
        first, last = event.revisions[0], event.revisions[-1]
        click.echo(
            f"{event.id}: M {first.magnitude} at {first.at:%Y-%m-%d %H:%M}, {len(event.revisions)} revisions, "
            f"the last M {last.magnitude} ({last.status})"
        )


@click.command()
@click.option("--year", type=click.IntRange(1970, 2100), required=True)
@_SEED
@click.option("--events", "number", type=click.IntRange(1, 100_000), help="Their number; default: some 1500.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="GeoJSON file.")
def catalogue(year: int, seed: int, number: int | None, out: Path) -> None:
    """Draw a year of earthquakes of M >= 5 in the form of the USGS's catalogue, for `slidecube event replay`."""
    found = year_catalogue(year, seed, number)
    write_whole(out, json.dumps(found, separators=(",", ":"), ensure_ascii=False))
    large = sum(one["properties"]["mag"] >= 6 for one in found["features"])
    click.echo(f"{out}: {len(found['features'])} events, {large} of M >= 6, simulated")


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the world.")
@_SEED
def play(out: Path, seed: int) -> None:
    """Make a small world for following an event: 3 km, two tracks, 10 passes before and 4 after, troubles, feeds."""
    world = make_play(out, seed)
    start = world.document["area"]["event"]["start"]
    click.echo(f"{world.root}: {len(world.document['passes'])} passes; the earthquake is at {start}")
    click.echo(f"slidecube sandbox serve {world.root} --at {start} --rate 600")


@click.command()
@click.option(
    "--at",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"]),
    help="Set it to this instant, in UTC.",
)
@click.option("--advance", "hours", type=float, help="Move it on by so many hours.")
@click.option(
    "--rate", type=click.FloatRange(0, 1e7), help="Seconds of the clock in a real one; 0: it stands."
)
def clock(at: datetime | None, hours: float | None, rate: float | None) -> None:
    """Show or set the clock of the sandbox that the shell's variables lead to (of `slidecube sandbox serve`)."""
    if at is not None and hours is not None:
        raise click.UsageError("--at excludes --advance.")
    order = ClockOrder(
        at=at and at.replace(tzinfo=UTC), advance_s=None if hours is None else hours * 3600, rate=rate
    )
    asked = order.model_dump(mode="json", exclude_none=True)
    url = f"https://{ADMIN_HOST}/clock"
    try:
        answer = requests.post(url, json=asked, timeout=30) if asked else requests.get(url, timeout=30)
        answer.raise_for_status()
        state = ClockState.model_validate(answer.json())
    except (requests.RequestException, ValueError) as error:
        proxy = "the variables lead elsewhere" if os.environ.get("HTTPS_PROXY") else "HTTPS_PROXY is not set"
        raise SandboxError(
            f"No sandbox answers ({proxy}; {type(error).__name__}).",
            "Source the exports that `slidecube sandbox serve` printed.",
        ) from error
    click.echo(
        f"{state.at:%Y-%m-%dT%H:%M:%SZ}  ({'real time' if state.real else f'{state.rate:g} s a second'})"
    )


def _plan(text: str) -> TimetablePlan:
    try:
        return TimetablePlan.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise click.BadParameter(
            f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}", param_hint="--plan"
        ) from error
