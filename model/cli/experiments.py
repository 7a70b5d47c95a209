"""The commands of experiments: ablate, ladder, and training under a protocol."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from model.cli.options import (
    chip_option,
    device_option,
    event_option,
    inputs_of,
    parsed_event,
    protocol_option,
    values_checked,
)
from pipeline.console import progress_bars, reports_errors
from pipeline.errors import IncompleteError, ModelError, number_of

if TYPE_CHECKING:
    from model.experiments.results.results import SkippedTrial, Trial, TrialResult, TrialTask
    from model.network.training_plan import NetworkSpec, TrainingPlan
    from pipeline.progress import Progress

_network = click.option(
    "--network",
    type=click.Choice(["small", "resnet18", "paper"]),
    default="small",
    show_default=True,
    help="small: a U-Net with a ResNet-18 of three halvings, for screening on a CPU; resnet18: a U-Net with a whole "
    "ResNet-18; paper: the U-Net++ with a ResNet-50.",
)
_out = click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of the results; results that it holds are kept and not computed again.",
)
_jobs = click.option(
    "--jobs",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Processes, each running one trial at a time; they share cores and GPUs.",
)


def network_of(name: str) -> NetworkSpec:
    """A network by its name on the command line; `in_channels` is set by the inputs."""
    from model.experiments.paper import PAPER_NETWORK
    from model.experiments.recipes import SCREENING
    from model.network.training_plan import NetworkSpec

    if name == "paper":
        return PAPER_NETWORK
    return SCREENING if name == "small" else NetworkSpec(in_channels=1)


def _numbers(text: str, name: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise click.UsageError(f"{name}: {text!r} is no list of numbers; write as in 1,2,3.") from None


@click.command()
@click.argument("cube")
@_out
@_network
@_jobs
@event_option
@protocol_option("", "paper")
@click.option(
    "--rows",
    help="Rows separated by commas: VV, VH, VV+VH, VV+VH+DEM, DEM, boosting, log-ratio, random.  [default: all]",
)
@click.option(
    "--passes",
    default="1,2,3,4",
    show_default=True,
    help="Numbers of passes, before and after the event alike.",
)
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="Number of seeds.")
@click.option(
    "--epochs",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="Training epochs under the protocol paper.",
)
@click.option(
    "--steps",
    type=click.IntRange(1),
    default=300,
    show_default=True,
    help="Training steps under the protocol strict.",
)
@click.option("--batch", type=click.IntRange(2), help="Chips in a batch.  [default: 64 (paper), 8 (strict)]")
@chip_option(128)
@click.option("--corrected", is_flag=True, help="Correct every named defect of the published experiment.")
@device_option
@reports_errors
def ablate(cube: str, out: Path, jobs: int, **options: Any) -> None:
    """Run the paper's ablation on CUBE: inputs by number of passes and seed. Finished trials are not run again.

    Writes trials.csv, trials.parquet, summary.csv, figure4.png, figure5.png and report.md to the folder.
    """
    from model.experiments.ablations.ablation import run_ablation
    from model.experiments.ablations.ablation_plan import ROWS, AblationPlan
    from model.experiments.trial_runs import refuse_incomplete

    with values_checked():
        plan = AblationPlan.model_validate(_plan_of(options, rows=tuple(ROWS)))
    with progress_bars() as progress:
        made = run_ablation(cube, plan, out, workers=jobs, progress=progress)
    click.echo((out / "summary.csv").read_text(encoding="utf-8").strip())
    click.echo(f"Report: {out / 'report.md'}")
    refuse_incomplete(made.skipped, out / "report.md")


def _plan_of(options: dict[str, Any], rows: tuple[str, ...]) -> dict[str, Any]:
    """The plan of an ablation as plain values, from the options of the command."""
    from model.network.training_plan import PaperPlan, PaperSwitches

    state = "corrected" if options["corrected"] else "as published"
    switches = PaperSwitches.model_validate(dict.fromkeys(PaperSwitches.model_fields, state))
    return {
        "protocol": options["protocol"],
        "network": network_of(options["network"]),
        "rows": tuple(options["rows"].split(",")) if options["rows"] else rows,
        "passes": _numbers(options["passes"], "--passes"),
        "seeds": tuple(range(options["seeds"])),
        "paper": PaperPlan(
            epochs=options["epochs"],
            batch=options["batch"] or 64,
            chip_px=options["chip"],
            switches=switches,
            device=options["device"],
        ),
        "training": _training_plan(options, batch=options["batch"] or 8),
        "event": parsed_event(options["event"]),
    }


def _training_plan(options: dict[str, Any], **more: Any) -> TrainingPlan:
    """The plan of the protocol strict, with six evaluations during training."""
    from model.network.training_plan import TrainingPlan

    steps, chip = options["steps"] or 300, options["chip"] or 128
    return TrainingPlan(
        steps=steps,
        chip_px=chip,
        stride_px=chip // 2,
        validate_every=max(1, steps // 6),
        device=options["device"],
        **more,
    )


@click.command()
@click.argument("cubes", nargs=-1, required=True)
@_out
@_network
@_jobs
@event_option
@click.option(
    "--steps", type=click.IntRange(1), default=300, show_default=True, help="Training steps of each network."
)
@click.option(
    "--after",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="First N passes after the event. The study passes does not use it.",
)
@click.option(
    "--folds", default="0,1,2,3", show_default=True, help="Which of the four rectangles are tested."
)
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="Number of seeds a fold.")
@click.option(
    "--study",
    type=click.Choice(["improvements", "labels", "events", "passes", "views", "left-out", "fine-tuning"]),
    default="improvements",
    show_default=True,
    help="improvements: over the paper, one at a time; labels: pretraining with 5 to 100 % of the labels; events: each "
    "of CUBES left out in turn; passes: one network for any number of passes; views: one network for any views; "
    "left-out: each of CUBES left out, with networks, channels and methods without a network on the same inputs; "
    "fine-tuning: from the bundle simulated-prior and from random weights, with 5, 20 and 100 % of the labels.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(0, min_open=True),
    help="Begin no trial after this time; the same command goes on later.  [default: no limit]",
)
@click.option(
    "--recipe",
    "recipes",
    multiple=True,
    help="Run this recipe and those that it is compared with; may be repeated.  [default: all]",
)
@reports_errors
def ladder(cubes: tuple[str, ...], out: Path, jobs: int, recipes: tuple[str, ...], **options: Any) -> None:
    """Measure every improvement over the paper on CUBES, each against the recipe that it changes.

    The table also has the change detector and the pixel classifiers, which need no network. Finished trials are not run
    again. Writes ladder.csv, ladder.parquet, ladder.json, ladder.md and trials.csv, a line a trial, to the folder.
    """
    started, minutes = time.time(), options["minutes"]
    from model.experiments import studies
    from model.experiments.ladder import REPORT, run_ladder
    from model.experiments.results.results import CrossValidation
    from pipeline.cube.read import decoding

    study = studies.STUDIES[options["study"]]
    chosen = study(options["steps"], network_of(options["network"]), options["after"])
    if recipes:
        chosen = studies.selected(chosen, recipes)
    with values_checked():
        validation = CrossValidation(
            cubes=cubes,
            folds=_numbers(options["folds"], "--folds"),
            seeds=tuple(range(options["seeds"])),
            event=parsed_event(options["event"]),
        )
    with progress_bars() as progress, decoding(" or ".join(cubes)):
        until = started + 60 * minutes if minutes else None
        made = run_ladder(chosen, validation, out, workers=jobs, progress=progress, until=until)
    click.echo((out / REPORT).read_text(encoding="utf-8"))
    made.refuse_incomplete(out / REPORT)


def train_by_protocol(
    cube: str, protocol: Literal["paper", "strict"], out: Path, options: dict[str, Any]
) -> None:
    """`slidecube train --protocol`: the scores of a protocol instead of a bundle.

    The methods without a network are scored on the same pixels; one that the cube has no data for is named, with the
    reason.
    """
    from model.experiments.results.results import TrialTask
    from model.training.reference_scores import COMPARED
    from pipeline.cube.read import decoding

    _refuse_unused(options, protocol)
    with values_checked():
        task = TrialTask(cube=cube, trial=_trial_of(options, protocol), event=parsed_event(options["event"]))
    left_out: dict[str, str] = {}
    others: dict[str, list[TrialResult]] = {}
    with progress_bars() as progress, decoding(cube):
        folds = _folds_of(task)
        own, skipped = _results_of(folds, out, progress)
        missing = [one.task for one in skipped]
        compared = [one for one in folds if one not in missing]
        for method in COMPARED:
            plain = {"label": method, "method": method, "network": None, "plan": None, "members": 1}
            tasks = [one.model_copy(update={"trial": one.trial.model_copy(update=plain)}) for one in compared]
            try:
                results, lacking = _results_of(tasks, out, progress)
                if lacking:  # a mean over fewer folds could not be compared
                    left_out[method] = lacking[0].reason
                else:
                    others[method] = results
            except ModelError as error:
                left_out[method] = error.message
    click.echo(scores_text(own))
    for label, results in others.items():
        click.echo(f"Without a network, on the same pixels: {label} {_mean_auprc(results):.3f}")
    for label, reason in left_out.items():
        click.echo(f"Not compared with {label}: {reason}")
    if skipped:
        raise IncompleteError(
            f"Not every fold could be tested: {'; '.join(f'{one.name}: {one.reason}' for one in skipped)}",
            "The figures above are of the other folds.",
        )


def _refuse_unused(options: dict[str, Any], protocol: Literal["paper", "strict"]) -> None:
    """Refuse options that a protocol does not use: its figures would not be those that were asked for."""
    given = {
        "--processes": options["processes"] > 1 and protocol == "paper",
        "--members": options["members"] > 1 and protocol == "paper",
        "--steps": options["steps"] is not None and protocol == "paper",
        "--epochs": options["epochs"] is not None and protocol == "strict",
        "--learning-rate": options["learning_rate"] is not None,
        "--imagenet": options["imagenet"],
        "--checkpoints": options["checkpoints"] is not None,
        "--mirrored or --plain": options["mirrored"] is not None,
    }
    if unused := [name for name, is_given in given.items() if is_given]:
        raise click.UsageError(f"--protocol {protocol} has no {', no '.join(unused)}.")


def _trial_of(options: dict[str, Any], protocol: Literal["paper", "strict"]) -> Trial:
    """The trial that the options of `slidecube train --protocol` describe, without a fold."""
    from model.experiments.results.results import Trial
    from model.network.training_plan import PaperPlan

    paper = protocol == "paper"
    epochs, chip = options["epochs"] or 100, options["chip"] or 128
    return Trial(
        label="as asked",
        inputs=inputs_of(options),
        network=network_of(options["network"] or ("paper" if paper else "resnet18")),
        plan=None if paper else _training_plan(options, processes=options["processes"]),
        paper=PaperPlan(epochs=epochs, chip_px=chip, device=options["device"]) if paper else None,
        protocol=protocol,
        seed=options["seed"],
        members=options["members"],
    )


def _folds_of(task: TrialTask) -> list[TrialTask]:
    """The trial itself under the protocol paper, or one for each of the four folds of the protocol strict."""
    from model.experiments.results.results import CrossValidation

    if task.trial.protocol == "paper":
        return [task]
    validation = CrossValidation(cubes=(task.cube,), seeds=(task.trial.seed,), event=task.event)
    return validation.tasks([task.trial])


def _results_of(
    tasks: list[TrialTask], out: Path, progress: Progress
) -> tuple[list[TrialResult], list[SkippedTrial]]:
    """The results of trials, and those that could not be run.

    Raises:
        ModelError: none could be run.
    """
    from model.experiments import trial_runs
    from model.experiments.results.result_files import TRIALS
    from model.experiments.results.results import SkippedTrial

    results, skipped = [], []
    for task in tasks:
        try:
            results.append(trial_runs.run_trial(task, out / TRIALS, progress))
        except ModelError as error:
            skipped.append(SkippedTrial(task=task, reason=str(error)))
            if len(skipped) == len(tasks):
                reasons = list(dict.fromkeys(one.reason for one in skipped))
                raise error if len(reasons) == 1 else ModelError(" ".join(reasons)) from error
    return results, skipped


def _mean_auprc(results: list[TrialResult]) -> float:
    return sum(result.evaluation.scene.auprc for result in results) / len(results)


def scores_text(results: list[TrialResult]) -> str:
    """The scores of trials of one protocol, with everything that they depend on."""
    first = results[0]
    lines = [
        f"Protocol {first.trial.protocol}, {first.selection.track}, {number_of(first.parameters or 0, 'parameter')}."
    ]
    for result in results:
        e = result.evaluation
        where = "" if result.trial.fold is None else f"fold {result.trial.fold}: "
        cells = "" if e.roc_auc_cells is None else f", ROC-AUC of 200 m cells {e.roc_auc_cells:.3f}"
        error = "" if e.calibration_error is None else f", calibration error {e.calibration_error:.3f}"
        lines.append(
            f"{where}AUPRC {e.scene.auprc:.3f} at prevalence {e.scene.prevalence:.4f}, F1 {e.scene.f1:.3f} (best "
            f"{e.best_f1:.3f}){cells}{error}"
        )
    if len(results) > 1:
        scores = [result.evaluation.scene.auprc for result in results]
        spread = f"{min(scores):.3f} to {max(scores):.3f}"
        lines.append(
            f"Mean over {number_of(len(results), 'fold')} {_mean_auprc(results):.3f} ({spread}); never pooled."
        )
    lines += [f"{name.replace('_', ' ')}: {state}" for name, state in first.switches.items()]
    lines += sorted({note for result in results for note in result.notes})
    if first.cube.simulated:
        lines.append("SIMULATED area: the figures say nothing of real landslides.")
    return "\n".join(lines)
