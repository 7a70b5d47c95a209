"""One build of the command line: the version that it publishes, its picture, and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from pipeline.areas.area import AreaOfInterest
from pipeline.build import run as builder
from pipeline.console import progress_bars
from pipeline.errors import IncompleteError, number_of


@dataclass(frozen=True)
class BuildOptions:
    """What a person asks of a build, beside the area."""

    catalogue: Path | None
    """a saved search to replay"""
    repair: bool
    """whether damaged layers are made again"""
    pairs: bool
    """whether new pairs are made"""
    quicklook: bool
    """whether a picture is drawn"""


@dataclass(frozen=True)
class Publication:
    """A version and its picture."""

    published: builder.Published
    picture: str | None

    def row(self) -> dict[str, Any]:
        """JSON-able."""
        return {**self.published.model_dump(mode="json"), "quicklook": self.picture}


def publish_cube(area: AreaOfInterest, options: BuildOptions) -> Publication:
    """Build the cube of an area and draw its picture.

    Raises:
        ArchiveError, CubeError, SourceDataError: as for `builder.build`.
    """
    if options.repair:
        for line in builder.discard_damaged(area):
            click.echo(f"damaged: {line}", err=True)
    with progress_bars(one_line=True) as progress:
        progress("searching", 0)
        published = builder.build(area, options.catalogue, progress, pairs=options.pairs)
    picture = None
    if options.quicklook:
        from pipeline.cube.cube_quicklook import write_quicklook

        picture = write_quicklook(published.uri).uri
    return Publication(published, picture)


def print_published(made: Publication) -> None:
    """Print what was published and what it lacks."""
    published = made.published
    if published.new:
        click.echo(
            f"Published version {published.version} ({number_of(published.layers_built, 'layer')} made)."
        )
    else:
        click.echo(f"Nothing to do: version {published.version} is up to date.")
    click.echo(f"cube       {published.uri}")
    if made.picture:
        click.echo(f"quicklook  {made.picture}")
    for line in published.missing:
        click.echo(f"missing    {line}")


def refuse_incomplete(made: Sequence[builder.Published]) -> None:
    """Nothing, where every version has all that the archives list.

    Raises:
        IncompleteError: layers failed, or files are listed that no server hands out.
    """
    failed = [reason for one in made for reason in one.failed]
    undelivered = [line for one in made for line in one.undelivered]
    if failed:
        raise IncompleteError(
            f"{number_of(sum(one.layers_failed for one in made), 'layer')} could not be made: "
            f"{'; '.join(failed).rstrip('.')}.",
            "Run `slidecube build` again to try them once more.",
        )
    if undelivered:
        raise IncompleteError(
            f"The version lacks what the archives list: {'; '.join(undelivered).rstrip('.')}.",
            "Run `slidecube build` again later; where it stays so, the archive's files are at fault.",
        )
