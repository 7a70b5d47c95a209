"""One network for any subset of views and passes: what is absent is told to it; each case has a score of its own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
import xarray as xr
from scipy.special import expit

from model import api
from model.bundle.bundle import read_document
from model.bundle.map_calibrations import Calibrations, calibrations_of
from model.inputs.channel_statistics import Statistics
from model.inputs.cube_channels import CubeChannels
from model.inputs.inputs import Inputs
from model.inputs.pass_subsets import in_directions, limit_passes
from model.inputs.selection import select
from model.inputs.windows import whole
from model.maps.map_plan import MapPlan
from model.maps.validity import NO_PASS_AFTER, NO_PASS_BEFORE
from model.network.augmentation import ViewChannels, draw_changes, draw_shown
from model.network.batches import apply_changes
from model.network.training_plan import TrainingPlan
from model.training.experiment import Experiment
from pipeline.errors import ModelError
from tests.small_cube import BORDER_PX, small_cube, write
from tests.unit.model.bundle.test_bundle import both_ways

PLAN = TrainingPlan(chip_px=64, stride_px=32, steps=12, batch=4, validate_every=6, device="cpu")
ANY = Inputs(track="both", views="any", change=("log_ratio",))
PRESENCE = ("seen@ascending", "passes@ascending", "seen@descending", "passes@descending")
HOLE = np.s_[100:104, 120:140]
"""pixels that the ascending passes do not see"""
BLIND = np.s_[180:184, 60:80]
"""pixels that no pass after the event sees"""


def holed() -> xr.Dataset:
    """Both directions; a part is seen by descending passes alone, and another one by none after the event."""
    cube = both_ways(small_cube(256))
    ascending = np.flatnonzero(cube.relative_orbit.values == 68)
    later = np.flatnonzero(cube.timestep.values > np.datetime64("2018-09-05T18:07:59"))
    vv = cube.vv.values.copy()
    vv[(ascending, *HOLE)] = np.nan
    vv[(later, *BLIND)] = np.nan
    return cube.assign(vv=(cube.vv.dims, vv))


@pytest.fixture(scope="module")
def cube() -> xr.Dataset:
    return holed()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, cube) -> Path:
    """cube.zarr and the default bundle trained on it"""
    root = tmp_path_factory.mktemp("any")
    write(cube, root / "cube.zarr")
    api.train_bundle(str(root / "cube.zarr"), root / "bundle", plan=PLAN)
    return root


def channels_of(cube: xr.Dataset, inputs: Inputs, selection=None) -> dict[str, np.ndarray]:
    source = CubeChannels(cube, inputs, selection or select(cube, inputs))
    return dict(zip(inputs.channels, source.read(whole(source.shape)), strict=True))


def test_presence_tells_pixel_by_pixel_which_views_and_how_many_passes_there_are(cube):
    assert ANY.channels[:4] == PRESENCE
    selection = select(cube, ANY)
    got = channels_of(cube, ANY, selection)
    counts = {view.direction: (len(view.before), len(view.after)) for view in selection.every_view}
    for direction, (before, after) in counts.items():
        weight = got[f"passes@{direction}"]
        assert weight[200, 200] == pytest.approx((1 / before + 1 / after) ** -0.5)
        assert got[f"seen@{direction}"][200, 200] == 1
        # one of the passes before has no data here
        if direction == "descending":
            assert weight[45, 45] == pytest.approx((1 / (before - 1) + 1 / after) ** -0.5)
    assert (got["seen@ascending"][HOLE] == 0).all() and (got["passes@ascending"][HOLE] == 0).all()
    assert (
        np.isnan(got["vv_before@ascending"][HOLE]).all() and np.isnan(got["vh_after@ascending"][HOLE]).all()
    )
    assert (got["seen@descending"][HOLE] == 1).all() and np.isfinite(got["vv_before@descending"][HOLE]).all()
    for values in got.values():  # no view sees these: no data
        assert np.isnan(values[BLIND]).all() and np.isnan(values[:, :BORDER_PX]).all()
    # where both see, every channel is that of a network which needs both
    every = channels_of(cube, ANY.model_copy(update={"views": "every"}))
    both = np.isfinite(every["vv_before@ascending"])
    for name, values in every.items():
        np.testing.assert_array_equal(got[name][both], values[both], err_msg=name)


def test_a_scene_with_one_view_has_the_other_as_absent(cube):
    one = cube.isel(timestep=np.flatnonzero(cube.relative_orbit.values == 46))
    selection = select(one, ANY)
    assert [view.direction for view in selection.every_view] == ["descending"]
    assert any("ascending" in note and "absent" in note for note in selection.notes)
    got = channels_of(one, ANY, selection)
    known = np.isfinite(got["dem"])
    assert (got["seen@ascending"][known] == 0).all() and np.isnan(got["vv_before@ascending"]).all()
    alone = channels_of(cube, ANY, in_directions(select(cube, ANY), ["descending"]))
    for name, values in got.items():
        np.testing.assert_array_equal(alone[name], values, err_msg=name)
    with pytest.raises(ModelError):
        in_directions(selection, ["ascending"])
    with pytest.raises(ModelError, match="ascending"):
        select(one, ANY.model_copy(update={"views": "every"}))


def test_absent_pairs_are_told_and_refuse_no_pixel(cube):
    inputs = ANY.model_copy(update={"coherence": ("before", "recovery")})
    got = channels_of(cube, inputs)  # the cube has no pair at all
    known = np.isfinite(got["dem"])
    for word in ("before", "recovery"):
        assert (got[f"coherence_{word}_known@descending"][known] == 0).all()
        assert np.isnan(got[f"coherence_{word}@descending"]).all()
    assert (known == np.isfinite(channels_of(cube, ANY)["dem"])).all()


def test_statistics_ignore_what_a_view_does_not_see_and_name_a_view_without_value(cube):
    source = CubeChannels(cube, ANY, select(cube, ANY))
    areas = (whole(source.shape),)
    found = Statistics.of(source, ANY.channels, areas)
    got = channels_of(cube, ANY)
    for name in ("vv_before@ascending", "vh_log_ratio@descending"):
        values = got[name][np.isfinite(got[name])].astype(float)
        index = ANY.channels.index(name)
        assert found.mean[index] == pytest.approx(values.mean(), abs=1e-5)
        assert found.sd[index] == pytest.approx(values.std(), abs=1e-5)
    assert found.without_value == () and found.directions == ("ascending", "descending")
    assert "without_value" not in found.model_dump()
    scaled, valid = found.standardise(source.read(whole(source.shape)))
    names = list(ANY.channels)
    assert valid[HOLE].all() and not valid[BLIND].any()
    assert (scaled[names.index("vv_before@ascending")][HOLE] == 0).all()  # the training mean
    assert (scaled[:, ~valid] == 0).all()
    one = CubeChannels(cube, ANY, in_directions(select(cube, ANY), ["descending"]))
    lone = Statistics.of(one, ANY.channels, areas)
    assert lone.directions == ("descending",)
    assert set(lone.without_value) == {
        name for name in names if name.endswith("@ascending") and not name.startswith(("seen", "passes"))
    }


def test_a_chip_shows_all_views_or_one_and_what_is_hidden_is_the_mean():
    channels = ANY.channels
    views = ViewChannels.of(channels)
    assert views is not None and ViewChannels.of(Inputs(track="both").channels) is None
    rng = np.random.default_rng(0)
    shown = draw_shown(2000, TrainingPlan(), rng)
    assert shown.any(axis=1).all()
    assert shown.all(axis=1).mean() == pytest.approx(0.5, abs=0.05)
    assert shown[:, 0].mean() == pytest.approx(0.75, abs=0.05) == shown[:, 1].mean()
    assert draw_shown(9, TrainingPlan(one_view_share=0), rng).all()
    values = torch.from_numpy(rng.standard_normal((3, len(channels), 8, 8)).astype(np.float32))
    for index in views.seen:
        values[:, index] = 1.0
    values[:, views.seen[0], :4] = 0.0  # the first view does not see the upper half
    drawn = draw_changes(3, channels, tuple(1.0 for _ in channels), ("mirror along track", "gain"), rng)
    changes = type(drawn)(
        np.array([False, True, False]), drawn.shift, np.array([[True, True], [True, True], [True, False]])
    )
    masks = torch.ones((3, 8, 8), dtype=torch.bool)
    got, _, mask = apply_changes((values, torch.zeros((3, 8, 8)), masks), changes, channels)
    first, second = (np.flatnonzero(views.view == number) for number in (0, 1))
    assert (got[0, first, :4] == 0).all() and (got[0, first, 4:] != 0).all()
    assert (got[1, first, 4:] == 0).all() and (got[1, first, :4] != 0).all()  # mirrored
    assert (got[2, second] == 0).all() and (got[0, second] != 0).all()
    assert mask[0].all() and mask[1].all() and mask[2, 4:].all() and not mask[2, :4].any()


def test_the_default_bundle_scores_each_direction_alone_and_both(folder):
    document = read_document(folder / "bundle")
    assert (document.inputs.track, document.inputs.views) == ("both", "any")
    cases = [{view.direction: view.after for view in row.views} for row in document.expected]
    assert {"ascending": 1} in cases and {"descending": 1} in cases and {"descending": 2} in cases
    assert cases[-1] == {"ascending": 1, "descending": 2} and {"ascending": 1, "descending": 1} in cases
    assert len(document.by_passes) == len(document.expected) - 1
    assert [case.views for case in document.by_passes] == [row.views for row in document.expected[:-1]]
    card = (folder / "bundle" / "MODEL_CARD.md").read_text()
    assert all(f"| {row.case} |" in card for row in document.expected)


@pytest.mark.parametrize("direction", ["ascending", "descending"])
def test_the_first_pass_of_one_direction_is_mapped_by_the_default_bundle(folder, cube, tmp_path, direction):
    document = read_document(folder / "bundle")
    orbit = {"ascending": 68, "descending": 46}[direction]
    one = cube.isel(timestep=np.flatnonzero(cube.relative_orbit.values == orbit))
    later = np.flatnonzero(one.timestep.values > np.datetime64("2018-09-05T18:07:59"))
    path = write(one.isel(timestep=[*range(later[0] + 1)]), tmp_path / "cube.zarr")
    record = api.map_cube(folder / "bundle", str(path), tmp_path / "map")
    assert direction in record.track and record.passes_after == 1
    (row,) = [
        row for row in document.expected if [(v.direction, v.after) for v in row.views] == [(direction, 1)]
    ]
    assert record.expected == row
    remarks = json.loads(record.report.read_text())["remarks"]
    assert any("is mapped: the network is told so" in remark for remark in remarks)


def test_a_map_asks_for_fewer_passes_or_one_direction_and_equals_that_of_such_a_cube(folder, cube, tmp_path):
    plan = MapPlan(after=1, track="descending", standardise="scene")
    asked = api.map_cube(folder / "bundle", str(folder / "cube.zarr"), tmp_path / "asked", plan=plan)
    assert (asked.track, asked.passes_after) == ("track 46 (descending)", 1)
    by_number = plan.model_copy(update={"track": 46})
    again = api.map_cube(folder / "bundle", str(folder / "cube.zarr"), tmp_path / "again", plan=by_number)
    first, second = (rasterio.open(made.path / "probability.tif").read(1) for made in (asked, again))
    np.testing.assert_array_equal(first, second)
    with pytest.raises(ModelError):
        api.map_cube(folder / "bundle", str(folder / "cube.zarr"), tmp_path / "none", plan=MapPlan(track=47))
    whole_map = api.map_cube(folder / "bundle", str(folder / "cube.zarr"), tmp_path / "whole")
    assert "track 68" in whole_map.track and whole_map.passes_after == 2


def test_a_pixel_that_one_view_sees_is_mapped_and_one_that_none_sees_is_flagged(folder, tmp_path):
    document = read_document(folder / "bundle")
    record = api.map_cube(folder / "bundle", str(folder / "cube.zarr"), tmp_path / "map")
    probability, validity = (
        rasterio.open(record.path / f"{name}.tif").read(1) for name in ("probability", "validity")
    )
    assert np.isfinite(probability[HOLE]).all() and (validity[HOLE] == 0).all()
    assert np.isnan(probability[BLIND]).all() and (validity[BLIND] == NO_PASS_AFTER).all()
    assert (validity[:, :BORDER_PX] == NO_PASS_BEFORE | NO_PASS_AFTER).all()
    # the hole has the calibration of the view that sees it
    calibrations = calibrations_of(document, document.selection)
    assert calibrations.whole == document.calibration
    alone = document.calibrated_for(in_directions(document.selection, ["descending"]))
    assert [(view.direction, view.after) for view in alone.views] == [("descending", 2)]
    assert calibrations.alone["seen@descending"] == alone.calibration
    made = Calibrations(
        alone.calibration.model_copy(update={"intercept": 0.0}),
        {
            f"seen@{name}": alone.calibration.model_copy(update={"intercept": value})
            for name, value in (("ascending", 1.0), ("descending", -1.0))
        },
    )
    seen = np.array([[[1.0, 1.0, 0.0]], [[1.0, 0.0, 1.0]]], np.float32)
    got = made.apply(np.full((1, 3), 0.5, np.float32), seen, ("seen@ascending", "seen@descending"))
    np.testing.assert_allclose(got, expit([[0.0, 1.0, -1.0]]), rtol=1e-6)


def test_a_direction_that_training_never_saw_is_not_mapped(folder, cube, tmp_path):
    lone = cube.isel(timestep=cube.pass_id.values != "late")
    path = write(lone, tmp_path / "lone.zarr")
    inputs = Experiment(inputs=ANY)
    api.train_bundle(str(path), tmp_path / "bundle", plan=PLAN, experiment=inputs)
    document = read_document(tmp_path / "bundle")
    assert document.directions == ("descending",)
    record = api.map_cube(tmp_path / "bundle", str(folder / "cube.zarr"), tmp_path / "map")
    assert record.track == "track 46 (descending)"


def test_the_same_seed_trains_the_same_network(folder, tmp_path):
    api.train_bundle(str(folder / "cube.zarr"), tmp_path / "bundle", plan=PLAN)
    again = read_document(tmp_path / "bundle")
    assert again.digest == read_document(folder / "bundle").digest


def test_fewer_passes_are_those_of_every_view(cube):
    selection = select(cube, ANY)
    fewer = limit_passes(selection, 1, 1)
    assert [(len(view.before), len(view.after)) for view in fewer.every_view] == [(1, 1), (1, 1)]
    got = channels_of(cube, ANY, fewer)
    assert got["passes@descending"][200, 200] == pytest.approx(0.5**0.5)


def test_a_bundle_that_needs_every_view_is_written_and_refuses_as_before(folder, cube, tmp_path):
    inputs = Inputs(track="both", change=("log_ratio",))
    experiment = Experiment(inputs=inputs)
    api.train_bundle(str(folder / "cube.zarr"), tmp_path / "bundle", plan=PLAN, experiment=experiment)
    text = (tmp_path / "bundle" / "bundle.json").read_text()
    document = read_document(tmp_path / "bundle")
    data = json.loads(text)
    assert "views" not in data["inputs"] and "channels" not in data["network"]
    assert "without_value" not in data["statistics"] and "one_view_share" not in data["training"]
    assert all("views" not in row for row in (*data["expected"], *data["by_passes"]))
    assert document.cases == (2, 1) and [row.after for row in document.expected] == [1, 2]
    made = api.map_cube(tmp_path / "bundle", str(folder / "cube.zarr"), tmp_path / "map")
    with rasterio.open(made.path / "probability.tif") as file:
        assert np.isnan(file.read(1)[HOLE]).all()  # one of the views does not see it
    one = write(cube.isel(timestep=cube.pass_id.values != "late"), tmp_path / "one.zarr")
    with pytest.raises(ModelError, match="ascending") as refused:
        api.map_cube(tmp_path / "bundle", str(one), tmp_path / "none")
    assert "train" in refused.value.remedy
    with pytest.raises(ModelError, match="both directions"):
        plan = MapPlan(track="descending")
        api.map_cube(tmp_path / "bundle", str(folder / "cube.zarr"), tmp_path / "none", plan=plan)
