"""The command `slidecube fetch-published`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from pipeline.console import as_json, progress_bars, readable_size, reports_errors

if TYPE_CHECKING:  # imported when the command runs
    from pipeline.build.published_cube import Fetched


@click.command("fetch-published")
@click.argument("area")
@click.option("--offer", "only_offer", is_flag=True, help="Print size, licence and place, and fetch nothing.")
@as_json
@reports_errors
def fetch_published(area: str, only_offer: bool, json_: bool) -> None:
    """Fetch the cube that was published for AREA: hokkaido, kaikoura, puerto-rico or talakmau.

    It comes from Zenodo (record 7248056), is checked, and is then named AREA-published. The same command resumes a
    fetch that was cut.
    """
    from pipeline.build.published_cube import fetch, held, offer_of

    there = held(area)
    if there is None or only_offer:
        offer = offer_of(area)
        licence = offer.record.licence or "licence not stated"
        offered = (
            f"{offer.file.key}: {readable_size(offer.file.size_bytes)} from {offer.record.page} ({licence}); "
            f"{readable_size(offer.needed_bytes)} of disk are needed for {offer.folder}."
        )
        if only_offer:
            click.echo(json.dumps(offer.model_dump(mode="json"), indent=1) if json_ else offered)
            return
        click.echo(offered, err=True)
        with progress_bars() as progress:
            there = fetch(offer, progress)
    click.echo(json.dumps(_row(there), indent=1) if json_ else _words(there))


def _row(found: Fetched) -> dict[str, Any]:
    return {**found.cube.model_dump(mode="json"), "path": str(found.path), "new": found.new}


def _words(found: Fetched) -> str:
    begin = "Fetched" if found.new else "Nothing to do: there is"
    lines = [
        f"{begin} {found.path}",
        f"name      {found.cube.area}",
        f"licence   {found.cube.licence or 'not stated'}",
        f"citation  {found.cube.citation}",
    ]
    return "\n".join(lines)
