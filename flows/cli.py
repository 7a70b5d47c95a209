"""The command `slidecube demo`."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import FrameType

import click
from rich.console import Console

from pipeline.console import reports_errors
from pipeline.settings import settings


def _as_interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("data/demo"),
    show_default=True,
    help="Folder of the simulated world, the cube, the model, the map and the logs.",
)
@click.option("--fresh", is_flag=True, help="Remove the results of an earlier demo in this folder first.")
@reports_errors
def demo(folder: Path, fresh: bool) -> None:
    """Run the whole chain on a simulated earthquake, through the real flows.

    Simulates an event, serves it as the archives would, starts a Prefect server and a worker, runs
    `prefect deployment run build-datacube --param aoi=sandbox`, waits for the model and the map that follow, and
    stops what it started. A second run uses the results of the first one.
    """
    console = Console()
    # the flows have this folder as their data folder, and this process reads the same one
    os.environ["SLIDECUBE_DATA_DIR"] = str(folder.resolve())
    settings.cache_clear()
    signal.signal(signal.SIGTERM, _as_interrupt)

    from flows.demo import run_demo
    from flows.serving.terminal import Stages

    with Stages(console) as stages:
        result = run_demo(folder.resolve(), stages, fresh=fresh)
    console.print()
    for name, text in result.lines():
        console.print(f"{name:<8}", end=" ", style="bold", markup=False)
        console.print(text, markup=False, highlight=False, soft_wrap=True)
