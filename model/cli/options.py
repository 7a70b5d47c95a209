"""Options that the commands of the learning stage share, and what they make of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

from pipeline.errors import ModelError

if TYPE_CHECKING:
    from model.bundle.summaries import BundleRecord, ReleaseRecord
    from model.inputs.inputs import EventSpan, Inputs
    from pipeline.progress import Progress


P = ParamSpec("P")

R = TypeVar("R")

_event = click.option(
    "--event",
    help="When it happened, for a cube that does not say: START or START/END in UTC, as 2018-09-05T18:07:59Z, or the "
    "name of an area file.",
)

_json = click.option("--json", "json_", is_flag=True, help="Print JSON on standard output.")

_TEST_TIME = {True: "mirrored", False: "plain"}


def _passes(function: Callable[P, R]) -> Callable[P, R]:
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


def _say(record: BundleRecord | ReleaseRecord, json_: bool, words: str) -> None:
    click.echo(record.model_dump_json(indent=1) if json_ else words)


def _settled(options: dict[str, Any]) -> dict[str, Any]:
    """The fields of `Inputs` that options name; a wrong value is refused here."""
    from model.inputs.inputs import Inputs

    found: dict[str, Any] = {}
    for name in ("terrain", "change", "geometry", "coherence"):
        if (text := options.get(name)) is not None:
            found[name] = [word for word in text.split(",") if word and word != "none"]
    if options.get("polarisation"):
        found["backscatter"] = list(options["polarisation"])
    found |= {name: options[name] for name in ("before", "after") if options.get(name) is not None}
    track = options.get("track")
    if track is not None:
        found["track"] = int(track) if track.isdigit() else track
    Inputs.model_validate(found)
    return found


def _inputs(options: dict[str, Any]) -> Inputs:
    from model.inputs.inputs import Inputs

    return Inputs.model_validate(_settled(options))


def _parsed_event(text: str | None) -> EventSpan | None:
    from model.inputs.inputs import EventSpan
    from pipeline.area import load_area

    if text is None:
        return None
    if text[:4].isdigit() and not text.endswith((".yaml", ".yml", ".json")):
        start, _, end = text.partition("/")
        return EventSpan.model_validate({"start": start, "end": end or start})
    return EventSpan.of_area(load_area(text))


@contextmanager
def _values_checked() -> Iterator[None]:
    """A value that a model refuses is a wrong use of the command."""
    from pydantic import ValidationError

    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][:1]) or "options"
        raise click.UsageError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from error


def _default_folder(cube: str, kind: str) -> Path:
    """`<data>/<kind>/<area>/<version>` of a cube; a cube that is not of this data folder needs --out."""
    from model.inputs.cubes import load
    from pipeline.settings import settings

    _, facts = load(cube)
    root = settings().cube_root(facts.area)
    if facts.version is None or root.resolve() not in Path(facts.uri).resolve().parents:
        raise ModelError(
            f"{cube} is no cube below {root}, so that there is no usual place for the result.", "Give --out."
        )
    parent = settings().model_root(facts.area) if kind == "models" else settings().map_root(facts.area)
    return parent / str(facts.version)


@contextmanager
def _bar() -> Iterator[Progress]:
    """A progress bar on standard error for a person at a terminal; silence otherwise."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    with Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[remark]}"),
        console=console,
        disable=not console.is_terminal,
    ) as bar:
        tasks: dict[str, Any] = {}

        def progress(what: str, done: int, total: int | None = None, remark: str = "", /) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total, remark=remark)
            bar.update(tasks[what], completed=done, total=total, remark=remark)

        yield progress
