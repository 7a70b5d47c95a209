"""Maps: rasters, polygons, report, picture, and the log-ratio that is a baseline."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import rasterio
import xarray as xr
from click.testing import CliRunner
from scipy.special import logit
from shapely.geometry import box as rectangle

from model import api
from model.bundle.bundle import read_document
from model.cli.bundles import map_landslides
from model.cli.bundles import train as train_command
from model.inputs.change import local_mean
from model.inputs.cubes import Georeference
from model.inputs.inputs import Inputs
from model.inputs.pass_subsets import limit_passes
from model.inputs.selection import select
from model.inputs.windows import Box
from model.maps.log_ratio import LogRatioPlan, log_ratio_rows, nan_median
from model.maps.map_picture import Thumbnail
from model.maps.map_plan import MapPlan
from model.maps.map_rasters import COLUMNS, RowRaster, landslide_polygons
from model.network.training_plan import InferencePlan, TrainingPlan
from model.scores.scores import Ranking
from pipeline.errors import ModelError
from tests.small_cube import BORDER_PX, small_cube, write
from tests.unit.model.bundle.test_markdown import HOSTILE, ON_ONE_LINE, shown, structure

PLAN = TrainingPlan(chip_px=64, stride_px=32, steps=30, batch=4, validate_every=10, device="cpu")
WINDOWS = InferencePlan(window_px=96, overlap_px=40, margin_px=8)
SMALL_WINDOWS = MapPlan(windows=WINDOWS)
EPSG = 32654


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """cube.zarr, the bundle trained on it, and the map of it"""
    root = tmp_path_factory.mktemp("chain")
    write(small_cube(256), root / "cube.zarr")
    api.train_bundle(str(root / "cube.zarr"), root / "bundle", plan=PLAN)
    api.map_cube(root / "bundle", str(root / "cube.zarr"), root / "map", plan=SMALL_WINDOWS)
    return root


def read(path):
    with rasterio.open(path) as file:
        return file.read(1), file.profile, file.tags(), file.tags(ns="IMAGE_STRUCTURE")


def test_rasters_are_cogs_on_the_cubes_grid_with_no_data_kept(folder):
    cube = small_cube(256)
    probability, profile, tags, structure = read(folder / "map" / "probability.tif")
    classes, class_profile, _, _ = read(folder / "map" / "landslides.tif")
    assert structure["LAYOUT"] == "COG"
    for found in (profile, class_profile):
        assert found["crs"].to_epsg() == EPSG
        assert tuple(found["transform"])[:6] == (10.0, 0.0, 500_000.0, 0.0, -10.0, 4_700_000.0)
        assert (found["height"], found["width"]) == (256, 256)
    assert np.isnan(profile["nodata"])
    assert class_profile["nodata"] == 255
    assert np.isnan(probability[:, :BORDER_PX]).all()
    assert np.isfinite(probability[:, BORDER_PX:]).all()  # every valid pixel, edges too
    assert ((probability[:, BORDER_PX:] >= 0) & (probability[:, BORDER_PX:] <= 1)).all()
    report = json.loads((folder / "map" / "report.json").read_text())
    threshold = json.loads((folder / "bundle" / "bundle.json").read_text())["validation"]["threshold"]
    expected = np.where(np.isnan(probability), 255, probability >= threshold)
    np.testing.assert_array_equal(classes, expected)
    assert tags["SIMULATED"].startswith("yes")
    assert tags["MODEL"] == report["map"]["model"]
    assert all(
        str(name) in tags["PASSES_BEFORE"] + tags["PASSES_AFTER"] for name in cube.pass_id.values[[0, 5, 6]]
    )


def test_the_score_is_of_the_test_area_alone_and_beats_chance(folder):
    cube = small_cube(256)
    report = json.loads((folder / "map" / "report.json").read_text())
    document = json.loads((folder / "bundle" / "bundle.json").read_text())
    probability, *_ = read(folder / "map" / "probability.tif")
    (area,) = document["split"]["test"]
    here = np.s_[area["top"] : area["top"] + area["height"], area["left"] : area["left"] + area["width"]]
    labels = cube.landslides.values[here]
    counted = np.isfinite(probability[here]) & np.isfinite(labels)
    exact = Ranking.of(probability[here][counted], labels[counted] > 0)
    assert report["map"]["auprc"] == pytest.approx(exact.auprc, abs=1e-3)
    assert report["scores"]["pixels"] == exact.pixels
    assert report["map"]["auprc"] > 3 * report["map"]["prevalence"]
    assert "test area" in report["map"]["scored_on"]
    words = (folder / "map" / "report.md").read_text()
    assert "SIMULATED" in words
    assert "prevalence" in words


def test_a_map_of_another_scene_is_scored_on_all_of_it(folder, tmp_path):
    other = small_cube(192, seed=5).assign_attrs(area="elsewhere", simulated=False)
    path = write(other, tmp_path / "other.zarr")
    with pytest.raises(ModelError, match="elsewhere") as error:
        api.map_cube(folder / "bundle", str(path), tmp_path / "map", plan=SMALL_WINDOWS)
    assert "--allow-simulated-model" in error.value.remedy
    assert not (tmp_path / "map").exists()
    record = api.map_cube(
        folder / "bundle", str(path), tmp_path / "map", plan=MapPlan(windows=WINDOWS, allow_simulated=True)
    )
    assert "whole scene" in record.scored_on
    assert record.simulated  # the model is, whatever the cube
    report = json.loads(record.report.read_text())
    assert any("SIMULATED" in remark for remark in report["remarks"])
    assert report["scores"]["pixels"] == 192 * (192 - BORDER_PX - 8)
    assert record.picture.stat().st_size > 10_000


def test_a_later_event_on_the_same_ground_is_another_scene(folder, tmp_path):
    later = small_cube(256).assign_attrs(area="renamed")
    shift = np.timedelta64(400, "D")
    later = later.assign_coords(
        timestep=later.timestep + shift,
        pass_id=("timestep", [f"later_{name}" for name in later.pass_id.values]),
    ).assign_attrs(event=later.event.replace("2018-09-05", "2019-10-10"))
    record = api.map_cube(
        folder / "bundle", str(write(later, tmp_path / "later.zarr")), tmp_path / "map", plan=SMALL_WINDOWS
    )
    assert "whole scene" in record.scored_on
    again = small_cube(256).assign_attrs(area="renamed")
    path = write(again, tmp_path / "again.zarr")  # another cube of the scene that was trained on
    record = api.map_cube(folder / "bundle", str(path), tmp_path / "again", plan=SMALL_WINDOWS)
    assert "test area" in record.scored_on


def test_with_its_own_statistics_the_level_of_a_scene_does_not_matter(folder, tmp_path):
    other = small_cube(192, seed=5).assign_attrs(area="elsewhere")
    brighter = other.assign({name: 4 * other[name] for name in ("vv", "vh")})
    maps = {}
    for name, cube in (("other", other), ("brighter", brighter)):
        path = write(cube, tmp_path / f"{name}.zarr")
        for standardise in ("auto", "training"):
            out = tmp_path / f"{name}-{standardise}"
            record = api.map_cube(
                folder / "bundle", str(path), out, plan=MapPlan(windows=WINDOWS, standardise=standardise)
            )
            maps[name, standardise] = read(out / "probability.tif")[0]
            said = json.loads(record.report.read_text())["remarks"]
            assert any("statistics of this scene" in remark for remark in said) == (standardise == "auto")
    np.testing.assert_allclose(maps["other", "auto"], maps["brighter", "auto"], atol=2e-3)
    assert np.nanmax(np.abs(maps["other", "training"] - maps["brighter", "training"])) > 0.05
    own = json.loads((folder / "map" / "report.json").read_text())["remarks"]
    assert not any(
        "statistics of this scene" in remark for remark in own
    )  # its own model's, as it was trained


def test_a_map_of_fewer_passes_has_the_calibration_for_their_number(folder, tmp_path):
    document = read_document(folder / "bundle")
    (first,) = document.by_passes
    nine = document.selection.model_copy(update={"after": 9 * document.selection.after[:1]})
    every, lone = document.calibrated_for(document.selection), limit_passes(document.selection, None, 1)
    assert (document.calibrated_for(lone), every.after, document.calibrated_for(nine).after) == (first, 2, 2)
    assert every.calibration == document.calibration and every.threshold == document.threshold
    assert first.calibration != every.calibration
    cube = small_cube(256)
    first_night = cube.isel(timestep=~(cube.timestep.values > np.datetime64("2018-09-10")))
    path = write(first_night, tmp_path / "cube.zarr")
    made = {}
    for name in ("as it is", "of all passes"):
        bundle = tmp_path / name
        shutil.copytree(folder / "bundle", bundle)
        if name == "of all passes":
            plain = document.model_copy(update={"by_passes": ()})
            plain = plain.model_copy(update={"digest": plain.identity})
            (bundle / "bundle.json").write_text(plain.model_dump_json())
        record = api.map_cube(bundle, str(path), tmp_path / f"{name} map", plan=SMALL_WINDOWS)
        said = json.loads(record.report.read_text())["remarks"]
        assert any("Calibration" in remark for remark in said) == (name == "of all passes")
        made[name] = read(tmp_path / f"{name} map" / "probability.tif")[0].astype(np.float64)

    def undone(probability, scale):
        return (logit(probability) - scale.intercept) / scale.slope

    seen = np.isfinite(made["as it is"]) & (np.abs(made["as it is"] - 0.5) < 0.45)
    np.testing.assert_allclose(
        undone(made["as it is"][seen], first.calibration),
        undone(made["of all passes"][seen], every.calibration),
        atol=0.2,
    )


def test_a_cube_without_labels_is_mapped_and_not_scored(folder, tmp_path):
    path = write(small_cube(128).drop_vars("landslides"), tmp_path / "cube.zarr")
    record = api.map_cube(folder / "bundle", str(path), tmp_path / "map", plan=SMALL_WINDOWS)
    assert (record.auprc, record.prevalence) == (None, None)
    assert "Not scored" in (record.path / "report.md").read_text()


def test_every_map_names_its_passes_and_its_expected_score(folder, tmp_path):
    cube = small_cube(256, seed=3)
    later = cube.timestep.values > np.datetime64("2018-09-10")
    first_night = cube.isel(timestep=~later)
    document = json.loads((folder / "bundle" / "bundle.json").read_text())
    for number, dataset in ((2, cube), (1, first_night)):
        path = write(dataset, tmp_path / f"{number}.zarr")
        record = api.map_cube(folder / "bundle", str(path), tmp_path / str(number), plan=SMALL_WINDOWS)
        (row,) = [r for r in document["expected"] if r["after"] == number]
        assert record.passes_after == number
        assert record.expected is not None and record.expected.model_dump() == row
        words = (tmp_path / str(number) / "report.md").read_text()
        assert f"AUPRC {row['auprc']:.3f} at a prevalence of {row['prevalence']:.4f}" in words
        assert f"3 passes before and {number} after the event" in words
        frame = gpd.read_file(tmp_path / str(number) / "landslides.gpkg", layer="landslides")
        assert frame.expected_auprc.iloc[0] == pytest.approx(row["auprc"])
        assert (frame.passes_after == number).all()
        *_, tags, _ = read(tmp_path / str(number) / "probability.tif")
        assert f"{number} after" in tags["EXPECTED"]
        own = read_document(folder / "bundle")
        wanted = own.calibrated_for(limit_passes(own.selection, None, number))
        assert wanted.after == number
        probability, classes = (
            read(tmp_path / str(number) / f"{name}.tif")[0] for name in ("probability", "landslides")
        )
        known = np.isfinite(probability)
        np.testing.assert_array_equal(classes[known], probability[known] >= np.float32(wanted.threshold))
        assert not any("was trained on 3 passes" in remark for remark in remarks(tmp_path / str(number)))
    fewer = cube.isel(timestep=cube.timestep.values > np.datetime64("2018-08-10"))
    path = write(fewer, tmp_path / "fewer.zarr")
    record = api.map_cube(folder / "bundle", str(path), tmp_path / "fewer", plan=SMALL_WINDOWS)
    assert record.expected is None and "2 passes before" in record.expected_words
    assert any("3 passes before" in r and "1 or 2 after" in r for r in remarks(tmp_path / "fewer"))


def remarks(folder: Path) -> list[str]:
    return json.loads((folder / "report.json").read_text())["remarks"]


def test_the_validity_raster_gives_the_reason_for_no_data(folder, tmp_path):
    cube = small_cube(192, seed=4)
    vv, dem = cube.vv.values.copy(), cube.dem_slope_radians.values.copy()
    before = cube.timestep.values < np.datetime64("2018-09-05T18:07:59")
    vv[~before, 20:30, 20:30] = np.nan
    vv[before, 40:50, 40:50] = 0.0
    dem[60:70, 60:70] = np.nan
    unseen = np.zeros((1, 192, 192), np.uint8)
    unseen[0, 80:90, 80:90] = 1
    spoilt = cube.assign(
        vv=(cube.vv.dims, vv),
        dem_slope_radians=(("y", "x"), dem),
        layover_shadow=(("track", "y", "x"), unseen),
    ).assign_coords(track=[46])
    path = write(spoilt, tmp_path / "cube.zarr")
    record = api.map_cube(folder / "bundle", str(path), tmp_path / "map", plan=SMALL_WINDOWS)
    flags, profile, *_ = read(tmp_path / "map" / "validity.tif")
    probability, *_ = read(tmp_path / "map" / "probability.tif")
    assert (flags[20:30, 20:30] == 2).all() and (flags[40:50, 40:50] == 1).all()
    assert (flags[60:70, 60:70] == 4).all() and (flags[80:90, 80:90] == 8).all()
    assert (flags[:, :BORDER_PX] == 3).all()
    assert np.isfinite(probability[80:90, 80:90]).all()
    known = np.isfinite(probability)
    assert not (flags[known] & ~np.uint8(8)).any() and flags[~known].all()
    assert profile["dtype"] == "uint8"
    assert record.flagged_share["no terrain"] == pytest.approx(100 / 192**2)
    assert "layover" in (tmp_path / "map" / "report.md").read_text()


def test_the_minimum_mapping_unit_is_an_area(folder, tmp_path):
    def mapped(area: float) -> gpd.GeoDataFrame:
        plan, out = MapPlan(windows=WINDOWS, smallest_m2=area), tmp_path / f"{area:.0f}"
        record = api.map_cube(folder / "bundle", str(folder / "cube.zarr"), out, plan=plan)
        frame = gpd.read_file(out / "landslides.gpkg", layer="landslides")
        assert frame.area_m2.min() >= area and record.polygons == len(frame) > 0
        return frame

    every = mapped(400.0)
    larger = float(every.area_m2.median()) + 100.0
    assert len(mapped(larger)) == (every.area_m2 >= larger).sum() < len(every)


def test_polygons_have_the_attributes_that_a_reviewer_needs(folder):
    frame = gpd.read_file(folder / "map" / "landslides.gpkg", layer="landslides")
    classes, *_ = read(folder / "map" / "landslides.tif")
    assert len(frame) > 10
    assert set(COLUMNS) <= set(frame.columns)
    assert frame.crs.to_epsg() == EPSG
    assert (frame.review == "unreviewed").all()
    assert frame.simulated.all()
    assert (frame.pixels >= 4).all()
    assert (frame.max_probability >= frame.mean_probability).all()
    np.testing.assert_allclose(frame.geometry.area, frame.area_m2)
    assert frame.pixels.sum() <= (classes == 1).sum()
    assert frame.days_since_event.iloc[0] == pytest.approx(12 + 2 / 24, abs=1e-3)
    assert frame.geometry.is_valid.all()


def test_small_and_diagonal_pixels_make_no_polygon(tmp_path):
    reference = Georeference(crs_wkt=rasterio.CRS.from_epsg(EPSG).to_wkt(), transform=(10, 0, 0, 0, -10, 100))
    classes = np.zeros((10, 10), np.uint8)
    classes[0, 0] = classes[1, 1] = classes[2, 2] = classes[3, 3] = 1  # four pixels that touch at corners
    classes[5:7, 5:8] = 1
    classes[8:, :4] = 255
    probability = np.linspace(0, 1, 100, dtype=np.float32).reshape(10, 10)
    rest = {
        name: 0
        for name in COLUMNS
        if name not in ("id", "mean_probability", "max_probability", "area_m2", "pixels")
    }
    with RowRaster(tmp_path / "c.tif", (10, 10), reference, "uint8") as one:
        one.write(Box(top=0, left=0, height=10, width=10), classes)
    with RowRaster(tmp_path / "p.tif", (10, 10), reference, "float32") as two:
        two.write(Box(top=0, left=0, height=10, width=10), probability)
    frame = landslide_polygons(tmp_path / "c.tif", tmp_path / "p.tif", reference, 4, rest)
    assert len(frame) == 1
    assert frame.geometry[0].equals(rectangle(50, 30, 80, 50))
    assert frame.mean_probability[0] == pytest.approx(probability[5:7, 5:8].mean())
    assert frame.max_probability[0] == probability[6, 7]
    none = landslide_polygons(tmp_path / "c.tif", tmp_path / "p.tif", reference, 99, rest)
    assert len(none) == 0
    assert set(COLUMNS) <= set(none.columns)


def log_ratio(cube: xr.Dataset, plan: LogRatioPlan) -> dict[str, np.ndarray]:
    """score and change of the baseline that compares medians"""
    inputs = Inputs(backscatter=("vv",), terrain=())
    parts = list(log_ratio_rows(cube, select(cube, inputs), plan))
    return {name: np.concatenate([getattr(part, name) for part in parts]) for name in ("score", "change_db")}


def test_log_ratio_is_the_change_of_medians_on_slopes_and_keeps_no_data():
    cube = small_cube(256)
    found = log_ratio(cube, LogRatioPlan())
    mine = cube.relative_orbit.values == 46
    power = cube.vv.values[mine][:, :, BORDER_PX:].astype(float)
    decibels = 10 * np.log10(np.where(power > 0, power, np.nan))
    expected = np.nanmedian(decibels[3:], axis=0) - np.nanmedian(decibels[:3], axis=0)
    np.testing.assert_allclose(found["change_db"][:, BORDER_PX:], expected, atol=1e-4)
    assert np.isnan(found["score"][:, :BORDER_PX]).all()
    assert np.isfinite(found["score"][:, BORDER_PX:]).all()
    flat = cube.dem_slope_radians.values < np.deg2rad(5.0)
    flat[:, :BORDER_PX] = False
    assert flat.any()
    assert (found["score"][flat] == 0).all()


def test_an_areas_name_adds_no_markup_to_the_report(tmp_path):
    reports = []
    for number, name in enumerate((HOSTILE, "plain")):
        path = write(small_cube(64).assign_attrs(area=name), tmp_path / f"{number}.zarr")
        api.map_detector(str(path), tmp_path / str(number))
        reports.append((tmp_path / str(number) / "report.md").read_text())
    assert structure(reports[0]) == structure(reports[1])
    assert ON_ONE_LINE in shown(reports[0])


def test_every_product_carries_licence_and_attribution(folder):
    cube = xr.open_zarr(folder / "cube.zarr")
    assert cube.attrs["attribution"] and cube.attrs["license"]
    for path in folder.glob("map/*.tif"):
        with rasterio.open(path) as raster:
            assert raster.tags()["ATTRIBUTION"] == cube.attrs["attribution"]
            assert raster.tags()["LICENSE"] == cube.attrs["license"]
            assert cube.attrs["attribution"] in raster.tags()["TIFFTAG_COPYRIGHT"]
    metadata = pyogrio.read_info(folder / "map" / "landslides.gpkg", layer="landslides")["layer_metadata"]
    assert metadata["ATTRIBUTION"] == cube.attrs["attribution"]
    report = json.loads((folder / "map" / "report.json").read_text())
    assert (report["cube"]["licence"], report["cube"]["attribution"]) == (
        cube.attrs["license"],
        cube.attrs["attribution"],
    )
    item = json.loads((folder / "bundle" / "item.json").read_text())
    assert item["properties"]["slidecube:attribution"] == [cube.attrs["attribution"]]
    texts = [folder / "map" / "report.md", folder / "bundle" / "MODEL_CARD.md"]
    for text in texts:
        for words in (cube.attrs["attribution"], cube.attrs["license"]):
            assert words in text.read_text()


def test_strips_do_not_change_the_log_ratio(monkeypatch):
    cube, plan = small_cube(256), LogRatioPlan(smoothing_px=7)
    one = log_ratio(cube, plan)
    monkeypatch.setattr("model.maps.log_ratio.ROWS_PX", 37)
    monkeypatch.setattr("model.maps.log_ratio.COLUMNS_PX", 50)
    two = log_ratio(cube, plan)
    for name, values in one.items():
        np.testing.assert_allclose(values, two[name], atol=1e-6)


def test_medians_and_means_ignore_missing_values():
    values = np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32)
    values[np.random.default_rng(1).random(values.shape) < 0.4] = np.nan
    values[:, 0, 0] = np.nan
    found = nan_median(values)
    assert np.isnan(found[0, 0])
    known = np.isfinite(values).any(axis=0)
    np.testing.assert_allclose(found[known], np.nanmedian(values[:, known], axis=0), rtol=1e-6)
    assert local_mean(np.array([[1, np.nan, 5]], np.float32), 3)[0, 1] == 3


def test_thumbnails_do_not_depend_on_how_rows_arrive():
    values = np.random.default_rng(0).normal(size=(50, 33))
    values[10:20, 5:9] = np.nan
    one, two = Thumbnail(values.shape, 10), Thumbnail(values.shape, 10)
    one.add(Box(top=0, left=0, height=50, width=33), values)
    for top in range(0, 50, 7):
        part = values[top : top + 7]
        two.add(Box(top=top, left=0, height=len(part), width=33), part)
    assert one.factor == 5
    np.testing.assert_allclose(one.image, two.image)
    np.testing.assert_allclose(one.image[0, 0], values[:5, :5].mean())


def test_the_commands_print_json_and_exit_by_the_kind_of_error(folder, tmp_path):
    runner = CliRunner()
    cube, bundle = str(folder / "cube.zarr"), str(folder / "bundle")
    done = runner.invoke(map_landslides, ["--log-ratio", cube, "--out", str(tmp_path / "a"), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["kind"] == "detector"
    done = runner.invoke(
        train_command,
        [cube, "--out", str(tmp_path / "b"), "--steps", "1", "--chip", "64", "--terrain", "none", "--json"],
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["simulated"] is True
    done = runner.invoke(map_landslides, [str(tmp_path / "b"), cube, "--out", str(tmp_path / "c")])
    assert done.exit_code == 0, done.output
    assert "SIMULATED" in done.stdout
    for wrong in (
        [],
        [bundle, cube, "--log-ratio"],
        [bundle, cube, "--track", "0"],
        [cube, "--standardise", "scene"],
    ):
        assert runner.invoke(map_landslides, wrong).exit_code == 2
    assert runner.invoke(train_command, [cube, "--chip", "50", "--out", str(tmp_path / "d")]).exit_code == 2
    assert (
        runner.invoke(train_command, [cube, "--track", "west", "--out", str(tmp_path / "d")]).exit_code == 2
    )
    refused = runner.invoke(train_command, [cube, "--track", "68", "--out", str(tmp_path / "d")])
    assert refused.exit_code == 7
    assert "No track" in refused.stderr
    lost = runner.invoke(train_command, ["atlantis", "--out", str(tmp_path / "d")])
    assert lost.exit_code == 5
