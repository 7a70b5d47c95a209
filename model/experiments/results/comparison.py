"""The comparison of two methods: whether their results may be compared, and the paired difference."""

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
    def test_area(self) -> tuple[str, int]:
        """The pixels that it was scored on: digest of the cube, fold (-1: none)."""
        fold = self.result.trial.fold
        return self.result.cube.digest, -1 if fold is None else fold

    @property
    def event(self) -> str:
        """The event that it was scored on: digest of the cube."""
        return self.result.cube.digest


class Difference(Frozen):
    """First minus second, paired by cube, fold and seed."""

    first: str
    second: str
    auprc: Interval
    wins: int = Field(ge=0, description="pairs in which the first is better")

    @property
    def text(self) -> str:
        """As in '+0.031 [0.012, 0.050], 11 of 12'."""
        a = self.auprc
        return f"{a.mean:+.3f} [{a.lower:+.3f}, {a.upper:+.3f}], {self.wins} of {a.units}"

    @property
    def holds(self) -> bool:
        """Whether the whole interval lies above zero. Nothing else counts as an ordering."""
        return self.auprc.lower > 0


def compare(
    first: Sequence[Scored], second: Sequence[Scored], *, same_budget: bool = True, comparisons: int = 1
) -> Difference:
    """The paired difference of two methods.

    Args:
        same_budget: refuse networks that were trained for different numbers of steps; for an ensemble, the steps of one
            member count.
        comparisons: differences of one table, for which the interval is corrected.

    Raises:
        ModelError: they differ in protocol, pixels, seeds, folds or budget; the error names the difference.
    """
    ours, theirs = _by_unit(first), _by_unit(second)
    names = first[0].result.trial.label, second[0].result.trial.label
    if ours.keys() != theirs.keys():
        odd = sorted(str(unit) for unit in ours.keys() ^ theirs.keys())
        raise ModelError(
            f"{names[0]!r} and {names[1]!r} were not tried on the same cubes, folds and seeds: {', '.join(odd[:3])}.",
            "Run both on all of them.",
        )
    units = sorted(ours)
    for unit in units:
        _must_agree(ours[unit].result, theirs[unit].result, same_budget)
    a, b = [ours[u].counts for u in units], [theirs[u].counts for u in units]
    areas = [ours[u].test_area for u in units]
    wins = sum(float(x.auprc()[0]) > float(y.auprc()[0]) for x, y in zip(a, b, strict=True))
    events = [ours[u].event for u in units]
    difference = paired_difference(a, b, areas, events=events, comparisons=comparisons)
    return Difference(first=names[0], second=names[1], auprc=difference, wins=wins)


def on_common_units(first: Sequence[Scored], second: Sequence[Scored]) -> tuple[list[Scored], list[Scored]]:
    """The results on the cubes, folds and seeds that both have: a trial of either may have been skipped."""
    units = [{_unit(scored) for scored in side} for side in (first, second)]
    common = units[0] & units[1]
    ours, theirs = ([scored for scored in side if _unit(scored) in common] for side in (first, second))
    return ours, theirs


Unit = tuple[str, int, int]
"""digest of the cube, fold (-1: none), seed"""


def _unit(scored: Scored) -> Unit:
    return (*scored.test_area, scored.result.trial.seed)


def _by_unit(results: Sequence[Scored]) -> dict[Unit, Scored]:
    if not results:
        raise ModelError("There is no result to compare.")
    found: dict[Unit, Scored] = {}
    for scored in results:
        unit = _unit(scored)
        if unit in found:
            raise ModelError(
                f"{scored.result.trial.label!r} has two results of one cube, fold and seed.",
                "Give one of them.",
            )
        found[unit] = scored
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
            "Train both for the same number of steps, or allow different budgets.",
        )


def _budget(result: TrialResult) -> int | None:
    """Steps of one network."""
    if result.trial.plan is not None:
        return result.trial.plan.steps
    return result.steps if result.trial.paper is not None else None
