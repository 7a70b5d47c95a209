"""The model card: what a model is, what it was trained on and how it scores, for a person who receives it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model.bundle.expected_scores import BASELINE_NAMES, passes_in_words
from model.bundle.markdown import render_markdown
from model.network.training_plan import member_seed
from model.split.split import PARTS
from pipeline.errors import number_of

if TYPE_CHECKING:
    from model.bundle.document import BundleDocument
    from model.scores.case_evidence import CaseEvidence, OverEvents


def model_card(document: BundleDocument) -> str:
    """The text of `MODEL_CARD.md`: Markdown from `templates/model_card.md.j2`."""
    return render_markdown(
        "model.bundle",
        "model_card.md.j2",
        model=document,
        seeds=[member_seed(document.seed, number) for number in range(document.members)],
        parts=PARTS,
        baseline_names=BASELINE_NAMES,
        left_out=any(case.part == "left-out event" for case in document.evidence),
        worth=[_worth(document, case) for case in document.evidence],
        number_of_passes=_number_of_passes,
    )


def _worth(document: BundleDocument, case: CaseEvidence) -> dict[str, object]:
    """A line of the table of what maps are worth: a case at its own calibration and threshold."""
    known = document.calibrated_case(case.after, case.views)
    found = case.accuracy(known.threshold, known.calibration)
    shares = {name: _share(getattr(found, name)) for name in ("false_polygons", "false_area", "missed_area")}
    return {"case": passes_in_words(case.views, case.before, case.after), "found": found, **shares}


def _share(share: OverEvents | None) -> str:
    if share is None:
        return "nothing mapped"
    if share.events == 1:
        return f"{share.mean:.3f}"
    return f"{share.mean:.3f} ({share.lowest:.3f} to {share.highest:.3f})"


def _number_of_passes(number: int | None, which: str) -> str:
    if number is None:
        return "all passes"
    return f"the {which} pass" if number == 1 else f"the {which} {number_of(number, 'pass')}"
