"""Options that several commands of the model stage have, and their values."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

if TYPE_CHECKING:
    from model.api import Result
    from model.inputs.inputs import EventSpan, Inputs


P = ParamSpec("P")

R = TypeVar("R")

event_option = click.option(
    "--event",
    help="The event, for a cube that does not record it: START or START/END in UTC, as 2018-09-05T18:07:59Z, or the "
    "name of an area file.",
)

device_option = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True
)

TEST_TIME = {True: "mirrored", False: "plain"}


def chip_option(default: int | None, more: str = "") -> Callable[[Callable[P, R]], Callable[P, R]]:
    """The side of a chip.

    Args:
        default: None: the command has another one, which `more` states.
    """
    return click.option(
        "--chip",
        type=click.IntRange(32),
        default=default,
        show_default=default is not None,
        help=f"Side of a chip in pixels, a multiple of 32.{more}",
    )


def protocol_option(more: str, default: str | None = None) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """The protocol of a trial.

    Args:
        more: what the help states before the protocols.
    """
    return click.option(
        "--protocol",
        type=click.Choice(["paper", "strict"]),
        default=default,
        show_default=default is not None,
        help=f"{more}paper: the published experiment, with its defects; strict: cross validation over four "
        "rectangles, with buffers between training and test.",
    )


def pass_options(function: Callable[P, R]) -> Callable[P, R]:
    """The options that choose passes."""
    options = (
        click.option(
            "--before", type=click.IntRange(1), help="Newest N passes before the event; all if not given."
        ),
        click.option(
            "--after", type=click.IntRange(1), help="First N passes after the event; all if not given."
        ),
        click.option(
            "--track",
            help="Relative orbit (1 to 175), ascending, descending, both, or best.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


replace_option = click.option(
    "--replace",
    is_flag=True,
    help="Make the result again, and replace one that another cube, model or set of options gave or that was changed "
    "by hand.",
)


def print_result(result: Result[Any], json_: bool, words: str) -> None:
    """Print the record of a result, as JSON or in words, and whether it existed before.

    JSON is the record with two more fields: `new`, and `changes` that a person made in the folder.
    """
    if json_:
        record = result.record.model_dump(mode="json")
        click.echo(json.dumps({**record, "new": result.new, "changes": list(result.changes)}, indent=1))
        return
    if not result.new:
        changes = f" Since then: {'; '.join(result.changes)}." if result.changes else ""
        click.echo(f"Nothing to do: it exists, made from the same cube with the same options.{changes}")
    click.echo(words)


def settled_inputs(options: dict[str, Any]) -> dict[str, Any]:
    """The fields of `Inputs` that options name; raises ValidationError for a wrong value."""
    from model.inputs.inputs import Inputs

    found: dict[str, Any] = {}
    for name in ("terrain", "change", "geometry", "coherence", "further"):
        if (text := options.get(name)) is not None:
            found[name] = [word for word in text.split(",") if word and word != "none"]
    if options.get("polarisation"):
        found["backscatter"] = list(options["polarisation"])
    found |= {name: options[name] for name in ("before", "after") if options.get(name) is not None}
    track = options.get("track")
    if track is not None:
        found["track"] = int(track) if track.isdecimal() else track
    Inputs.model_validate(found)
    return found


def inputs_of(options: dict[str, Any]) -> Inputs:
    """The inputs that options name."""
    from model.inputs.inputs import Inputs

    return Inputs.model_validate(settled_inputs(options))


def parsed_event(text: str | None) -> EventSpan | None:
    """The event of `--event`: instants, or the name of an area file.

    Raises:
        click.UsageError: no instants in UTC.
        AreaError: no such area.
    """
    from pydantic import ValidationError

    from model.inputs.inputs import EventSpan
    from pipeline.areas.area import load_area

    if text is None:
        return None
    if text[:4].isdigit() and not text.endswith((".yaml", ".yml", ".json")):
        start, _, end = text.partition("/")
        try:
            return EventSpan.model_validate({"start": start, "end": end or start})
        except ValidationError as error:
            reason = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise click.UsageError(
                f"--event {text}: {reason}. Write UTC, as 2018-09-05T18:07:59Z."
            ) from error
    return EventSpan.of_area(load_area(text))


@contextmanager
def values_checked() -> Iterator[None]:
    """Report a value that a pydantic model refuses as a wrong use of the command."""
    from pydantic import ValidationError

    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][:1]) or "options"
        raise click.UsageError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from error
