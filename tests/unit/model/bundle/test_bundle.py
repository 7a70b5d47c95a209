"""Training writes a bundle; a bundle from elsewhere is checked before it is used."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
import xarray as xr
from pystac.extensions.mlm import MLMExtension
from safetensors.torch import load_file, save

from model import api
from model.bundle.bundle import WEIGHTS, load, read_document
from model.bundle.card import model_card
from model.bundle.document import DOCUMENT
from model.bundle.expected_scores import BASELINE_NAMES
from model.bundle.mlm import SCHEMA
from model.bundle.score_figures import draw_reliability
from model.inputs.best_inputs import best_inputs
from model.inputs.cube_channels import CubeChannels
from model.inputs.inputs import EventSpan, Inputs
from model.inputs.selection import select
from model.inputs.windows import whole
from model.network.ensemble import probability_of
from model.network.inference import NetworkProbability, predict
from model.network.torch_guard import torch
from model.network.training_plan import InferencePlan, NetworkSpec, TrainingPlan
from model.training.experiment import Experiment
from pipeline.errors import ModelError
from pipeline.files import whole_folder
from tests.small_cube import small_cube, write, write_published
from tests.unit.model.bundle.test_markdown import HOSTILE, ON_ONE_LINE, shown, structure

PLAN = TrainingPlan(chip_px=64, stride_px=32, steps=6, batch=4, validate_every=3, device="cpu")
EVENT = EventSpan(start="2018-09-05T18:07:59Z", end="2018-09-05T18:07:59Z")


@pytest.fixture(scope="module")
def cube(tmp_path_factory) -> Path:
    return write(small_cube(256), tmp_path_factory.mktemp("cube") / "small.zarr")


@pytest.fixture(scope="module")
def bundle(cube, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("models") / "one"
    api.train_bundle(str(cube), out, plan=PLAN, seed=1)
    return out


@pytest.fixture
def copy(bundle, tmp_path) -> Path:
    shutil.copytree(bundle, tmp_path / "copy")
    return tmp_path / "copy"


def predicted(folder: Path, cube: Path) -> np.ndarray:
    loaded = load(folder)
    dataset = xr.open_zarr(cube, chunks=None)
    inputs = loaded.document.inputs
    source = CubeChannels(dataset, inputs, select(dataset, inputs))
    assert len(loaded.networks) == 1
    probability = NetworkProbability(loaded.networks[0], torch.device("cpu"))
    strips = predict(source, whole(source.shape), loaded.document.statistics, probability)
    return np.concatenate([strip.probability for strip in strips])


def test_the_record_the_document_and_the_card_agree(bundle):
    document = read_document(bundle)
    assert sorted(p.name for p in bundle.iterdir()) == [
        "MODEL_CARD.md",
        DOCUMENT,
        "item.json",
        "pr_curve.png",
        "reliability.png",
        WEIGHTS,
    ]
    assert document.inputs.channels[:4] == ("vv_before", "vv_after", "vh_before", "vh_after")
    assert [check.step for check in document.history] == [3, 6]
    best = max(document.history, key=lambda check: check.validation_auprc)
    assert document.best_step == best.step
    assert document.cases == (2, 1) and document.test_time == "mirrored"
    assert document.test.threshold == document.validation.threshold
    assert document.cube.simulated
    card = (bundle / "MODEL_CARD.md").read_text()
    assert "SIMULATED" in card
    assert f"{document.test.auprc:.3f}" in card
    assert all(p.id in card for p in (*document.selection.before, *document.selection.after))


def test_methods_without_a_network_are_scored_on_the_pixels_of_the_network(bundle, cube):
    document = read_document(bundle)
    by_method = {row.method: row for row in document.baselines}
    assert set(by_method) == {"log-ratio", "boosting"}
    for row in by_method.values():
        assert (row.cube, row.area) == (document.cube.digest, document.cube.area)
        assert (row.pixels, row.prevalence) == (document.test.pixels, document.test.prevalence)
    # only VV changes in this cube, and the log-ratio takes VH: the classifier sees both
    assert by_method["boosting"].auprc > 2 * by_method["log-ratio"].auprc
    card = (bundle / "MODEL_CARD.md").read_text()
    for method, row in by_method.items():
        (line,) = [line for line in card.splitlines() if line.startswith(f"| {BASELINE_NAMES[method]} |")]
        assert f"| {row.auprc:.3f} | {row.prevalence:.4f} | {row.f1:.3f} | {row.pixels:,} |" in line


def test_an_areas_name_adds_no_markup_to_the_card(bundle, tmp_path):
    document = read_document(bundle)
    hostile, plain = (
        document.model_copy(update={"cube": document.cube.model_copy(update={"area": name})})
        for name in (HOSTILE, "plain")
    )
    assert structure(model_card(hostile)) == structure(model_card(plain))
    assert ON_ONE_LINE in shown(model_card(hostile))
    draw_reliability(hostile, tmp_path / "reliability.png")  # its title has a dollar sign, and is no formula


def test_a_method_that_a_cube_does_not_allow_is_left_out(cube, tmp_path):
    record = api.train_bundle(
        str(write(xr.open_zarr(cube).drop_vars("vv").load(), tmp_path / "vh.zarr")),
        tmp_path / "bundle",
        plan=PLAN,
        experiment=Experiment(settled={"backscatter": [], "change": [], "coherence": []}),
    )
    assert [row.method for row in record.baselines] == ["boosting"]


def test_the_item_is_valid_for_a_catalogue_of_models(bundle):
    document = read_document(bundle)
    item = pystac.Item.from_file(str(bundle / "item.json"))
    assert SCHEMA in item.stac_extensions and sum("/mlm/" in one for one in item.stac_extensions) == 1
    # pystac knows the extension up to 1.4.0, whose fields these are too
    item.stac_extensions = [one for one in item.stac_extensions if one != SCHEMA]
    found = MLMExtension.ext(item, add_if_missing=True)
    assert re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_.\-\s]+[a-zA-Z0-9]", item.properties["mlm:name"])
    assert found.tasks == ["semantic-segmentation"] and found.framework == "PyTorch"
    (given,) = found.input
    assert tuple(given.bands) == document.inputs.channels
    # since 1.5 named inputs have the dimension `bands`, and the asset of the model lists them
    assert given.properties["input"]["dim_order"] == ["batch", "bands", "height", "width"]
    bands = item.assets["weights"].extra_fields["raster:bands"]
    assert tuple(band["name"] for band in bands) == document.inputs.channels
    assert all(item.properties["slidecube:channels"].values())
    assert not any("bands" in one.properties["result"]["dim_order"] for one in found.output)
    assert item.to_dict()["stac_version"] >= "1.1"
    scaling = given.properties["value_scaling"]
    assert [s["mean"] for s in scaling] == list(document.statistics.mean)
    assert {s["type"] for s in scaling} == {"z-score"}
    weights = item.assets["weights"]
    assert "mlm:model" in weights.roles
    assert weights.extra_fields["mlm:artifact_type"] == "safetensors.torch.save_file"
    digest = hashlib.sha256((bundle / weights.href).read_bytes()).hexdigest()
    assert weights.extra_fields["file:checksum"] == f"1220{digest}"
    assert "SIMULATED" in item.properties["description"]
    west, south, east, north = item.bbox
    assert 140 < west < east < 142 and 42 < south < north < 43


def test_a_calibrated_probability_is_nearer_to_the_truth_and_keeps_its_order(bundle):
    calibration = read_document(bundle).calibration
    assert calibration.error_after < calibration.error_before and calibration.slope > 0
    before = np.linspace(0, 1, 101, dtype=np.float32)
    assert (np.diff(calibration.apply(before)) >= 0).all()
    assert np.isnan(calibration.apply(np.array([np.nan], np.float32))).all()


def test_a_bundle_of_an_earlier_format_is_refused_with_a_remedy(copy):
    document = json.loads((copy / DOCUMENT).read_text())
    (copy / DOCUMENT).write_text(json.dumps(document | {"format": "slidecube-bundle-1"}))
    with pytest.raises(ModelError, match="slidecube-bundle-1") as error:
        load(copy)
    assert "slidecube train" in error.value.remedy


def test_the_same_seed_gives_the_same_model_and_no_scratch_is_left(bundle, cube, tmp_path):
    again = api.train_bundle(str(cube), tmp_path / "again", plan=PLAN, seed=1)
    assert again.digest == read_document(bundle).digest
    assert [p.name for p in tmp_path.iterdir()] == ["again"]


def test_a_copied_bundle_predicts_the_same_bits(bundle, copy, cube):
    np.testing.assert_array_equal(predicted(bundle, cube), predicted(copy, cube))


def test_a_cube_as_published_trains(tmp_path):
    path = write_published(small_cube(256), tmp_path / "elsewhere.zarr")
    with pytest.raises(ModelError, match="records no event"):
        api.train_bundle(str(path), tmp_path / "model", plan=PLAN)
    path = path.rename(tmp_path / "hokkaido_japan.zarr")
    api.train_bundle(str(path), tmp_path / "named", plan=PLAN)
    document = read_document(tmp_path / "named")
    assert document.selection.event == EVENT
    assert any("area file hokkaido" in note for note in document.selection.notes)
    record = api.train_bundle(
        str(path), tmp_path / "model", plan=PLAN, experiment=Experiment(event=EVENT, inputs=Inputs(before=2))
    )
    assert record.track == "descending passes"
    assert (record.passes_before, record.passes_after) == (2, 2)
    assert not record.simulated
    card = (tmp_path / "model" / "MODEL_CARD.md").read_text()
    assert "background" in card  # what unlabelled pixels were taken for
    assert "SIMULATED" not in card


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda c: c.drop_vars("landslides"), "no labels"),
        (lambda c: c.assign(landslides=c.landslides * 0), "hold no landslide"),
        (
            lambda c: c.assign(landslides=c.landslides.where((c.y > c.y[60]) & (c.x < c.x[60]), 0)),
            "cannot be split",
        ),
        (lambda c: c.isel(timestep=slice(0, 5)), "no pass after"),
        (lambda c: c.drop_vars("vh"), "lacks vh"),
        (lambda c: c.isel(x=slice(0, 100), y=slice(0, 100)), "too small"),
    ],
)
def test_a_cube_that_cannot_be_trained_on_is_refused_by_name_and_nothing_is_left(spoil, words, tmp_path):
    path = write(spoil(small_cube(256)), tmp_path / "cube.zarr")
    with pytest.raises(ModelError, match=words):
        api.train_bundle(
            str(path), tmp_path / "models" / "one", plan=PLAN, experiment=Experiment(inputs=Inputs())
        )
    assert not (tmp_path / "models").exists() or not any((tmp_path / "models").iterdir())


def both_ways(small: xr.Dataset) -> xr.Dataset:
    """The small cube with its ascending track seen after the event too."""
    (*_, last) = np.flatnonzero(small.relative_orbit.values == 68)
    cube = small.isel(timestep=[*range(small.sizes["timestep"]), last])
    instants, names = cube.timestep.values.copy(), cube.pass_id.values.copy()
    instants[-1], names[-1] = np.datetime64("2018-09-09T09:00:00", "us"), "late"
    return cube.assign_coords(timestep=instants, pass_id=("timestep", names)).sortby("timestep")


def test_the_best_inputs_take_both_directions_where_both_see_the_scene():
    cube = both_ways(small_cube(256))
    inputs, notes = best_inputs(cube)
    assert inputs.track == "both" and "vv_log_ratio@ascending" in inputs.channels
    assert any("without coherence" in note for note in notes)
    assert best_inputs(cube, asked={"track": 46})[0].track == 46
    ascending = cube.relative_orbit.values == 68
    hidden = cube.vv.where(~(xr.DataArray(ascending, dims="timestep") & (cube.x > cube.x[128])))
    inputs, notes = best_inputs(cube.assign(vv=hidden))
    assert (inputs.track, inputs.views) == ("both", "any")  # a pixel that one direction sees is mapped
    inputs, notes = best_inputs(small_cube(256))  # no ascending pass after the event
    assert (inputs.track, inputs.views) == ("best", "every")
    assert any("both directions" in note and "ascending" in note for note in notes)
    assert best_inputs(small_cube(256), others=(cube,))[0].views == "any"
    with pytest.raises(ModelError, match="ascending"):
        best_inputs(small_cube(256), asked={"track": "both"})


def test_a_map_of_both_directions_names_the_passes_of_both(tmp_path):
    cube = both_ways(small_cube(256))
    path = write(cube, tmp_path / "cube.zarr")
    api.train_bundle(str(path), tmp_path / "bundle", plan=PLAN)
    record = api.map_cube(tmp_path / "bundle", str(path), tmp_path / "map")
    assert "track 46" in record.track and "track 68" in record.track
    used = np.unique(cube.pass_id.values)
    for words in (
        (tmp_path / "bundle" / "MODEL_CARD.md").read_text(),
        (tmp_path / "map" / "report.md").read_text(),
    ):
        assert all(f", `{name}`\n" in words for name in used)
        assert "track 68 (ascending)" in words


def test_the_default_takes_the_best_inputs_that_a_cube_has_and_says_what_it_lacks(tmp_path):
    path = write(small_cube(256).drop_vars(["vh", "dem_curvature"]), tmp_path / "cube.zarr")
    api.train_bundle(str(path), tmp_path / "one", plan=PLAN)
    document = read_document(tmp_path / "one")
    assert document.inputs.backscatter == ("vv",) and "curvature" not in document.inputs.terrain
    assert document.cases == (2, 1)
    card = (tmp_path / "one" / "MODEL_CARD.md").read_text()
    assert "no vh\n" in card and "no dem_curvature\n" in card
    settled = Experiment(settled={"terrain": [], "after": 1}, test_time="plain")
    api.train_bundle(str(path), tmp_path / "two", plan=PLAN, experiment=settled)
    document = read_document(tmp_path / "two")
    best = max(document.history, key=lambda check: check.validation_auprc)
    assert document.validation.auprc == pytest.approx(best.validation_auprc, abs=1e-9)
    assert (document.inputs.terrain, document.inputs.after, document.cases) == ((), 1, (1,))
    with pytest.raises(ModelError, match="track"):
        api.train_bundle(
            str(path), tmp_path / "three", plan=PLAN, experiment=Experiment(settled={"track": "west"})
        )


def test_a_loss_that_is_no_number_stops_the_training(cube, monkeypatch, tmp_path):
    monkeypatch.setattr(
        "model.network.trainer.network_step.masked_loss",
        lambda logits, *_: logits.mean() * torch.tensor(float("nan")),
    )
    with pytest.raises(ModelError, match="finite"):
        api.train_bundle(str(cube), tmp_path / "one", plan=PLAN)
    assert not any(tmp_path.iterdir())


def rewrite(folder: Path, change) -> None:
    """Change the document and give it the digest that its new content has."""
    data = json.loads((folder / DOCUMENT).read_text())
    change(data)
    (folder / DOCUMENT).write_text(json.dumps(data))


def swap_weights(folder: Path, change) -> None:
    """Change the weights and make the document agree with them."""
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    raw = save(tensors)
    (folder / WEIGHTS).write_bytes(raw)
    document = read_document(folder).model_copy(update={"weights_sha256": hashlib.sha256(raw).hexdigest()})
    document = document.model_copy(update={"digest": document.identity})
    (folder / DOCUMENT).write_text(document.model_dump_json())


def set_at(*keys_and_value):
    *keys, last, value = keys_and_value

    def change(data):
        for key in keys:
            data = data[key]
        data[last] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        set_at("format", "slidecube-bundle-3"),
        set_at("surprise", 1),
        set_at("network", "encoder", "tu-anything"),
        set_at("network", "in_channels", 1_000_000),
        set_at("network", "in_channels", 4),
        set_at("statistics", "sd", 0, 0.0),
        set_at("statistics", "sd", 0, 17.0),
        set_at("statistics", "mean", 0, float("nan")),
        set_at("statistics", "mean", [0.0]),
        set_at("inputs", "backscatter", ["vv"]),
        set_at("split", "test", [{"top": 0, "left": 0, "height": 999, "width": 999}]),
        set_at("weights_sha256", "0" * 64),
        set_at("validation", "threshold", 0.987),
        lambda data: data.pop("statistics"),
    ],
)
def test_a_changed_document_is_refused_and_named(copy, change):
    rewrite(copy, change)
    with pytest.raises(ModelError, match=r"bundle\.json cannot be used"):
        load(copy)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.pop("segmentation_head.0.bias"),
        lambda t: t.update(extra=torch.zeros(3)),
        set_at("segmentation_head.0.bias", torch.zeros(2)),
        set_at("segmentation_head.0.bias", torch.zeros(1, dtype=torch.float64)),
        set_at("segmentation_head.0.bias", torch.tensor([float("inf")])),
    ],
)
def test_weights_of_another_network_are_refused_and_named(copy, change):
    swap_weights(copy, change)
    with pytest.raises(ModelError, match=r"weights\.safetensors cannot be used"):
        load(copy)


def test_a_bundle_of_several_networks_maps_by_the_mean_of_their_log_odds(cube, bundle, tmp_path):
    stages = []
    experiment = Experiment(members=2)
    record = api.train_bundle(
        str(cube),
        tmp_path / "two",
        plan=PLAN,
        seed=1,
        experiment=experiment,
        progress=lambda *a: stages.append(a[0]),
    )
    assert {"train 1 of 2", "train 2 of 2"} <= set(stages)
    one, two = load(bundle), load(tmp_path / "two")
    assert two.document.parameters == record.parameters == 2 * one.document.parameters
    card = (tmp_path / "two" / "MODEL_CARD.md").read_text()
    assert "Networks: 2," in card and "Seeds: 1, 1001\n" in card
    first, second = (network.state_dict() for network in two.networks)
    (alone,) = (network.state_dict() for network in one.networks)
    assert all(
        torch.equal(first[name], alone[name]) for name in alone
    )  # the first member has the bundle's seed
    assert not torch.equal(first["segmentation_head.0.weight"], second["segmentation_head.0.weight"])
    channels = two.document.inputs.channels
    inputs = np.random.default_rng(0).standard_normal((len(channels), 32, 32)).astype(np.float32)
    cpu = torch.device("cpu")
    each = [probability_of([network], cpu, channels, "plain")(inputs) for network in two.networks]
    logits = [np.log(p / (1 - p)) for p in each]
    mean = probability_of(two.networks, cpu, channels, "plain")(inputs)
    np.testing.assert_allclose(np.log(mean / (1 - mean)), np.mean(logits, axis=0), atol=1e-3)
    assert (
        two.document.calibration.intercept != one.document.calibration.intercept
    )  # fitted on what is mapped
    api.map_cube(tmp_path / "two", str(cube), tmp_path / "map")
    dataset = xr.open_zarr(cube, chunks=None)
    source = CubeChannels(dataset, two.document.inputs, select(dataset, two.document.inputs))
    mirrored = probability_of(two.networks, cpu, channels, "mirrored")
    strips = predict(source, whole(source.shape), two.document.statistics, mirrored, InferencePlan())
    expected = np.concatenate([two.document.calibration.apply(strip.probability) for strip in strips])
    with rasterio.open(tmp_path / "map" / "probability.tif") as file:
        np.testing.assert_allclose(file.read(1), expected, atol=1e-3)

    for members in (1, 3):
        rewrite(tmp_path / "two", set_at("members", members))
        with pytest.raises(ModelError, match=r"weights\.safetensors cannot be used: its tensors"):
            load(tmp_path / "two")


def test_damaged_missing_and_odd_files_are_refused_and_named(copy, tmp_path):
    weights = copy / WEIGHTS
    raw = weights.read_bytes()
    weights.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    with pytest.raises(ModelError, match="sha256"):
        load(copy)
    for longer in (raw + bytes(2 << 20), raw[:-1]):
        weights.write_bytes(longer)
        with pytest.raises(ModelError, match=f"{len(longer)} bytes"):
            load(copy)
    weights.unlink()
    with pytest.raises(ModelError, match=r"weights\.safetensors is missing"):
        load(copy)
    weights.symlink_to("/dev/zero")
    with pytest.raises(ModelError, match="not a regular file"):
        load(copy)
    for text in ("", "[]", "{", '{"a":' * 5000, "\x00"):
        (copy / DOCUMENT).write_text(text)
        with pytest.raises(ModelError, match=r"bundle\.json"):
            load(copy)
    (copy / DOCUMENT).write_bytes(b" " * (5 << 20))
    with pytest.raises(ModelError, match="larger"):
        load(copy)
    with pytest.raises(ModelError, match=r"bundle\.json is missing"):
        load(tmp_path / "nowhere")


def test_a_pickle_in_place_of_the_weights_is_never_opened(copy, tmp_path):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "sprung",)

    torch.save({"a": Trap()}, copy / WEIGHTS)
    raw = (copy / WEIGHTS).read_bytes()
    document = read_document(copy).model_copy(update={"weights_sha256": hashlib.sha256(raw).hexdigest()})
    document = document.model_copy(update={"digest": document.identity})
    (copy / DOCUMENT).write_text(document.model_dump_json())
    with pytest.raises(ModelError, match="no safetensors"):
        load(copy)
    assert not (tmp_path / "sprung").exists()


def test_a_bundle_refuses_a_cube_that_lacks_its_inputs(bundle, tmp_path):
    poor = write(small_cube(128).drop_vars(["vh", "dem"]), tmp_path / "poor.zarr")
    with pytest.raises(ModelError, match="lacks vh, dem"):
        api.map_cube(bundle, str(poor), tmp_path / "map")


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "result"
    with pytest.raises(RuntimeError), whole_folder(target, "mark") as folder:
        (folder / "mark").write_text("half")
        raise RuntimeError
    assert not any(tmp_path.iterdir())
    for text in ("one", "two"):
        with whole_folder(target, "mark") as folder:
            (folder / "mark").write_text(text)
        assert (target / "mark").read_text() == text
    assert [p.name for p in tmp_path.iterdir()] == ["result"]
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter").write_text("years of work")
    with pytest.raises(ModelError, match="thesis"), whole_folder(other, "mark"):
        pass
    assert (other / "chapter").read_text() == "years of work"


def test_only_known_encoders_can_be_named():
    with pytest.raises(ValueError, match="encoder"):
        NetworkSpec.model_validate({"encoder": "tu-resnet18", "in_channels": 3})
