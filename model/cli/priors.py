"""The command `prior`, which trains the bundle `simulated-prior` again. Heavy modules are imported when it runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.console import as_json, progress_bars, reports_errors
from pipeline.errors import IncompleteError, number_of
from pipeline.places import SIMULATED_PRIOR
from pipeline.progress import Progress

if TYPE_CHECKING:
    from model.bundle.summaries import BundleRecord
    from model.training.prior.stored_events import SimulatedEvent, StoredEvent
    from pipeline.sandbox.event_series import SeriesEvent


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--events", type=click.IntRange(1), default=72, show_default=True, help="Simulated events to train on."
)
@click.option(
    "--minutes",
    type=click.FloatRange(0, min_open=True),
    default=120.0,
    show_default=True,
    help="Begin no event and no round of training after this time; the bundle is then made of the best round so far, "
    "and the same command goes on.",
)
@click.option("--rounds", type=click.IntRange(1), help="Train no more rounds than this.  [default: no limit]")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help=f"Folder of the bundle.  [default: FOLDER/{SIMULATED_PRIOR}]",
)
@as_json
@reports_errors
def prior(
    folder: Path, events: int, minutes: float, rounds: int | None, out: Path | None, json_: bool
) -> None:
    """Train a prior on simulated events: a network from which others are fine-tuned, and a second opinion on a map.

    FOLDER keeps the events and the rounds of training. What is whole there is not made again, so that a command that
    was killed, or whose time was over, goes on where it ended. The bundle that comes with slidecube as simulated-prior
    was made by this command. No real landslide is in its training set.
    """
    until = time.time() + 60 * minutes
    from pipeline.sandbox.event_series import left_out_events, training_event

    chosen = [_event(training_event(number)) for number in range(events)]
    with progress_bars() as progress:
        records = _stored(chosen, folder / "events", until, progress)
        from model.training.prior.prior_bundle import write_prior
        from model.training.prior.prior_training import TrainedPrior, train_rounds

        done = train_rounds(records, folder, until, most=rounds, progress=progress)
        if not done:
            raise IncompleteError(
                f"The time was over before a round of training began (--minutes {minutes:g}).",
                "The same command goes on.",
            )
        record = write_prior(
            TrainedPrior(folder, tuple(chosen), tuple(records), tuple(done)),
            [_event(one) for one in left_out_events()],
            out or folder / SIMULATED_PRIOR,
            progress,
        )
    click.echo(record.model_dump_json(indent=1) if json_ else _words(record, len(done)))


def _event(one: SeriesEvent) -> SimulatedEvent:
    from model.training.prior.stored_events import SimulatedEvent

    return SimulatedEvent(one.name, one.land, one.seed, one.cube)


def _stored(
    chosen: list[SimulatedEvent], folder: Path, until: float, progress: Progress
) -> list[StoredEvent]:
    """The records of all events, which are simulated unless the folder has them.

    Raises:
        IncompleteError: the time was over before the last one.
    """
    from model.training.prior.stored_events import is_stored, stored

    records = []
    for number, one in enumerate(chosen):
        progress("events", number, len(chosen), one.name)
        if time.time() > until and not is_stored(one, folder):
            raise IncompleteError(
                f"The time was over after {number_of(number, 'event')} of {len(chosen)} (--minutes).",
                "The same command goes on.",
            )
        records.append(stored(one, folder))
    progress("events", len(chosen), len(chosen))
    return records


def _words(record: BundleRecord, rounds: int) -> str:
    scores = "".join(
        f"  {event.area}: {event.auprc:.3f} at {event.prevalence:.4f}\n" for event in record.events
    )
    return (
        f"Mean AUPRC {record.auprc:.3f} at a prevalence of {record.prevalence:.4f} on "
        f"{number_of(len(record.events), 'event')} that were left out, after {number_of(rounds, 'round')}.\n"
        f"{scores}SIMULATED: no real landslide is in the training set.\nModel: {record.path}"
    )
