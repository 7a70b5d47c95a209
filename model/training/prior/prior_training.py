"""The training of a prior: rounds of steps over stored events, each from the weights of the round before.

Each round has a cosine of the learning rate of its own (warm restarts: Loshchilov and Hutter 2017, SGDR, ICLR), so that
the weights at the end of any round can be used. The weights of every round are kept: a killed training goes on after
its last whole round, and a budget of time ends between two rounds.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, ValidationError

from model.network.training_plan import NetworkSpec, TrainingPlan
from model.training.prior.stored_events import INPUTS, SimulatedEvent, StoredEvent, training_scenes
from pipeline.errors import ModelError
from pipeline.files import read_regular, whole_folder
from pipeline.progress import Progress, no_progress
from pipeline.records import Frozen, digest_of_json

if TYPE_CHECKING:
    from model.network.weights import Network

log = logging.getLogger(__name__)

NETWORK = NetworkSpec(
    architecture="unet-narrow",
    encoder="resnet18",
    encoder_depth=3,
    decoder_channels=(64, 32, 16),
    in_channels=1,
).on(INPUTS.channels)
"""3.6 MiB in float32"""
PLAN = TrainingPlan(
    chip_px=64,
    stride_px=32,
    steps=500,
    batch=8,
    validate_every=500,
    ema_decay=0.99,
    one_view_share=0.5,
)
"""of one round"""
ROUND, WEIGHTS = "round.json", "weights.safetensors"
LARGEST_DOCUMENT_BYTES = 1 << 20


class Round(Frozen):
    """One whole round."""

    number: int = Field(ge=1)
    steps: int = Field(description="of all rounds so far")
    loss: float
    validation_auprc: float = Field(description="mean over the validation squares of all scenes")
    seconds: float = Field(description="of this round, its evaluation included")
    identity: str = Field(description="sha256 of events, network and plan")
    weights_sha256: str


@dataclass(frozen=True)
class TrainedPrior:
    """A training that has come to an end, or has been stopped."""

    folder: Path
    events: tuple[SimulatedEvent, ...]
    """the training events"""
    records: tuple[StoredEvent, ...]
    rounds: tuple[Round, ...]


def train_rounds(
    records: Sequence[StoredEvent],
    folder: Path,
    until: float,
    *,
    plan: TrainingPlan = PLAN,
    most: int | None = None,
    progress: Progress = no_progress,
) -> list[Round]:
    """Go on with the training until a time.

    Args:
        records: of the events in `folder/events`.
        folder: rounds are kept in `folder/rounds`.
        until: `time.time()` after which no round begins; none begins either that would take longer than what is left,
            as the last one did.
        most: rounds in all; None: as many as there is time for.

    Returns:
        All rounds so far.

    Raises:
        ModelError: no event holds a landslide to train on, or the loss is no longer a number.
    """
    from model.network.training import train
    from model.network.weights import weights_of

    events = folder / "events"
    scenes = [s for number, one in enumerate(records) for s in training_scenes(one, events, number)]
    if not scenes:
        raise ModelError("None of the events holds a landslide to train on.", "Make more events (--events).")
    identity = _identity(records, plan)
    found = rounds_of(folder, identity)
    while (most is None or len(found) < most) and _is_time(found, until):
        started, number = time.monotonic(), len(found) + 1
        start = dict(network_of(folder, found[-1]).state_dict()) if found else None
        made = train(scenes, NETWORK, plan, number, _named(progress, number), start)
        weights = weights_of([made.network])
        with whole_folder(_folder(folder, number), ROUND) as target:
            (target / WEIGHTS).write_bytes(weights)
            done = Round(
                number=number,
                steps=plan.steps * number,
                loss=made.history[-1].loss,
                validation_auprc=made.best.validation_auprc,
                seconds=round(time.monotonic() - started, 1),
                identity=identity,
                weights_sha256=_sha256(weights),
            )
            (target / ROUND).write_text(done.model_dump_json(indent=1) + "\n", encoding="utf-8")
        found.append(done)
        log.info("round %d: loss %.4f, validation AUPRC %.4f", number, done.loss, done.validation_auprc)
        progress("rounds", number, most, f"validation AUPRC {done.validation_auprc:.3f}")
    return found


def rounds_of(folder: Path, identity: str) -> list[Round]:
    """The whole rounds of this very training, from the first one without a gap."""
    found: list[Round] = []
    while (one := _read(_folder(folder, len(found) + 1))) is not None and one.identity == identity:
        found.append(one)
    return found


def best_of(rounds: Sequence[Round]) -> Round:
    """The round with the best score on the validation squares."""
    return max(rounds, key=lambda one: one.validation_auprc)


def network_of(folder: Path, one: Round) -> Network:
    """The network at the end of a round.

    Raises:
        ModelError: its weights cannot be read, or are not those that the round wrote.
    """
    from model.network.weights import build_members, forms_of, load_weights, read_weights

    file = _folder(folder, one.number) / WEIGHTS
    try:
        raw = read_weights(file, forms_of(NETWORK))
    except OSError as error:
        raise ModelError(f"{file} cannot be read ({error.strerror}).") from error
    if _sha256(raw) != one.weights_sha256:
        raise ModelError(f"{file} is not what its round wrote.", "Remove the folder of the round, and go on.")
    (network,) = build_members(NETWORK, 1)
    load_weights([network], raw)
    return network


def _identity(records: Sequence[StoredEvent], plan: TrainingPlan) -> str:
    return digest_of_json(
        {
            "events": [digest_of_json(one.model_dump(mode="json")) for one in records],
            "network": NETWORK.model_dump(mode="json"),
            "plan": plan.model_dump(mode="json", exclude={"device", "processes", "compiled"}),
        }
    )


def _is_time(found: Sequence[Round], until: float) -> bool:
    """Whether a round of the length of the last one ends in time; the first one always begins before the end."""
    return time.time() + (found[-1].seconds if found else 0.0) < until


def _named(progress: Progress, number: int) -> Progress:
    def of_round(what: str, done: int, total: int | None = None, remark: str = "", /) -> None:
        progress(f"{what}, round {number}", done, total, remark)

    return of_round


def _folder(folder: Path, number: int) -> Path:
    return folder / "rounds" / f"round-{number:03d}"


def _read(folder: Path) -> Round | None:
    try:
        return Round.model_validate_json(read_regular(folder / ROUND, LARGEST_DOCUMENT_BYTES))
    except (OSError, ValidationError):
        return None


def _sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
