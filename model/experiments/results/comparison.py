"""Whether two methods may be compared, and which of them is better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field

from model.experiments.results.results import TrialResult
from model.scores.intervals import BlockCounts, Interval, paired_difference
from pipeline.errors import ModelError
from pipeline.records import Frozen


@dataclass(frozen=True)
class Scored:
    """A result and the counts of its scores."""

    result: TrialResult
    counts: BlockCounts

    @property
    def ground(self) -> tuple[str, int]:
        """What it was scored on: digest of the cube, fold (-1: none)."""
        fold = self.result.trial.fold
        return self.result.cube.digest, -1 if fold is None else fold


class Difference(Frozen):
    """First less second, paired on the same ground, folds and seeds."""

    first: str
    second: str
    auprc: Interval
    wins: int = Field(ge=0, description="pairs in which the first is better")

    @property
    def words(self) -> str:
        """As in '+0.031 [0.012, 0.050], 11 of 12'."""
        a = self.auprc
        return f"{a.mean:+.3f} [{a.lower:+.3f}, {a.upper:+.3f}], {self.wins} of {a.units}"

    @property
    def holds(self) -> bool:
        """Whether the first is above the second by an interval above zero. Nothing else counts as an ordering."""
        return self.auprc.lower > 0


def compare(first: Sequence[Scored], second: Sequence[Scored], *, same_budget: bool = True) -> Difference:
    """The paired difference of two methods.

    Args:
        same_budget: refuse networks that were trained for another number of steps; an ensemble counts by its members.

    Raises:
        ModelError: they are of different protocols, pixels, seeds, folds or budgets; what differs is named.
    """
    ours, theirs = _by_place(first), _by_place(second)
    names = first[0].result.trial.label, second[0].result.trial.label
    if ours.keys() != theirs.keys():
        odd = sorted(str(place) for place in ours.keys() ^ theirs.keys())
        raise ModelError(
            f"{names[0]!r} and {names[1]!r} were not tried on the same cubes, folds and seeds: {', '.join(odd[:3])}.",
            "Run both on all of them.",
        )
    for place in ours:
        _must_agree(ours[place].result, theirs[place].result, same_budget)
    places = sorted(ours)
    a, b = [ours[p].counts for p in places], [theirs[p].counts for p in places]
    grounds = [ours[p].ground for p in places]
    wins = sum(float(x.auprc()[0]) > float(y.auprc()[0]) for x, y in zip(a, b, strict=True))
    return Difference(first=names[0], second=names[1], auprc=paired_difference(a, b, grounds), wins=wins)


Place = tuple[str, int, int]
"""digest of the cube, fold (-1: none), seed"""


def _by_place(results: Sequence[Scored]) -> dict[Place, Scored]:
    if not results:
        raise ModelError("There is no result to compare.")
    found: dict[Place, Scored] = {}
    for scored in results:
        trial = scored.result.trial
        place = (*scored.ground, trial.seed)
        if place in found:
            raise ModelError(
                f"{trial.label!r} has two results of one cube, fold and seed.", "Give one of them."
            )
        found[place] = scored
    return found


def _must_agree(one: TrialResult, other: TrialResult, same_budget: bool) -> None:
    names = f"{one.trial.label!r} and {other.trial.label!r}"
    if one.trial.protocol != other.trial.protocol or one.protocol_digest != other.protocol_digest:
        raise ModelError(
            f"{names} follow different protocols ({one.trial.protocol}, {other.trial.protocol}, or other settings of "
            "one): their figures are not comparable.",
            "Run both under one protocol.",
        )
    if one.scored_digest != other.scored_digest:
        raise ModelError(
            f"{names} were scored on different pixels or labels.", "Score both on the same cube."
        )
    steps = (_budget(one), _budget(other))
    if same_budget and None not in steps and steps[0] != steps[1]:
        raise ModelError(
            f"{names} were trained for different numbers of steps ({steps[0]}, {steps[1]}).",
            "Train both for as long, or say that budgets may differ.",
        )


def _budget(result: TrialResult) -> int | None:
    """Steps of one network."""
    if result.trial.plan is not None:
        return result.trial.plan.steps
    return result.steps if result.trial.paper is not None else None
