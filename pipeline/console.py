"""What the command lines of all rooms share: how errors are told, and JSON on request."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import click

from pipeline.errors import SlidecubeError

P = ParamSpec("P")
R = TypeVar("R")

as_json = click.option("--json", "json_", is_flag=True, help="Print JSON on standard output.")


def reports_errors(function: Callable[P, R]) -> Callable[P, R]:
    """Print an error with its way out on standard error and leave with its exit status."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except SlidecubeError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(error.exit_code)

    return wrapper


def readable_size(count: float) -> str:
    """Bytes for people, in powers of ten."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError
