"""The result of a predictor under the protocol `strict`: folds, intervals, comparison, card."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from model.bundle.markdown import render_markdown
from model.experiments.results.comparison import Difference
from model.experiments.results.results import SkippedTrial, TrialResult
from model.experiments.strict import StrictPlan
from model.inputs.cubes import CubeFacts
from model.inputs.inputs import Inputs
from model.scores.intervals import Interval
from model.scores.scores import Method
from pipeline.records import Frozen

CARD, RESULT = "CARD.md", "result.json"


class StrictSettings(Frozen):
    """How a predictor is scored."""

    name: str = Field("", description="of the method, for tables; empty: that of its class or function")
    plan: StrictPlan = Field(StrictPlan(), description="rectangles, buffers and the event")
    only: tuple[int, ...] = Field((), description="folds that are run; empty: all of them")
    against: tuple[Method, ...] = Field(
        ("log-ratio", "boosting"),
        description="methods without a network on the same pixels: log-ratio, boosting, logistic, random",
    )


class StrictResult(Frozen):
    """The scores of a predictor over the folds of one cube."""

    format: str = "slidecube-strict-1"
    name: str
    cube: CubeFacts
    inputs: Inputs
    plan: StrictPlan
    protocol_digest: str
    auprc: Interval = Field(description="mean over folds, and the range over folds and blocks of 64 pixels")
    prevalence: float = Field(description="mean over folds: the AUPRC of a random map")
    folds: tuple[TrialResult, ...]
    controls: tuple[float, ...] = Field(
        description="AUPRC of each fold on the same pixels in random order, which is about the prevalence"
    )
    others: dict[str, Interval] = Field(description="AUPRC of the methods it is compared with")
    differences: tuple[Difference, ...] = Field(
        description="AUPRC of the predictor minus theirs, paired by fold"
    )
    skipped: tuple[SkippedTrial, ...] = Field(
        (), description="folds that could not be run, such as one without landslides"
    )
    path: Path | None = Field(None, description="folder of the result; None: nothing was written")

    @property
    def card(self) -> str:
        """The result for a person who reads it: Markdown."""
        rows = zip(self.folds, self.controls, strict=True)
        return render_markdown("model.experiments.predictors", "strict_card.md.j2", result=self, rows=[*rows])
