"""The threshold of a model's map, and what maps of it were worth on the events that the model was tested on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from model.bundle.expected_scores import passes_in_words
from model.inputs.pass_subsets import passes_by_view
from model.inputs.selection import Selection
from model.maps.accuracy.scene_findings import TestedModel
from model.scores.case_evidence import CaseEvidence
from model.scores.input_ranges import OutOfRange
from model.scores.probability_calibration import Calibration
from pipeline.errors import ModelError

if TYPE_CHECKING:
    from model.bundle.document import BundleDocument


class Asked(Protocol):
    """How a threshold is asked for: one of the three, or none for the model's own."""

    @property
    def threshold(self) -> float | None:
        """Lowest calibrated probability that is mapped."""

    @property
    def recall(self) -> float | None:
        """Share of the landslide area that is mapped."""

    @property
    def precision(self) -> float | None:
        """Share of the mapped area that is landslide."""


def tested_model(
    document: BundleDocument, selection: Selection, asked: Asked, outside: OutOfRange | None
) -> TestedModel:
    """What the model's tests say of a map of these passes, at the threshold that is asked for.

    Raises:
        ModelError: a recall or a precision is asked for, and the model was not tested with these views and passes, or
            no threshold reaches it.
    """
    calibrated, evidence = document.calibrated_for(selection), document.evidence_for(selection)
    threshold, chosen_by = calibrated.threshold, ""
    for name, wanted in (("recall", asked.recall), ("precision", asked.precision)):
        if wanted is not None:
            threshold = _threshold_for(
                document, selection, (evidence, calibrated.calibration), (name, wanted)
            )
            chosen_by = f"for a {name} of {wanted:g} in the mean over the tested events"
    if asked.threshold is not None:
        threshold, chosen_by = asked.threshold, "as it was asked for"
    prevalences: tuple[tuple[float, float], ...] = ()
    if evidence is not None:
        estimated = evidence.prevalences(calibrated.calibration, document.prior_for(selection))
        pairs = zip(estimated, evidence.events, strict=True)
        prevalences = tuple((share, one.prevalence) for share, one in pairs if one.prevalence > 0)
    return TestedModel(
        threshold=threshold,
        accuracy=evidence.accuracy(threshold, calibrated.calibration) if evidence else None,
        prior=document.prior_for(selection),
        prevalences=prevalences,
        outside=outside.shares if outside else None,
        chosen_by=chosen_by,
    )


def _threshold_for(
    document: BundleDocument,
    selection: Selection,
    known: tuple[CaseEvidence | None, Calibration],
    wanted: tuple[str, float],
) -> float:
    """The threshold for a recall or a precision."""
    (evidence, calibration), (name, share) = known, wanted
    if evidence is None:
        views = passes_by_view(selection) if document.inputs.views == "any" else ()
        case = passes_in_words(views, len(selection.before), len(selection.after))
        raise ModelError(
            f"The model {document.digest[:12]} was not tested with {case}, so that no threshold for a {name} is known.",
            "Give --threshold, or passes that it was tested with: its card lists them.",
        )
    if name == "recall":
        return evidence.threshold_for(calibration, recall=share)
    return evidence.threshold_for(calibration, precision=share)
