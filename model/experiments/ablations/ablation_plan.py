"""The trials of the paper's ablation: inputs by number of passes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from model.experiments.baselines import METHODS
from model.experiments.results.results import Trial, TrialTask
from model.inputs.inputs import EventSpan, Inputs
from model.network.training_plan import NetworkSpec, PaperPlan, TrainingPlan
from pipeline.errors import ModelError
from pipeline.records import Frozen

ROWS: dict[str, Inputs | None] = {
    "VV": Inputs(backscatter=("vv",), terrain=()),
    "VH": Inputs(backscatter=("vh",), terrain=()),
    "VV+VH": Inputs(terrain=()),
    "VV+VH+DEM": Inputs(),
    "DEM": Inputs(backscatter=()),
    "boosting": Inputs(),
    "log-ratio": Inputs(),
    "random": None,
}
"""rows of the table: the inputs of networks and of the methods without one; None: random scores"""

PASSLESS = ("DEM", "random")
"""rows that use no pass: run once, since the number of passes does not change them"""


class AblationPlan(Frozen):
    """What an ablation runs. Finished trials are not run again, so a plan may grow."""

    protocol: Literal["paper", "strict"] = "paper"
    network: NetworkSpec
    rows: tuple[str, ...] = Field(tuple(ROWS), min_length=1)
    passes: tuple[int, ...] = Field(
        (1, 2, 3, 4), min_length=1, description="before and after the event alike"
    )
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1)
    folds: tuple[int, ...] = Field((0, 1, 2, 3), description="of the protocol strict")
    paper: PaperPlan = PaperPlan()
    training: TrainingPlan = TrainingPlan()
    event: EventSpan | None = Field(None, description="None: the one that the cube records")


class AblationTrial(Frozen):
    """One trial of an ablation, with its row and its number of passes."""

    task: TrialTask
    row: str
    passes: int | None = Field(description="None: the row uses no pass")


def trials_of(cube: str, plan: AblationPlan) -> list[AblationTrial]:
    """Every trial of the plan, by seeds and then by passes, so that the table fills evenly.

    Raises:
        ModelError: a row is unknown.
    """
    unknown = set(plan.rows) - set(ROWS)
    if unknown:
        raise ModelError(f"There is no row {', '.join(sorted(unknown))}.", f"Known: {', '.join(ROWS)}.")
    found = []
    for seed in plan.seeds:
        for passes in plan.passes:
            for row in plan.rows:
                if row in PASSLESS and passes != plan.passes[0]:
                    continue
                if row == "log-ratio" and seed != plan.seeds[0]:
                    continue  # no seed changes it
                for fold in plan.folds if plan.protocol == "strict" else (None,):
                    found.append(_trial(cube, plan, row, passes, seed, fold))
    return found


def _trial(
    cube: str, plan: AblationPlan, row: str, passes: int, seed: int, fold: int | None
) -> AblationTrial:
    inputs = ROWS[row]
    method = next((method for method in METHODS if method == row), "network")
    network = method == "network"
    # a network of terrain uses no pass; its pixels are those of the fewest passes
    chosen = (inputs or Inputs()).model_copy(update={"before": passes, "after": passes})
    trial = Trial(
        label=row if row in PASSLESS else f"{row}, {passes}",
        method=method,
        inputs=chosen,
        network=plan.network if network else None,
        plan=plan.training if network and plan.protocol == "strict" else None,
        paper=plan.paper if plan.protocol == "paper" else None,
        protocol=plan.protocol,
        seed=seed if fold is None else 100 * seed + fold,
        fold=fold,
    )
    task = TrialTask(cube=cube, trial=trial, event=plan.event)
    return AblationTrial(task=task, row=row, passes=None if row in PASSLESS else passes)
