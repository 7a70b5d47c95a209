"""The command `slidecube import`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from pipeline.console import as_json, reports_errors


@click.command("import")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The Zarr cube to make.")
@click.option(
    "--backscatter",
    type=click.Choice(["linear", "dB"]),
    default="linear",
    show_default=True,
    help="What the files hold; decibels are converted.",
)
@click.option(
    "--landslide",
    type=float,
    multiple=True,
    default=(1.0,),
    show_default=True,
    help="Label code of landslides.",
)
@click.option(
    "--background",
    type=float,
    multiple=True,
    default=(0.0,),
    show_default=True,
    help="Label code of other mapped ground.",
)
@click.option("--unmapped", type=float, multiple=True, help="Label code of ground that was not mapped.")
@click.option(
    "--direction",
    type=click.Choice(["ascending", "descending", "unknown"]),
    default="unknown",
    show_default=True,
    help="Direction of all passes.",
)
@click.option("--track", type=int, help="Relative orbit of all passes.")
@click.option("--event", type=click.DateTime(), help="Time of the event, UTC, as in 2018-09-05T18:07:59.")
@as_json
@reports_errors
def import_geotiffs(folder: Path, out: Path, event: datetime | None, json_: bool, **options: Any) -> None:
    """Make a cube of the GeoTIFFs in FOLDER: vv_20180824.tif and so on, dem.tif, landslides.tif, all on one grid."""
    from pipeline.cube.foreign.geotiffs import GeoTiffImport, import_folder

    instant = event.replace(tzinfo=UTC) if event is not None else None
    made = import_folder(folder, out, GeoTiffImport(event=instant, **options))
    if json_:
        click.echo(json.dumps(made.model_dump(mode="json"), indent=1))
        return
    passes = "1 pass" if made.passes == 1 else f"{made.passes} passes"
    click.echo(f"Made {made.uri} of {passes}: {', '.join(made.variables)}.")
