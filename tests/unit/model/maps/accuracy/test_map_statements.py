"""What maps say of their worth: by the tested events, by their own scene, by labels; a threshold by it."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from pydantic import ValidationError
from scipy.ndimage import gaussian_filter

from model import api
from model.bundle import bundle as bundles
from model.bundle.bundle import read_document
from model.bundle.card import model_card
from model.bundle.left_out_evidence import with_left_out
from model.cli.bundles import map_landslides
from model.maps.accuracy.map_statements import percent
from model.maps.map_plan import DetectorMapPlan, MapPlan
from model.network.training_plan import InferencePlan, TrainingPlan
from model.scores.case_evidence import CaseEvidence
from model.scores.event_evidence import EventEvidence
from pipeline.errors import ModelError
from tests.quiet_cube import changed, ellipse, later, quiet_cube
from tests.small_cube import small_cube, write

PLAN = TrainingPlan(chip_px=64, stride_px=32, steps=20, batch=4, validate_every=10, device="cpu")
WINDOWS = InferencePlan(window_px=96, overlap_px=40, margin_px=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """cube.zarr, a bundle trained on it, and `left-out`, the same with the counts of three other events"""
    root = tmp_path_factory.mktemp("worth")
    write(small_cube(256), root / "cube.zarr")
    write(small_cube(128, seed=5).assign_attrs(area="elsewhere"), root / "other.zarr")
    api.train_bundle(str(root / "cube.zarr"), root / "bundle", plan=PLAN)
    document = read_document(root / "bundle")
    weights = (root / "bundle" / "weights.safetensors").read_bytes()
    cases = [case.model_copy(update={"events": tuple(events(case, 3))}) for case in document.evidence]
    bundles.save(with_left_out(document, cases), weights, root / "left-out")
    return root


def events(case: CaseEvidence, count: int):
    """Counts of events that nobody mapped, of log-odds that rise on landslides."""
    for seed in range(count):
        rng = np.random.default_rng([seed, case.after])
        field = gaussian_filter(rng.normal(size=(128, 128)), 3)
        labels = (field > np.quantile(field, 0.95)).astype(np.uint8)
        odds = rng.normal(np.where(labels, 1.5, -3.0 + 0.3 * seed), 1.2)
        probability = (1 / (1 + np.exp(-odds))).astype(np.float32)
        event = case.events[0].event.model_copy(
            update={"cube": f"{seed:064d}", "part": "left-out event", "simulated": seed == 0}
        )
        yield EventEvidence.of(event, [(probability, labels)], 100.0, case.smallest_m2)


def mapped(folder: Path, out: Path, name: str = "left-out", **plan: object):
    record = api.map_cube(
        folder / name, str(folder / "other.zarr"), out, plan=MapPlan(windows=WINDOWS, **plan)
    )
    return record, json.loads(record.report.read_text())


def test_a_bundle_counts_its_test_area_and_says_that_one_event_has_no_range(folder, tmp_path):
    document = read_document(folder / "bundle")
    assert {case.after for case in document.evidence} == {1, 2}
    for case in document.evidence:
        (one,) = case.events
        (expected,) = [row for row in document.expected if row.after == case.after]
        assert (one.event.part, sum(one.pixels)) == ("test area", expected.pixels)
    record, _ = mapped(folder, tmp_path / "map", "bundle")
    assert record.accuracy.part == "test area" and record.accuracy.events == 1
    assert record.accuracy.false_area.lower is None
    assert any("no range over events" in sentence for sentence in record.statements)
    frame = gpd.read_file(tmp_path / "map" / "landslides.gpkg", layer="landslides")
    assert frame.false_share.iloc[0] == pytest.approx(record.accuracy.false_polygons.mean)
    assert frame.false_low.isna().all() and (frame.events == 1).all()


def test_left_out_events_calibrate_the_bundle_and_every_case(folder):
    plain, made = read_document(folder / "bundle"), bundles.load(folder / "left-out").document
    assert made.digest != plain.digest and made.threshold == made.chosen_threshold
    for selection in (made.selection,):
        evidence = made.evidence_for(selection)
        calibration = evidence.calibration()
        assert made.calibrated_for(selection).calibration.slope == pytest.approx(calibration.slope)
        assert made.threshold == pytest.approx(evidence.best_threshold(calibration))
        assert made.prior_for(selection) == evidence.prior != plain.prior_for(plain.selection)
    assert made.by_passes[0].threshold != plain.by_passes[0].threshold
    assert (made.test.f1, made.test.auprc) == (plain.test.f1, plain.test.auprc)
    with pytest.raises(ModelError, match="test areas"):
        with_left_out(plain, plain.evidence)
    assert "left out" in model_card(made) and "left out" not in model_card(plain)
    assert (folder / "left-out" / "bundle.json").stat().st_size < 200_000


def test_every_figure_of_the_report_is_that_of_the_map(folder, tmp_path):
    record, report = mapped(folder, tmp_path / "map")
    document = read_document(folder / "left-out")
    evidence = document.evidence[-1]
    wanted = evidence.accuracy(document.threshold, document.calibration)
    assert record.accuracy == wanted and wanted.events == 3 and wanted.simulated == 1
    words = (tmp_path / "map" / "report.md").read_text()
    assert "3 events (1 of them SIMULATED) left out of training" in words
    assert f"{percent(wanted.missed_area.mean)} (3 events from" in words
    frame = gpd.read_file(tmp_path / "map" / "landslides.gpkg", layer="landslides")
    false = wanted.false_polygons
    assert frame.false_low.iloc[0] == pytest.approx(false.lowest)
    assert frame.false_high.iloc[0] == pytest.approx(false.highest) and (frame.events == 3).all()
    with rasterio.open(tmp_path / "map" / "probability.tif") as file:
        probability, tags = file.read(1), file.tags()
    assert "of landslide area missed" in tags["ACCURACY"]
    found, known = record.findings, np.isfinite(probability)
    assert found.probable_km2 == pytest.approx(probability[known].sum(dtype=np.float64) * 1e-4, rel=1e-4)
    inside = (frame.mean_probability * frame.area_m2).sum() / 1e6
    assert found.probable_inside_km2 == pytest.approx(inside)
    ratio = np.exp(np.mean(np.log(wanted.area_ratios)))
    assert found.landslide_km2.km2 == pytest.approx(record.mapped_km2 * ratio, rel=1e-3)
    assert found.landslide_km2.lower < found.landslide_km2.km2 < found.landslide_km2.upper
    assert set(found.outside_ranges) <= set(document.inputs.channels) and found.outside_ranges
    # beside labels: F1, precision and recall are of the class raster, polygons of the layer
    labels = small_cube(128, seed=5).landslides.values
    with rasterio.open(tmp_path / "map" / "landslides.tif") as file:
        classes = file.read(1)
    counted = known & np.isfinite(labels)
    hits = ((classes == 1) & (labels > 0) & counted).sum()
    assert report["scores"]["precision"] == pytest.approx(hits / ((classes == 1) & counted).sum())
    beside = record.beside_labels
    assert beside.landslide_km2 == pytest.approx(1e-4 * ((labels > 0) & counted).sum())
    assert 0 < beside.polygons <= record.polygons and beside.false_km2 <= beside.mapped_km2
    assert not list((tmp_path / "map").glob(".*"))


def test_a_threshold_is_given_or_chosen_by_recall_or_precision(folder, tmp_path):
    thresholds = {}
    for name, plan in (("few", {"precision": 0.95}), ("many", {"recall": 0.95}), ("own", {"threshold": 0.9})):
        record, _ = mapped(folder, tmp_path / name, **plan)
        thresholds[name] = record.threshold
        assert record.accuracy.threshold == record.threshold
        with rasterio.open(tmp_path / name / "probability.tif") as file:
            probability = file.read(1)
        with rasterio.open(tmp_path / name / "landslides.tif") as file:
            known = np.isfinite(probability)
            np.testing.assert_array_equal(
                file.read(1)[known] == 1, probability[known] >= np.float32(record.threshold)
            )
        if name == "few":
            assert 1 - record.accuracy.false_area.mean >= 0.95
        elif name == "many":
            assert 1 - record.accuracy.missed_area.mean >= 0.95
    assert thresholds["many"] < thresholds["few"] and thresholds["own"] == 0.9
    with pytest.raises(ValidationError):
        MapPlan(recall=0.5, precision=0.5)
    lost = read_document(folder / "left-out").model_copy(update={"evidence": ()})
    weights = (folder / "left-out" / "weights.safetensors").read_bytes()
    bundles.save(lost.model_copy(update={"digest": lost.identity}), weights, tmp_path / "lost")
    with pytest.raises(ModelError, match="not tested with"):
        api.map_cube(tmp_path / "lost", str(folder / "other.zarr"), tmp_path / "no", plan=MapPlan(recall=0.5))
    record = api.map_cube(
        tmp_path / "lost", str(folder / "other.zarr"), tmp_path / "no", plan=MapPlan(windows=WINDOWS)
    )
    assert record.accuracy is None and any("not known" in sentence for sentence in record.statements)


def test_inputs_unlike_the_training_sets_are_flagged(folder, tmp_path):
    record, _ = mapped(folder, tmp_path / "like")
    assert not record.findings.unlike
    other = small_cube(128, seed=5).assign_attrs(area="elsewhere")
    write(other.assign(vv=4 * other.vv), tmp_path / "bright.zarr")
    record = api.map_cube(
        folder / "left-out", str(tmp_path / "bright.zarr"), tmp_path / "map", plan=MapPlan(windows=WINDOWS)
    )
    assert set(record.findings.unlike) == {"vv_before", "vv_after"}
    assert any("UNLIKE" in sentence for sentence in record.statements)


def test_the_command_takes_one_threshold_and_the_detector_a_score_of_its_own(folder, tmp_path):
    cube = quiet_cube(96)
    slide = ellipse(96, 50, 60, 12, 7)
    write(changed(cube, slide, later(cube), 7.0, -4.0), tmp_path / "cube.zarr")
    runner, path = CliRunner(), str(tmp_path / "cube.zarr")
    bundle = str(folder / "left-out")
    for wrong in (
        [bundle, path, "--recall", "0.5", "--threshold", "0.5"],
        [bundle, path, "--recall", "1.5"],
        [bundle, path, "--threshold", "2"],
        [path, "--recall", "0.5"],
        [path, "--precision", "0.5"],
    ):
        assert runner.invoke(map_landslides, [*wrong, "--out", str(tmp_path / "x")]).exit_code == 2, wrong
    plain = api.map_detector(path, tmp_path / "plain")
    assert plain.accuracy is not None and any("California" in sentence for sentence in plain.statements)
    high = api.map_detector(path, tmp_path / "high", plan=DetectorMapPlan(threshold=2 * plain.threshold))
    assert high.threshold == 2 * plain.threshold and high.mapped_km2 < plain.mapped_km2
    assert high.accuracy is None and any("not known" in sentence for sentence in high.statements)


def test_the_scores_of_a_detectors_map_are_of_what_it_maps(tmp_path):
    cube = quiet_cube(96)
    slide = ellipse(96, 50, 60, 12, 7)
    cube = changed(cube, slide, later(cube), 7.0, -4.0)
    labels = np.zeros((96, 96), np.float32)
    labels[slide] = 1
    write(cube.assign(landslides=(("y", "x"), labels)), tmp_path / "cube.zarr")
    record = api.map_detector(str(tmp_path / "cube.zarr"), tmp_path / "map")
    report = json.loads(record.report.read_text())
    with rasterio.open(tmp_path / "map" / "landslides.tif") as file:
        classes = file.read(1) == 1
    with rasterio.open(tmp_path / "map" / "score.tif") as file:
        above = file.read(1) >= record.threshold
    hits = (classes & (labels == 1)).sum()
    assert (classes != above).any()  # objects are grown, closed and of a smallest unit
    assert report["scores"]["recall"] == pytest.approx(hits / (labels == 1).sum())
    assert report["scores"]["precision"] == pytest.approx(hits / classes.sum())
    beside = record.beside_labels
    assert beside.missed_km2 == pytest.approx(1e-4 * ((labels == 1).sum() - hits))
    assert beside.mapped_km2 == pytest.approx(record.mapped_km2)
