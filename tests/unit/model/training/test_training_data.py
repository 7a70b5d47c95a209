"""One model of several events: each has its own split and statistics, and none is in the training set twice."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pystac
import pytest
import xarray as xr
from click.testing import CliRunner

from model import api
from model.bundle.bundle import load, read_document
from model.bundle.document import DOCUMENT
from model.cli.bundles import train as train_command
from model.maps.map_plan import MapPlan
from model.network.training_plan import TrainingPlan
from model.training.experiment import Experiment
from model.training.training_data import labelled_cubes
from pipeline.errors import ModelError
from tests.small_cube import EVENT_JSON, small_cube, write

PLAN = TrainingPlan(chip_px=64, stride_px=32, steps=6, batch=4, validate_every=3, device="cpu")


def elsewhere(**changes) -> xr.Dataset:
    """Another event, 30 km further east: brighter, with one pass after it and without a curvature."""
    cube = small_cube(256, seed=3, before=3, after=1).drop_vars("dem_curvature")
    cube = cube.assign({name: 3 * cube[name] for name in ("vv", "vh")})
    return cube.assign_coords(x=cube.x + 30_000.0).assign_attrs(area="elsewhere", **changes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """one.zarr, two.zarr and the bundle of both"""
    root = tmp_path_factory.mktemp("events")
    write(small_cube(256), root / "one.zarr")
    write(elsewhere(simulated=False), root / "two.zarr")
    experiment = Experiment(others=(str(root / "two.zarr"),))
    api.train_bundle(str(root / "one.zarr"), root / "bundle", plan=PLAN, seed=1, experiment=experiment)
    return root


def test_a_bundle_of_two_events_describes_each_of_them(folder):
    document = read_document(folder / "bundle")
    one, two = document.training_events
    assert [each.cube.area for each in document.training_events] == ["small", "elsewhere"]
    assert document.area_names == "small and 1 other" and document.simulated
    vv = one.statistics.channels.index("vv_before")
    shift = np.log(3)  # threefold backscatter, as ln gamma0
    assert two.statistics.mean[vv] - one.statistics.mean[vv] == pytest.approx(shift, abs=0.3)
    assert "curvature" not in document.inputs.terrain
    assert document.cases == (2, 1)  # the second event has one pass after it
    assert [event.area for event in document.events] == ["small"]  # at two passes it does not count
    first = document.expected[0]
    assert (first.after, document.expected[-1].after) == (1, 2)
    assert first.pixels > document.expected[-1].pixels == document.events[0].pixels
    assert (first.events, document.expected[-1].events) == (2, 1)
    card = (folder / "bundle" / "MODEL_CARD.md").read_text()
    assert "SIMULATED" in card and "dem_curvature" in card and "2 events" in card
    for each in document.training_events:
        assert all(p.id in card for p in (*each.selection.before, *each.selection.after))
        (area,) = each.split.test
        digest = f"`{each.cube.digest[:12]}`"
        assert f"| {each.cube.area} | {digest} | test | {area.top} to {area.bottom} |" in card
    item = pystac.Item.from_file(str(folder / "bundle" / "item.json"))
    assert item.geometry["type"] == "MultiPolygon"
    (given,) = item.properties["mlm:input"]
    assert "small" in given["description"] and "bundle.json" in given["description"]
    assert [each["mean"] for each in given["value_scaling"]] == list(one.statistics.mean)
    assert item.properties["slidecube:cubes"] == [each.cube.digest for each in document.training_events]


def test_a_map_of_either_event_has_its_own_statistics_and_test_area(folder, tmp_path):
    document = read_document(folder / "bundle")
    for name, event in zip(("one", "two"), document.training_events, strict=True):
        record = api.map_cube(
            folder / "bundle",
            str(folder / f"{name}.zarr"),
            tmp_path / name,
            plan=MapPlan(allow_simulated=True),
        )
        assert "test area" in record.scored_on
        report = json.loads(record.report.read_text())
        (area,) = event.split.test
        labels = xr.open_zarr(folder / f"{name}.zarr").landslides.values[area.slices]
        assert report["scores"]["positives"] == pytest.approx((labels == 1).sum(), abs=20)  # less the border
        assert not any("statistics of this scene" in remark for remark in report["remarks"])
    first = document.expected[0]
    assert record.expected == first and "test areas in 2 events" in record.expected_words
    third = write(
        elsewhere().assign_coords(y=small_cube(256).y + 9_000.0).assign_attrs(area="third"),
        tmp_path / "third.zarr",
    )
    record = api.map_cube(folder / "bundle", str(third), tmp_path / "map")
    assert "whole scene" in record.scored_on
    assert any("statistics of this scene" in r for r in json.loads(record.report.read_text())["remarks"])


def test_the_digest_covers_the_statistics_of_every_event(folder, tmp_path):
    data = json.loads((folder / "bundle" / DOCUMENT).read_text())
    data["others"][0]["statistics"]["sd"][0] *= 2
    (tmp_path / DOCUMENT).write_text(json.dumps(data))
    with pytest.raises(ModelError, match=r"bundle\.json cannot be used"):
        load(tmp_path)


def later(cube: xr.Dataset) -> xr.Dataset:
    """The same ground, another event."""
    return cube.assign_attrs(event=EVENT_JSON.replace("2018-09-05", "2018-09-06"))


def more_mapped(cube: xr.Dataset) -> xr.Dataset:
    """The same inventory, a few landslides added."""
    found = cube.landslides.copy()
    found[100:110, 20:40] = 1.0
    return cube.assign(landslides=found, vv=2 * cube.vv)


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (lambda cube: cube, True),
        (more_mapped, True),
        (lambda cube: cube.isel(y=slice(20, None)), True),
        (lambda cube: later(cube.isel(y=slice(20, None))), False),
        (lambda _: small_cube(256, seed=3).assign_attrs(area="another event"), False),
        (lambda cube: cube.assign_coords(x=cube.x + 30_000.0), False),
    ],
)
def test_an_event_named_twice_is_refused(other, same, folder, tmp_path):
    one, two = str(folder / "one.zarr"), str(write(other(small_cube(256)), tmp_path / "two.zarr"))
    if not same:
        assert len(labelled_cubes(one, Experiment(others=(two,)))) == 2
        return
    with pytest.raises(ModelError, match=r"one\.zarr and .*two\.zarr show the same event") as error:
        api.train_bundle(one, tmp_path / "bundle", plan=PLAN, experiment=Experiment(others=(two,)))
    assert "once" in error.value.remedy
    assert [path.name for path in tmp_path.iterdir()] == ["two.zarr"]


@pytest.mark.parametrize(
    ("flaw", "words"),
    [
        (lambda cube: cube.drop_vars("landslides"), "no labels"),
        (
            lambda cube: cube.isel(timestep=cube.timestep < np.datetime64("2018-09-05")),
            "no pass after the event",
        ),
    ],
)
def test_a_cube_that_cannot_be_trained_on_is_refused_before_anything_is_written(
    flaw, words, folder, tmp_path
):
    flawed = str(write(flaw(small_cube(256)), tmp_path / "flawed.zarr"))
    target = tmp_path / "models" / "bundle"
    with pytest.raises(ModelError, match=words):
        api.train_bundle(flawed, target, plan=PLAN)
    several = Experiment(others=(flawed,))
    with pytest.raises(ModelError, match=rf"flawed\.zarr: .*{words}"):
        api.train_bundle(str(folder / "two.zarr"), target, plan=PLAN, experiment=several)
    assert [path.name for path in tmp_path.iterdir()] == ["flawed.zarr"]


def test_of_several_events_the_one_without_landslides_is_named(folder, tmp_path):
    whole = small_cube(256, seed=9)
    flat = write(
        whole.assign(landslides=whole.landslides * 0).assign_attrs(area="flat"), tmp_path / "flat.zarr"
    )
    with pytest.raises(ModelError) as caught:
        api.train_bundle(
            str(folder / "two.zarr"), tmp_path / "x", plan=PLAN, experiment=Experiment(others=(str(flat),))
        )
    assert "flat.zarr" in caught.value.message and not (tmp_path / "x").exists()


def test_the_command_trains_on_several_events_and_prints_a_line_for_each(folder, tmp_path):
    one, two = str(folder / "one.zarr"), str(folder / "two.zarr")
    command = [one, "--with", two, "--out", str(tmp_path / "bundle"), "--steps", "4", "--chip", "64"]
    done = CliRunner().invoke(train_command, [*command, "--after", "1"])
    assert done.exit_code == 0, done.output
    scores = read_document(tmp_path / "bundle").events
    assert [event.area for event in scores] == ["small", "elsewhere"]
    document = read_document(tmp_path / "bundle")
    mean, pooled = np.mean([event.auprc for event in scores]), document.test.auprc
    assert document.expected[-1].auprc == document.test_score.auprc == pytest.approx(mean)
    assert abs(mean - pooled) > 1e-5, "the two events differ"
    assert f"Mean test AUPRC {mean:.3f} " in done.output
    item = json.loads((tmp_path / "bundle" / "item.json").read_text())
    assert item["properties"]["slidecube:test_auprc"] == pytest.approx(mean)
    card = (tmp_path / "bundle" / "MODEL_CARD.md").read_text()
    assert f"| mean | | {mean:.3f} |" in card
    validation = [event.auprc for event in document.validation_events]
    # the network was chosen by the mean of the plain predictions of the same areas
    assert document.validation_score.auprc == pytest.approx(np.mean(validation))
    for event in scores:
        line = f"{event.area} {event.cube[:12]}: {event.auprc:.3f} at {event.prevalence:.4f}"
        assert line in done.output
        assert f"boosted pixels on {event.area} {event.cube[:12]} " in done.output
    refused = CliRunner().invoke(train_command, [*command, "--protocol", "strict"])
    assert refused.exit_code == 2 and "--study events" in refused.output
