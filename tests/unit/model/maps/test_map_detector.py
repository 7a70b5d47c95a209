"""Maps by the training-free detector: products, empty layers, the command, a real landslide."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import xarray as xr
from click.testing import CliRunner

from model import api
from model.cli.bundles import map_landslides
from model.inputs.inputs import Inputs
from model.maps import validity
from model.maps.detector_polygons import COLUMNS
from model.maps.map_plan import DetectorMapPlan
from model.scores.scores import Ranking
from tests.quiet_cube import changed, ellipse, later, quiet_cube
from tests.real_series import ENGA, enga
from tests.small_cube import write

SIZE = 128
SLIDE = ellipse(SIZE, 50, 70, 14, 7)
PRODUCTS = {
    "score.tif", "landslides.tif", "validity.tif", "status.tif", "change_db.tif", "landslides.gpkg", "quicklook.png",
    "report.json", "report.md",
}  # fmt: skip


def read(path: Path) -> tuple[np.ndarray, dict[str, object]]:
    with rasterio.open(path) as file:
        return file.read(1), {**file.profile, "words": file.descriptions[0], "tags": file.tags()}


@pytest.fixture(scope="module")
def event(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cube with one landslide that two passes see, a strip of no data and flat ground; its map."""
    root = tmp_path_factory.mktemp("event")
    cube = quiet_cube(SIZE, after=2)
    cube = changed(cube, SLIDE, later(cube), 7.0, -4.0)
    for name in ("vv", "vh"):
        cube[name].values[:, :, :5] = np.nan
    cube["dem_slope_radians"].values[110:] = 0.0
    write(cube, root / "cube.zarr")
    api.map_detector(str(root / "cube.zarr"), root / "map")
    return root


def test_every_product_is_there_and_they_agree(event):
    folder = event / "map"
    assert {path.name for path in folder.iterdir()} >= PRODUCTS
    score, profile = read(folder / "score.tif")
    classes, of_classes = read(folder / "landslides.tif")
    status, of_status = read(folder / "status.tif")
    flags, _ = read(folder / "validity.tif")
    assert (profile["dtype"], of_classes["dtype"], of_status["dtype"]) == ("float32", "uint8", "uint8")
    assert profile["crs"].to_epsg() == 32654 and profile["transform"].c == 500_000.0
    assert np.isnan(score[:, :5]).all() and np.isfinite(score[:, 5:]).all()
    assert (classes[:, :5] == 255).all() and (status[:, :5] == 255).all()
    assert (flags[:110, :5] == validity.NO_PASS_BEFORE | validity.NO_PASS_AFTER).all()
    assert (score[110:, 5:] == 0).all() and (flags[110:, 5:] == validity.TOO_FLAT).all()
    assert (flags[:110, 5:] == 0).all()
    assert set(np.unique(classes)) == {0, 1, 255}
    assert "2 provisional" in str(of_status["words"])
    frame = gpd.read_file(folder / "landslides.gpkg", layer="landslides")
    assert set(COLUMNS) <= set(frame.columns) and frame.crs.to_epsg() == 32654
    (slide,) = frame[
        frame.geometry.contains(gpd.points_from_xy([500_705], [4_700_000 - 505])[0])
    ].itertuples()
    assert (slide.status, slide.status_words, slide.passes_seen, slide.passes_looked) == (
        2,
        "provisional",
        2,
        2,
    )
    assert slide.first_seen < slide.last_seen == slide.newest_pass
    assert slide.max_score == pytest.approx(score[SLIDE].max())
    assert status[50, 70] == 2 and classes[50, 70] == 1
    kept = frame[frame.status != 4]
    assert kept.area_m2.sum() == pytest.approx(100.0 * (classes == 1).sum())
    report = json.loads((folder / "report.json").read_text())
    assert report["map"]["kind"] == "detector" and report["map"]["model"] is None
    assert report["map"]["polygons"] == len(frame) == sum(report["map"]["statuses"].values())
    assert report["map"]["mapped_km2"] == pytest.approx(kept.area_m2.sum() / 1e6)
    assert report["map"]["threshold"] == pytest.approx(slide.threshold)
    assert set(report["status_values"]) == {"0", "1", "2", "3", "4", "5", "255"}


def test_where_nothing_is_found_the_layer_is_empty_and_whole(tmp_path):
    plan = DetectorMapPlan(smallest_m2=50_000)
    write(quiet_cube(96), tmp_path / "cube.zarr")
    record = api.map_detector(str(tmp_path / "cube.zarr"), tmp_path / "map", plan=plan)
    assert (record.polygons, record.mapped_km2, record.statuses) == (0, 0.0, {})
    frame = gpd.read_file(tmp_path / "map" / "landslides.gpkg", layer="landslides")
    assert len(frame) == 0 and set(COLUMNS) <= set(frame.columns) and frame.crs.to_epsg() == 32654
    assert (read(tmp_path / "map" / "landslides.tif")[0] == 0).all()


def test_what_a_map_could_not_mask_is_said(event, tmp_path):
    def remarks(cube: xr.Dataset, name: str) -> str:
        write(cube, tmp_path / f"{name}.zarr")
        record = api.map_detector(str(tmp_path / f"{name}.zarr"), tmp_path / name)
        assert record.report.with_name("report.md").is_file()
        return " ".join(json.loads(record.report.read_text())["remarks"])

    cube = quiet_cube(64, before=4)
    whole = remarks(cube, "whole")
    assert (
        "slopes are not masked" not in whole and "layover and shadow" in whole and "4 passes before" in whole
    )
    assert "slopes are not masked" in remarks(cube.drop_vars(["dem", "dem_slope_radians"]), "no-slope")
    assert "VV alone" in remarks(cube.drop_vars("vh"), "no-vh")


def test_what_is_counted_within_the_polygons_changes_nothing_of_what_the_map_is_worth(event, tmp_path):
    houses = gpd.GeoDataFrame(geometry=gpd.points_from_xy([500_705], [4_700_000 - 505]), crs=32654)
    houses.to_file(tmp_path / "houses.gpkg", engine="pyogrio")
    plan = DetectorMapPlan(exposure=(tmp_path / "houses.gpkg",))
    api.map_detector(str(event / "cube.zarr"), tmp_path / "map", plan=plan)
    counted, plain = (
        json.loads((root / "report.json").read_text()) for root in (tmp_path / "map", event / "map")
    )
    assert counted["map"]["statements"] == plain["map"]["statements"] and len(plain["map"]["statements"]) > 3


def test_a_map_points_to_tests_only_where_its_settings_were_tested(event, tmp_path):
    api.map_detector(str(event / "cube.zarr"), tmp_path / "map", plan=DetectorMapPlan(threshold=4.0))
    other, tested = (
        " ".join(json.loads((root / "report.json").read_text())["map"]["statements"])
        for root in (tmp_path / "map", event / "map")
    )
    assert "follows from the tests" in tested and "follows from the tests" not in other
    assert "how much of it is landslide is not known" in other


def test_the_command_maps_a_cube_without_a_bundle(event, tmp_path):
    runner, cube = CliRunner(), str(event / "cube.zarr")
    plain = runner.invoke(map_landslides, [cube, "--out", str(tmp_path / "one"), "--json"])
    assert plain.exit_code == 0, plain.output
    alias = runner.invoke(map_landslides, ["--log-ratio", cube, "--out", str(tmp_path / "two"), "--json"])
    assert alias.exit_code == 0, alias.output
    for name in ("score.tif", "landslides.tif", "status.tif"):
        np.testing.assert_array_equal(*(read(tmp_path / folder / name)[0] for folder in ("one", "two")))
    assert json.loads(plain.output)["kind"] == "detector"
    again = runner.invoke(map_landslides, [cube, "--out", str(tmp_path / "one"), "--json"])
    assert json.loads(again.output)["new"] is False
    first = runner.invoke(
        map_landslides, [cube, "--out", str(tmp_path / "three"), "--after", "1", "--smallest-m2", "3000"]
    )
    assert first.exit_code == 0 and " first" in first.output, first.output
    for words in (["--log-ratio", "bundle", cube], [cube, "--standardise", "scene"], [cube, cube, cube]):
        assert runner.invoke(map_landslides, words).exit_code == 2
    few = quiet_cube(64, before=2)
    write(few, tmp_path / "few.zarr")
    refused = runner.invoke(map_landslides, [str(tmp_path / "few.zarr"), "--out", str(tmp_path / "four")])
    assert refused.exit_code == 7 and refused.stderr.count("\n") == 1
    assert not (tmp_path / "four").exists()


@pytest.mark.parametrize("swapped", [False, True], ids=["track 9", "polarisations exchanged"])
def test_a_real_landslide_is_found_after_the_first_pass_without_a_terrain(shared_data, tmp_path, swapped):
    if not (shared_data / ENGA).is_file():
        pytest.skip(f"real recorded data not present beside the checkout: {ENGA}")
    cube = enga(shared_data)
    if swapped:  # on the other track of this landslide VH changes, and VV does not
        cube = cube.assign(vv=cube.vh, vh=cube.vv)
    write(cube, tmp_path / "enga.zarr")
    plan = DetectorMapPlan(inputs=Inputs(before=8, after=1))
    record = api.map_detector(str(tmp_path / "enga.zarr"), tmp_path / "map", plan=plan)
    score, _ = read(tmp_path / "map" / "score.tif")
    exact = Ranking.of(score.ravel(), cube.landslides.values.ravel() > 0).auprc
    assert exact >= 0.70
    assert record.auprc == pytest.approx(exact, abs=1e-3)
    frame = gpd.read_file(tmp_path / "map" / "landslides.gpkg", layer="landslides")
    assert len(frame) >= 1 and (frame.status == 1).all()
    classes, _ = read(tmp_path / "map" / "landslides.tif")
    assert (classes == 1)[cube.landslides.values > 0].mean() > 0.5
    assert cube.landslides.values[classes == 1].mean() > 0.6
