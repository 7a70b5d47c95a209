"""A training that starts from the weights of a bundle, and the bundle that comes with the package."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from pydantic import ValidationError

from flows.chain import standing, version_of
from model import api
from model.bundle.bundle import load, read_document
from model.bundle.starting_weights import starting_bundle, weights_from
from model.cli.bundles import train as train_command
from model.experiments.fine_tuning import fine_tuning
from model.inputs.inputs import Inputs
from model.maps.map_plan import MapPlan
from model.network.training_plan import InferencePlan, TrainingPlan
from model.origin import read_made
from model.training.experiment import Experiment
from pipeline.errors import ModelError
from pipeline.places import SIMULATED_PRIOR, bundle_named, is_shipped
from pipeline.settings import settings
from tests.faults.made_bundle import INPUTS, write_bundle
from tests.quiet_cube import quiet_cube
from tests.small_cube import small_cube, write

STILL = TrainingPlan(
    chip_px=64, stride_px=32, steps=1, batch=2, validate_every=1, learning_rate=1e-12, weight_decay=0, ema_decay=None,
    device="cpu",
)  # fmt: skip
WINDOWS = InferencePlan(window_px=128, overlap_px=32, margin_px=16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """small.zarr, the bundle `begun` that nobody trained, and `tuned`, which starts from it"""
    root = tmp_path_factory.mktemp("start")
    write(small_cube(256).assign_attrs(simulated=False), root / "small.zarr")
    write_bundle(root / "begun")
    experiment = Experiment(start=str(root / "begun"), test_time="plain")
    api.train_bundle(str(root / "small.zarr"), root / "tuned", plan=STILL, experiment=experiment)
    return root


def test_a_training_begins_with_the_weights_the_inputs_and_the_network_of_the_bundle(folder):
    begun, tuned = load(folder / "begun"), load(folder / "tuned")
    assert tuned.document.inputs == INPUTS == begun.document.inputs
    assert tuned.document.network.decoder_channels == begun.document.network.decoder_channels
    assert tuned.document.network.initial_weights == "pretrained"
    theirs = tuned.networks[0].state_dict()
    for name, value in begun.networks[0].state_dict().items():
        if not name.endswith(("running_mean", "running_var", "num_batches_tracked")):
            assert np.allclose(value, theirs[name], atol=1e-9)


def test_a_fine_tuned_bundle_names_what_it_started_from_and_is_as_real_as_its_own_events(folder):
    document = read_document(folder / "tuned")
    assert document.start is not None and document.start.digest == read_document(folder / "begun").digest
    assert document.start.simulated and not document.simulated
    card = (folder / "tuned" / "MODEL_CARD.md").read_text()
    assert document.start.digest[:12] in card and "SIMULATED" in card


def test_other_inputs_or_weights_are_refused(folder, tmp_path):
    with pytest.raises(ValidationError):
        Experiment(start="begun", settled={"terrain": ()})
    with pytest.raises(ValidationError):
        Experiment(start="begun", initial_weights="imagenet")
    other = Experiment(start=str(folder / "begun"), inputs=Inputs(terrain=()))
    with pytest.raises(ModelError):
        api.train_bundle(str(folder / "small.zarr"), tmp_path / "bundle", plan=STILL, experiment=other)
    start = starting_bundle(str(folder / "begun"))
    with pytest.raises(ModelError):
        weights_from(start, Inputs(terrain=()))
    with pytest.raises(ModelError):
        weights_from(start.model_copy(update={"digest": "0" * 64}), INPUTS)
    missing = CliRunner().invoke(
        train_command,
        [str(folder / "small.zarr"), "--start", str(tmp_path / "no"), "--out", str(tmp_path / "b")],
    )
    assert missing.exit_code == ModelError.exit_code and not (tmp_path / "b").exists()


def test_the_same_request_from_another_bundle_is_another_one(folder, tmp_path):
    request = api.TrainingRequest(plan=STILL, experiment=Experiment(start=str(tmp_path / "start")))
    write_bundle(tmp_path / "start")
    cube = str(folder / "small.zarr")
    assert api.train(cube, request, out=tmp_path / "bundle").new
    assert not api.train(cube, request, out=tmp_path / "bundle").new
    made = read_made(tmp_path / "bundle")
    assert made is not None and made.origin.options["start"] == read_document(tmp_path / "start").digest


def test_the_shipped_prior_is_small_simulated_and_says_what_it_saw():
    bundle = bundle_named(SIMULATED_PRIOR)
    assert is_shipped(bundle)
    assert sum(file.stat().st_size for file in bundle.iterdir()) < 5 * 2**20
    document = load(bundle).document
    assert document.simulated and document.series is not None and document.series.events >= 50
    assert len(document.events) == len(document.series.left_out) == 8
    seeds = {int(name.split("-")[1]) for name in document.series.left_out}
    first, last = document.series.seeds
    assert not seeds & set(range(first, last + 1))
    assert "SIMULATED" in (bundle / "MODEL_CARD.md").read_text()
    assert document.inputs.views == "any" and document.inputs.required == ("vv", "vh")


@pytest.fixture
def real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A cube of a real place without an elevation model, and a data folder of its own."""
    monkeypatch.setenv("SLIDECUBE_DATA_DIR", str(tmp_path / "data"))
    settings.cache_clear()
    cube = quiet_cube(128, before=4, after=1).drop_vars(["dem", "dem_slope_radians", "dem_aspect"])
    yield write(cube.assign_attrs(simulated=False, area="real"), tmp_path / "real.zarr")
    settings.cache_clear()


def test_the_prior_maps_a_real_place_when_it_is_named_and_its_map_says_what_it_is(real):
    made = api.map(str(real), SIMULATED_PRIOR, MapPlan(windows=WINDOWS, smallest_m2=100.0))
    record = made.record
    assert record.simulated and record.kind == "model"
    report = json.loads(record.report.read_text())
    assert any("SIMULATED" in remark for remark in report["remarks"])
    assert "SIMULATED MODEL" in record.report.with_suffix(".md").read_text()
    with rasterio.open(record.path / "probability.tif") as raster:
        assert raster.tags()["SIMULATED"].startswith("yes: SIMULATED MODEL")
        assert np.isfinite(raster.read(1)).any()
    polygons = gpd.read_file(record.path / "landslides.gpkg", layer="landslides")
    assert "simulated" in polygons.columns and bool(polygons["simulated"].all())


def test_a_copy_of_the_prior_needs_the_permission_that_every_simulated_model_needs(real, tmp_path):
    import shutil

    shutil.copytree(bundle_named(SIMULATED_PRIOR), tmp_path / "copy")
    with pytest.raises(ModelError):
        api.map(str(real), str(tmp_path / "copy"), MapPlan(windows=WINDOWS))


def test_a_map_of_a_real_place_without_a_bundle_is_never_the_prior(real):
    assert api.map(str(real)).record.kind == "detector"
    place = api.cubes.load(str(real))[1].place
    assert place.found_bundle() is None
    assert standing(version_of(str(real))).bundle is None  # by which the flows decide what is mapped
    with pytest.raises(ModelError):
        bundle_named("real")


def test_the_study_compares_the_prior_with_random_weights_of_the_same_network():
    recipes = fine_tuning(steps=10, after=1)
    assert len(recipes) == 6
    for plain, tuned in zip(recipes[::2], recipes[1::2], strict=True):
        assert tuned.against == plain.name and tuned.trial.start is not None and plain.trial.start is None
        same = {"start": None, "network": None, "label": ""}
        assert tuned.trial.model_copy(update=same) == plain.trial.model_copy(update=same)
        assert tuned.trial.network is not None and plain.trial.network is not None
        assert tuned.trial.network.initial_weights == "pretrained"
        assert plain.trial.network.initial_weights == "random"
    assert [recipe.trial.label_share for recipe in recipes[::2]] == [0.05, 0.2, 1.0]
