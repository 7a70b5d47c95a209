"""The commands `status` and `clean`. Heavy modules are imported when a command runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.console import as_json, plain_console, plain_table, readable_size, reports_errors
from pipeline.errors import number_of

if TYPE_CHECKING:
    from rich.console import Console

    from model.holdings.clean import CleanReport
    from model.holdings.status import Status

KIND_NAMES = ("versions", "catalogues", "slc", "worlds", "scratch", "maps", "bundles")
LONGEST_LINE = 400
"""characters of a reason; --json has all"""


@click.command()
@as_json
@reports_errors
def status(json_: bool) -> None:
    """Show events, areas, versions, maps, what failed, and the disk.

    What is damaged is named, and the exit status is 0 all the same: `slidecube verify` checks a cube.
    """
    from model.holdings.status import status as state_of

    found = state_of()
    if json_:
        click.echo(json.dumps(found.model_dump(mode="json"), indent=1))
        return
    console = plain_console()
    _print_events(console, found)
    _print_areas(console, found)
    _print_maps(console, found)
    for area in found.areas:
        for title, lines in (("missing", area.missing), ("failed", area.refused)):
            for line in lines:
                console.print(f"{title}: {area.name}: {line[:LONGEST_LINE]}")
    for line in found.problems:
        console.print(f"damaged: {line[:LONGEST_LINE]}")
    sizes = ", ".join(f"{one.kind} {readable_size(one.size_bytes)}" for one in found.disk) or "nothing"
    free = "" if found.free_bytes is None else f"; free {readable_size(found.free_bytes)}"
    console.print(f"{found.data_dir}: {sizes}{free}")


def _print_events(console: Console, found: Status) -> None:
    if not found.events:
        console.print("No events. `slidecube event add` adds one.")
        return
    table = plain_table("event", "M", "state", "next", wrapped=("event", "state", "next"))
    for one in found.events:
        state = (
            one.state + (f", {one.map_status}" if one.map_status else "") + (", paused" if one.paused else "")
        )
        magnitude = "" if one.magnitude is None else f"{one.magnitude:.1f}"
        table.add_row(f"{one.name} {one.start:%Y-%m-%d}", magnitude, state, one.next_pass)
    console.print(table)
    for one in found.events:
        for words in one.missing:
            console.print(f"missing: {one.name}: {words[:LONGEST_LINE]}")


def _print_areas(console: Console, found: Status) -> None:
    if not found.areas:
        console.print("No cubes and no maps. `slidecube build AREA` builds a cube.")
        return
    table = plain_table("area", "cube", "passes", "bundles", "maps", "verdicts", wrapped=("area",))
    for one in found.areas:
        version = "-" if one.version is None else f"v{one.version} of {len(one.versions)}"
        passes = "-" if one.passes is None else str(one.passes)
        table.add_row(one.name, version, passes, str(len(one.bundles)), str(len(one.maps)), str(one.verdicts))
    console.print(table)


def _print_maps(console: Console, found: Status) -> None:
    rows = [(area.name, one) for area in found.areas for one in area.maps]
    if not rows:
        return
    table = plain_table("map", "polygons", "km²", "review", "written", wrapped=("map", "review"))
    for area, one in rows:
        remarks = [
            one.review,
            *(["edited by hand"] if one.edited else []),
            *(["SIMULATED"] if one.simulated else []),
        ]
        km2 = "-" if one.mapped_km2 is None else f"{one.mapped_km2:.3f}"
        name = f"{area}/{one.name}{' (latest)' if one.newest else ''}"
        polygons = "-" if one.polygons is None else str(one.polygons)
        table.add_row(name, polygons, km2, ", ".join(remarks), f"{one.written:%Y-%m-%d}")
    console.print(table)


@click.command()
@click.argument("kinds", nargs=-1, type=click.Choice(KIND_NAMES), metavar="[KIND]...")
@click.option(
    "--keep-versions",
    type=click.IntRange(1),
    default=2,
    show_default=True,
    help="Newest versions of a cube that stay.",
)
@click.option(
    "--older-than",
    type=click.FloatRange(0),
    default=30.0,
    show_default=True,
    metavar="DAYS",
    help="Of what is no version, only what did not change for so long.",
)
@click.option("--yes", is_flag=True, help="Remove it. Without this, nothing is removed.")
@as_json
@reports_errors
def clean(kinds: tuple[str, ...], keep_versions: int, older_than: float, yes: bool, json_: bool) -> None:
    """List what may go, with sizes and reasons; with --yes remove it.

    KIND is one or more of versions, catalogues, slc (data of interferometric pairs), worlds (simulated), scratch (what
    killed runs left); without KIND all of these. maps and bundles of old versions go only where they are named, and
    never the newest map of an area, nor one edited by hand. Verdicts, labels and events always stay.
    """
    from model.holdings.clean import BY_DEFAULT, CleanPolicy
    from model.holdings.clean import clean as clean_up

    policy = CleanPolicy.model_validate(
        {"kinds": kinds or BY_DEFAULT, "keep_versions": keep_versions, "older_than_days": older_than}
    )
    report = clean_up(policy, really=yes)
    if json_:
        plain = report.model_dump(mode="json") | {"size_bytes": report.size_bytes}
        click.echo(json.dumps(plain, indent=1))
        return
    _print_clean(report)


def _print_clean(report: CleanReport) -> None:
    from pipeline.settings import settings

    console, data = plain_console(), settings().data_dir
    if report.items:
        table = plain_table("kind", "size", "what", "why", wrapped=("what", "why"))
        for item in report.items:
            table.add_row(item.kind, readable_size(item.size_bytes), _below(item.path, data), item.why)
        console.print(table)
    for line in report.left:
        console.print(f"stays: {line}")
    size = f"{number_of(len(report.items), 'thing')}, {readable_size(report.size_bytes)}"
    if report.removed:
        console.print(f"Removed: {size}.")
    elif report.items:
        console.print(f"Nothing was removed. With --yes: {size}.")
    else:
        console.print("There is nothing to remove.")


def _below(path: Path, data: Path) -> str:
    return str(path.relative_to(data)) if path.is_relative_to(data) else str(path)
