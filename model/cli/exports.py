"""The commands `bundle export` and `export`. Heavy modules are imported when a command runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from pipeline.console import as_json, reports_errors
from pipeline.cube.export.cli import FORMS
from pipeline.cube.export.cli import export as export_cube
from pipeline.errors import number_of

if TYPE_CHECKING:
    from model.bundle.export import ExportRecord


@click.group()
def bundle() -> None:
    """What can be done with a trained model besides mapping."""


@bundle.command("export")
@click.argument("bundle_", metavar="BUNDLE")
@click.option("--onnx", type=click.Path(path_type=Path, dir_okay=False), help="Write this ONNX file.")
@click.option(
    "--torch",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write this exported program of torch (.pt2).",
)
@click.option(
    "--expects",
    type=click.Choice(["raw", "standardised"]),
    default="raw",
    show_default=True,
    help="What goes into the file. raw: values of the channels, which the file standardises by the training area; "
    "standardised: values standardised by the scene, as `map` does for another scene.",
)
@click.option(
    "--after",
    type=click.IntRange(1),
    help="Passes after the event, whose calibration the file holds.  [default: as many as the training cube has]",
)
@as_json
@reports_errors
def export(
    bundle_: str,
    onnx: Path | None,
    torch: Path | None,
    expects: Literal["raw", "standardised"],
    after: int | None,
    json_: bool,
) -> None:
    """Write BUNDLE as one file that runs without slidecube.

    BUNDLE is a folder, or the name of an area for its newest model. The file takes windows of channels and gives
    calibrated probabilities; it holds its own description. It is written only if it gives the probabilities of the
    bundle. ONNX needs slidecube[onnx].
    """
    from model import api

    if onnx is None and torch is None:
        raise click.UsageError("Give --onnx FILE or --torch FILE.")
    wanted: tuple[tuple[Literal["onnx", "torch"], Path | None], ...] = (("onnx", onnx), ("torch", torch))
    records = [
        api.export_bundle(bundle_, file, kind, expects=expects, after=after)
        for kind, file in wanted
        if file is not None
    ]
    if json_:
        click.echo(json.dumps([record.model_dump(mode="json") for record in records], indent=1))
        return
    for record in records:
        click.echo(_words(record))


def _words(record: ExportRecord) -> str:
    simulated = "\nSIMULATED: no real landslide is in the training set." if record.simulated else ""
    return (
        f"{record.kind}: {record.path}, {record.size_bytes / 1e6:.1f} MB. It expects {record.expects} channels, and "
        f"holds the calibration of {number_of(record.passes_after, 'pass')} after the event; threshold "
        f"{record.threshold:.3f}.\n"
        f"Its probabilities differ from the bundle's by at most {record.largest_difference:.1e} "
        f"({record.tolerance:.0e} is allowed).{simulated}"
    )


@click.command("export")
@click.argument("map_or_cube", metavar="MAP|CUBE")
@click.option(
    "--zip",
    "zip_",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Of a map: this file with all of its files and a QGIS project.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Of a cube: this folder with the forms that --form names, a STAC item, citation, licence and checksums.",
)
@click.option(
    "--form",
    "forms",
    type=click.Choice(FORMS),
    multiple=True,
    help="With --out, a form of the cube: a GeoTIFF for each variable and pass, a plain Zarr of v2 or v3 without "
    "shards, netCDF. It can be given more than once.  [default: cogs]",
)
@click.option(
    "--published",
    "target",
    type=click.Path(path_type=Path),
    help="Of a cube: this Zarr in the form of the cubes that were published with the paper.",
)
@click.option(
    "--background",
    type=click.Choice(["zero", "nan"]),
    default="zero",
    show_default=True,
    help="With --published, label of mapped ground without a landslide; nan as the published cubes have it.",
)
@click.option(
    "--bare",
    is_flag=True,
    help="With --published, leave out what the published cubes are not known to have: platform, orbits, CF grid "
    "mapping, attributes.",
)
@as_json
@reports_errors
@click.pass_context
def export_map_or_cube(
    context: click.Context,
    map_or_cube: str,
    zip_: Path | None,
    out: Path | None,
    forms: tuple[str, ...],
    target: Path | None,
    background: str,
    bare: bool,
    json_: bool,
) -> None:
    """Write a map or a cube for other people and programs.

    What a path holds decides: the folder of a map goes into one file to mail (--zip), a cube into a folder of files
    for GIS and other programs (--out), or into the form of the published cubes (--published). The name of an area
    means its newest cube. Nothing is replaced.
    """
    from model.releases.mailed_zip import is_map, write_zip
    from pipeline.cube.addresses import named_cube

    if is_map(Path(map_or_cube)):
        if zip_ is None or target is not None or out is not None or forms:
            raise click.UsageError(f"{map_or_cube} is a map: give --zip FILE, and no --out or --published.")
        record = write_zip(Path(map_or_cube), zip_)
        if json_:
            click.echo(json.dumps(record.model_dump(mode="json"), indent=1))
            return
        simulated = " SIMULATED: no real place, or no real landslides." if record.simulated else ""
        click.echo(
            f"Wrote {record.path}: {number_of(record.files, 'file')}, {record.size_bytes / 1e6:.1f} MB.{simulated} "
            "Unpack it, and open index.html in a browser or landslides.qgs in QGIS."
        )
        return
    named_cube(map_or_cube)  # names what is neither
    if zip_ is not None or (target is None and out is None):
        raise click.UsageError(
            f"{map_or_cube} is a cube: give --out FOLDER or --published ZARR. --zip packs a map: `slidecube map "
            f"{map_or_cube}` makes one and prints its folder."
        )
    context.invoke(
        export_cube, cube=map_or_cube, out=out, forms=forms, target=target, background=background, bare=bare,
        json_=json_,
    )  # fmt: skip
