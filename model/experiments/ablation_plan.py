"""The trials of the paper's ablation: inputs by number of passes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from model.experiments.baselines import METHODS
from model.experiments.results.results import Trial
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
"""rows of the table: what networks are given, and beside them the methods without one; None: random scores"""

PASSLESS = ("DEM", "random")
"""rows that see no pass: tried once, and the same for any number of passes"""


class AblationPlan(Frozen):
    """What is tried. Trials that are there are not made again, so that a plan may grow."""

    protocol: Literal["paper", "strict"] = "paper"
    network: NetworkSpec
    rows: tuple[str, ...] = Field(tuple(ROWS), min_length=1)
    passes: tuple[int, ...] = Field((1, 2, 3, 4), min_length=1, description="before and after alike")
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1)
    folds: tuple[int, ...] = Field((0, 1, 2, 3), description="of the protocol strict")
    paper: PaperPlan = PaperPlan()
    training: TrainingPlan = TrainingPlan()
    event: EventSpan | None = None


class Task(Frozen):
    """One trial of an ablation, with the number of passes that it stands for."""

    cube: str
    trial: Trial
    row: str
    passes: int | None = Field(description="None: the row sees no pass")
    event: EventSpan | None = None


def tasks(cube: str, plan: AblationPlan) -> list[Task]:
    """Every trial of the plan, in an order in which the table fills evenly: by seeds, then passes.

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
                    continue  # nothing is drawn
                for fold in plan.folds if plan.protocol == "strict" else (None,):
                    found.append(_task(cube, plan, row, passes, seed, fold))
    return found


def _task(cube: str, plan: AblationPlan, row: str, passes: int, seed: int, fold: int | None) -> Task:
    inputs = ROWS[row]
    method = next((method for method in METHODS if method == row), "network")
    network = method == "network"
    # a network of terrain sees no pass; judged on the passes of the smallest case
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
    return Task(cube=cube, trial=trial, row=row, passes=None if row in PASSLESS else passes, event=plan.event)
