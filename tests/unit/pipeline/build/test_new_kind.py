"""A kind of layer that no room imports is planned, built and published through `LayerKind` alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.build import run as build
from pipeline.catalogue.snapshots import save_catalogue
from pipeline.cube import schema
from pipeline.cube.layers import LayerData, Recipe
from pipeline.cube.local_store import LocalStore
from pipeline.cube.manifest import Timestep
from pipeline.cube.read import open_cube
from pipeline.cube.verify import verify_cube
from pipeline.errors import SourceDataError
from pipeline.layers.backscatter import Backscatter, BackscatterTask
from pipeline.layers.kind import LayerKind, Site, Wanted
from pipeline.layers.plan_inputs import PlanInputs
from tests.unit.pipeline.build.test_build_pairs import catalogue_of, here, installed, rtc

__all__ = ["installed", "rtc"]


@dataclass(frozen=True)
class Wetness(LayerKind[BackscatterTask]):
    """A number for each pass, on the same axis as backscatter."""

    name = "wetness"
    variables = ("wetness",)
    axis = "timestep"
    fails: bool = False
    at_most: int | None = None
    """passes that it wants"""

    def wanted(self, inputs: PlanInputs) -> Wanted:
        tasks = tuple(
            BackscatterTask(
                kind=self,
                recipe=Recipe(
                    kind=self.name,
                    variables=self.variables,
                    grid=inputs.grid.digest,
                    sources=(),
                    parameters={"pass": one.id},
                    algorithm="wetness-1",
                ),
                label=f"wetness of {one.id}",
                overflight=one,
            )
            for one in inputs.passes.passes[: self.at_most]
        )
        return Wanted(kind=self, tasks=tasks)

    def derive(self, task: BackscatterTask, site: Site) -> LayerData:
        if self.fails:
            raise SourceDataError("It is dry.")
        return LayerData({"wetness": np.full(site.grid.shape, 0.5, "float32")}, report={"coverage": 1.0})

    def entry(self, task: BackscatterTask, layers: dict[str, str]) -> Timestep:
        return Backscatter().entry(task, layers)


@pytest.fixture(autouse=True)
def in_the_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    variable = schema.Variable("wetness", "timestep", "float32", "1", "how wet it is")
    monkeypatch.setitem(schema.VARIABLES, "wetness", variable)


def test_two_kinds_share_an_axis(tmp_path: Path, rtc: dict[str, Any]) -> None:
    area = here(interferometry=None)
    replay = Path(save_catalogue(catalogue_of(area, rtc, None), LocalStore(tmp_path / "catalogue")))
    seen: list[tuple[Any, ...]] = []
    published = build.build(area, replay, lambda *step: seen.append(step), kinds=(Backscatter(), Wetness()))
    assert (published.failed, published.layers_built) == ((), 2)
    assert [(done, total) for _, done, total in seen] == [(1, 2), (2, 2)]
    with open_cube(published.uri) as cube:
        assert cube["wetness"].dims == ("timestep", "y", "x")
        assert float(cube["wetness"].max()) == 0.5
        assert cube["wetness_coverage"].values.tolist() == [1.0]
    assert verify_cube(build.store_of(area).uri).sound
    assert build.build(area, replay, kinds=(Backscatter(), Wetness())).new is False


def two_passes(rtc: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The item, and one of the same track twelve days later."""
    later = {
        name: value.replace("2018-09-05", "2018-09-17") if isinstance(value, str) else value
        for name, value in rtc["properties"].items()
    }
    later["sat:absolute_orbit"] += 175
    return rtc, {**rtc, "id": rtc["id"].replace("20180905", "20180917"), "properties": later}


@pytest.mark.parametrize(
    ("wet", "failures"),
    [(Wetness(fails=True), 1), (Wetness(at_most=1), 0)],
    ids=["it fails", "it wants none"],
)
def test_a_pass_without_its_new_layer_is_left_out_by_name(
    tmp_path: Path, rtc: dict[str, Any], wet: Wetness, failures: int
) -> None:
    """Every pass of a version has the same variables."""
    area = here(interferometry=None)
    one = catalogue_of(area, rtc, None)
    two = one.model_copy(update={"rtc_items": two_passes(rtc)})
    build.build(
        area, Path(save_catalogue(one, LocalStore(tmp_path / "one"))), kinds=(Backscatter(), Wetness())
    )
    published = build.build(
        area, Path(save_catalogue(two, LocalStore(tmp_path / "two"))), kinds=(Backscatter(), wet)
    )
    assert published.layers_failed == failures
    assert all("wetness of sentinel-1a_023743" in line for line in published.failed)
    assert any("sentinel-1a_023743" in line and "left out" in line for line in published.missing)
    with open_cube(published.uri) as cube:
        assert cube["absolute_orbit"].values.tolist() == [23568]
    assert verify_cube(build.store_of(area).uri).sound


class Faulty(Wetness):
    """With an error that is not one of a layer."""

    def derive(self, task: BackscatterTask, site: Site) -> LayerData:
        raise KeyError("a fault of ours")


def test_an_unexpected_error_ends_the_build_without_a_version(tmp_path: Path, rtc: dict[str, Any]) -> None:
    area = here(interferometry=None)
    replay = Path(save_catalogue(catalogue_of(area, rtc, None), LocalStore(tmp_path / "catalogue")))
    with pytest.raises(KeyError):
        build.build(area, replay, kinds=(Backscatter(), Faulty()))
    assert not build.store_of(area).exists("latest")
