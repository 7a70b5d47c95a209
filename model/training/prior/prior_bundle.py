"""The bundle of a prior: calibrated on the validation squares of its events, scored on events that it never saw."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import xarray as xr

from model.bundle.expected_scores import EventScore, ExpectedScore, mean_score
from model.bundle.left_out_evidence import with_left_out
from model.bundle.summaries import BundleRecord, record_of
from model.bundle.training_series import TrainingSeries
from model.inputs import cubes
from model.inputs.channel import DIRECTIONS
from model.inputs.channel_source import ChannelSource
from model.inputs.channel_statistics import Statistics, mean_statistics
from model.inputs.cubes import CubeFacts
from model.inputs.pass_subsets import passes_by_view
from model.inputs.selection import Selection
from model.inputs.windows import Box, whole
from model.maps.map_plan import SMALLEST_M2
from model.network.training_plan import Check
from model.scores.case_evidence import CaseEvidence
from model.scores.input_ranges import InputRanges
from model.scores.probability_calibration import CaseCalibration
from model.scores.scores import Ranking
from model.split.split import Split
from model.training.prior.prior_scores import (
    SCORED,
    TEST_TIME,
    Fitted,
    ScoredCase,
    Tested,
    calibrations,
    joined,
    tested_event,
)
from model.training.prior.prior_training import NETWORK, PLAN, Round, TrainedPrior, best_of, network_of
from model.training.prior.stored_events import (
    BUFFER_PX,
    CASES,
    INPUTS,
    SimulatedEvent,
    StoredChannels,
    StoredEvent,
    digest_of_cube,
)
from pipeline.errors import ModelError
from pipeline.files import writable_parent
from pipeline.progress import Progress, no_progress

if TYPE_CHECKING:
    pass


def write_prior(
    trained: TrainedPrior,
    left_out: Sequence[SimulatedEvent],
    out: Path,
    progress: Progress = no_progress,
) -> BundleRecord:
    """Score the best round of a training on events that were left out, and write it as a bundle.

    Calibration and thresholds are fitted over the left-out events, by whole events.

    Args:
        left_out: none of them is among the training events.
        out: folder of the bundle; a bundle that is there is replaced.

    Raises:
        ModelError: there is no whole round, an event is in both sets, or `out` holds something else.
    """
    started = time.monotonic()
    if not trained.rounds:
        raise ModelError("No round of the training is whole.", "Give it more time (--minutes).")
    both = {one.name for one in left_out} & {one.name for one in trained.records}
    if both:
        raise ModelError(f"{', '.join(sorted(both))} cannot be left out: it was trained on.")
    from model.bundle import bundle
    from model.network.ensemble import probability_of
    from model.network.network import choose_device, parameters
    from model.network.weights import weights_of

    best = best_of(trained.rounds)
    network = network_of(trained.folder, best)
    device = choose_device("auto")
    probability = probability_of([network], device, INPUTS.channels, TEST_TIME)
    fitted = calibrations(trained, probability, progress)
    tested = [
        tested_event(event, probability, writable_parent(out), number, len(left_out), progress)
        for number, event in enumerate(left_out)
    ]
    weights = weights_of([network])
    document = with_left_out(
        bundle.new_document(
            weights,
            parameters=parameters(network),
            device=str(device),
            **_fields(trained, best, fitted, tested),
        ),
        [_evidence(case, tested) for case in SCORED],
    )
    bundle.save(document, weights, out)
    return record_of(document, out, time.monotonic() - started)


def _fields(
    trained: TrainedPrior, best: Round, fitted: dict[ScoredCase, Fitted], tested: Sequence[Tested]
) -> dict[str, object]:
    """The fields of the document that are of events, scores and calibration."""
    first = trained.events[0].cube()
    record = trained.records[0]
    if record.validation is None:
        raise ModelError(f"The first event, {record.name}, has no landslide that counts.")
    used = [one for one in trained.records if one.validation is not None]
    every = ScoredCase(DIRECTIONS, len(CASES) - 1)
    threshold = fitted[every].validation.threshold
    rows = {case: [one.score(case, fitted[case].validation.threshold) for one in tested] for case in fitted}
    pooled = Ranking.of(*joined([one.predicted[every] for one in tested])).scores(threshold)
    calibration = fitted[every].calibration
    return {
        "inputs": INPUTS,
        "network": NETWORK,
        "statistics": mean_statistics([one.statistics for one in used]),
        "training": PLAN.model_copy(update={"steps": PLAN.steps * len(trained.rounds)}),
        "cases": tuple(sorted({view.after for one in used for case in one.cases for view in case})),
        "test_time": TEST_TIME,
        "seed": 1,
        "split": _split(record.validation, cubes.shape_of(first)),
        "grid": None,
        "cube": _facts(record, first),
        "selection": tested[0].selections[every],
        "history": tuple(
            Check(step=one.steps, loss=one.loss, validation_auprc=one.validation_auprc)
            for one in trained.rounds
        ),
        "best_step": best.steps,
        "validation": calibration.applied_to(fitted[every].validation),
        "test": calibration.applied_to(pooled),
        "events": tuple(rows[every]),
        "calibration": calibration,
        "by_passes": tuple(
            CaseCalibration(
                after=len(tested[0].selections[case].after),
                views=passes_by_view(tested[0].selections[case]),
                calibration=one.calibration.model_copy(update={"before": (), "after": ()}),
                threshold=one.calibration.applied_to(one.validation).threshold,
            )
            for case, one in fitted.items()
            if case != every
        ),
        "input_ranges": _ranges(trained.folder / "events", used),
        "expected": tuple(_expected(tested[0].selections[case], rows[case]) for case in fitted),
        "series": _series(trained, used, best, [one.name for one in tested]),
    }


def _evidence(case: ScoredCase, tested: Sequence[Tested]) -> CaseEvidence:
    selection = tested[0].selections[case]
    return CaseEvidence(
        before=len(selection.before),
        after=len(selection.after),
        views=passes_by_view(selection),
        smallest_m2=SMALLEST_M2,
        events=tuple(one.counted[case] for one in tested),
    )


def _ranges(events: Path, used: Sequence[StoredEvent]) -> InputRanges:
    """What the inputs of the training events were like, with all passes."""

    def stored() -> Iterator[tuple[ChannelSource, Statistics, tuple[Box]]]:
        for one in used:
            channels = StoredChannels(events / one.name / f"case-{len(CASES) - 1}.npy")
            yield channels, one.statistics, (whole(channels.shape),)

    return InputRanges.of(stored())


def _expected(selection: Selection, rows: Sequence[EventScore]) -> ExpectedScore:
    return ExpectedScore(
        before=len(selection.before),
        after=len(selection.after),
        events=len(rows),
        views=passes_by_view(selection),
        **mean_score(rows).model_dump(),
    )


def _series(
    trained: TrainedPrior, used: Sequence[StoredEvent], best: Round, left_out: Sequence[str]
) -> TrainingSeries:
    def counted(words: Sequence[str]) -> dict[str, int]:
        return {word: words.count(word) for word in sorted(set(words))}

    shares = [one.landslide_share for one in used]
    seeds = [one.seed for one in trained.records]
    return TrainingSeries(
        events=len(used),
        unused=len(trained.records) - len(used),
        lands=counted([one.land for one in used]),
        seeds=(min(seeds), max(seeds)),
        pixels_m=counted([f"{one.pixel_m:g} m" for one in used]),
        prevalence=(min(shares), max(shares)),
        passes_before=tuple(sorted({view.before for one in used for view in one.cases[-1]})),
        left_out=tuple(left_out),
        rounds=len(trained.rounds),
        best_round=best.number,
        steps=best.steps,
        minutes=round(sum(one.seconds for one in trained.rounds) / 60, 1),
    )


def _facts(record: StoredEvent, cube: xr.Dataset) -> CubeFacts:
    return CubeFacts(
        uri=f"simulated event {record.name}",
        area=record.name,
        digest=digest_of_cube(record.name, cube),
        shape=(cube.sizes["y"], cube.sizes["x"]),
        simulated=True,
        licence=str(cube.attrs.get("license", "")),
        attribution=str(cube.attrs.get("attribution", "")),
    )


def _split(validation: Box, shape: tuple[int, int]) -> Split:
    """The training area around the validation square, as rectangles that do not overlap."""
    height, width = shape
    top, left = max(validation.top - BUFFER_PX, 0), max(validation.left - BUFFER_PX, 0)
    bottom, right = min(validation.bottom + BUFFER_PX, height), min(validation.right + BUFFER_PX, width)
    around = (
        (0, 0, top, width),
        (bottom, 0, height, width),
        (top, 0, bottom, left),
        (top, right, bottom, width),
    )
    boxes = (Box(top=t, left=a, height=b - t, width=r - a) for t, a, b, r in around if b > t and r > a)
    return Split(train=tuple(boxes), validation=(validation,), test=(), buffer_px=BUFFER_PX)
