"""The commands that the rooms register by entry points: each is listed from its source and imported when it runs."""

from __future__ import annotations

import ast
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from pipeline.command_group import SuggestingGroup

GROUP = "slidecube.commands"
EXTRA_OF = {
    **dict.fromkeys(
        (
            "bokeh", "lightning_fabric", "pytorch_lightning", "safetensors",
            "segmentation_models_pytorch", "sklearn", "torch", "torchvision",
        ),
        "model",
    ),
    **dict.fromkeys(("apprise", "fastapi", "httpx", "prefect"), "flows"),
    **dict.fromkeys(("starlette", "trustme", "uvicorn"), "sandbox"),
    **dict.fromkeys(("dask", "distributed", "prefect_dask"), "dask"),
    **dict.fromkeys(("h5netcdf", "h5py"), "netcdf"),
}  # fmt: skip
"""the extra of `pyproject.toml` that brings a package, by the name that is imported"""


class Rooms(SuggestingGroup):
    """A group whose commands each room registers by an entry point; a room is imported when its command runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands, sorted."""
        return sorted(point.name for point in entry_points(group=GROUP))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now."""
        for point in entry_points(group=GROUP):
            if point.name == cmd_name:
                return _loaded(point)
        return None

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; a package of an extra that is missing is named with the extra."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            raise _lacking(error, ctx.invoked_subcommand, ()) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each command's name and the first sentence of its help; no room is imported for that."""
        points = sorted(entry_points(group=GROUP), key=lambda point: point.name)
        width = formatter.width - 6 - max(len(point.name) for point in points)
        with formatter.section("Commands"):
            formatter.write_dl([(point.name, _first_sentence(point, width)) for point in points])


def _first_sentence(point: EntryPoint, width: int) -> str:
    """Of a command's docstring, from its source; of a command that has none there, from the command itself."""
    spec = find_spec(point.module)
    if spec is not None and spec.origin is not None and spec.origin.endswith(".py"):
        for node in ast.parse(Path(spec.origin).read_bytes()).body:
            if (
                isinstance(node, ast.FunctionDef)
                and node.name == point.attr
                and (text := ast.get_docstring(node))
            ):
                return click.Command(point.name, help=text).get_short_help_str(width)
    return _loaded(point).get_short_help_str(width)


def _lacking(error: ModuleNotFoundError, command: str | None, stated: tuple[str, ...]) -> Exception:
    """What to say of a missing package: the extra that has it, or those that the command states; else the error."""
    package = (error.name or "").partition(".")[0]
    extras = (EXTRA_OF[package],) if package in EXTRA_OF else stated
    if not package or not extras:
        return error
    return click.ClickException(
        f"`slidecube {command}` needs the package {package}, which is not installed. "
        f"Install the extra: pip install 'slidecube[{','.join(extras)}]'."
    )


def _refused(name: str, reason: click.ClickException) -> click.Command:
    """The command of a package that is missing: it is listed, and says what it needs whatever the words after it."""

    def refuse(**_: Any) -> None:
        raise reason

    words = click.Argument(["words"], nargs=-1, type=click.UNPROCESSED)
    return click.Command(
        name,
        callback=refuse,
        params=[words],
        short_help="needs an extra that is not installed",
        add_help_option=False,
        context_settings={"ignore_unknown_options": True},
    )


def _loaded(point: EntryPoint) -> click.Command:
    """The command; a package that is missing is named with the extra that the entry point states."""
    try:
        command: click.Command = point.load()
    except ModuleNotFoundError as error:
        reason = _lacking(error, point.name, tuple(point.extras))
        if not isinstance(reason, click.ClickException):
            raise
        return _refused(point.name, reason)
    return command
