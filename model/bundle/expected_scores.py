"""Scores that a map can be expected to reach: those of the model on its test areas with as many passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from model.inputs.selection import Selection
from model.scores.scores import Method, Scores, Share
from pipeline.errors import number_of
from pipeline.records import Frozen

EVERY_CASE_UP_TO = 4
"""a model is scored with each number of passes after the event up to this one, and with all passes"""
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

    before: int = Field(ge=1)
    after: int = Field(ge=1)
    events: int | None = Field(
        None, ge=1, description="test areas of which the score is the mean; None: in older documents"
    )


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


def scored_cases(selection: Selection) -> tuple[int, ...]:
    """The numbers of passes after the event that a new model is scored with; the number of all passes is the last."""
    most = len(selection.after)
    return (*range(1, min(most, EVERY_CASE_UP_TO + 1)), most)


def expected_for(
    known: tuple[ExpectedScore, ...], before: int, after: int
) -> tuple[ExpectedScore | None, str]:
    """The score to expect of a map with so many passes, and a sentence for its report, without a full stop.

    The score is of test areas next to the training areas: on another event it may well be lower.

    Returns:
        No score where the model was not scored with so many passes.
    """
    case = f"{number_of(before, 'pass')} before and {after} after the event"
    for row in known:
        if (row.before, row.after) == (before, after):
            return row, (
                f"Expected score with {case}: {'mean ' if (row.events or 1) > 1 else ''}AUPRC "
                f"{row.auprc:.3f} at a prevalence of {row.prevalence:.4f}, from "
                f"{number_of(row.pixels, 'pixel')} of {_test_areas(row)}; on another event it may be lower"
            )
    if not known:
        return None, f"The model was never scored with {case}, nor with any other number of passes"
    near = min(known, key=lambda row: (abs(row.after - after), abs(row.before - before)))
    return None, (
        f"The model was never scored with {case}. The nearest case is {near.before} before and {near.after} after: "
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
