"""The detector on scenes in which a test planted what happened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from model.detector import detection as found
from model.detector.detection import Detection, Detector, detect
from model.detector.detector_plan import MINIMUM_BEFORE, DetectorPlan
from model.detector.pass_status import CONFIRMED, FIRST, GONE, NO_DATA, NONE, PROVISIONAL
from model.detector.scene_views import every_view, in_order, polarisations_of
from model.inputs.inputs import Inputs
from model.inputs.windows import Box
from model.scores.scores import Ranking
from pipeline.errors import ModelError
from tests.quiet_cube import changed, ellipse, later, quiet_cube
from tests.small_cube import EVENT

SIZE = 128
SLIDE = ellipse(SIZE, 50, 70, 14, 7)
SMALLEST_PX = 12
RNG = np.random.default_rng(1)


def detector(cube: xr.Dataset, plan: DetectorPlan | None = None, **inputs: object) -> Detector:
    polarisations = polarisations_of(cube)
    asked = Inputs.model_validate({"backscatter": polarisations, "terrain": (), **inputs})
    return Detector.of(cube, every_view(cube, asked, None), polarisations, plan)


def run(cube: xr.Dataset, scratch: Path, **inputs: object) -> Detection:
    return detect(detector(cube, **inputs), SMALLEST_PX, scratch)


def with_slide(cube: xr.Dataset, vv_db: float = 6.0, vh_db: float = 0.0) -> xr.Dataset:
    return changed(cube, SLIDE, later(cube), vv_db, vh_db)


def average_precision(score: np.ndarray, truth: np.ndarray) -> float:
    known = np.isfinite(score)
    return Ranking.of(np.asarray(score)[known], truth[known]).auprc


def mapped(detection: Detection) -> np.ndarray:
    return detection.mapped()[detection.objects]


@pytest.mark.parametrize(("vv", "vh"), [(6, 0), (-6, 0), (0, 6), (0, -6), (4, -4)])
def test_a_landslide_in_either_polarisation_and_of_either_sign_is_found(vv, vh, tmp_path):
    detection = run(with_slide(quiet_cube(SIZE), vv, vh), tmp_path)
    assert average_precision(detection.score, SLIDE) > 0.9
    assert mapped(detection)[SLIDE].mean() > 0.7
    assert mapped(detection)[~SLIDE].mean() < 0.02
    assert detection.object_status().status()[detection.objects[50, 70] - 1] == FIRST


def test_where_nothing_happened_little_is_mapped(tmp_path):
    shares = [mapped(run(quiet_cube(SIZE, seed=seed), tmp_path)).mean() for seed in range(4)]
    assert np.mean(shares) < 0.005


def test_rain_over_the_whole_scene_and_a_snow_line_give_no_polygon(tmp_path):
    cube = quiet_cube(SIZE)
    everywhere = np.ones((SIZE, SIZE), dtype=bool)
    quiet = mapped(run(cube, tmp_path))
    rain = run(changed(cube, everywhere, later(cube), 2.5, 1.5), tmp_path)
    np.testing.assert_array_equal(mapped(rain), quiet)  # a step of the whole scene changes nothing at all
    snow = run(changed(cube, cube.dem.values > 300, later(cube), -6.0, -4.0), tmp_path)
    assert mapped(snow).mean() < 0.005
    plain = detect(
        detector(changed(cube, cube.dem.values > 300, later(cube), -6.0, -4.0), DetectorPlan(classes=False)),
        SMALLEST_PX,
        tmp_path,
    )
    assert mapped(plain).mean() > 0.1  # without classes of terrain, the snow is a landslide


def test_a_step_of_a_pass_before_the_event_does_not_hide_a_landslide(tmp_path):
    cube = changed(with_slide(quiet_cube(SIZE)), np.ones((SIZE, SIZE), dtype=bool), [2, 5], 4.0, 4.0)
    assert mapped(run(cube, tmp_path))[SLIDE].mean() > 0.7


def test_water_is_not_searched(tmp_path):
    cube = with_slide(quiet_cube(SIZE).drop_vars(["dem", "dem_slope_radians", "dem_aspect"]))
    lake = ellipse(SIZE, 100, 30, 12, 20)
    dark = changed(cube, lake, range(cube.sizes["timestep"]), -10.0, -13.0)
    wind = changed(dark, lake, later(dark), 6.0, 0.0)
    wind.vv.values[: later(dark)[0] - 3, 100:] = np.nan  # holes in some passes do not make it land
    detection = run(wind, tmp_path)
    inner = ellipse(SIZE, 100, 30, 9, 17)
    assert (detection.score[inner] == 0).all()
    assert ((detection.reasons[inner] & found.WATER) > 0).all()
    assert not mapped(detection)[inner].any()
    assert mapped(detection)[SLIDE].mean() > 0.7


def test_flat_ground_is_not_searched_and_without_a_slope_everything_is(tmp_path):
    cube = with_slide(quiet_cube(SIZE))
    cube["dem_slope_radians"].values[:, 60:80] = np.deg2rad(2.0)
    detection = run(cube, tmp_path)
    assert (detection.score[:, 60:80] == 0).all()
    assert (detection.reasons[:, 60:80] == found.TOO_FLAT).all()
    without = run(cube.drop_vars(["dem", "dem_slope_radians", "dem_aspect"]), tmp_path)
    assert mapped(without)[SLIDE].mean() > 0.7 and not (np.asarray(without.reasons) & found.TOO_FLAT).any()


def test_a_change_counts_less_on_gentle_slopes_and_as_before_on_steep_ones(tmp_path):
    cube = with_slide(quiet_cube(SIZE))
    slope = cube["dem_slope_radians"].values
    slope[:] = np.deg2rad(30.0)
    slope[:, 90:] = np.deg2rad(8.0)
    slope[20:30, 90:] = np.nan
    whole = {weight: detector(cube, DetectorPlan(gentle_weight=weight)) for weight in (1.0, 0.5)}
    alike, weighted = (one.tile(Box(top=0, left=0, height=SIZE, width=SIZE)) for one in whole.values())
    np.testing.assert_array_equal(weighted.score[:, :90], alike.score[:, :90])
    np.testing.assert_array_equal(weighted.score[20:30, 90:], alike.score[20:30, 90:])
    np.testing.assert_allclose(weighted.score[40:, 90:], alike.score[40:, 90:] / 2)
    np.testing.assert_allclose(weighted.by_pass[:, 40:, 90:], alike.by_pass[:, 40:, 90:] / 2)
    # the threshold is that of weighted quiet passes: as much of them lies above it
    assert whole[0.5].statistics.thresholds.landslide < whole[1.0].statistics.thresholds.landslide
    detection = detect(whole[0.5], SMALLEST_PX, tmp_path)
    assert mapped(detection)[SLIDE].mean() > 0.7
    with pytest.raises(ValueError):
        DetectorPlan(gentle_slope_deg=30.0)


def test_layover_and_shadow_are_no_data_where_no_other_track_sees(tmp_path):
    cube = with_slide(quiet_cube(SIZE, tracks=(46, 68)))
    hidden = np.zeros((2, SIZE, SIZE), dtype=np.uint8)
    hidden[0, 40:60] = 1
    hidden[:, 80:90] = 2
    cube = cube.assign(layover_shadow=(("track", "y", "x"), hidden)).assign_coords(track=[46, 68])
    detection = run(cube, tmp_path)
    assert np.isnan(detection.score[80:90]).all()
    assert (detection.reasons[80:90] == found.UNSEEN).all()
    assert np.isfinite(detection.score[40:60]).all()  # the other track sees it
    assert mapped(detection)[SLIDE].mean() > 0.7
    one = run(cube, tmp_path, track=46)
    assert np.isnan(one.score[40:60]).all()


def test_one_polarisation_alone_works(tmp_path):
    for gone, vv, vh in (("vh", 6.0, 0.0), ("vv", 0.0, 6.0)):
        cube = with_slide(quiet_cube(SIZE), vv, vh)
        assert mapped(run(cube.drop_vars(gone), tmp_path))[SLIDE].mean() > 0.7
        cube[gone].values[:] = np.nan  # as a cube has it of which no pass holds it
        assert polarisations_of(cube) == tuple(name for name in ("vv", "vh") if name != gone)
    with pytest.raises(ModelError, match="backscatter"):
        polarisations_of(cube.drop_vars("vh"))


def test_holes_are_no_data_and_say_why(tmp_path):
    cube = with_slide(quiet_cube(SIZE, before=4))
    for name in ("vv", "vh"):
        values = cube[name].values
        values[:, :6] = np.nan
        values[4, 10:16] = 0.0  # the pass after
        values[:4, 20:26] = np.nan
        values[:3, 30:36] = np.nan
        values[:2, 100:106] = np.nan
    detection = run(cube, tmp_path)
    for rows, reason in (
        (slice(0, 6), found.NO_BEFORE | found.NO_AFTER),
        (slice(10, 16), found.NO_AFTER),
        (slice(20, 26), found.NO_BEFORE),
        (slice(30, 36), found.FEW_BEFORE),
    ):
        assert np.isnan(detection.score[rows]).all()
        assert (detection.reasons[rows] == reason).all()
        assert not mapped(detection)[rows].any()
        assert (detection.pixel_status(rows) == NO_DATA).all()
    assert np.isfinite(detection.score[100:106]).all()
    assert (detection.reasons[100:106] == 0).all()


def test_a_result_does_not_depend_on_the_tiles(monkeypatch, tmp_path):
    cube = with_slide(quiet_cube(SIZE, tracks=(46, 68), after=2))
    for name in ("vv", "vh"):
        cube[name].values[0, 30:50, 20:60] = np.nan
    whole = run(cube, tmp_path)
    monkeypatch.setattr(found, "ROWS_PX", 37)
    monkeypatch.setattr(found, "COLUMNS_PX", 50)
    parts = run(cube, tmp_path)
    np.testing.assert_array_equal(whole.score, parts.score)
    np.testing.assert_array_equal(whole.by_pass, parts.by_pass)
    np.testing.assert_array_equal(whole.objects, parts.objects)
    box = Box(top=11, left=40, height=50, width=33)
    np.testing.assert_array_equal(whole.detector.tile(box).score, whole.score[box.slices])


@pytest.mark.parametrize("pixel_m", [10.0, 30.0])
def test_it_works_at_10_and_at_30_m(pixel_m, tmp_path):
    detection = run(with_slide(quiet_cube(SIZE, pixel_m=pixel_m)), tmp_path)
    assert mapped(detection)[SLIDE].mean() > 0.5
    assert average_precision(detection.score, SLIDE) > 0.7


def test_every_track_with_passes_enough_is_used_in_order():
    cube = quiet_cube(64, tracks=(46, 68), before=4, after=2)
    selection = every_view(cube, Inputs(terrain=()), None)
    assert [view.relative_orbit for view in selection.every_view] == [46, 68]
    assert in_order(selection) == ((0, 0), (1, 0), (0, 1), (1, 1))
    first = every_view(cube, Inputs(terrain=(), after=1, before=3), None)
    assert [(len(v.before), len(v.after)) for v in first.every_view] == [(3, 1), (3, 1)]
    few = cube.isel(timestep=np.flatnonzero((cube.relative_orbit != 68) | (np.arange(12) > 3)))
    kept = every_view(few, Inputs(terrain=()), None)
    assert [view.relative_orbit for view in kept.every_view] == [46]
    assert any("track 68" in note for note in kept.notes)
    only = every_view(cube, Inputs(terrain=(), track="ascending"), None)
    assert [view.relative_orbit for view in only.every_view] == [68]
    three = every_view(quiet_cube(64, tracks=(46, 68, 119), before=4), Inputs(terrain=()), None)
    assert [view.relative_orbit for view in three.every_view] == [46, 68, 119]


def test_too_few_passes_are_refused():
    cube = quiet_cube(64, before=MINIMUM_BEFORE - 1)
    with pytest.raises(ModelError, match=f"needs {MINIMUM_BEFORE} passes before.*has {MINIMUM_BEFORE - 1}"):
        every_view(cube, Inputs(terrain=()), None)
    with pytest.raises(ModelError, match="no pass after"):
        every_view(quiet_cube(64, after=0), Inputs(terrain=()), None)


def test_a_scene_without_ground_to_search_is_refused():
    cube = quiet_cube(64)
    cube["dem_slope_radians"].values[:] = 0.0
    with pytest.raises(ModelError, match="searched"):
        detector(cube)


def test_the_status_of_an_object_follows_its_passes(tmp_path):
    quick, lasting = ellipse(SIZE, 30, 30, 10, 8), ellipse(SIZE, 90, 90, 10, 8)
    expected = {1: (FIRST, FIRST), 2: (PROVISIONAL, FIRST), 3: (CONFIRMED, GONE)}
    cube = quiet_cube(SIZE, after=3)
    cube = changed(cube, lasting, later(cube), 7.0, -5.0)
    cube = changed(cube, quick, later(cube)[:1], 9.0, -7.0)
    for passes, (of_lasting, of_quick) in expected.items():
        detection = run(cube, tmp_path, after=passes)
        status = detection.object_status()
        for where, value in (((90, 90), of_lasting), ((30, 30), of_quick)):
            number = detection.objects[where] - 1
            assert number >= 0
            assert status.status()[number] == value
            assert detection.pixel_status(slice(0, SIZE))[where] == value
        assert status.seen[detection.objects[90, 90] - 1] == passes
        assert status.last[detection.objects[30, 30] - 1] == 0
    assert mapped(detection)[90, 90] and not mapped(detection)[30, 30]
    assert detection.pixel_status(slice(0, SIZE))[5, 100] == NONE


def with_seasons(cube: xr.Dataset, amplitude_db: float = 4.0) -> xr.Dataset:
    """The cube with a year's wave whose size differs from place to place, at its height when the event happens."""
    rng = np.random.default_rng(5)
    size = np.kron(rng.normal(size=(SIZE // 8, SIZE // 8)), np.ones((8, 8)))
    years = (cube.timestep.values - EVENT) / np.timedelta64(1, "D") / 365.2425
    wave = np.cos(2 * np.pi * years)[:, None, None] * size * amplitude_db
    return cube.assign({name: cube[name] * (10 ** (wave / 10)).astype(np.float32) for name in ("vv", "vh")})


def test_passes_of_other_seasons_are_left_out_where_years_are_there(tmp_path):
    cube = with_seasons(with_slide(quiet_cube(SIZE, before=33, days=24), 4.0))
    inputs = Inputs(backscatter=("vv", "vh"), terrain=())
    chosen = every_view(cube, inputs, None)
    days = [
        (chosen.after[0].instant - used.instant).total_seconds() / 86400
        for used in chosen.every_view[0].before
    ]
    assert len(days) == 12 and all(min(d % 365.2425, 365.2425 - d % 365.2425) <= 60 for d in days)
    assert any("21 of 33" in note for note in chosen.notes)
    newest = every_view(cube, inputs.model_copy(update={"before": 33}), None)
    assert len(newest.every_view[0].before) == 33 and not any("season" in note for note in newest.notes)
    seasonal, every = (run(cube, tmp_path), run(cube, tmp_path, before=33))
    gained = average_precision(seasonal.score, SLIDE) - average_precision(every.score, SLIDE)
    assert gained > 0.1


def test_every_pass_is_used_where_too_few_are_of_the_season():
    cube = quiet_cube(32, before=20, days=24)
    chosen = every_view(cube, Inputs(backscatter=("vv", "vh"), terrain=()), None)
    assert len(chosen.every_view[0].before) == 20
