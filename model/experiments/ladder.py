"""The ladder: every training recipe compared with the one that it changes, on the same test areas and seeds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from model.experiments.baselines import baselines
from model.experiments.recipes import TrainingRecipe
from model.experiments.results.comparison import Difference, Scored, compare, on_common_units
from model.experiments.results.result_files import TRIALS
from model.experiments.results.results import (
    CrossValidation,
    OtherEvents,
    SkippedTrial,
    TrialTask,
    skipped_in_words,
)
from model.experiments.results.scored_scene import open_scene
from model.experiments.trial_runs import (
    FinishedTrial,
    finished_of,
    refuse_incomplete,
    run_trials,
    scored,
    skipped_of,
)
from model.inputs import cubes
from model.inputs.inputs import Inputs
from model.inputs.windows import whole
from model.scores.intervals import Interval, interval
from pipeline.errors import IncompleteError, ModelError, number_of
from pipeline.files import whole_file, write_whole
from pipeline.progress import Progress, no_progress
from pipeline.records import Frozen

TABLE, REPORT = "ladder.csv", "ladder.md"
UNITS = "trials.csv"
"""a line for each finished trial"""


class RecipeResult(Frozen):
    """One line of the table."""

    name: str
    changes: str
    auprc: Interval
    prevalence: float
    against: str | None
    difference: Difference | None


@dataclass(frozen=True)
class LadderResult:
    """The lines of a ladder's table, and what became of no line."""

    lines: list[RecipeResult]
    skipped: list[SkippedTrial]
    unusable: dict[str, str]
    """the cubes on which nothing can be scored, each with the reason"""

    def refuse_incomplete(self, report: Path) -> None:
        """
        Raises:
            IncompleteError: a cube or a trial was left out.
        """
        refuse_incomplete(self.skipped, report)
        if self.unusable:
            raise IncompleteError(
                f"Left out: {'; '.join(f'{cube}: {why}' for cube, why in self.unusable.items())}",
                f"{report} holds the results of the others.",
            )


def run_ladder(
    recipes: Sequence[TrainingRecipe],
    validation: CrossValidation,
    out: Path,
    *,
    workers: int = 1,
    progress: Progress = no_progress,
    until: float | None = None,
) -> LadderResult:
    """Run the recipes and the methods without training on every cube, fold and seed, and write the table to `out`.

    A study whose recipes have methods without a network compares with these alone: they have the recipes' own inputs.

    A recipe that needs a variable which a cube lacks is compared on the other cubes. Left out and named are a recipe
    whose variables no cube has, a cube on which nothing can be scored (no label, no landslide, no pass before or after
    its event), and a trial that cannot be run. A recipe that trains on other events trains on all cubes but the tested
    one.

    Args:
        workers: processes; they share the processor's cores and take GPUs in turn.
        until: time (`time.time`) after which no trial begins. The table is of those that are finished; the next call
            runs the others.

    Raises:
        CubeError: there is no such cube.
        ModelError: nothing can be scored on any cube, no trial can be run, a recipe has the name of a method without
            training, or a recipe needs other events and there is one cube.
    """
    out.mkdir(parents=True, exist_ok=True)
    plain = baselines(Inputs(before=None, after=recipes[0].trial.inputs.after))
    if any(recipe.trial.method != "network" for recipe in recipes):
        plain = ()
    if both := {trial.label for trial in plain} & {recipe.name for recipe in recipes}:
        raise ModelError(
            f"A recipe cannot have the name of a method without training: {', '.join(sorted(both))}."
        )
    validation, unusable = _scorable(validation)
    able = {recipe.name: _able(validation.cubes, recipe) for recipe in recipes}
    tasks = validation.tasks(plain)
    for recipe in recipes:
        tasks += _tasks(recipe, validation, able[recipe.name])
    ends = run_trials(
        _one_training_together(tasks), out / TRIALS, workers=workers, progress=progress, until=until
    )
    ladder = _Ladder(recipes, validation, able, finished_of(ends), out)
    has = {one.task.trial.label for one in ladder.finished}
    results = [ladder.line(method.label, "needs no network") for method in plain if method.label in has]
    results += [ladder.line_of(recipe) for recipe in recipes if recipe.name in has]
    made = LadderResult(results, skipped_of(ends), unusable)
    _write(made, ladder, out)
    return made


def _one_training_together(tasks: Sequence[TrialTask]) -> list[TrialTask]:
    """The tasks in order, but those that score the same networks with other passes one after the other."""
    groups: dict[str, list[TrialTask]] = {}
    for task in tasks:
        trial = task.trial.model_copy(update={"label": "", "tested": None})
        groups.setdefault(task.model_copy(update={"trial": trial}).model_dump_json(), []).append(task)
    return [task for group in groups.values() for task in group]


def _scorable(validation: CrossValidation) -> tuple[CrossValidation, dict[str, str]]:
    """The cubes on which something can be scored; and the others, each with the reason.

    Raises:
        ModelError: there is none.
    """
    unusable: dict[str, str] = {}
    for cube in validation.cubes:
        try:
            scene = open_scene(cube, validation.event)
            if not scene.within((whole(scene.shape),)).landslides:
                unusable[cube] = "No landslide pixel has a label and valid passes."
        except ModelError as error:
            unusable[cube] = str(error)
    rest = tuple(cube for cube in validation.cubes if cube not in unusable)
    if not rest:
        raise ModelError(f"Nothing can be scored. {' '.join(f'{c}: {why}' for c, why in unusable.items())}")
    return validation.model_copy(update={"cubes": rest}), unusable


def _able(every: Sequence[str], recipe: TrainingRecipe) -> tuple[str, ...]:
    """The cubes that have all variables that a recipe needs."""
    needs = set(recipe.needs)
    return tuple(cube for cube in every if needs <= set(map(str, cubes.load(cube)[0].data_vars)))


def _tasks(recipe: TrainingRecipe, validation: CrossValidation, able: tuple[str, ...]) -> list[TrialTask]:
    return [
        task.model_copy(update={"other_events": _other_events(task.cube, validation.cubes, recipe)})
        for task in validation.model_copy(update={"cubes": able}).tasks([recipe.trial])
    ]


def _other_events(cube: str, every: Sequence[str], recipe: TrainingRecipe) -> OtherEvents | None:
    if recipe.training_set == "own scene":
        return None
    rest = tuple(other for other in every if other != cube)
    if not rest:
        raise ModelError(f"The recipe {recipe.name!r} needs other events.", "Give two cubes or more.")
    own = recipe.training_set != "other events"
    return OtherEvents(cubes=rest, own_scene=own, standardising=recipe.standardising)


@dataclass(frozen=True)
class _Ladder:
    """The finished trials of a ladder, from which each line of the table is made."""

    recipes: Sequence[TrainingRecipe]
    validation: CrossValidation
    able: dict[str, tuple[str, ...]]
    """cubes that have the variables of a recipe, by the recipe's name"""
    finished: Sequence[FinishedTrial]
    out: Path

    @property
    def left_out(self) -> list[str]:
        """Names of the recipes whose variables no cube has."""
        return [recipe.name for recipe in self.recipes if not self.able[recipe.name]]

    @property
    def comparisons(self) -> int:
        """The number of differences in the table."""
        has = {one.task.trial.label for one in self.finished}
        return max(1, sum({recipe.name, recipe.against} <= has for recipe in self.recipes))

    def scored(self, label: str, within: Sequence[str]) -> list[Scored]:
        """The results of a recipe or method on these cubes."""
        chosen = [d for d in self.finished if d.task.trial.label == label and d.task.cube in within]
        return scored(chosen, self.out / TRIALS)

    def line(self, name: str, changes: str) -> RecipeResult:
        """The line of a recipe or method, compared with no other."""
        own = self.scored(name, self.validation.cubes)
        prevalences = [s.result.evaluation.scene.prevalence for s in own]
        return RecipeResult(
            name=name,
            changes=changes,
            auprc=interval(
                [s.counts for s in own], [s.test_area for s in own], events=[s.event for s in own]
            ),
            prevalence=sum(prevalences) / len(prevalences),
            against=None,
            difference=None,
        )

    def line_of(self, recipe: TrainingRecipe) -> RecipeResult:
        """The line of a recipe, compared with its reference on the cubes that have the variables of both."""
        line = self.line(recipe.name, recipe.changes)
        if recipe.against is None:
            return line
        reference = self.able.get(recipe.against, ())
        common = [cube for cube in self.able[recipe.name] if cube in reference]
        ours, theirs = on_common_units(self.scored(recipe.name, common), self.scored(recipe.against, common))
        difference = compare(ours, theirs, comparisons=self.comparisons) if ours else None
        return line.model_copy(update={"against": recipe.against, "difference": difference})


def _write(made: LadderResult, ladder: _Ladder, out: Path) -> None:
    results = made.lines
    rows = [
        {
            "recipe": r.name,
            "changes": r.changes,
            "auprc": r.auprc.mean,
            "auprc_lower": r.auprc.lower,
            "auprc_upper": r.auprc.upper,
            "networks": r.auprc.units,
            "prevalence": r.prevalence,
            "against": r.against or "",
            "difference": r.difference.auprc.mean if r.difference else None,
            "difference_lower": r.difference.auprc.lower if r.difference else None,
            "difference_upper": r.difference.auprc.upper if r.difference else None,
            "wins": r.difference.wins if r.difference else None,
        }
        for r in results
    ]
    frame = pd.DataFrame(rows)
    with whole_file(out / TABLE) as csv, whole_file(out / "ladder.parquet") as parquet:
        frame.to_csv(csv, index=False)
        frame.to_parquet(parquet, index=False)
    write_whole(out / "ladder.json", json.dumps([r.model_dump(mode="json") for r in results], indent=1))
    write_whole(out / REPORT, _report(made, ladder))
    with whole_file(out / UNITS) as csv:
        pd.DataFrame([_line_of_trial(one) for one in ladder.finished]).to_csv(csv, index=False)


def _line_of_trial(one: FinishedTrial) -> dict[str, object]:
    """A finished trial as one line of the file that gathers them."""
    result, trial = one.result, one.task.trial
    return {
        "recipe": trial.label,
        "area": result.cube.area,
        "cube": result.cube.digest,
        "fold": trial.fold,
        "seed": trial.seed,
        "auprc": result.evaluation.scene.auprc,
        "prevalence": result.evaluation.scene.prevalence,
        "f1": result.evaluation.scene.f1,
        "steps": result.steps,
        "seconds": result.seconds,
        "trained_on": " ".join(facts.area for facts in result.trained_on),
    }


def _report(made: LadderResult, ladder: _Ladder) -> str:
    """The table in Markdown, with its protocol and budget, and what is not in it."""
    results = made.lines
    lines = [
        "| recipe | what it changes | AUPRC [95 %] | against | difference [95 %], better in |",
        "|---|---|---|---|---|",
        *(_row(result) for result in results),
    ]
    plan = ladder.recipes[0].trial.plan
    simulated = any(one.result.cube.simulated for one in ladder.finished)
    prevalence = sum(r.prevalence for r in results) / len(results)
    most = max(r.auprc.units for r in results)
    lines += [
        "",
        f"Protocol strict, {number_of(len(ladder.validation.cubes), 'cube')}, at most {number_of(most, 'network')} a "
        f"recipe; mean prevalence "
        f"{prevalence:.4f}, which a random map scores. "
        + (
            f"{number_of(plan.steps, 'step')} of {plan.batch} chips of {plan.chip_px} pixels a network. "
            if plan
            else ""
        )
        + ("SIMULATED events: the figures say nothing of real landslides. " if simulated else "")
        + f"{_intervals_in_words(results)} Bold: the interval excludes zero.",
    ]
    if ladder.left_out:
        lines.append(f"Left out, because no cube has what they need: {', '.join(ladder.left_out)}.")
    for cube, why in made.unusable.items():
        lines += ["", f"Left out: {cube}. {why}"]
    if made.skipped:
        lines += ["", *skipped_in_words(made.skipped)]
    return "\n".join(lines) + "\n"


def _intervals_in_words(results: Sequence[RecipeResult]) -> str:
    """What the intervals of the table are over, and for how many comparisons they are corrected."""
    differences = [r.difference.auprc for r in results if r.difference]
    over = max((r.auprc for r in results), key=lambda interval: interval.events)
    words = (
        f"Intervals: Student's t over {over.events} events."
        if over.over == "events"
        else "Intervals: resampled blocks of pixels of one event, which say nothing of another event."
    )
    if differences and (count := max(d.comparisons for d in differences)) > 1:
        words += f" Differences are corrected for {count} comparisons (Bonferroni), so that 95 % is of all together."
    return words


def _row(result: RecipeResult) -> str:
    a, difference = result.auprc, ""
    if result.difference:
        bold = "**" if result.difference.auprc.excludes_zero else ""
        difference = f"{bold}{result.difference.text}{bold}"
    auprc = f"{a.mean:.3f} [{a.lower:.3f}, {a.upper:.3f}]"
    return f"| {result.name} | {result.changes} | {auprc} | {result.against or ''} | {difference} |"
