"""The command `review`. Heavy modules are imported when it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from pipeline.console import as_json, plain_console, plain_table, reports_errors
from pipeline.errors import number_of

if TYPE_CHECKING:
    from model.maps.review.map_review import ReviewRecord
    from model.reviews.review_labels import LabelsRecord

MOST_ROWS = 60
"""polygons that a terminal lists"""
MOST_NUMBERS = 100_000


class Numbers(click.ParamType[tuple[int, ...]]):
    """Numbers of polygons: `3,7` or `3-9`."""

    name = "numbers"

    def convert(
        self, value: object, param: click.Parameter | None, context: click.Context | None
    ) -> tuple[int, ...]:
        """The numbers, each once, in their order."""
        if isinstance(value, tuple):
            return value
        found: dict[int, None] = {}
        for part in str(value).replace(" ", "").split(","):
            first, _, last = part.partition("-")
            if not first.isdecimal() or (last and not last.isdecimal()) or part.endswith("-"):
                self.fail(f"{part!r} is no number of a polygon; write 3,7 or 3-9.", param, context)
            low, high = int(first), int(last or first)
            if high < low or high - low > MOST_NUMBERS:
                self.fail(f"{part!r} is no range.", param, context)
            found |= dict.fromkeys(range(low, high + 1))
        return tuple(found)


@click.command("review")
@click.argument("map_", metavar="MAP")
@click.option("--accept", type=Numbers(), default=(), help="These are landslides: 3,7 or 3-9.")
@click.option("--reject", type=Numbers(), default=(), help="These are none.")
@click.option("--withdraw", type=Numbers(), default=(), help="Take back what was said of these.")
@click.option(
    "--all",
    "all_",
    type=click.Choice(["accept", "reject"]),
    help="Say this of every polygon that is unreviewed.",
)
@click.option("--who", default="", metavar="NAME", help="Who gives the verdicts.")
@click.option("--note", default="", help="A note that stays with the verdicts.")
@click.option(
    "--from",
    "handed_in",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="FILE",
    help="Take what was changed in an edited copy of landslides.gpkg, or in that file of MAP itself.",
)
@click.option(
    "--deleted",
    type=click.Choice(["reject", "keep"]),
    help="With --from, polygons that FILE lacks are rejected, or stay as they are.  [default: reject, unless most are "
    "lacking]",
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.gpkg",
    help="Write the verdicts on the area as an inventory to train on.",
)
@click.option("--renew", is_flag=True, help="Write the files of MAP again with the verdicts that there are.")
@click.option("--dry-run", is_flag=True, help="Say what would be taken, and keep nothing.")
@as_json
@reports_errors
def review(
    map_: str,
    accept: tuple[int, ...],
    reject: tuple[int, ...],
    withdraw: tuple[int, ...],
    all_: Literal["accept", "reject"] | None,
    who: str,
    note: str,
    handed_in: Path | None,
    deleted: Literal["reject", "keep"] | None,
    labels: Path | None,
    renew: bool,
    dry_run: bool,
    json_: bool,
) -> None:
    """Say which polygons of MAP are landslides; without options, list what was said.

    MAP is the folder of a map, AREA for its newest one, or AREA/NAME. Verdicts are kept beside the maps of the area.
    A later map of the area inherits those of polygons that share at least half of their union.
    """
    from model.maps.review.map_review import ReviewRequest, labels_of, review_map
    from pipeline.places import map_named

    if deleted and not handed_in:
        raise click.UsageError("--deleted is for --from FILE.")
    folder = map_named(map_)
    record = review_map(
        folder,
        ReviewRequest(
            accept=accept, reject=reject, withdraw=withdraw, all=all_, who=who, note=note, handed_in=handed_in,
            deleted=deleted, renew=renew, dry_run=dry_run,
        ),
    )  # fmt: skip
    written = labels_of(folder, labels) if labels and not dry_run else None
    if json_:
        plain = record.model_dump(mode="json")
        click.echo(
            json.dumps({**plain, "labels": written.model_dump(mode="json") if written else None}, indent=1)
        )
        return
    _print(record, map_, dry_run=dry_run)
    if written:
        click.echo(_labels_words(written))


def _print(record: ReviewRecord, named: str, *, dry_run: bool) -> None:
    console, summary = plain_console(), record.summary
    if record.given:
        words = ", ".join(f"{count} {kind}" for kind, count in record.given.items())
        console.print(f"{'Would be taken' if dry_run else 'Taken'}: {words}.")
    for line in record.remarks:
        console.print(f"note: {line}")
    if not record.given:
        _print_polygons(record)
    if summary is None:
        console.print(f"{number_of(len(record.polygons), 'polygon')}, unreviewed.")
    else:
        console.print(
            f"{number_of(len(record.polygons), 'polygon')}, {summary.state}: {summary.accepted} accepted, "
            f"{summary.edited} edited ({summary.drawn} drawn), {summary.rejected} rejected, {summary.unreviewed} "
            f"unreviewed; {summary.landslide_km2:.3f} km² without what is rejected."
        )
        for number, words in summary.ambiguous.items():
            console.print(f"look again: No. {number} {words}")
        for words in summary.absent:
            console.print(f"accepted on an earlier map, not in this one: {words}")
    for folder in record.renewed:
        console.print(f"Renewed: {folder}")
    if not record.shown and not dry_run:
        console.print(f"The files of the map do not show this yet: `slidecube review {named} --renew`.")
    if record.page is not None:
        console.print(f"Page: {record.page}")


def _print_polygons(record: ReviewRecord) -> None:
    table = plain_table("No.", "ha", "longitude, latitude", "review", "by", "note", wrapped=("by", "note"))
    rows = sorted(record.polygons, key=lambda one: -one.area_ha)
    for one in rows[:MOST_ROWS]:
        place = f"{one.longitude:.5f}, {one.latitude:.5f}"
        note = one.note or one.remark
        table.add_row(str(one.number), f"{one.area_ha:.2f}", place, one.review, one.who, note)
    plain_console().print(table)
    if len(rows) > MOST_ROWS:
        plain_console().print(f"The {MOST_ROWS} largest of {len(rows)}; --json has all.")


def _labels_words(written: LabelsRecord) -> str:
    lines = [f"  {name}: {json.dumps(value)}" for name, value in written.inventory.items()]
    return "\n".join(
        [
            f"Labels: {written.path}: {number_of(written.landslides, 'landslide')}, "
            f"{number_of(written.without, 'polygon')} without; all other ground is not labelled. In the area file:",
            "inventory:",
            *lines,
        ]
    )
