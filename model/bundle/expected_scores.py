"""Scores that a map can be expected to reach: those of the model on its test areas with as many passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from model.inputs.inputs import Inputs
from model.inputs.pass_subsets import PassSubset, ViewPasses, distance, most_after, passes_by_view
from model.inputs.selection import Selection
from model.scores.scores import Method, Scores, Share
from pipeline.errors import number_of
from pipeline.records import Frozen

EVERY_CASE_UP_TO = 4
"""a model is scored with each number of passes after the event up to this one, and with all passes"""
ONE_VIEW_UP_TO = 2
"""the same for each direction alone, of a network that takes any view"""
BASELINE_NAMES = {"log-ratio": "change detector (log-ratio of medians)", "boosting": "boosted pixels"}
"""methods without a network, as a person reads them"""


class AreaScore(Frozen):
    """The score of a model on a test area; over the test areas of several events the mean of theirs."""

    auprc: Share
    prevalence: Share
    f1: Share = Field(description="at the threshold of the model")
    pixels: int = Field(ge=1)


class ExpectedScore(AreaScore):
    """The score on the model's test area with some of its passes: the newest before, the first after the event."""

    before: int = Field(ge=1, description="of the first view")
    after: int = Field(ge=1, description="of the first view")
    events: int | None = Field(
        None, ge=1, description="test areas of which the score is the mean; None: in older documents"
    )
    views: tuple[ViewPasses, ...] = Field(
        (), exclude_if=lambda views: not views, description="of a network that takes any view; else empty"
    )

    @property
    def case(self) -> str:
        """The passes in words."""
        return passes_in_words(self.views, self.before, self.after)


class EventScore(AreaScore):
    """The score on the test area of one of several training events, with all passes of the case."""

    area: str
    cube: str = Field(description="digest of the cube")


class BaselineScore(EventScore):
    """The score of a method without a network on the test area of an event, with all passes of the model."""

    method: Method = Field(
        description="log-ratio needs no label; boosting is trained on the same training pixels"
    )


def mean_score(rows: Sequence[AreaScore]) -> AreaScore:
    """The mean of the scores of several events, each of which counts as much; their pixels are never pooled.

    Each event is standardised by itself and has a prevalence of its own, so that a ranking of all pixels together would
    measure the differences between the scenes as well.
    """
    count = len(rows)
    return AreaScore(
        auprc=sum(row.auprc for row in rows) / count,
        prevalence=sum(row.prevalence for row in rows) / count,
        f1=sum(row.f1 for row in rows) / count,
        pixels=sum(row.pixels for row in rows),
    )


def area_score_fields(scores: Scores) -> dict[str, Any]:
    """The fields of an `AreaScore`, from full scores."""
    return {name: getattr(scores, name) for name in AreaScore.model_fields}


def baselines_in_words(rows: Sequence[BaselineScore]) -> str:
    """AUPRC of the methods without a network on one line; where there are several events, with the event of each."""
    several = len({row.cube for row in rows}) > 1
    return "; ".join(
        f"{BASELINE_NAMES.get(row.method, row.method)}"
        f"{f' on {row.area} {row.cube[:12]}' if several else ''} {row.auprc:.3f}"
        for row in rows
    )


def scored_cases(selection: Selection, inputs: Inputs) -> tuple[PassSubset, ...]:
    """The passes that a new model is scored with; all of them come last.

    A network that takes any view is scored with each direction alone too.
    """

    def cases(after: int, up_to: int, directions: tuple[str, ...] = ()) -> list[PassSubset]:
        numbers = (*range(1, min(after, up_to + 1)), after)
        return [PassSubset(after=number, directions=directions) for number in numbers]

    views = selection.every_view
    alone = views if inputs.views == "any" and len(views) > 1 else ()
    single = [case for v in alone for case in cases(len(v.after), ONE_VIEW_UP_TO, (v.direction,))]
    return (*single, *cases(most_after(selection), EVERY_CASE_UP_TO))


def passes_in_words(views: Sequence[ViewPasses], before: int, after: int) -> str:
    """As in '4 passes before and 1 after the event', for each view of a network that takes any.

    Args:
        before, after: of the first view.
    """
    if not views:
        return f"{number_of(before, 'pass')} before and {after} after the event"
    return " and ".join(
        f"{number_of(view.before, f'{view.direction} pass')} before and {view.after} after the event"
        for view in views
    )


def expected_for(known: tuple[ExpectedScore, ...], selection: Selection) -> tuple[ExpectedScore | None, str]:
    """The score to expect of a map of these passes, and a sentence for its report, without a full stop.

    The score is of test areas next to the training areas: on another event it may well be lower.

    Returns:
        No score where the model was not scored with so many passes of these views.
    """
    any_view = any(row.views for row in known)
    views = passes_by_view(selection) if any_view else ()
    case = passes_in_words(views, len(selection.before), len(selection.after))
    for row in known:
        if not any(distance(row.views, row.before, row.after, selection)):
            return row, (
                f"Expected score with {case}: {'mean ' if (row.events or 1) > 1 else ''}AUPRC "
                f"{row.auprc:.3f} at a prevalence of {row.prevalence:.4f}, from "
                f"{number_of(row.pixels, 'pixel')} of {_test_areas(row)}; on another event it may be lower"
            )
    if not known:
        return None, f"The model was never scored with {case}, nor with any other number of passes"
    near = min(known, key=lambda row: distance(row.views, row.before, row.after, selection))
    words = near.case if any_view else f"{near.before} before and {near.after} after"
    return None, (
        f"The model was never scored with {case}. The nearest case is {words}: "
        f"AUPRC {near.auprc:.3f} at a prevalence of {near.prevalence:.4f}"
    )


def _test_areas(row: ExpectedScore) -> str:
    if row.events is None or row.events == 1:
        return "the model's test area"
    return f"the model's test areas in {row.events} events"


def area_names_in_short(areas: Sequence[str]) -> str:
    """The name of a single area; of several the first one's, and the number of others."""
    if len(areas) == 1:
        return areas[0]
    return f"{areas[0]} and {len(areas) - 1} {'other' if len(areas) == 2 else 'others'}"
