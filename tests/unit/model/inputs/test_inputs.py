"""Which passes the inputs select, and how channels are computed from backscatter and terrain."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from model.inputs.channel_source import ScratchChannels
from model.inputs.channel_statistics import Statistics
from model.inputs.cube_channels import CubeChannels
from model.inputs.cubes import facts, georeference, labels, load, prepared
from model.inputs.inputs import EventSpan, Inputs
from model.inputs.selection import select
from model.inputs.windows import Box, whole
from pipeline.errors import CubeError, ModelError
from tests.small_cube import BORDER_PX, DAY, EVENT, HOUR, small_cube

EVENT_SPAN = EventSpan(start="2018-09-05T18:07:59Z", end="2018-09-05T18:07:59Z")


@pytest.fixture(scope="module")
def cube():
    return small_cube(128)


def test_the_best_track_is_the_one_with_passes_on_both_sides(cube):
    chosen = select(cube, Inputs())
    assert chosen.track == "track 46 (descending)"
    assert (len(chosen.before), len(chosen.after)) == (3, 2)
    assert all(p.instant < chosen.event.start for p in chosen.before)
    assert chosen.after[0].instant.isoformat() == "2018-09-05T20:07:59+00:00"  # the same UTC day as the event
    assert chosen.days_since_event == pytest.approx(12 + 2 / 24)


def test_n_before_takes_the_newest_and_n_after_the_first(cube):
    everything = select(cube, Inputs())
    chosen = select(cube, Inputs(before=2, after=1))
    assert chosen.before == everything.before[-2:]
    assert chosen.after == everything.after[:1]
    assert select(cube, Inputs(before=9)).notes == ("3 of 9 wanted passes before",)


def test_a_pass_during_the_event_is_neither_before_nor_after(cube):
    span = EventSpan(start="2018-09-05T18:07:59Z", end="2018-09-06T00:00:00Z")
    chosen = select(cube, Inputs(), span)
    assert len(chosen.after) == 1
    assert any("during the event" in note for note in chosen.notes)


def test_dates_without_a_time_of_day_leave_out_the_day_of_the_event(cube):
    dated = cube.assign_coords(timestep=cube.timestep.values.astype("datetime64[D]").astype("datetime64[us]"))
    chosen = select(dated, Inputs())
    assert [p.instant.date().isoformat() for p in chosen.after] == ["2018-09-17"]
    assert "2018-09-05" not in {p.instant.date().isoformat() for p in chosen.before}


def test_an_empty_pass_is_named_and_not_used(cube):
    hollow = cube.copy(deep=True)
    last = hollow.sizes["timestep"] - 1
    hollow.vh[last] = np.nan
    chosen = select(hollow, Inputs())
    assert len(chosen.after) == 1
    assert any(f"pass_{last}" in note for note in chosen.notes)


def test_the_best_track_weighs_passes_against_the_share_of_the_scene(cube):
    both = cube.copy(deep=True)
    orbits = both.relative_orbit.values.copy()
    orbits[-1] = 68  # track 68 now has two before and one after, track 46 three before and one after
    states = np.where(orbits == 68, "ascending", "descending").astype(object)
    both = both.assign_coords(
        {"relative_orbit": ("timestep", orbits), "sat:orbit_state": ("timestep", states)}
    )
    assert "track 46" in select(both, Inputs()).track
    assert "track 68" in select(both, Inputs(track=68)).track
    both.vv[np.flatnonzero(orbits == 46)[-1], :, 40:] = np.nan
    assert "track 68" in select(both, Inputs()).track


def test_orbit_state_alone_serves_as_track(cube):
    chosen = select(cube.drop_vars("relative_orbit"), Inputs())
    assert chosen.track == "descending passes"
    assert any("relative orbits" in note for note in chosen.notes)
    assert select(cube, Inputs(track="descending")).track == "track 46 (descending)"


@pytest.mark.parametrize(
    ("spoil", "inputs", "words"),
    [
        (lambda c: c.isel(timestep=slice(0, 5)), Inputs(), "pass after"),
        (lambda c: c.isel(timestep=slice(5, None)), Inputs(), "pass before"),
        (lambda c: c.drop_vars("vh"), Inputs(), "lacks vh"),
        (lambda c: c.drop_vars("dem_curvature"), Inputs(), "lacks dem_curvature"),
        (lambda c: c, Inputs(track=68), "No track"),
        (lambda c: c, Inputs(track=1), "No track"),
        (lambda c: c.isel(timestep=slice(0, 0)), Inputs(), "holds no pass"),
        (lambda c: c.assign(dem=c.vv), Inputs(), "dem .*dimensions"),
        (lambda c: c.drop_attrs(), Inputs(), "records no event"),
        (lambda c: c.assign_attrs(event="{"), Inputs(), "no JSON object"),
        (lambda c: c.assign_attrs(event='{"start": "2018-09-05"}'), Inputs(), "no JSON object"),
    ],
)
def test_a_cube_that_cannot_serve_is_refused_by_name(cube, spoil, inputs, words):
    with pytest.raises(ModelError, match=words):
        select(spoil(cube), inputs)


def test_backscatter_is_the_mean_of_logarithms_and_nodata_never_a_value(cube):
    inputs = Inputs()
    chosen = select(cube, inputs)
    read = CubeChannels(cube, inputs, chosen).read(whole((128, 128)))
    first, *others = [cube.vv.values[p.index].astype(float) for p in chosen.before]
    inner = np.s_[40:50, 40:50]  # 0 in the first pass
    np.testing.assert_allclose(read[0][inner], np.mean([np.log(o[inner]) for o in others], axis=0), rtol=1e-5)
    outside = np.s_[60:80, 60:80]
    np.testing.assert_allclose(
        read[0][outside],
        np.mean([np.log(o[outside]) for o in (first, *others)], axis=0),
        rtol=1e-5,
    )
    assert np.isnan(read[:, :, :BORDER_PX]).all()
    assert np.isfinite(read[:, :, BORDER_PX:]).all()


def test_a_flat_pixel_has_no_aspect_and_stays_valid(cube):
    flat = cube.copy(deep=True)
    flat.dem_aspect[70, 70] = np.nan
    flat.dem[71, 71] = np.nan
    inputs = Inputs(terrain=("dem", "aspect"))
    read = CubeChannels(flat, inputs, select(flat, inputs)).read(whole((128, 128)))
    sine, cosine = (inputs.channels.index(name) for name in ("aspect_sin", "aspect_cos"))
    assert (read[sine, 70, 70], read[cosine, 70, 70]) == (0, 0)
    assert np.isnan(read[:, 71, 71]).all()
    length = np.hypot(read[sine], read[cosine])
    np.testing.assert_allclose(length[np.isfinite(length) & (length > 0)], 1, atol=1e-5)


def test_windows_and_the_scratch_copy_give_the_pixels_of_the_whole(cube, tmp_path):
    inputs = Inputs()
    source = CubeChannels(cube, inputs, select(cube, inputs))
    every = source.read(whole(source.shape))
    box = Box(top=13, left=5, height=50, width=77)
    np.testing.assert_array_equal(source.read(box), every[:, 13:63, 5:82])
    scratch = ScratchChannels(source, len(inputs.channels), tmp_path, tile_px=50)
    assert not any(tmp_path.iterdir())
    np.testing.assert_array_equal(scratch.read(box), every[:, 13:63, 5:82])
    np.testing.assert_array_equal(scratch.usable(), np.isfinite(every).all(axis=0))


def test_statistics_see_the_training_areas_alone(cube):
    inputs = Inputs()
    source = CubeChannels(cube, inputs, select(cube, inputs))
    areas = (Box(top=0, left=0, height=64, width=128),)
    found = Statistics.of(source, inputs.channels, areas)
    every = source.read(whole(source.shape))
    train = every[:, :64][:, np.isfinite(every[0, :64])].astype(float)
    plain = [i for i, name in enumerate(inputs.channels) if not name.startswith("aspect")]
    np.testing.assert_allclose(np.array(found.mean)[plain], train.mean(axis=1)[plain], rtol=1e-6)
    np.testing.assert_allclose(np.array(found.sd)[plain], train.std(axis=1)[plain], rtol=1e-6)
    assert found.pixels == train.shape[1]

    spoilt = cube.copy(deep=True)
    spoilt.vv[:, 64:] = 1e6
    again = Statistics.of(CubeChannels(spoilt, inputs, select(spoilt, inputs)), inputs.channels, areas)
    assert again == found


def test_standardising_zeroes_what_is_invalid_and_cuts_what_is_extreme():
    statistics = Statistics(channels=("dem", "slope"), mean=(1.0, 10.0), sd=(2.0, 5.0), pixels=1)
    values = np.array([[[3.0, np.nan, 1e9]], [[10.0, 20.0, 15.0]]], dtype=np.float32)
    scaled, valid = statistics.standardise(values)
    np.testing.assert_allclose(scaled[:, 0], [[1.0, 0.0, 6.0], [0.0, 0.0, 1.0]])
    np.testing.assert_array_equal(valid, [[True, False, True]])


def test_labels_keep_not_mapped_apart(cube):
    found = labels(cube)
    assert (found[:, -8:] == 255).all()
    assert set(np.unique(found)) == {0, 1, 255}
    with pytest.raises(ModelError, match="no labels"):
        labels(cube.drop_vars("landslides"))


def test_a_cube_with_rows_from_south_to_north_is_turned(cube):
    turned = prepared(cube.isel(y=slice(None, None, -1)))
    np.testing.assert_array_equal(turned.y.values, cube.y.values)
    assert georeference(turned).transform == (10.0, 0.0, 500_000.0, 0.0, -10.0, 4_700_000.0)
    with pytest.raises(ModelError, match="evenly"):
        prepared(cube.isel(x=[0, 1, 3, 4]))
    with pytest.raises(ModelError, match="coordinate reference"):
        georeference(cube.drop_vars("spatial_ref"))


@pytest.mark.parametrize("form", ["epsg", "proj:code", "crs", "another grid mapping", "a data variable"])
def test_the_reference_system_is_found_as_the_cube_records_it(cube, form):
    expected = georeference(cube)
    bare = cube.drop_vars("spatial_ref")
    if form == "epsg":
        bare = bare.assign_coords(epsg=32654)
    elif form == "another grid mapping":
        bare = cube.rename({"spatial_ref": "utm"})
        for name in ("vv", "vh"):
            bare[name] = bare[name].assign_attrs(grid_mapping="utm")
    elif form == "a data variable":
        bare = cube.reset_coords("spatial_ref")
    else:
        bare = bare.assign_attrs({form: "EPSG:32654"})
    found = georeference(bare)
    assert found.crs.to_epsg() == 32654 and found.transform == expected.transform


def test_the_transform_of_a_part_is_that_of_its_coordinates(cube):
    recorded = cube.spatial_ref.assign_attrs(GeoTransform="500000 10 0 4700000 0 -10")
    part = cube.assign_coords(spatial_ref=recorded).isel(y=slice(4, None), x=slice(2, None))
    assert georeference(part).transform == (10.0, 0.0, 500_020.0, 0.0, -10.0, 4_699_960.0)


def test_the_digest_of_a_cube_follows_its_passes(cube):
    other = cube.assign_coords(timestep=cube.timestep.values + HOUR)
    assert facts(cube, "nowhere").digest == facts(cube, "nowhere").digest
    assert facts(cube, "nowhere").digest != facts(other, "nowhere").digest
    assert facts(cube, "data/cubes/a/versions/7.zarr").version == 7


def test_an_absent_cube_is_named():
    with pytest.raises(CubeError, match="atlantis"):
        load("atlantis")


def test_inputs_refuse_what_makes_no_sense():
    for wrong in (
        {"backscatter": (), "terrain": ()},
        {"backscatter": (), "change": ("log_ratio",)},
        {"terrain": ("dem", "dem")},
        {"coherence": ("loss", "loss")},
        {"track": 0},
        {"before": 0},
        {"colour": "red"},
    ):
        with pytest.raises(ValidationError):
            Inputs.model_validate(wrong)
    with pytest.raises(ValidationError, match="ends before"):
        EventSpan(start=str(EVENT + DAY) + "Z", end=str(EVENT) + "Z")
    assert EVENT_SPAN.start == EVENT_SPAN.end
