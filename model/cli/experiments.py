"""The commands of experiments: ablate, ladder, and training under a protocol."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from model.cli.options import parsed_event, values_checked
from pipeline.console import progress_bars, reports_errors
from pipeline.errors import ModelError

if TYPE_CHECKING:
    from model.experiments.results.results import TrialResult
    from model.network.training_plan import NetworkSpec

_network = click.option(
    "--network",
    type=click.Choice(["small", "resnet18", "paper"]),
    default="small",
    show_default=True,
    help="small: a ResNet-18 of three halvings, for screening on a CPU; paper: the U-Net++ with a ResNet-50.",
)
_out = click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder of results; it may grow."
)
_jobs = click.option(
    "--jobs", type=click.IntRange(1), default=1, show_default=True, help="Trials side by side."
)
_event = click.option("--event", help="When it happened, for a cube that does not say.")


def network_of(name: str) -> NetworkSpec:
    """A network by the word of the command line; `in_channels` is set by the inputs."""
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
        raise click.UsageError(f"{name}: {text!r} is no list of numbers such as 1,2,3.") from None


@click.command()
@click.argument("cube")
@_out
@_network
@_jobs
@_event
@click.option("--protocol", type=click.Choice(["paper", "strict"]), default="paper", show_default=True)
@click.option(
    "--rows",
    help="Rows separated by commas: VV, VH, VV+VH, VV+VH+DEM, DEM, boosting, log-ratio, random.  [default: all]",
)
@click.option("--passes", default="1,2,3,4", show_default=True, help="Numbers of passes before and after.")
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="Number of seeds.")
@click.option(
    "--epochs", type=click.IntRange(1), default=100, show_default=True, help="Of the protocol paper."
)
@click.option(
    "--steps", type=click.IntRange(1), default=300, show_default=True, help="Of the protocol strict."
)
@click.option("--batch", type=click.IntRange(2), help="Chips in a batch.  [default: 64 (paper), 8 (strict)]")
@click.option(
    "--chip", type=click.IntRange(32), default=128, show_default=True, help="Side of a chip, pixels."
)
@click.option("--corrected", is_flag=True, help="Put every named defect of the published experiment right.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@reports_errors
def ablate(cube: str, out: Path, network: str, jobs: int, event: str | None, **options: Any) -> None:
    """Run the paper's ablation on CUBE: inputs by number of passes, with seeds; finished trials are kept.

    Leaves trials.csv, trials.parquet, summary.csv, figure4.png, figure5.png and report.md in the folder.
    """
    from model.experiments.ablation import run_ablation
    from model.experiments.ablation_plan import ROWS, AblationPlan

    with values_checked():
        plan = AblationPlan.model_validate(_plan_of(network, options, event, rows=tuple(ROWS)))
    with progress_bars() as progress:
        run_ablation(cube, plan, out, workers=jobs, progress=progress)
    click.echo((out / "summary.csv").read_text(encoding="utf-8").strip())
    click.echo(f"Report: {out / 'report.md'}")


def _plan_of(
    network: str, options: dict[str, Any], event: str | None, rows: tuple[str, ...]
) -> dict[str, Any]:
    """The plan of an ablation as plain values, from the options of the command."""
    from model.network.training_plan import PaperPlan, PaperSwitches, TrainingPlan

    state = "corrected" if options["corrected"] else "as published"
    switches = PaperSwitches.model_validate(dict.fromkeys(PaperSwitches.model_fields, state))
    chip, steps = options["chip"], options["steps"]
    return {
        "protocol": options["protocol"],
        "network": network_of(network),
        "rows": tuple(options["rows"].split(",")) if options["rows"] else rows,
        "passes": _numbers(options["passes"], "--passes"),
        "seeds": tuple(range(options["seeds"])),
        "paper": PaperPlan(
            epochs=options["epochs"],
            batch=options["batch"] or 64,
            chip_px=chip,
            switches=switches,
            device=options["device"],
        ),
        "training": TrainingPlan(
            steps=steps,
            batch=options["batch"] or 8,
            chip_px=chip,
            stride_px=chip // 2,
            validate_every=max(1, steps // 6),
            device=options["device"],
        ),
        "event": parsed_event(event),
    }


@click.command()
@click.argument("cubes", nargs=-1, required=True)
@_out
@_network
@_jobs
@_event
@click.option("--steps", type=click.IntRange(1), default=300, show_default=True, help="Of each network.")
@click.option("--after", type=click.IntRange(1), default=1, show_default=True, help="Passes after the event.")
@click.option(
    "--folds", default="0,1,2,3", show_default=True, help="Which of the four rectangles are tested."
)
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="Number of seeds a fold.")
@click.option(
    "--study",
    type=click.Choice(["improvements", "labels", "events", "passes"]),
    default="improvements",
    show_default=True,
    help="labels: pretraining by how few labels do; events: each of CUBES left out in turn; passes: one network for "
    "any number of passes.",
)
@click.option("--recipe", "recipes", multiple=True, help="Only these, and what they are measured against.")
@reports_errors
def ladder(
    cubes: tuple[str, ...],
    out: Path,
    network: str,
    jobs: int,
    event: str | None,
    recipes: tuple[str, ...],
    **options: Any,
) -> None:
    """Measure every improvement over the paper on CUBES, each against the recipe that it changes.

    Beside them stand the change detector and the pixel classifiers that need no network. Finished trials are kept.
    """
    from model.experiments import studies
    from model.experiments.ladder import REPORT, climb

    rungs = studies.STUDIES[options["study"]](options["steps"], network_of(network), options["after"])
    with values_checked():
        when = parsed_event(event)
    with progress_bars() as progress:
        climb(
            cubes,
            studies.chosen(rungs, recipes) if recipes else rungs,
            out,
            folds=_numbers(options["folds"], "--folds"),
            seeds=tuple(range(options["seeds"])),
            workers=jobs,
            event=when,
            progress=progress,
        )
    click.echo((out / REPORT).read_text(encoding="utf-8"))


def train_by_protocol(
    cube: str, protocol: Literal["paper", "strict"], out: Path, options: dict[str, Any]
) -> None:
    """`slidecube train --protocol`: scores of a protocol instead of a bundle."""
    from model.cli.options import inputs_of
    from model.experiments.ablation import run_task
    from model.experiments.ablation_plan import Task
    from model.experiments.results.results import Trial
    from model.network.training_plan import PaperPlan, TrainingPlan
    from model.training.reference_scores import COMPARED

    paper = protocol == "paper"
    for name in ("processes", "members"):
        if paper and options[name] > 1:
            raise click.UsageError(f"The protocol paper is exact: it knows no --{name}.")
    with values_checked():
        steps, chip = options["steps"] or 300, options["chip"] or 128
        trial = Trial(
            label="as asked",
            inputs=inputs_of(options),
            network=network_of(options["network"] or ("paper" if paper else "resnet18")),
            plan=None
            if paper
            else TrainingPlan(
                steps=steps,
                chip_px=chip,
                stride_px=chip // 2,
                validate_every=max(1, steps // 6),
                device=options["device"],
                processes=options["processes"],
            ),
            paper=PaperPlan(epochs=options["epochs"] or 100, chip_px=chip, device=options["device"])
            if paper
            else None,
            protocol=protocol,
            seed=options["seed"],
            members=options["members"],
        )
        when = parsed_event(options["event"])
    folds: tuple[int | None, ...] = (None,) if paper else (0, 1, 2, 3)
    asked = [trial]
    for method in COMPARED:
        plain: dict[str, Any] = {
            "label": method,
            "method": method,
            "network": None,
            "plan": None,
            "members": 1,
        }
        asked.append(trial.model_copy(update=plain))
    results: dict[str, list[TrialResult]] = {}
    left_out: dict[str, str] = {}
    with progress_bars() as progress:
        for each in asked:
            found = []
            try:
                for fold in folds:
                    seed = trial.seed if fold is None else 100 * trial.seed + fold
                    one = each.model_copy(update={"fold": fold, "seed": seed})
                    task = Task(cube=cube, trial=one, row=each.label, passes=None, event=when)
                    found.append(run_task(task, out, progress))
            except ModelError as error:
                if each is trial:
                    raise
                left_out[each.label] = error.message
            else:
                results[each.label] = found
    click.echo(trial_words(results.pop(trial.label)))
    for label, found in results.items():
        scores = [result.evaluation.scene.auprc for result in found]
        click.echo(f"Without a network, on the same pixels: {label} {sum(scores) / len(scores):.3f}")
    for label, why in left_out.items():
        click.echo(f"Not compared with {label}: {why}")


def trial_words(results: list[TrialResult]) -> str:
    """What trials of one protocol found, with everything that the figure depends on."""
    first = results[0]
    lines = [
        f"Protocol {first.trial.protocol}, {first.selection.track}, {first.parameters or 0:,} parameters."
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
        lines.append(f"Mean over folds {sum(scores) / len(scores):.3f} ({spread}); never pooled.")
    lines += [f"{name.replace('_', ' ')}: {state}" for name, state in first.switches.items()]
    lines += sorted({note for result in results for note in result.notes})
    if first.cube.simulated:
        lines.append("SIMULATED area: the figures say nothing of real landslides.")
    return "\n".join(lines)
