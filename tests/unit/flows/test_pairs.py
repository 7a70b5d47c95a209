"""Layers in the flow: their order, their limits, retries of transient failures only, pairs in the table of passes."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed, Pending
from prefect.task_runners import ThreadPoolTaskRunner

from flows import build_datacube
from flows.serving import artifacts
from flows.serving.limits import INTERFEROMETRY, LIMITS
from flows.workers import layer_tasks
from pipeline.archives.planetary import PlanetaryComputer
from pipeline.build import run as build
from pipeline.build.plan import BuildPlan
from pipeline.catalogue.slc import Pair
from pipeline.cube.layers import Recipe
from pipeline.errors import ArchiveError
from pipeline.grid import Grid
from pipeline.layers.interferometry import PairTask
from pipeline.layers.kind import LayerTask, Wanted
from pipeline.layers.kinds import KINDS
from tests.unit.pipeline.catalogue.test_pairs import overflight
from tests.unit.pipeline.catalogue.test_passes import area

GRID = Grid(epsg=32654, resolution_m=10, left=500000, top=4700000, width=40, height=50)


OF_KIND = {kind.name: kind for kind in KINDS}


def layer(kind: str, name: str, **fields: Any) -> LayerTask:
    recipe = Recipe(kind=kind, variables=(), grid=GRID.digest, sources=(), algorithm=name)
    made = PairTask if "pair" in fields else LayerTask
    return made(kind=OF_KIND[kind], recipe=recipe, label=name, **fields)


def plan_of(*tasks: LayerTask, **fields: Any) -> BuildPlan:
    parts = tuple(
        Wanted(kind=kind, tasks=tuple(task for task in tasks if task.kind == kind)) for kind in KINDS
    )
    given = {"area": "here", "cube": "/x", "grid": GRID, "passes": (), "missing": (), "current_version": None}
    return BuildPlan(parts=parts, changes=True, **given | fields)


def test_the_first_pairs_and_long_layers_are_begun_first_and_no_pair_takes_a_layers_worker():
    pairs = [layer("interferometry", f"p{n}") for n in range(4)]
    plan = plan_of(layer("backscatter", "b"), layer("terrain", "t"), *pairs, layer("look", "l"))
    order = [task.label for task in plan.in_order(processors=1)]
    assert order == ["p0", "t", "l", "b", "p1", "p2", "p3"]
    assert layer_tasks.PrefectTasks(None).processors == LIMITS[INTERFEROMETRY]
    workers = layer_tasks.LAYERS_AT_ONCE + LIMITS[INTERFEROMETRY]
    assert build_datacube.build_datacube.task_runner == ThreadPoolTaskRunner(max_workers=workers)


@pytest.mark.parametrize(
    ("kind", "limit"),
    [
        ("interferometry", INTERFEROMETRY),
        ("backscatter", PlanetaryComputer.name),
        ("terrain", PlanetaryComputer.name),
        ("look", PlanetaryComputer.name),
        ("labels", None),
    ],
)
def test_every_kind_of_layer_is_built_within_the_limit_that_protects_what_it_uses(monkeypatch, kind, limit):
    taken: list[str] = []

    class Slot:
        def __init__(self, *names: str) -> None:
            taken.extend(names)

        def __enter__(self) -> None: ...

        def __exit__(self, *rest: Any) -> None: ...

    monkeypatch.setattr(layer_tasks, "slot_of", Slot)
    monkeypatch.setattr(layer_tasks.build, "build_layer", lambda *args: None)
    layer_tasks.build_layer.fn(area(), layer(kind, "x"))
    assert taken == ([limit] if limit else [])


def test_a_pair_is_a_task_of_its_own_name_and_as_patient_as_a_layer():
    pair, other = layer_tasks.build_pair, layer_tasks.build_layer
    assert (pair.name, pair.task_run_name) == ("pair", "{layer.label}")
    assert pair.fn is other.fn
    assert pair.retry_condition_fn is other.retry_condition_fn is layer_tasks.is_transient
    assert pair.retries == other.retries > 0


def test_the_table_of_passes_lists_the_pairs_with_all_columns(monkeypatch):
    first, second, third = (overflight(day) for day in (-12, 0, 12))
    pairs = tuple(
        Pair(
            reference=a,
            secondary=b,
            polarisation="vv",
            burst_ids=("046_096000_IW1",),
            perpendicular_baseline_m=bp,
        )
        for a, b, bp in ((first, second, 34.5), (second, third, None))
    )
    held = layer("interferometry", "held", held=True, pair=pairs[0], backend="isce2", tiles=())
    plan = plan_of(held, pairs=pairs, missing=("labels: no inventory",))
    given_to_prefect: dict[str, Any] = {}
    monkeypatch.setattr(artifacts, "create_table_artifact", lambda **given: given_to_prefect.update(given))
    artifacts.show_passes(plan)
    assert [row["kind"] for row in given_to_prefect["table"]] == ["pair, held", "pair, wanted"]
    assert [row["baseline (m)"] for row in given_to_prefect["table"]] == [34.5, None]
    assert given_to_prefect["table"][0]["days"] == 12
    assert len({tuple(row) for row in given_to_prefect["table"]}) == 1, "every row has every column"
    assert "pairs: 2" in given_to_prefect["description"] and "labels" in given_to_prefect["description"]


class Run:
    """A task run of Prefect that has ended; its state is known after `wait`."""

    def __init__(self, state: State) -> None:
        self.ended = state
        self.state = Pending()

    def wait(self) -> None:
        self.state = self.ended


@pytest.fixture
def disk(monkeypatch) -> set[str]:
    """Digests of the recipes whose layers are whole on the disk."""
    whole: set[str] = set()
    monkeypatch.setattr(build, "read_record", lambda store, digest: digest if digest in whole else None)
    return whole


def test_the_flow_names_the_layers_that_failed_by_recipe_and_reason(monkeypatch, disk):
    failed = layer("interferometry", "p")
    plan = plan_of(failed, layer("labels", "l"))
    disk |= {task.recipe.digest for task in plan.tasks} - {failed.recipe.digest}
    gone = ArchiveError("It is gone.", "Search again.")
    submitted: list[str] = []

    def submit(outcome: State) -> Any:
        return lambda area, task: submitted.append(task.label) or Run(outcome)

    monkeypatch.setattr(layer_tasks, "as_completed", reversed)
    monkeypatch.setattr(layer_tasks.build_pair, "submit", submit(Failed(data=gone, message="failed")))
    monkeypatch.setattr(layer_tasks.build_layer, "submit", submit(Completed()))
    seen: list[tuple[Any, ...]] = []
    found = build.build_layers(plan, layer_tasks.PrefectTasks(None), lambda *step: seen.append(step))
    assert found == {failed.recipe.digest: "It is gone. Search again."}
    assert submitted == ["p", "l"]
    assert seen == [("l", 1, 2), ("p", 2, 2)]


class LostRun(Run):
    """A run of which the server knows nothing: asking for its end raises."""

    def wait(self) -> None:
        raise httpx.ConnectError("All connection attempts failed")


def unsubmitted(state: State) -> Run:
    raise httpx.ConnectError("All connection attempts failed")


@pytest.mark.parametrize(
    "lost", [LostRun, Run, unsubmitted], ids=["asking raises", "its state names it", "submitting raises"]
)
def test_a_layer_whose_run_the_server_lost_is_submitted_again(monkeypatch, disk, lost):
    away = Failed(data=httpx.ConnectError("All connection attempts failed"), message="failed")
    plan = plan_of(layer("labels", "l"), layer("terrain", "t"))
    attempts: list[str] = []

    def submit(area: Any, task: LayerTask) -> Any:
        attempts.append(task.label)
        if task.label == "l" and attempts.count("l") < 3:
            return lost(away)
        disk.add(task.recipe.digest)
        return Run(Completed())

    waits: list[float] = []
    monkeypatch.setattr(layer_tasks, "as_completed", list)
    monkeypatch.setattr(layer_tasks.build_layer, "submit", submit)
    monkeypatch.setattr(layer_tasks.time, "sleep", waits.append)
    assert build.build_layers(plan, layer_tasks.PrefectTasks(None)) == {}
    assert sorted(attempts) == ["l", "l", "l", "t"]
    assert waits == list(layer_tasks.WAITS_S[:2])


@pytest.mark.parametrize("whole", [True, False])
def test_the_disk_decides_which_layers_failed(monkeypatch, disk, whole):
    task = layer("labels", "l")
    monkeypatch.setattr(layer_tasks, "WAITS_S", ())
    monkeypatch.setattr(layer_tasks, "as_completed", list)
    error = KeyError("the orchestrator's fault") if whole else None
    state = Failed(data=error, message="failed") if whole else Completed()
    monkeypatch.setattr(layer_tasks.build_layer, "submit", lambda area, task: Run(state))
    if whole:
        disk.add(task.recipe.digest)
    found = build.build_layers(plan_of(task), layer_tasks.PrefectTasks(None))
    assert set(found) == (set() if whole else {task.recipe.digest})
