"""Change, look geometry, coherence and two directions as channels."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import polygamma

from model.inputs.change import PRIOR_PASSES, SPECKLE_SD, change_of, moments_of
from model.inputs.channel_registry import may_lack
from model.inputs.channel_source import ScratchChannels
from model.inputs.channel_statistics import Statistics
from model.inputs.cube_channels import CubeChannels
from model.inputs.cubes import load
from model.inputs.inputs import EventSpan, Inputs
from model.inputs.pass_subsets import limit_passes
from model.inputs.selection import Selection, select
from model.inputs.tracks import azimuth_to_sensor_deg
from model.inputs.windows import Box, whole
from pipeline.errors import ModelError
from tests.small_cube import BORDER_PX, DAY, EVENT, small_cube, write_published

SIZE = 64
EVERYTHING = Inputs(
    change=("log_ratio", "before_sd", "z_score"),
    aspect="to sensor",
    geometry=("local_incidence", "layover_shadow"),
    coherence=("before", "across", "after", "loss", "recovery"),
)


def rich_cube(size: int = SIZE) -> xr.Dataset:
    """Four passes before and three after on track 46, two and one on 68; pairs of neighbours; geometry of both."""
    cube = small_cube(size, before=4, after=3)
    extra = cube.isel(timestep=[-1]).assign_coords(
        {
            "timestep": [EVENT + 3 * DAY],
            "relative_orbit": ("timestep", [68]),
            "sat:orbit_state": ("timestep", np.array(["ascending"], dtype=object)),
            "pass_id": ("timestep", np.array(["pass_up"], dtype=object)),
        }
    )
    static = [name for name in cube.data_vars if "timestep" not in cube[name].dims]
    moving = xr.concat([cube[["vv", "vh"]], extra[["vv", "vh"]]], "timestep").sortby("timestep")
    cube = moving.assign({name: cube[name] for name in static}).assign_attrs(cube.attrs)
    pairs = []
    for orbit in (46, 68):
        times = [
            t for t, o in zip(cube.timestep.values, cube.relative_orbit.values, strict=True) if o == orbit
        ]
        pairs += [(a, b, orbit) for a, b in pairwise(times)]
    rng = np.random.default_rng(5)
    coherence = rng.uniform(0.2, 0.9, (len(pairs), size, size)).astype(np.float32)
    coherence[:, :, -20:] = np.nan
    labels = [f"{str(a)[:10]}_{str(b)[:10]}".replace("-", "") for a, b, _ in pairs]
    incidence = np.stack([np.full((size, size), 36.0), np.full((size, size), 41.0)]).astype(np.float32)
    layover = np.zeros_like(incidence)
    layover[0, 10, 20:24] = [1, 2, 3, np.nan]
    return cube.assign(
        coherence=(("timepair", "y", "x"), coherence),
        local_incidence_deg=(("track", "y", "x"), incidence),
        layover_shadow=(("track", "y", "x"), layover),
    ).assign_coords(
        timepair=np.array(labels, dtype=object),
        timepair_start=("timepair", np.array([a for a, _, _ in pairs])),
        timepair_end=("timepair", np.array([b for _, b, _ in pairs])),
        timepair_relative_orbit=("timepair", np.array([o for _, _, o in pairs])),
        track=np.array([46, 68]),
    )


@pytest.fixture(scope="module")
def cube():
    return rich_cube()


def everything(cube, inputs, selection: Selection | None = None):
    read = CubeChannels(cube, inputs, selection or select(cube, inputs)).read(whole((SIZE, SIZE)))
    assert len(read) == len(inputs.channels) == len(set(inputs.channels))
    return dict(zip(inputs.channels, read, strict=True))


def logs(cube, name, passes):
    values = np.stack([cube[name].values[p.index].astype(float) for p in passes])
    return np.log(np.where(values > 0, values, np.nan))


# change


def test_change_is_what_the_passes_say(cube):
    chosen = select(cube, EVERYTHING)
    got = everything(cube, EVERYTHING, chosen)
    before, after = logs(cube, "vh", chosen.before), logs(cube, "vh", chosen.after)
    inner = np.s_[50:60, BORDER_PX:40]
    np.testing.assert_allclose(got["vh_log_ratio"][inner], (after.mean(0) - before.mean(0))[inner], atol=1e-5)
    np.testing.assert_allclose(got["vh_log_ratio"], got["vh_after"] - got["vh_before"], atol=1e-5)
    np.testing.assert_allclose(got["vh_before_sd"][inner], before.std(0, ddof=1)[inner], rtol=1e-4)
    variance = (PRIOR_PASSES * SPECKLE_SD**2 + 3 * before.var(0, ddof=1)) / (PRIOR_PASSES + 3)
    error = np.sqrt(variance * (1 / 4 + 1 / 3))
    np.testing.assert_allclose(
        got["vh_z_score"][inner], ((after.mean(0) - before.mean(0)) / error)[inner], rtol=1e-4
    )


def test_each_pixel_counts_its_own_passes(cube):
    inputs = Inputs(backscatter=("vv",), terrain=(), change=("before_sd",))
    chosen = select(cube, inputs)
    holed = cube.copy(deep=True)
    index = [p.index for p in chosen.before]
    holed.vv[index[1:], 30, 30] = np.nan  # one valid pass remains
    holed.vv[index[2:], 31, 31] = 0.0  # two valid passes remain
    got = everything(holed, inputs, chosen)
    assert np.isnan(got["vv_before_sd"][30, 30]) and np.isfinite(got["vv_before"][30, 30])
    two = logs(holed, "vv", chosen.before)[:2, 31, 31]
    assert got["vv_before_sd"][31, 31] == pytest.approx(np.std(two, ddof=1), rel=1e-5)


def test_one_pass_before_has_no_spread_and_a_score_all_the_same(cube):
    inputs = Inputs(before=1, terrain=(), change=("before_sd", "z_score"))
    chosen = select(cube, inputs)
    assert any("standard deviation" in note for note in chosen.notes)
    source = CubeChannels(cube, inputs, chosen)
    statistics = Statistics.of(source, inputs.channels, (whole((SIZE, SIZE)),))
    scaled, valid = statistics.standardise(source.read(whole((SIZE, SIZE))))
    assert valid.sum() == SIZE * (SIZE - BORDER_PX)
    assert (scaled[inputs.channels.index("vv_before_sd")] == 0).all()
    assert scaled[inputs.channels.index("vv_z_score")][valid].std() == pytest.approx(1, abs=0.01)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 5), st.integers(1, 4))
def test_change_does_not_depend_on_the_order_of_the_passes(seed, before, after):
    rng = np.random.default_rng(seed)
    first, second = rng.gamma(4.4, 1 / 4.4, (before, 4, 4)), rng.gamma(4.4, 1 / 4.4, (after, 4, 4))
    first[rng.random(first.shape) < 0.2] = rng.choice([0.0, np.nan, -1.0])
    one, other = moments_of(first), moments_of(rng.permutation(first))
    later = moments_of(second)
    for change in ("log_ratio", "before_sd", "z_score"):
        got = change_of(change, one, later)
        np.testing.assert_allclose(got, change_of(change, other, later), rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(
            np.isfinite(got), one.count >= 2 if change == "before_sd" else one.count >= 1
        )
    floor = SPECKLE_SD * np.sqrt(PRIOR_PASSES / (PRIOR_PASSES + np.maximum(one.count - 1, 0)))
    floor = floor * np.sqrt(1 / np.maximum(one.count, 1) + 1 / after)
    bound = np.abs(change_of("log_ratio", one, later)) / floor
    seen = one.count > 0
    assert (np.abs(change_of("z_score", one, later))[seen] <= bound[seen] * (1 + 1e-5)).all()


def test_the_score_of_speckle_alone_has_the_spread_that_it_should():
    rng = np.random.default_rng(3)
    speckle = rng.gamma(4.4, 1 / 4.4, (5, 300, 300))
    score = change_of("z_score", moments_of(speckle[:3]), moments_of(speckle[3:]))
    assert score.std() == pytest.approx(1.0, abs=0.06)
    assert pytest.approx(np.sqrt(polygamma(1, 4.4)) * 10 / np.log(10), abs=0.01) == 2.19
    with pytest.raises(ModelError, match="no pass"):
        moments_of([])


# terrain and geometry


def test_inputs_of_the_terrain_alone_are_scored_on_the_pixels_of_the_passes(cube):
    inputs = Inputs(backscatter=(), terrain=("dem",))
    chosen = select(cube, inputs)
    assert chosen.track == select(cube, Inputs()).track
    assert inputs.channels == ("dem",) and "vv" not in inputs.variables
    got = everything(cube, inputs, chosen)
    np.testing.assert_array_equal(
        np.isfinite(got["dem"]), np.isfinite(everything(cube, Inputs())["vv_before"])
    )
    with pytest.raises(ModelError, match="no backscatter"):
        select(cube.drop_vars(["vv", "vh"]), inputs)


def test_aspect_in_degrees_is_as_published_and_flat_ground_is_zero(cube):
    flat = cube.copy(deep=True)
    flat.dem_aspect[40, 40] = np.nan
    inputs = Inputs(terrain=("aspect",), aspect="degrees")
    got = everything(flat, inputs)["aspect_deg"]
    assert got[40, 40] == 0
    assert got[41, 41] == cube.dem_aspect.values[41, 41]
    statistics = Statistics.of(
        CubeChannels(flat, inputs, select(flat, inputs)), inputs.channels, (whole((SIZE, SIZE)),)
    )
    assert statistics.mean[inputs.channels.index("aspect_deg")] > 10


@pytest.mark.parametrize(("track", "azimuth"), [(46, 100.5), (68, 259.5)])
def test_aspect_to_the_sensor_is_zero_degrees_where_the_slope_faces_it(cube, track, azimuth):
    facing = cube.copy(deep=True)
    facing.dem_aspect[:] = azimuth
    facing.dem_aspect[:, 30] = azimuth + 90
    got = everything(facing, Inputs(terrain=("aspect",), aspect="to sensor", track=track))
    np.testing.assert_allclose(got["aspect_to_sensor_cos"][:, 40], 1, atol=1e-6)
    np.testing.assert_allclose(got["aspect_to_sensor_sin"][:, 40], 0, atol=1e-4)
    np.testing.assert_allclose(got["aspect_to_sensor_sin"][:, 30], 1, atol=1e-6)


def test_the_azimuth_to_the_sensor_is_that_of_the_simulated_tracks():
    from pipeline.sandbox.earth.parameters import TrackPlan

    for direction in ("ascending", "descending"):
        plan = TrackPlan(relative_orbit=1, direction=direction, before=1, after=1, incidence_deg=35)
        assert azimuth_to_sensor_deg(direction) == plan.to_sensor_deg
    with pytest.raises(ModelError, match="ascending or descending"):
        azimuth_to_sensor_deg("unknown")


def test_an_unknown_direction_is_refused_for_aspect_to_the_sensor(cube):
    with pytest.raises(ModelError, match="'unknown'"):
        select(cube.drop_vars("sat:orbit_state"), Inputs(aspect="to sensor"))


def test_geometry_is_that_of_the_track_and_a_flag_is_not_standardised(cube):
    inputs = Inputs(terrain=(), geometry=("local_incidence", "layover_shadow"))
    got = everything(cube, inputs)
    assert np.nanmax(got["local_incidence"]) == 36
    np.testing.assert_array_equal(got["layover_shadow"][10, 19:24], [0, 1, 1, 1, np.nan])
    assert np.isnan(got["vv_before"][10, 23])
    up = everything(cube, inputs.model_copy(update={"track": 68}))
    assert np.nanmax(up["local_incidence"]) == 41
    source = CubeChannels(cube, inputs, select(cube, inputs))
    statistics = Statistics.of(source, inputs.channels, (whole((SIZE, SIZE)),))
    flag = inputs.channels.index("layover_shadow")
    assert (statistics.mean[flag], statistics.sd[flag]) == (0, 1)
    with pytest.raises(ModelError, match=r"geometry of track 46 .*\b68\b"):
        select(cube.isel(track=[1]), Inputs(track=46, geometry=("local_incidence",)))
    with pytest.raises(ModelError, match="local_incidence_deg"):
        select(cube.drop_vars("local_incidence_deg"), Inputs(geometry=("local_incidence",)))


def test_the_best_track_is_taken_among_those_that_serve(cube):
    chosen = select(cube.isel(track=[1]), Inputs(geometry=("local_incidence",)))
    assert chosen.track == "track 68 (ascending)"
    assert any("geometry of track 46" in note for note in chosen.notes)


# coherence


def test_coherence_is_the_mean_over_pairs_of_its_place(cube):
    chosen = select(cube, EVERYTHING)
    view = chosen.views[0]
    assert [pair.place for pair in view.pairs] == ["before"] * 3 + ["across"] + ["after"] * 2
    got = everything(cube, EVERYTHING, chosen)
    raw = {
        place: np.mean([cube.coherence.values[p.index] for p in view.pairs if p.place == place], axis=0)
        for place in ("before", "across", "after")
    }
    inner = np.s_[20:60, BORDER_PX : SIZE - 20]
    for place, values in raw.items():
        np.testing.assert_allclose(got[f"coherence_{place}"][inner], values[inner], rtol=1e-5)
    np.testing.assert_allclose(
        got["coherence_loss"][inner], (raw["before"] - raw["across"])[inner], atol=1e-6
    )
    np.testing.assert_allclose(
        got["coherence_recovery"][inner], (raw["after"] - raw["across"])[inner], atol=1e-6
    )


def test_a_pixel_without_coherence_stays_valid_and_is_noted(cube):
    inputs = Inputs(terrain=(), coherence=("loss",))
    chosen = select(cube, inputs)
    assert any("of the sampled pixels" in note for note in chosen.notes)
    source = CubeChannels(cube, inputs, chosen)
    read = source.read(whole((SIZE, SIZE)))
    loss = inputs.channels.index("coherence_loss")
    assert np.isnan(read[loss, :, -20:]).all() and np.isfinite(read[:loss, :, -20:]).all()
    statistics = Statistics.of(source, inputs.channels, (whole((SIZE, SIZE)),))
    known = read[loss][np.isfinite(read[loss])].astype(float)
    assert statistics.mean[loss] == pytest.approx(known.mean(), abs=1e-6)
    assert statistics.sd[loss] == pytest.approx(known.std(), rel=1e-5)
    assert statistics.pixels == SIZE * (SIZE - BORDER_PX)
    scaled, valid = statistics.standardise(read)
    assert valid[:, BORDER_PX:].all() and not valid[:, :BORDER_PX].any()
    assert (scaled[loss, :, -20:] == 0).all() and (scaled[0, :, -20:] != 0).all()
    assert np.isfinite(scaled).all()


def test_coherence_alone_is_not_optional(cube):
    inputs = Inputs(backscatter=(), terrain=(), coherence=("across",))
    assert not may_lack(inputs.channels).any()
    assert np.isnan(everything(cube, inputs)["coherence_across"][:, -20:]).all()


def test_an_early_map_knows_no_later_pair(cube):
    early = Inputs(after=1, coherence=("loss",))
    assert {pair.place for pair in select(cube, early).views[0].pairs} == {"before", "across"}
    with pytest.raises(ModelError, match="pair after"):
        select(cube, Inputs(after=1, coherence=("recovery",)))
    full = select(cube, Inputs(coherence=("recovery",)))
    with pytest.raises(ModelError, match="pair after"):
        CubeChannels(cube, Inputs(coherence=("recovery",)), limit_passes(full, None, 1))


def test_a_cube_without_the_pairs_is_refused_by_name(cube):
    with pytest.raises(ModelError, match="lacks coherence"):
        select(cube.drop_dims("timepair"), Inputs(coherence=("before",)))
    across = [i for i, p in enumerate(cube.timepair_relative_orbit.values) if p == 46 and i != 3]
    with pytest.raises(ModelError, match=r"track 46 .*across"):
        select(cube.isel(timepair=across), Inputs(track=46, coherence=("loss",)))
    backends = np.array(["isce2", "pygmtsar"] * 5, dtype=object)[: cube.sizes["timepair"]]
    mixed = cube.assign_coords(timepair_backend=("timepair", backends))
    with pytest.raises(ModelError, match="isce2, pygmtsar"):
        select(mixed, Inputs(coherence=("before",)))


def test_pairs_of_a_published_cube_are_known_by_their_days(cube, tmp_path):
    orbits = cube.timepair_relative_orbit.values
    labels = [
        str(v) if orbit == 46 else "20180801_20180813"
        for v, orbit in zip(cube.timepair.values, orbits, strict=True)
    ]
    bare = cube.drop_vars(["timepair_start", "timepair_end", "timepair_relative_orbit", "track"])
    bare = bare.assign_coords(timepair=np.array(labels, dtype=object))
    bare = bare.rename({"coherence": "topophase.cor_1"}).drop_vars(["local_incidence_deg", "layover_shadow"])
    opened, _ = load(str(write_published(bare, tmp_path / "published.zarr")))
    span = EventSpan(start=f"{EVENT}Z", end=f"{EVENT}Z")
    inputs = Inputs(coherence=("before", "loss", "recovery"), change=("log_ratio",))
    chosen = select(opened, inputs, span)
    expected = select(cube, inputs.model_copy(update={"track": 46}))
    assert chosen.track == "descending passes"
    # this cube has no pass on the days of the other pairs
    assert [p.label for p in chosen.views[0].pairs] == [p.label for p in expected.views[0].pairs]
    got, wanted = everything(opened, inputs, chosen), everything(cube, inputs, expected)
    for name in inputs.channels:
        np.testing.assert_allclose(got[name], wanted[name], rtol=1e-5, atol=1e-6, err_msg=name)


# two directions


def test_both_directions_make_two_views_and_terrain_once(cube):
    inputs = EVERYTHING.model_copy(update={"track": "both", "coherence": ("across",)})
    chosen = select(cube, inputs)
    assert chosen.track == "track 46 (descending) and track 68 (ascending)"
    assert chosen.before == chosen.views[0].before
    assert chosen.days_since_event == pytest.approx(24 + 2 / 24)
    got = everything(cube, inputs, chosen)
    assert sum(name.startswith("dem") for name in inputs.channels) == 1
    for direction, track in (("ascending", 68), ("descending", 46)):
        one = everything(cube, inputs.model_copy(update={"track": track}))
        for name, values in one.items():
            double = got[name] if name in got else got[f"{name}@{direction}"]
            both = np.isfinite(got["vv_before@ascending"])
            np.testing.assert_array_equal(double[both], values[both], err_msg=name)


def test_a_pixel_is_valid_where_every_view_is(cube):
    holed = cube.copy(deep=True)
    holed.vv[np.flatnonzero(cube.relative_orbit.values == 68), 33, 33] = np.nan
    inputs = Inputs(track="both", terrain=())
    assert all(np.isnan(values[33, 33]) for values in everything(holed, inputs).values())
    assert np.isfinite(everything(holed, Inputs(terrain=()))["vv_before"][33, 33])
    with pytest.raises(ModelError, match="ascending"):
        select(cube.isel(timestep=np.flatnonzero(cube.relative_orbit.values == 46)), inputs)
    with pytest.raises(ModelError, match="no ascending view"):
        CubeChannels(cube, inputs, select(cube, Inputs()))


# passes


def test_the_dropped_newest_pass_is_that_of_the_published_code(cube):
    all_of_them = select(cube, Inputs(track=46)).before
    times = [p.index for p in all_of_them]
    for n in range(1, len(times)):
        chosen = select(cube, Inputs(track=46, before=n, newest_before="dropped"))
        assert [p.index for p in chosen.before] == [times[i] for i in range(-1 - n, -1)]
    assert any("dropped" in note for note in chosen.notes)
    # where a track has no more passes than are taken, the published code takes all of them
    for n in (len(times), len(times) + 1, None):
        chosen = select(cube, Inputs(track=46, before=n, newest_before="dropped"))
        assert [p.index for p in chosen.before] == times
    lone = cube.isel(timestep=times[-1:] + [p.index for p in select(cube, Inputs(track=46)).after])
    assert len(select(lone, Inputs(track=46, before=1, newest_before="dropped")).before) == 1
    # a pass without data counts, as in the published code
    hollow = cube.copy(deep=True)
    hollow.vv[times[-1]] = np.nan
    chosen = select(hollow, Inputs(track=46, before=1, newest_before="dropped"))
    assert [p.index for p in chosen.before] == times[-2:-1]
    with pytest.raises(ModelError, match="dropped"):
        hollow.vv[times[-2]] = np.nan
        select(hollow, Inputs(track=46, before=1, newest_before="dropped"))


def test_dates_take_the_pass_two_hours_after_the_event_for_one_before(cube):
    right, wrong = select(cube, Inputs(track=46)), select(cube, Inputs(track=46, compare="dates"))
    assert wrong.before[-1] == right.after[0]
    assert wrong.after == right.after[1:]
    sliced = cube.sel(timestep=slice(None, "20180905"))
    sliced = sliced.isel(timestep=np.flatnonzero(sliced.relative_orbit.values == 46))
    assert [p.index for p in wrong.before] == [
        int(np.flatnonzero(cube.timestep.values == t)[0]) for t in sliced.timestep.values
    ]
    assert any("compared by dates" in note for note in wrong.notes)


def test_narrowed_keeps_the_newest_before_and_the_first_after(cube):
    for track in (46, "both"):
        chosen = select(cube, Inputs(track=track))
        for before, after in ((1, 1), (2, 3), (None, 2), (9, None)):
            got = limit_passes(chosen, before, after)
            assert got.before == got.views[0].before
            for view, old in zip(got.views, chosen.views, strict=True):
                assert view.before == (old.before[-before:] if before else old.before)
                assert view.after == old.after[:after]
    direct = select(cube, Inputs(track=46, before=2, after=1))
    assert limit_passes(select(cube, Inputs(track=46)), 2, 1).views == direct.views
    with pytest.raises(ModelError, match="At least one"):
        limit_passes(direct, 0, 1)


def test_an_older_document_without_views_still_reads(cube):
    chosen = select(cube, Inputs())
    data = chosen.model_dump(mode="json")
    del data["views"]
    old = Selection.model_validate(data)
    assert old.days_since_event == chosen.days_since_event
    new = everything(cube, Inputs(), chosen)
    for name, values in everything(cube, Inputs(), old).items():
        np.testing.assert_array_equal(values, new[name])


def test_windows_and_the_scratch_copy_give_every_channel_of_the_whole(cube, tmp_path):
    inputs = EVERYTHING.model_copy(update={"track": "both", "coherence": ("across",)})
    source = CubeChannels(cube, inputs, select(cube, inputs))
    every = source.read(whole(source.shape))
    scratch = ScratchChannels(source, len(inputs.channels), tmp_path, tile_px=24)
    box = Box(top=7, left=3, height=31, width=50)
    np.testing.assert_array_equal(source.read(box), every[:, 7:38, 3:53])
    np.testing.assert_array_equal(scratch.read(box), every[:, 7:38, 3:53])
    np.testing.assert_array_equal(
        scratch.usable(), np.isfinite(every[~may_lack(inputs.channels)]).all(axis=0)
    )


def test_statistics_see_counted_pixels_alone(cube):
    inputs = Inputs(coherence=("before",))
    source = CubeChannels(cube, inputs, select(cube, inputs))
    counted = np.zeros((SIZE, SIZE), dtype=bool)
    counted[:, 20:40] = True
    areas = (whole((SIZE, SIZE)),)
    found = Statistics.of(source, inputs.channels, areas, counted)
    assert found == Statistics.of(source, inputs.channels, (Box(top=0, left=20, height=SIZE, width=20),))
    with pytest.raises(ModelError, match="No training pixel"):
        Statistics.of(source, inputs.channels, areas, np.zeros_like(counted))


@pytest.mark.parametrize("track", ["best", "both"])
def test_every_combination_of_inputs_reads_as_many_channels_as_it_names(cube, track):
    parts = {"change": ("log_ratio",), "geometry": ("local_incidence",), "coherence": ("across",)}
    for count in range(4):
        for names in combinations(parts, count):
            everything(cube, Inputs.model_validate({"track": track, **{name: parts[name] for name in names}}))
