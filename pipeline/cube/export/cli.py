"""The command `slidecube export` for cubes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from pipeline.console import as_json, progress_bars, reports_errors
from pipeline.errors import number_of

if TYPE_CHECKING:
    from pipeline.cube.export.export_folder import Form

FORMS = ("cogs", "zarr2", "zarr3", "netcdf")


@click.command()
@click.argument("cube")
@click.option("--out", type=click.Path(path_type=Path), help="The folder to write.")
@click.option(
    "--form",
    "forms",
    type=click.Choice(FORMS),
    multiple=True,
    help="With --out, a form of the cube; it can be given more than once.  [default: cogs]",
)
@click.option(
    "--published",
    "target",
    type=click.Path(path_type=Path),
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
def export(
    cube: str,
    out: Path | None,
    forms: tuple[str, ...],
    target: Path | None,
    background: str,
    bare: bool,
    json_: bool,
) -> None:
    """Write CUBE (a path, or the name of an area) for other programs."""
    if (out is None) == (target is None):
        raise click.UsageError(f"{cube} is a cube: give --out FOLDER or --published ZARR.")
    if out is None and forms:
        raise click.UsageError("--form belongs to --out FOLDER.")
    if out is not None:
        _folder(cube, out, forms or ("cogs",), json_)
    elif target is not None:
        _published(cube, target, background, bare, json_)


def _folder(cube: str, out: Path, forms: tuple[str, ...], json_: bool) -> None:
    from pipeline.cube.addresses import named_cube
    from pipeline.cube.export.export_folder import write_export
    from pipeline.cube.read import decoding, open_cube

    chosen = cast("tuple[Form, ...]", forms)  # click lets no other through
    with progress_bars(one_line=True) as progress, decoding(cube):
        made = write_export(open_cube(named_cube(cube)), out, chosen, progress)
    if json_:
        click.echo(json.dumps(made.model_dump(mode="json"), indent=1))
        return
    simulated = " SIMULATED: no real place, or no real landslides." if made.simulated else ""
    click.echo(
        f"Wrote {made.path} ({', '.join(made.forms)}): {number_of(made.layers, 'layer')}, "
        f"{number_of(made.files, 'file')}, {made.size_bytes / 1e6:.1f} MB; with item.json, CITATION.txt, LICENSE.txt "
        f"and SHA256SUMS.{simulated}"
    )


def _published(cube: str, target: Path, background: str, bare: bool, json_: bool) -> None:
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
