"""Pairs in the flow: begun beside the layers, tried again only where that may help, listed with the passes."""

from __future__ import annotations

from typing import Any

import pytest

from flows import build_datacube
from flows.serving import artifacts
from flows.serving.limits import INTERFEROMETRY, LIMITS
from pipeline.archives.planetary import PlanetaryComputer
from pipeline.build.run import BuildPlan, LayerTask
from pipeline.catalogue.slc import Pair
from pipeline.cube.layers import Recipe
from pipeline.errors import SettingsError
from pipeline.grid import Grid
from tests.unit.pipeline.catalogue.test_pairs import overflight
from tests.unit.pipeline.catalogue.test_passes import area

GRID = Grid(epsg=32654, resolution_m=10, left=500000, top=4700000, width=40, height=50)


def layer(kind: str, name: str) -> LayerTask:
    recipe = Recipe(kind=kind, variables=(), grid=GRID.digest, sources=(), algorithm=name)
    pair = name if kind == "interferometry" else None
    return LayerTask(recipe=recipe, label=name, kind=kind, size_bytes=0, held=False, pair_id=pair)


def test_the_first_pairs_run_beside_the_layers_and_no_pair_waits_in_a_layers_place():
    pairs = [layer("interferometry", f"p{n}") for n in range(4)]
    layers = (layer("terrain", "t"), *pairs, layer("backscatter", "b"), layer("look", "l"))
    order = [task.label for task in build_datacube.in_order(layers)]
    assert order == ["p0", "t", "b", "l", "p1", "p2", "p3"]
    most = build_datacube.build_datacube.task_runner._max_workers
    assert most == build_datacube.LAYERS_AT_ONCE + LIMITS[INTERFEROMETRY]


@pytest.mark.parametrize(
    ("kind", "limit"),
    [
        ("interferometry", INTERFEROMETRY),
        ("backscatter", PlanetaryComputer.name),
        ("look", PlanetaryComputer.name),
        ("labels", None),
    ],
)
def test_every_kind_of_layer_holds_a_slot_of_what_it_uses(monkeypatch, kind, limit):
    held: list[str] = []

    class Slot:
        def __init__(self, *names: str) -> None:
            held.extend(names)

        def __enter__(self) -> None: ...

        def __exit__(self, *rest: Any) -> None: ...

    monkeypatch.setattr(build_datacube, "slot_of", Slot)
    monkeypatch.setattr(build_datacube.build, "build_layer", lambda *args: None)
    task = build_datacube.build_pair if kind == "interferometry" else build_datacube.build_layer
    task.fn(area(), layer(kind, "x"), None)
    assert held == ([limit] if limit else [])


def test_a_pair_is_a_task_of_its_own_name_and_as_patient_as_a_layer():
    pair, other = build_datacube.build_pair, build_datacube.build_layer
    assert (pair.name, pair.task_run_name) == ("pair", "{layer.label}")
    assert pair.retry_condition_fn is other.retry_condition_fn is build_datacube.is_transient
    assert pair.retries == other.retries > 0


def test_a_limit_that_nobody_made_is_refused_by_name(monkeypatch):
    from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError

    from flows.serving import limits

    def refuse(names: list[str], **options: Any) -> Any:
        assert options["strict"] is True
        raise ConcurrencySlotAcquisitionError(names)

    monkeypatch.setattr(limits, "concurrency", refuse)
    with pytest.raises(SettingsError, match=INTERFEROMETRY), limits.slot_of(INTERFEROMETRY):
        raise AssertionError("nothing runs without the limit")


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
    plan = BuildPlan(
        area="here", cube="/x", grid=GRID, passes=(), pairs=pairs, missing=("labels: no inventory",),
        current_version=None, changes=True,
        tasks=(layer("interferometry", pairs[0].id).model_copy(update={"held": True}),),
    )  # fmt: skip
    told: dict[str, Any] = {}
    monkeypatch.setattr(artifacts, "create_table_artifact", lambda **given: told.update(given))
    artifacts.show_passes(plan)
    assert [row["kind"] for row in told["table"]] == ["pair, held", "pair, wanted"]
    assert [row["baseline (m)"] for row in told["table"]] == [34.5, None]
    assert told["table"][0]["days"] == 12
    assert len({tuple(row) for row in told["table"]}) == 1, "every row has every column"
    assert "pairs: 2" in told["description"] and "labels" in told["description"]
