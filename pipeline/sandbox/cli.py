"""`slidecube sandbox`: make a simulated world, serve it, run a program with its archives."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import click
from rich.console import Console
from rich.progress import Progress

from pipeline.areas.area import load_area
from pipeline.sandbox.deposits import add_cube
from pipeline.sandbox.earth.events.lands import realistic
from pipeline.sandbox.earth.parameters import OperaPlan, SlcPlan, WorldParameters
from pipeline.sandbox.earth.realism.switches import LANDS, Land
from pipeline.sandbox.earth.scenarios import SCENARIOS, scenario
from pipeline.sandbox.patch_statistics import HOKKAIDO_PATCHES, patches_as_markdown, patches_of_world
from pipeline.sandbox.posing.server import Sandbox
from pipeline.sandbox.posing.server_options import ServerOptions
from pipeline.sandbox.publication.timetable_plan import usual_troubles, write_timetable
from pipeline.sandbox.seismicity.scripted_events import write_events
from pipeline.sandbox.seismicity.world_events import events_of_world
from pipeline.sandbox.statistics import PUBLISHED, as_markdown, of_world
from pipeline.sandbox.time_commands import catalogue, clock, events, play, timetable
from pipeline.sandbox.truth_scores import score_map
from pipeline.sandbox.world import World, make_world

_WORLDS = click.argument(
    "worlds", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path)
)

_OURS = "# exports of `slidecube sandbox serve`; deleted when it ends\n"


@click.group()
def sandbox() -> None:
    """Simulated events, served on loopback under the names of the real archives."""


for _command in (timetable, events, catalogue, play, clock):
    sandbox.add_command(_command)


@sandbox.command()
@click.argument("area")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the world.")
@click.option(
    "--scenario",
    "named",
    type=click.Choice(SCENARIOS),
    help="The simulated event; default: the world of the tests, a forest with strong texture.",
)
@click.option(
    "--land",
    type=click.Choice(LANDS),
    help="Kind of land: of `--scenario random`, else the usual event of that land.",
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option("--before", type=click.IntRange(0, 60), help="Passes of every track before the event.")
@click.option("--after", type=click.IntRange(0, 60), help="Passes of every track after the event.")
@click.option(
    "--resolution-m",
    type=click.FloatRange(1, 1000),
    help="Pixel size of the scenes in metres; default: the area's.",
)
@click.option("--prevalence", type=click.FloatRange(0, 0.4), help="Share of the scene that landslides cover.")
@click.option(
    "--slc", is_flag=True, help="Add single look complex products of the first track, for interferometry."
)
@click.option("--opera", is_flag=True, help="Add bursts of OPERA RTC-S1 of every pass, which ASF lists.")
@click.option(
    "--timed",
    is_flag=True,
    help="Also draw when the archives publish what, and what the feeds state of the earthquake.",
)
@click.option(
    "--parameters", type=click.File("r", encoding="utf-8"), help="JSON file with any other parameters."
)
def make(
    area: str,
    out: Path,
    named: str | None,
    land: Land | None,
    seed: int,
    before: int | None,
    after: int | None,
    resolution_m: float | None,
    prevalence: float | None,
    slc: bool,
    opera: bool,
    timed: bool,
    parameters: TextIO | None,
) -> None:
    """Simulate the event of AREA (a name or a YAML file) and write the files and items of the archives."""
    if parameters and (named or land):
        raise click.UsageError("--parameters excludes --scenario and --land.")
    if land and named not in {None, "random"}:
        raise click.UsageError("--land goes with --scenario random, or stands alone.")
    chosen = WorldParameters.model_validate_json(parameters.read()) if parameters else WorldParameters()
    if named:
        chosen = scenario(named, seed, land)
    elif land:
        chosen = realistic(land)
    counts = {name: count for name, count in (("before", before), ("after", after)) if count is not None}
    changes = {
        "tracks": tuple(track.model_copy(update=counts) for track in chosen.tracks),
        "seed": seed,
        "resolution_m": resolution_m,
        "prevalence": prevalence,
        "slc": chosen.slc or SlcPlan() if slc else None,
        "opera": chosen.opera or OperaPlan() if opera else None,
        "list_granules": True if timed else None,
    }
    chosen = chosen.model_copy(update={key: value for key, value in changes.items() if value is not None})
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("simulating", total=None)
        world = make_world(
            load_area(area),
            out,
            chosen,
            progress=lambda what, done, total=None, remark="": bar.update(
                task, completed=done, total=total, description=what
            ),
        )
    if timed:
        write_timetable(world, usual_troubles(world, seed))
        write_events(world.root, events_of_world(world, seed))
    click.echo(f"{world.root}: {len(world.document['passes'])} passes, {len(world.items)} items")
    for note in world.notes:
        click.echo(f"note: {note}", err=True)


@sandbox.command()
@click.argument("world", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("cube", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--record", type=click.IntRange(1), default=7248056, show_default=True, help="Number of the record."
)
def deposit(world: Path, cube: Path, record: int) -> None:
    """Add CUBE, a Zarr in the published form, to WORLD as a file of a record that Zenodo serves."""
    click.echo(f"{add_cube(world, cube, record)}")


@sandbox.command()
@click.argument("world", type=click.Path(exists=True, file_okay=False, path_type=Path))
def statistics(world: Path) -> None:
    """Print level, spread, looks and correlations of WORLD's scenes and of the published cubes, then of patches."""
    opened = World.open(world)
    click.echo(as_markdown({**of_world(opened), **PUBLISHED}))
    patches = {"simulated": patches_of_world(opened), "Hokkaido, real": HOKKAIDO_PATCHES}
    click.echo(f"\n{patches_as_markdown(patches)}")


@sandbox.command()
@click.argument("world", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("map_folder", metavar="MAP", type=click.Path(exists=True, file_okay=False, path_type=Path))
def score(world: Path, map_folder: Path) -> None:
    """Compare MAP, the folder of a map of WORLD's area, with the landslides that WORLD was simulated with."""
    found = score_map(world, map_folder)
    precision = "none" if found.average_precision is None else f"{found.average_precision:.3f}"
    click.echo(
        f"average precision {precision} at a prevalence of {found.prevalence:.4f}, over {found.pixels} pixels; "
        f"{found.mapped:.0%} of the ground has a value"
    )


@sandbox.command()
@_WORLDS
@click.option(
    "--env-file",
    type=click.Path(path_type=Path),
    help="Write the exports to this new file, which only you can read, instead of printing them.",
)
@click.option("--token-lifetime-s", type=click.FloatRange(1), default=2700.0, show_default=True)
@click.option(
    "--at",
    "clock_start",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"]),
    help="What the sandbox's clock shows at the start, in UTC; default: real time.",
)
@click.option(
    "--rate",
    "clock_rate",
    type=click.FloatRange(0, 1e7),
    default=1.0,
    show_default=True,
    help="Seconds of the clock in a real one; 0: it stands until `slidecube sandbox clock` sets it.",
)
def serve(
    worlds: tuple[Path, ...],
    env_file: Path | None,
    token_lifetime_s: float,
    clock_start: datetime | None,
    clock_rate: float,
) -> None:
    """Serve WORLDS until interrupted; prints exports for a shell that uses the simulated archives."""
    options = ServerOptions(
        token_lifetime_s=token_lifetime_s,
        clock_start=clock_start and clock_start.replace(tzinfo=UTC),
        clock_rate=clock_rate,
    )
    with Sandbox(*worlds, options=options) as running:
        environment = {**running.environment, **_area_folder(*worlds)}
        lines = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
        text = "\n".join(lines) + "\n"
        if env_file is None:
            click.echo(text, nl=False)
            sys.stdout.flush()
        else:
            _write_private(env_file, text)
        click.echo("serving; interrupt to end", err=True)
        try:
            running.wait()
        except KeyboardInterrupt:
            click.echo("ended", err=True)
        finally:
            if env_file is not None:
                env_file.unlink(missing_ok=True)


@sandbox.command(context_settings={"ignore_unknown_options": True})
@click.argument("world", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(world: Path, command: tuple[str, ...]) -> None:
    """Run COMMAND with the archives of WORLD; put `--` before it. Returns the command's exit status."""
    if shutil.which(command[0]) is None:
        raise click.BadParameter(
            f"The command {command[0]} is not on the PATH. Is the environment activated?",
            param_hint="COMMAND",
        )
    with Sandbox(world) as running:
        environment = {**os.environ, **running.environment, **_area_folder(world)}
        status = subprocess.run(command, env=environment, check=False).returncode
    sys.exit(status)


def _write_private(path: Path, text: str) -> None:
    """Write a new file that only its owner can read, since it leads to a login; one that such a run left goes first."""
    if path.is_file() and not path.is_symlink() and path.read_text("utf-8", "replace").startswith(_OURS):
        path.unlink()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise click.BadParameter(
            f"{path} cannot be written ({error.strerror}). Name a file that does not exist.",
            param_hint="--env-file",
        ) from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(_OURS + text)


def _area_folder(*worlds: Path) -> dict[str, str]:
    """The setting with a world's area files, whose pixel may be coarser than that of the shipped area."""
    folders = [world.resolve() / "aoi" for world in worlds if (world / "aoi").is_dir()]
    return {"SLIDECUBE_AOI_DIR": str(folders[0])} if len(folders) == 1 else {}
