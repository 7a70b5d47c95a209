"""What the command lines of all rooms share: how errors are reported, progress bars, JSON on request."""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

from pipeline.errors import DiskError, SlidecubeError, disk_error_of
from pipeline.pending_reads import cancel_reads
from pipeline.progress import Progress

if TYPE_CHECKING:  # imported when something is drawn: the help needs none of it
    from rich.console import Console
    from rich.progress import TaskID
    from rich.table import Table

log = logging.getLogger(__name__)
WIDTH_OF_FILES = 200
"""columns of a table that is written to a pipe or a file"""

P = ParamSpec("P")
R = TypeVar("R")

as_json = click.option("--json", "json_", is_flag=True, help="Print JSON on standard output.")


def reports_errors(function: Callable[P, R]) -> Callable[P, R]:
    """Print an error with its remedy on standard error and exit with its status; of the own disk's errors too."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except (BrokenPipeError, click.exceptions.Exit, click.ClickException, click.Abort):
            raise  # click has its own statuses for these
        except Exception as error:
            disk = disk_error_of(error)
            if disk is None and not isinstance(error, SlidecubeError):
                raise
            log.info("%s", error, exc_info=error)
            click.echo(f"Error: {error if isinstance(error, SlidecubeError) else disk}", err=True)
            sys.exit(
                error.exit_code if disk is None and isinstance(error, SlidecubeError) else DiskError.exit_code
            )
        finally:
            cancel_reads()

    return wrapper


def plain_console() -> Console:
    """Standard output for tables and text; nothing in them is read as markup, since much of it comes from outside.

    At a terminal, or with COLUMNS, the width is the terminal's; in a pipe or a file cells need not break.
    """
    from rich.console import Console

    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDTH_OF_FILES
    return console


def plain_table(*columns: str, wrapped: Collection[str] = ()) -> Table:
    """An empty table without lines between cells, so that it fits into 80 columns; only `wrapped` columns break."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=column not in wrapped, overflow="fold")
    return table


@contextmanager
def progress_bars(*, one_line: bool = False) -> Iterator[Progress]:
    """Progress bars on standard error for a person at a terminal; silence otherwise.

    Args:
        one_line: one bar whose words change, instead of a bar for each piece of work.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    with Bars(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[remark]}", markup=False),
        console=console,
        disable=not console.is_terminal,
    ) as bars:
        tasks: dict[str, TaskID] = {}

        def progress(what: str, done: int, total: int | None = None, remark: str = "", /) -> None:
            key = "" if one_line else what
            if key not in tasks:
                tasks[key] = bars.add_task(what, total=total, remark=remark)
            bars.update(tasks[key], description=what, completed=done, total=total, remark=remark)

        yield progress


def readable_size(count: float) -> str:
    """Bytes for people, in powers of ten."""
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB"):
        count /= 1000
        if count < 1000:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:.1f} GB"
