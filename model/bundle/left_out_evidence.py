"""A bundle whose calibration, thresholds and statements are of events that its network was not trained on."""

from __future__ import annotations

from collections.abc import Sequence

from model.bundle.document import BundleDocument
from model.scores.case_evidence import CaseEvidence
from model.scores.probability_calibration import Calibration, CaseCalibration
from pipeline.errors import ModelError


def with_left_out(document: BundleDocument, cases: Sequence[CaseEvidence]) -> BundleDocument:
    """The document with the counts of left-out events in place of those of its test areas.

    Calibration and threshold of each case are fitted over all its events, each of which counts as much: the threshold
    is the one with the best mean F1 by area. A case whose events have no landslide keeps its own. The digest changes
    with them.

    Count each event with `EventEvidence.of`, whole, as a map would be made of it: by networks that were trained in the
    same way on other events, standardised by the scene's own statistics over land; join the events of one case in a
    `CaseEvidence` (its `before`, `after` and `views` as in `document.expected`).

        counted = EventEvidence.of(CountedEvent(area=..., cube=..., simulated=..., part="left-out event"),
                                   [(probability, labels)], pixel_m2=100.0, smallest_m2=400.0)

    Args:
        cases: counts of `part` "left-out event"; cases that are not among them lose their evidence.

    Raises:
        ModelError: the counts are of test areas.
    """
    if any(case.part != "left-out event" for case in cases):
        raise ModelError("Counts of test areas are no evidence of left-out events.", "Count whole events.")
    short: list[CaseCalibration] = []
    whole: tuple[Calibration, float] | None = None
    for known in (*document.by_passes, None):
        case = _of_case(document, known, cases)
        fitted = _fitted(case) if case is not None else None
        if known is None:
            whole = fitted
        elif fitted is None:
            short.append(known)
        else:
            plain = fitted[0].model_copy(update={"before": (), "after": ()})
            short.append(known.model_copy(update={"calibration": plain, "threshold": fitted[1]}))
    changed = document.model_copy(update={"evidence": tuple(cases), "by_passes": tuple(short)})
    if whole is not None:
        moved = _moved(document.calibration, whole[0])
        changed = changed.model_copy(
            update={
                "calibration": whole[0],
                "chosen_threshold": whole[1],
                "validation": moved.applied_to(document.validation),
                "test": moved.applied_to(document.test),
            }
        )
    return changed.model_copy(update={"digest": changed.identity})


def _of_case(
    document: BundleDocument, known: CaseCalibration | None, cases: Sequence[CaseEvidence]
) -> CaseEvidence | None:
    """The evidence of a calibrated case; None of `known`: of all passes."""
    every = document.every_case
    after, views = (every.after, every.views) if known is None else (known.after, known.views)
    return next((case for case in cases if (case.after, case.views) == (after, views)), None)


def _fitted(case: CaseEvidence) -> tuple[Calibration, float] | None:
    """Calibration and threshold; None: no event has a landslide."""
    if not any(sum(one.landslides) for one in case.events):
        return None
    calibration = case.calibration()
    return calibration, case.best_threshold(calibration)


def _moved(old: Calibration, new: Calibration) -> Calibration:
    """What brings a threshold that was calibrated by `old` to `new`."""
    slope = new.slope / old.slope
    return new.model_copy(update={"slope": slope, "intercept": new.intercept - slope * old.intercept})
