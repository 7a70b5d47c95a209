"""The model card: what a model is, what it was trained on and how it scores, for a person who receives it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model.bundle.expected_scores import BASELINE_NAMES
from model.bundle.markdown import render_markdown
from model.network.training_plan import member_seed
from model.split.split import PARTS
from pipeline.errors import number_of

if TYPE_CHECKING:
    from model.bundle.document import BundleDocument


def model_card(document: BundleDocument) -> str:
    """The text of `MODEL_CARD.md`: Markdown from `templates/model_card.md.j2`."""
    return render_markdown(
        "model.bundle",
        "model_card.md.j2",
        model=document,
        seeds=[member_seed(document.seed, number) for number in range(document.members)],
        parts=PARTS,
        baseline_names=BASELINE_NAMES,
        number_of_passes=_number_of_passes,
    )


def _number_of_passes(number: int | None, which: str) -> str:
    if number is None:
        return "all passes"
    return f"the {which} pass" if number == 1 else f"the {which} {number_of(number, 'pass')}"
