"""The command `slidecube` and the commands of this room: areas, plan, build, verify, doctor.

Exit status: 0 done, 1 unexpected, 2 a wrong area or setting, 3 an archive failed, 4 a source or the grid is unusable,
5 the cube is damaged or absent, 6 done in part (what is missing is named), 7 no model or map is possible,
8 a pair could not be processed, 9 a file cannot be written on this machine.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import click

from pipeline.console import as_json, plain_console, plain_table, progress_bars, reports_errors
from pipeline.errors import IncompleteError, SlidecubeError, number_of
from pipeline.registered_commands import Rooms


@click.group(cls=Rooms, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="slidecube")
@click.option("-v", "--verbose", is_flag=True, help="Print more messages on standard error.")
def main(verbose: bool) -> None:
    """From a Sentinel-1 archive to a landslide cube, and from the cube to a landslide map."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )


@click.command()
@as_json
@reports_errors
def areas(json_: bool) -> None:
    """List the areas that can be named."""
    from pipeline.areas.area import area_files, load_area
    from pipeline.grid import Grid

    rows: list[dict[str, Any]] = []
    for name, path in area_files().items():
        try:
            area = load_area(path)
            grid = Grid.of_area(area)
            rows.append(
                {
                    "name": name, "title": area.title, "event": area.event.start.isoformat(),
                    "km2": round(area.area_km2, 1), "pixels": [grid.height, grid.width],
                    "resolution_m": area.resolution_m, "epsg": area.utm_epsg, "file": str(path), "error": None,
                }
            )  # fmt: skip
        except SlidecubeError as error:
            rows.append({"name": name, "file": str(path), "error": str(error)})
    if json_:
        click.echo(json.dumps(rows, indent=1))
        return
    from rich.text import Text

    table = plain_table("area", "event (UTC)", "km²", "grid (y x x)", "title", wrapped=("area", "title"))
    for row in rows:
        if row["error"]:
            table.add_row(row["name"], "-", "-", "-", Text(row["error"], style="red"))
        else:
            height, width = row["pixels"]
            size = f"{height} x {width} of {row['resolution_m']:g} m"
            table.add_row(row["name"], row["event"][:16], f"{row['km2']:,.0f}", size, row["title"])
    plain_console().print(table)


@click.command()
@click.argument("area")
@click.option(
    "--catalogue", type=click.Path(path_type=Path), help="Replay this saved search instead of searching."
)
@click.option("--source", help="Only the cube of this source of backscatter, such as opera-rtc-s1.")
@as_json
@reports_errors
def plan(area: str, catalogue: Path | None, source: str | None, json_: bool) -> None:
    """Print what a build of AREA would do, and change nothing but the saved search and a copy of the inventory.

    The inventory and the headers of elevation tiles are opened, so that a mistyped path or a missing layer shows before
    any radar is read; then the exit status is 6. Where ASF lists passes of OPERA RTC-S1 that the area's own source
    lacks, a cube of them is proposed.
    """
    from pipeline.areas.area import load_area
    from pipeline.build.plan_report import plan_rows, print_plan

    first, *others = [plan_rows(one, catalogue) for one in load_area(area).cubes(source)]
    if json_:
        click.echo(json.dumps(first | ({"beside": others} if others else {}), indent=1))
    else:
        for rows in (first, *others):
            print_plan(rows)
    problems = [line for rows in (first, *others) for line in rows["problems"]]
    if problems:
        raise IncompleteError(
            f"A build would lack {number_of(len(problems), 'layer')}: {' '.join(problems)}",
            "Correct what they name; the other layers can be built.",
        )


@click.command()
@click.argument("area")
@click.option(
    "--catalogue", type=click.Path(path_type=Path), help="Replay this saved search instead of searching."
)
@click.option(
    "--repair", is_flag=True, help="Verify the cube's layers first, and make the damaged ones again."
)
@click.option(
    "--pairs/--no-pairs",
    default=True,
    show_default=True,
    help="Make new interferometric pairs, which take hours; existing pairs are kept in any case.",
)
@click.option(
    "--quicklook/--no-quicklook", default=True, show_default=True, help="Draw a picture of the version."
)
@click.option("--source", help="Only the cube of this source of backscatter, such as opera-rtc-s1.")
@as_json
@reports_errors
def build(
    area: str,
    catalogue: Path | None,
    repair: bool,
    pairs: bool,
    quicklook: bool,
    source: str | None,
    json_: bool,
) -> None:
    """Bring the cube of AREA up to date: make the missing layers and publish a version, if any is missing.

    An area with several sources of backscatter has a cube of each, beside the first: AREA-opera-rtc-s1.
    """
    from pipeline.areas.area import load_area
    from pipeline.build.publication import BuildOptions, print_published, publish_cube, refuse_incomplete

    options = BuildOptions(catalogue, repair, pairs, quicklook)
    made = [publish_cube(one, options) for one in load_area(area).cubes(source)]
    if json_:
        first, *others = [one.row() for one in made]
        click.echo(json.dumps(first | ({"beside": others} if others else {}), indent=1))
    else:
        for one in made:
            print_published(one)
    refuse_incomplete([one.published for one in made])


@click.command()
@click.argument("cube")
@as_json
@reports_errors
def verify(cube: str, json_: bool) -> None:
    """Check CUBE (a path, or the name of an area) against its manifest: schema, grid, every shard, every file."""
    from pipeline.cube.addresses import named_cube
    from pipeline.cube.verify import verify_cube

    with progress_bars() as progress:
        verdict = verify_cube(named_cube(cube), progress)
    if json_:
        click.echo(json.dumps(verdict.model_dump(mode="json"), indent=1))
    else:
        for problem in verdict.problems:
            click.echo(problem)
        state = "sound" if verdict.sound else number_of(len(verdict.problems), "problem")
        click.echo(
            f"{verdict.cube} version {verdict.version}: "
            f"{number_of(verdict.shards, 'shard')}, {number_of(verdict.files, 'file')}: {state}"
        )
    if not verdict.sound:
        click.echo("Run `slidecube build AREA --repair` to make the damaged layers again.", err=True)
        sys.exit(5)


@click.command()
@as_json
@reports_errors
def doctor(json_: bool) -> None:
    """Check endpoints, keys, disk, container engine, GPU and versions."""
    from pipeline.doctor import examine

    findings = examine()
    if json_:
        click.echo(json.dumps([f.model_dump() for f in findings], indent=1))
    else:
        from rich.text import Text

        table = plain_table("what", "state", "detail", wrapped=("what", "detail"))
        colours = {"ok": "green", "missing": "yellow", "failed": "red"}
        for finding in findings:
            table.add_row(finding.name, Text(finding.state, style=colours[finding.state]), finding.detail)
        plain_console().print(table)
    if any(f.state == "failed" for f in findings):
        sys.exit(1)
