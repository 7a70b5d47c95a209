"""The commands `slidecube event ...`: events that are watched, and a person's decisions about them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.command_group import SuggestingGroup
from pipeline.console import as_json, plain_console, plain_table, reports_errors
from pipeline.errors import number_of
from pipeline.events.option_types import INSTANT, PLACE

if TYPE_CHECKING:  # imported when a command runs
    from pipeline.events.detected_event import DetectedEvent
    from pipeline.events.ledger import Entry, Tier

dry_run = click.option("--dry-run", is_flag=True, help="Print what would change, and change nothing.")
Changing = Callable[["Entry", datetime], "Entry"]


@click.group(cls=SuggestingGroup)
def event() -> None:
    """Events that may have caused landslides: what is watched, and what is to be built."""


@event.command("list")
@click.option("--all", "all_", is_flag=True, help="Finished, dismissed and retracted events too.")
@as_json
@reports_errors
def list_(all_: bool, json_: bool) -> None:
    """List the events of the ledger, the highest tier and the newest first."""
    from pipeline.events.ledger import CLOSED, read_all
    from pipeline.events.person_decisions import by_urgency

    entries, damaged = read_all()
    shown = [entry for entry in by_urgency(entries) if all_ or entry.state not in CLOSED]
    if json_:
        click.echo(json.dumps([_summary(entry) for entry in shown], indent=1))
    else:
        table = plain_table("event", "tier", "state", "M", "start (UTC)", "place", wrapped=("event", "place"))
        for entry in shown:
            state = f"{entry.state}, paused" if entry.paused else entry.state
            table.add_row(entry.name, entry.tier, state, *_cells(entry.event))
        plain_console().print(table if shown else "No events." if all_ else "No open events.")
    for line in damaged:
        click.echo(line, err=True)


def _cells(event: DetectedEvent) -> tuple[str, str, str]:
    """Magnitude, start and place of an event for a table."""
    magnitude = "-" if event.magnitude is None else f"{event.magnitude:.1f}"
    return magnitude, f"{event.start:%Y-%m-%d %H:%M}", event.place or "-"


def _summary(entry: Entry) -> dict[str, Any]:
    """An entry without its revisions, with what follows from it."""
    document: dict[str, Any] = entry.model_dump(mode="json", exclude={"revisions", "history"})
    document |= {"name": entry.name, "tier": entry.tier, "open": entry.open}
    return document | {"event": entry.event.model_dump(mode="json"), "revisions": len(entry.revisions)}


@event.command()
@click.argument("name")
@as_json
@reports_errors
def show(name: str, json_: bool) -> None:
    """Show one event: what its source states, what was decided and why, and what became of it."""
    from pipeline.events.person_decisions import named

    entry = named(name)
    if json_:
        shown = _summary(entry) | entry.model_dump(mode="json", include={"revisions", "history"})
        click.echo(json.dumps(shown, indent=1))
        return
    console, one = plain_console(), entry.event
    for label, text in _lines(entry, one):
        console.print(f"{label:<12} {text}", soft_wrap=True)
    console.print()
    for note in entry.history:
        console.print(f"{note.at:%Y-%m-%d %H:%M} {note.words}", soft_wrap=True)


def _lines(entry: Entry, one: DetectedEvent) -> list[tuple[str, str]]:
    size = [] if one.magnitude is None else [f"M {one.magnitude:.1f}"]
    size += [] if one.depth_km is None else [f"{one.depth_km:.0f} km deep"]
    until = "" if one.end == one.start else f" to {one.end:%Y-%m-%d %H:%M:%S}"
    mapped = f"{entry.map_status} map" if entry.map_status else ""
    by = " by a person" if entry.forced else ""
    lines = [
        ("event", f"{entry.name}{' (simulated)' if one.simulated else ''}"),
        ("place", one.place or "-"),
        ("kind", ", ".join([one.kind, *size])),
        ("time (UTC)", f"{one.start:%Y-%m-%d %H:%M:%S}{until}"),
        ("at", f"{one.longitude:.3f}, {one.latitude:.3f} (longitude, latitude)"),
        ("tier", f"{entry.tier}{by}: {'; '.join(entry.decision.reasons)}"),
        ("state", ", ".join(filter(None, [entry.state, "paused" if entry.paused else "", mapped]))),
        ("revision", f"{len(entry.revisions)}, {one.status}, stated {one.updated:%Y-%m-%d %H:%M:%S}"),
    ]  # fmt: skip
    product = one.ground_failure
    if product is not None:
        area = "" if product.hazard_km2 is None else f", {product.hazard_km2:g} km²"
        people = "" if product.population is None else f", {product.population:,.0f} people"
        lines.append(("landslides", f"alert {product.alert or 'none'}{area}{people}"))
    lines += [("also", ", ".join(one.also))] if one.also else []
    lines += [("areas", ", ".join(area.name for area in entry.areas))] if entry.areas else []
    lines += [("margin", f"{entry.margin_km:g} km")] if entry.margin_km else []
    lines += [("waiting for", entry.waiting_for)] if entry.waiting_for else []
    lines += [("next look", f"{entry.next_look:%Y-%m-%d %H:%M} UTC")] if entry.next_look else []
    lines += [("missing", line) for line in entry.missing]
    return [*lines, ("page", one.url)] if one.url else lines


@event.command()
@click.option("--usgs", metavar="ID", help="An earthquake by its id at the USGS, as us2000h8ty.")
@click.option("--at", type=PLACE, help="Place of the event, in degrees.")
@click.option("--when", type=INSTANT, help="Start of the event, as 2024-06-15T03:00:00Z.")
@click.option("--until", type=INSTANT, help="End of the event; without it, it has no duration.")
@click.option(
    "--kind",
    type=click.Choice(["earthquake", "hurricane", "rainfall", "other"]),
    default="rainfall",
    show_default=True,
    help="Kind of the event at --at.",
)
@click.option(
    "--radius-km", type=click.FloatRange(0.1, 500), default=25.0, show_default=True, help="About --at."
)
@click.option("--place", default="", metavar="TEXT", help="Name of the place.")
@click.option(
    "--file",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Events in YAML, JSON or GeoJSON instead: kind, when, until, at or a polygon.",
)
@click.option(
    "--tier",
    type=click.Choice(["watch", "build", "priority"]),
    default="build",
    show_default=True,
    help="What is done.",
)
@dry_run
@as_json
@reports_errors
def add(
    usgs: str | None, at: tuple[float, float] | None, when: datetime | None, until: datetime | None, kind: Any,
    radius_km: float, place: str, file: Path | None, tier: Tier, dry_run: bool, json_: bool,
) -> None:  # fmt: skip
    """Add an event by a person's decision, whatever the rule says; one that is known already is opened.

    Exactly one of --usgs, --at (with --when) and --file states it.
    """
    from pipeline.events import manual_event
    from pipeline.events.feeds.usgs_feed import UsgsFeed
    from pipeline.events.person_decisions import added

    if [usgs, at, file].count(None) != 2:
        raise click.UsageError("Give one of --usgs, --at and --file.")
    now = datetime.now(UTC)
    if usgs is not None:
        events = [UsgsFeed().known_detail(usgs)]
    elif file is not None:
        events = manual_event.events_of_file(file, now)
    elif at is not None and when is not None:
        events = [manual_event.event_at(at, (when, until or when), kind, radius_km, now, place)]
    else:
        raise click.UsageError("--at needs --when.")
    _report(added(events, tier, now, dry_run=dry_run), dry_run, json_)


def _changed(name: str, change: Changing, *, dry_run: bool, json_: bool) -> None:
    """Change an entry by a person's decision, and print what its history then says."""
    from pipeline.events.person_decisions import changed

    _report([changed(name, change, datetime.now(UTC), dry_run=dry_run)], dry_run, json_)


def _report(entries: list[Entry], dry_run: bool, json_: bool) -> None:
    if json_:
        rows = [{**_summary(each), "dry_run": dry_run, "words": each.history[-1].words} for each in entries]
        click.echo(json.dumps(rows, indent=1))
        return
    for entry in entries:
        click.echo(f"{entry.name}: {'would be ' if dry_run else ''}{entry.history[-1].words}")


@event.command()
@click.argument("name")
@click.option("--note", default="", metavar="TEXT", help="Why, for the event's history.")
@dry_run
@as_json
@reports_errors
def dismiss(name: str, note: str, dry_run: bool, json_: bool) -> None:
    """Give an event up: nothing more is built of it, and no revision opens it again."""
    from pipeline.events.feeds.feed_fields import one_line

    words = f"dismissed by a person{f': {one_line(note, 400)}' if note else ''}"
    _changed(
        name,
        lambda entry, now: entry.model_copy(update={"state": "dismissed"}).noted(now, words),
        dry_run=dry_run,
        json_=json_,
    )


@event.command()
@click.argument("name")
@click.option(
    "--km", type=click.FloatRange(0, 500), required=True, help="Margin about the areas; 0 for none."
)
@dry_run
@as_json
@reports_errors
def widen(name: str, km: float, dry_run: bool, json_: bool) -> None:
    """Widen the areas of an event by a margin on every side."""
    _changed(
        name,
        lambda entry, now: entry.model_copy(update={"margin_km": km}).noted(
            now, f"widened to a margin of {km:g} km"
        ),
        dry_run=dry_run,
        json_=json_,
    )


@event.command()
@click.argument("name")
@dry_run
@as_json
@reports_errors
def pause(name: str, dry_run: bool, json_: bool) -> None:
    """Look for no passes of an event until it is resumed."""
    _changed(
        name,
        lambda entry, now: entry.model_copy(update={"paused": True}).noted(now, "paused by a person"),
        dry_run=dry_run,
        json_=json_,
    )


@event.command()
@click.argument("name")
@dry_run
@as_json
@reports_errors
def resume(name: str, dry_run: bool, json_: bool) -> None:
    """Open an event again that was paused, dismissed or retracted."""
    from pipeline.events.person_decisions import reopened

    _changed(
        name,
        lambda entry, now: reopened(entry).noted(now, "resumed by a person"),
        dry_run=dry_run,
        json_=json_,
    )


@event.command()
@click.argument("name")
@click.option(
    "--tier",
    type=click.Choice(["none", "watch", "build", "priority", "rule"]),
    default="build",
    show_default=True,
    help="The tier from now on; `rule`: what the rule says.",
)
@dry_run
@as_json
@reports_errors
def promote(name: str, tier: Any, dry_run: bool, json_: bool) -> None:
    """Decide the tier of an event, whatever the rule says."""
    forced = None if tier == "rule" else tier
    _changed(
        name,
        lambda entry, now: entry.model_copy(update={"forced": forced}).noted(
            now, f"set to {tier} by a person"
        ),
        dry_run=dry_run,
        json_=json_,
    )


@event.command()
@click.argument("catalogue", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--rules", type=click.Path(path_type=Path, dir_okay=False), help="A rule to try; else the one in use."
)
@click.option("--all", "all_", is_flag=True, help="List the events of tier none too.")
@as_json
@reports_errors
def replay(catalogue: Path, rules: Path | None, all_: bool, json_: bool) -> None:
    """List what the rule would have done with the events of CATALOGUE (GeoJSON or CSV of the USGS)."""
    from pipeline.events.catalogue_replay import replay as replayed
    from pipeline.events.triggering_rule import load_rules, rules_path

    path = rules or rules_path()
    found = replayed(catalogue, load_rules(path))
    shown = [each for each in found.events if all_ or each.decision.tier != "none"]
    if json_:
        rows = [each.model_dump(mode="json", exclude_defaults=True) for each in shown]
        click.echo(
            json.dumps(
                {"rules": str(path), "events": len(found.events), "left_out": found.left_out,
                 "days": round(found.days, 2), "counts": found.counts, "listed": rows},
                indent=1,
            )
        )  # fmt: skip
        return
    table = plain_table("event", "tier", "M", "depth", "time (UTC)", "place", wrapped=("event", "place"))
    for each in shown:
        magnitude, start, place = _cells(each.event)
        depth = "-" if each.event.depth_km is None else f"{each.event.depth_km:.0f} km"
        table.add_row(each.event.id, each.decision.tier, magnitude, depth, start, place)
    console = plain_console()
    if shown:
        console.print(table)
    counts = ", ".join(f"{tier} {count}" for tier, count in found.counts.items())
    console.print(
        f"{number_of(len(found.events), 'event')} in {found.days:.0f} days: {counts}.", soft_wrap=True
    )
    if found.left_out:
        console.print(f"{number_of(found.left_out, 'row')} left out: no id, place or time.")
    console.print(f"rule: {path}", soft_wrap=True)
