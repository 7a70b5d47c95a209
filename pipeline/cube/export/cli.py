"""The command `slidecube export`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from pipeline.console import as_json, progress_bars, reports_errors
from pipeline.errors import number_of


@click.command()
@click.argument("cube")
@click.option(
    "--published",
    "target",
    type=click.Path(path_type=Path),
    required=True,
    help="The Zarr to write, in the form of the cubes that were published with the paper.",
)
@click.option(
    "--background",
    type=click.Choice(["zero", "nan"]),
    default="zero",
    show_default=True,
    help="Label of mapped ground without a landslide; nan as the published cubes have it.",
)
@click.option(
    "--bare",
    is_flag=True,
    help="Leave out what the published cubes are not known to have: platform, orbits, CF grid mapping, attributes.",
)
@as_json
@reports_errors
def export(cube: str, target: Path, background: str, bare: bool, json_: bool) -> None:
    """Write CUBE (a path, or the name of an area) for other programs."""
    from pipeline.cube.addresses import named_cube
    from pipeline.cube.export.published_form import write_published
    from pipeline.cube.read import decoding, open_cube

    with progress_bars(one_line=True) as progress, decoding(cube):
        made = write_published(
            open_cube(named_cube(cube)),
            target,
            background="nan" if background == "nan" else "zero",
            bare=bare,
            progress=progress,
        )
    if json_:
        click.echo(json.dumps(made.model_dump(mode="json"), indent=1))
        return
    pairs = f" and {number_of(made.pairs, 'pair')}" if made.pairs else ""
    click.echo(f"Wrote {made.uri} of {number_of(made.passes, 'pass')}{pairs}: {', '.join(made.variables)}.")
    if made.left_out:
        click.echo(f"Left out, since the form has no such variable: {', '.join(made.left_out)}.")
