"""The command `slidecube` and the commands of this room: areas, plan, build, verify, doctor.

Exit status: 0 done, 1 unexpected, 2 a wrong area or setting, 3 an archive failed, 4 a source or the grid is unusable,
5 the cube is damaged or absent, 6 done in part (what is missing is named), 7 no model or map is possible,
8 a pair could not be processed, 9 a file cannot be written on this machine.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.console import as_json, plain_console, plain_table, progress_bars, readable_size, reports_errors
from pipeline.errors import IncompleteError, SlidecubeError, number_of
from pipeline.registered_commands import Rooms

if TYPE_CHECKING:  # imported when a command runs
    from pipeline.build.plan import BuildPlan
    from pipeline.layers.kind import Key, LayerTask


def _short_platform(name: str) -> str:
    """'S1A' for sentinel-1a; another name as it is."""
    return f"S1{name[-1].upper()}" if name.lower().startswith("sentinel-1") else name


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
@as_json
@reports_errors
def plan(area: str, catalogue: Path | None, json_: bool) -> None:
    """Print what a build of AREA would do, and change nothing but the saved search and a copy of the inventory.

    The inventory and the headers of elevation tiles are opened, so that a mistyped path or a missing layer shows before
    any radar is read; then the exit status is 6.
    """
    from pipeline.areas.area import load_area
    from pipeline.build import run as builder
    from pipeline.insar.costs import pair_rows

    wanted = load_area(area)
    found = builder.find_catalogue(wanted, catalogue)
    made = builder.make_plan(wanted, found)
    held = frozenset(str(t.key) for t in made.tasks if t.kind.axis == "timepair" and t.held)
    rows = _plan_rows(made, wanted.when) | pair_rows(wanted, made.pairs, made.unpaired, held)
    problems, remarks = builder.examine_sources(wanted, made)
    rows |= {"problems": [*problems, *(line for part in made.parts for line in part.undelivered)]}
    rows["notes"] += remarks
    if json_:
        click.echo(json.dumps(rows, indent=1))
    else:
        _print_plan(rows)
    if rows["problems"]:
        raise IncompleteError(
            f"A build would lack {number_of(len(rows['problems']), 'layer')}: {' '.join(rows['problems'])}",
            "Correct what they name; the other layers can be built.",
        )


def _plan_rows(made: BuildPlan, when: Callable[[datetime], str]) -> dict[str, Any]:
    by_pass: dict[Key | None, list[LayerTask]] = {}
    for task in made.tasks:
        if task.kind.axis == "timestep":
            by_pass.setdefault(task.key, []).append(task)
    passes = [
        {
            "pass": o.id, "instant": o.instant.isoformat(), "when": when(o.instant), "track": o.relative_orbit,
            "direction": o.direction, "platform": o.platform, "slices": len(o.slices),
            "zones": sorted({s.epsg for s in o.slices}), "coverage_percent": round(100 * o.coverage, 1),
            "polarisations": [t.recipe.variables[0] for t in by_pass[o.id] if t.recipe.sources],
            "bytes_to_read": sum(t.size_bytes for t in by_pass[o.id]),
            "held": all(t.held for t in by_pass[o.id]),
        }
        for o in made.passes
    ]  # fmt: skip
    others = [
        {"layer": t.label, "bytes_to_read": t.size_bytes, "held": t.held}
        for t in made.tasks
        if t.kind.axis not in ("timestep", "timepair")
    ]
    return {
        "area": made.area, "cube": made.cube, "epsg": made.grid.epsg, "shape": list(made.grid.shape),
        "resolution_m": made.grid.resolution_m, "current_version": made.current_version, "passes": passes,
        "layers": others, "layers_to_build": len(made.wanted), "bytes_to_read": made.bytes_to_read,
        "missing": list(made.missing), "notes": list(made.notes), "changes": made.changes,
    }  # fmt: skip


def _print_plan(rows: dict[str, Any]) -> None:
    from pipeline.insar.costs import print_pairs

    console = plain_console()
    height, width = rows["shape"]
    version = rows["current_version"]
    console.print(
        f"{rows['area']}: {height} x {width} pixels of {rows['resolution_m']:g} m, EPSG:{rows['epsg']}; "
        + (f"cube at version {version}" if version else "no cube yet")
    )
    table = plain_table(
        "pass (UTC)",
        "event",
        "track",
        "dir",
        "sat",
        "slices",
        "cover",
        "pol",
        "to read",
        "cube",
        wrapped=("slices",),
    )
    for p in rows["passes"]:
        zones = f" in zones {'/'.join(str(z) for z in p['zones'])}" if len(p["zones"]) > 1 else ""
        table.add_row(
            p["instant"][:16].replace("T", " "),
            p["when"], str(p["track"]), p["direction"].removesuffix("ending"),
            _short_platform(p["platform"]), f"{p['slices']}{zones}",
            f"{p['coverage_percent']:.1f} %", " ".join(p["polarisations"]), readable_size(p["bytes_to_read"]),
            "held" if p["held"] else "wanted",
        )  # fmt: skip
    console.print(table)
    others = plain_table("layer", "to read", "cube", wrapped=("layer",))
    for layer in rows["layers"]:
        state = "held" if layer["held"] else "wanted"
        others.add_row(layer["layer"], readable_size(layer["bytes_to_read"]), state)
    if rows["layers"]:
        console.print(others)
    print_pairs(console, rows)
    for title, lines in (("missing", rows["missing"]), ("note", rows["notes"])):
        for line in lines:
            console.print(f"{title}: {line}")
    if rows["changes"]:
        console.print(
            f"A build would make {number_of(rows['layers_to_build'], 'layer')}, "
            f"reading {readable_size(rows['bytes_to_read'])}."
        )
    else:
        console.print("Up to date: a build would do nothing.")


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
@as_json
@reports_errors
def build(area: str, catalogue: Path | None, repair: bool, pairs: bool, quicklook: bool, json_: bool) -> None:
    """Bring the cube of AREA up to date: make the missing layers and publish a version, if any is missing."""
    from pipeline.areas.area import load_area
    from pipeline.build import run as builder

    wanted = load_area(area)
    if repair:
        for line in builder.discard_damaged(wanted):
            click.echo(f"damaged: {line}", err=True)
    with progress_bars(one_line=True) as progress:
        progress("searching", 0)
        published = builder.build(wanted, catalogue, progress, pairs=pairs)
    picture = None
    if quicklook:
        from pipeline.cube.cube_quicklook import write_quicklook

        picture = write_quicklook(published.uri).uri
    if json_:
        click.echo(json.dumps({**published.model_dump(mode="json"), "quicklook": picture}, indent=1))
    else:
        if published.new:
            click.echo(
                f"Published version {published.version} ({number_of(published.layers_built, 'layer')} made)."
            )
        else:
            click.echo(f"Nothing to do: version {published.version} is up to date.")
        click.echo(f"cube       {published.uri}")
        if picture:
            click.echo(f"quicklook  {picture}")
        for line in published.missing:
            click.echo(f"missing    {line}")
    if published.complete:
        return
    if published.failed:
        raise IncompleteError(
            f"{number_of(published.layers_failed, 'layer')} could not be made: "
            f"{'; '.join(published.failed).rstrip('.')}.",
            "Run `slidecube build` again to try them once more.",
        )
    raise IncompleteError(
        f"The version lacks what the archives list: {'; '.join(published.undelivered).rstrip('.')}.",
        "Run `slidecube build` again later; where it stays so, the archive's files are at fault.",
    )


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
