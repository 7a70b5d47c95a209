"""What a map may be expected to score: the model on its test area, with as many passes as the case at hand has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from model.inputs.selection import Selection
from model.scores.scores import Method, Scores, Share
from pipeline.records import Frozen

EVERY_CASE_UP_TO = 4
"""passes after the event that are scored one by one; beyond, only all of them"""


class AreaScore(Frozen):
    """The score of a model on test areas."""

    auprc: Share
    prevalence: Share
    f1: Share = Field(description="at the threshold of the model")
    pixels: int = Field(ge=1)


class ExpectedScore(AreaScore):
    """The score on the model's test area with some of its passes: the newest before, the first after the event."""

    before: int = Field(ge=1)
    after: int = Field(ge=1)


class EventScore(AreaScore):
    """The score on the test area of one of several events that a model was trained on, with all passes of the case."""

    area: str
    cube: str = Field(description="digest of the cube")


class BaselineScore(EventScore):
    """The score of a method without a network on the test area of an event, with all passes of the model."""

    method: Method = Field(
        description="log-ratio needs no label; boosting learns from the same training pixels"
    )


def figures(scores: Scores) -> dict[str, Any]:
    """The fields of an `AreaScore`."""
    return {name: getattr(scores, name) for name in AreaScore.model_fields}


def baselines_in_words(rows: Sequence[BaselineScore]) -> str:
    """Their AUPRC, for a card or a terminal; where there are several events, of which."""
    names = {"log-ratio": "change detector (log-ratio of medians)", "boosting": "boosted pixels"}
    several = len({row.cube for row in rows}) > 1
    return "; ".join(
        f"{names.get(row.method, row.method)}{f' on {row.area} {row.cube[:12]}' if several else ''} {row.auprc:.3f}"
        for row in rows
    )


def cases(selection: Selection) -> tuple[int, ...]:
    """The numbers of passes after the event that a new model is scored with, all passes last."""
    most = len(selection.after)
    return (*range(1, min(most, EVERY_CASE_UP_TO + 1)), most)


def expected_for(
    known: tuple[ExpectedScore, ...], before: int, after: int, events: int = 1
) -> tuple[ExpectedScore | None, str]:
    """The row of a case, and words for a report; None: the model was never scored with so many passes.

    A figure is of test areas beside the training areas: on another event it may well be lower.

    Args:
        events: number of events that the model was trained on, each with a test area.
    """
    where = "the model's test area" if events == 1 else f"the model's test areas in {events} events"
    case = f"{before} {_passes(before)} before and {after} after the event"
    for row in known:
        if (row.before, row.after) == (before, after):
            return row, (
                f"Expected with {case}: AUPRC {row.auprc:.3f} at a prevalence of {row.prevalence:.4f}, on "
                f"{row.pixels:,} pixels of {where}; another event may score less"
            )
    if not known:
        return None, f"The model was never scored with {case}, nor with any other number of passes"
    near = min(known, key=lambda row: (abs(row.after - after), abs(row.before - before)))
    return None, (
        f"The model was never scored with {case}. The nearest case is {near.before} before and {near.after} after: "
        f"AUPRC {near.auprc:.3f} at a prevalence of {near.prevalence:.4f}"
    )


def in_short(areas: Sequence[str]) -> str:
    """One area by name; of several the first, and how many more there are."""
    if len(areas) == 1:
        return areas[0]
    return f"{areas[0]} and {len(areas) - 1} {'other' if len(areas) == 2 else 'others'}"


def _passes(count: int) -> str:
    return "pass" if count == 1 else "passes"
