"""The ladder: every improvement measured against the recipe that it changes, on the same ground and seeds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from model.experiments.baselines import baselines
from model.experiments.recipes import Rung
from model.experiments.results.comparison import Difference, Scored, compare
from model.experiments.results.results import Others
from model.experiments.trial_runs import Done, jobs_of, run, scored
from model.inputs import cubes
from model.inputs.inputs import EventSpan, Inputs
from model.scores.intervals import Interval, interval
from pipeline.errors import ModelError
from pipeline.progress import Progress, no_progress
from pipeline.records import Frozen

TABLE, REPORT, TRIALS = "ladder.csv", "ladder.md", "trials"


class RungResult(Frozen):
    """One line of the table."""

    name: str
    changes: str
    auprc: Interval
    prevalence: float
    against: str | None
    difference: Difference | None


def climb(
    places: Sequence[str],
    rungs: Sequence[Rung],
    out: Path,
    *,
    folds: Sequence[int] = (0, 1, 2, 3),
    seeds: Sequence[int] = (0,),
    workers: int = 1,
    event: EventSpan | None = None,
    progress: Progress = no_progress,
) -> list[RungResult]:
    """Run the rungs and the methods without training on every cube, fold and seed, and write the table to `out`.

    A rung that needs a variable which a cube lacks is compared on the other cubes; one that no cube can serve is left
    out and named in the report. A rung that learns from other events learns from all of `places` but the tested one.

    Raises:
        ModelError: a trial cannot be run, a rung is named as a baseline is, or one wants other events and there is one
            cube.
    """
    out.mkdir(parents=True, exist_ok=True)
    able = {rung.name: [cube for cube in places if _serves(cube, rung)] for rung in rungs}
    first = rungs[0].trial.inputs
    plain = baselines(Inputs(before=None, after=first.after))
    if both := {trial.label for trial in plain} & {rung.name for rung in rungs}:
        raise ModelError(
            f"A recipe cannot be named as a method without training is: {', '.join(sorted(both))}."
        )
    jobs = jobs_of(places, plain, folds, seeds, event)
    for rung in rungs:
        for job in jobs_of(able[rung.name], [rung.trial], folds, seeds, event):
            jobs.append(job.model_copy(update={"others": _others(job.cube, places, rung)}))
    done = run(jobs, out / TRIALS, workers, progress)
    results = [_line(method.label, "needs no network", None, done, out, ()) for method in plain]
    for rung in rungs:
        if able[rung.name]:
            others = able.get(rung.against, []) if rung.against else []
            results.append(
                _line(
                    rung.name,
                    rung.changes,
                    rung.against,
                    done,
                    out,
                    [c for c in able[rung.name] if c in others],
                )
            )
    left_out = [rung.name for rung in rungs if not able[rung.name]]
    _write(results, left_out, places, done, out, rungs)
    return results


def _serves(cube: str, rung: Rung) -> bool:
    return set(rung.needs) <= set(map(str, cubes.load(cube)[0].data_vars))


def _others(cube: str, places: Sequence[str], rung: Rung) -> Others | None:
    if rung.learns_from == "own scene":
        return None
    rest = tuple(place for place in places if place != cube)
    if not rest:
        raise ModelError(f"The recipe {rung.name!r} wants other events.", "Give two cubes or more.")
    return Others(places=rest, own=rung.learns_from != "other events", standardising=rung.standardising)


def _line(
    name: str, changes: str, against: str | None, done: Sequence[Done], out: Path, common: Sequence[str]
) -> RungResult:
    def of(label: str, within: Sequence[str] | None = None) -> list[Scored]:
        chosen = [d for d in done if d.job.trial.label == label and (within is None or d.job.cube in within)]
        return scored(chosen, out / TRIALS)

    own = of(name)
    prevalences = [s.result.evaluation.scene.prevalence for s in own]
    return RungResult(
        name=name,
        changes=changes,
        auprc=interval([s.counts for s in own], [s.ground for s in own]),
        prevalence=sum(prevalences) / len(prevalences),
        against=against,
        difference=compare(of(name, common), of(against, common)) if against and common else None,
    )


def _write(
    results: Sequence[RungResult],
    left_out: Sequence[str],
    places: Sequence[str],
    done: Sequence[Done],
    out: Path,
    rungs: Sequence[Rung],
) -> None:
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
    frame.to_csv(out / TABLE, index=False)
    frame.to_parquet(out / "ladder.parquet", index=False)
    (out / "ladder.json").write_text(
        json.dumps([r.model_dump(mode="json") for r in results], indent=1), encoding="utf-8"
    )
    (out / REPORT).write_text(words(results, left_out, places, done, rungs), encoding="utf-8")


def words(
    results: Sequence[RungResult],
    left_out: Sequence[str],
    places: Sequence[str],
    done: Sequence[Done],
    rungs: Sequence[Rung],
) -> str:
    """The table in Markdown, with its protocol and budget."""
    lines = [
        "| recipe | what it changes | AUPRC [95 %] | against | difference [95 %], better in |",
        "|---|---|---|---|---|",
    ]
    for r in results:
        a = r.auprc
        verdict = ""
        if r.difference:
            sure = "**" if r.difference.auprc.excludes_zero else ""
            verdict = f"{sure}{r.difference.words}{sure}"
        lines.append(
            f"| {r.name} | {r.changes} | {a.mean:.3f} [{a.lower:.3f}, {a.upper:.3f}] | {r.against or ''} | {verdict} |"
        )
    plan = rungs[0].trial.plan
    simulated = any(d.result.cube.simulated for d in done)
    prevalence = sum(r.prevalence for r in results) / len(results)
    lines += [
        "",
        f"Protocol strict, {len(places)} cubes, at most {max(r.auprc.units for r in results)} networks a recipe; mean "
        f"prevalence {prevalence:.4f}, which a random map scores. "
        + (f"{plan.steps} steps of {plan.batch} chips of {plan.chip_px} pixels a network. " if plan else "")
        + ("SIMULATED events: the figures say nothing of real landslides. " if simulated else "")
        + "Bold: the interval excludes zero.",
    ]
    if left_out:
        lines.append(f"Left out, because no cube has what they need: {', '.join(left_out)}.")
    return "\n".join(lines) + "\n"
