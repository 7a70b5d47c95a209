"""Exported bundles: a file that gives the bundle's own probabilities, with everything that its user must know."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import slidecube
from model.bundle import export
from model.bundle.bundle import load
from model.bundle.map_calibrations import Calibrations
from model.cli.exports import bundle as command
from model.inputs.channel_statistics import Statistics
from model.inputs.inputs import Inputs
from model.inputs.pass_subsets import limit_passes
from model.network.ensemble import probability_of
from model.network.export import export_files
from model.network.export.export_files import METADATA, outputs_of_file
from model.network.export.exported_network import ExportedNetwork
from model.network.inference import NetworkProbability
from model.network.torch_guard import torch
from model.scores.probability_calibration import Calibration
from pipeline.errors import ModelError
from tests.small_cube import small_cube, write

PLAN = {"chip_px": 64, "stride_px": 32, "steps": 3, "batch": 4, "validate_every": 3, "device": "cpu"}
INPUTS = {"backscatter": ["vv"], "terrain": ["slope", "aspect"], "change": ["before_sd"]}
SIZE = (2, 32, 96)


def small(in_channels: int, classes: int) -> torch.nn.Module:
    """A network that exports in a second."""
    layers = (torch.nn.Conv2d(in_channels, 8, 5, padding=2), torch.nn.BatchNorm2d(8), torch.nn.ReLU())
    return torch.nn.Sequential(*layers, torch.nn.Conv2d(8, classes, 1))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    """Two members and the mirrored window, with a channel that may lack and one whose sign a mirror flips."""
    folder = tmp_path_factory.mktemp("export")
    cube = write(small_cube(256), folder / "one.zarr")
    request = slidecube.TrainingRequest(plan=PLAN, experiment={"inputs": INPUTS, "members": 2})
    slidecube.train(str(cube), request, out=folder / "bundle", build=small)
    return folder / "bundle"


@pytest.fixture(scope="module")
def exported(bundle, tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("files") / "model.pt2"
    made = slidecube.export_bundle(str(bundle), file, "torch")
    assert made.size_bytes == file.stat().st_size and made.largest_difference <= made.tolerance == 1e-5
    return file


def windows(bundle: Path) -> np.ndarray:
    statistics = load(bundle).document.statistics
    values = np.random.default_rng(1).standard_normal((SIZE[0], len(statistics.channels), *SIZE[1:]))
    values = values * np.array(statistics.sd)[:, None, None] + np.array(statistics.mean)[:, None, None]
    values[0, :, :4, :4] = np.nan
    values[:, list(statistics.channels).index("vv_before_sd"), 10:20] = np.nan  # may lack
    return values.astype(np.float32)


def expected(bundle: Path, values: np.ndarray) -> np.ndarray:
    """As a map of the bundle computes a window."""
    model = load(bundle)
    document = model.document
    predict = probability_of(
        model.networks, torch.device("cpu"), document.inputs.channels, document.test_time
    )
    found = []
    for one in values:
        scaled, valid = document.statistics.standardise(one)
        found.append(np.where(valid, document.calibration.apply(predict(scaled)), np.nan))
    return np.stack(found)


def test_a_torch_file_runs_alone_and_gives_the_bundles_probabilities(bundle, exported):
    values = windows(bundle)
    extra = {METADATA: ""}
    module = torch.export.load(exported, extra_files=extra).module()
    found = module(torch.from_numpy(values)).detach().numpy()
    wanted = expected(bundle, values)
    assert np.isnan(found[0, :4, :4]).all() and np.isfinite(found[:, 10:20]).all()
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert wanted[np.isfinite(wanted)].std() > 1e-3  # not a constant that anything equals


def test_a_pixel_that_one_view_sees_has_the_calibration_of_that_view():
    names = Inputs(backscatter=("vv",), terrain=(), track="both", views="any").channels
    statistics = Statistics(channels=names, mean=(0.0,) * len(names), sd=(1.0,) * len(names), pixels=1)
    kinds = [Calibration(slope=slope, pixels=1, error_before=0, error_after=0) for slope in (1.0, 2.0, 3.0)]
    first, second = (names.index(f"seen@{one}") for one in ("ascending", "descending"))
    ours = Calibrations(kinds[0], {names[first]: kinds[1], names[second]: kinds[2]})
    network = torch.nn.Conv2d(len(names), 1, 1)
    made = ExportedNetwork(
        [network],
        statistics,
        kinds[0],
        "plain",
        standardised=False,
        alone={first: kinds[1], second: kinds[2]},
    )
    values = np.random.default_rng(0).uniform(-1, 1, (len(names), 32, 32)).astype(np.float32)
    values[first], values[second] = np.indices((32, 32)) // 16
    with torch.no_grad():
        found = made(torch.from_numpy(values[None]))[0].numpy()
    plain = NetworkProbability(network, torch.device("cpu"))(values)
    np.testing.assert_allclose(found, ours.apply(plain, values, names), atol=1e-6)
    assert len({round(float(found[y, x] / plain[y, x]), 4) for y in (0, 20) for x in (0, 20)}) > 2


def test_its_metadata_say_what_goes_in_and_comes_out(bundle, exported):
    extra = {METADATA: ""}
    torch.export.load(exported, extra_files=extra)
    said, document = json.loads(extra[METADATA]), load(bundle).document
    assert said["model"] == document.digest and said["simulated"] and "SIMULATED" in said["warning"]
    assert [one["name"] for one in said["input"]["channels"]] == list(document.inputs.channels)
    assert [one["mean"] for one in said["input"]["channels"]] == list(document.statistics.mean)
    assert said["output"]["threshold"] == document.threshold and said["input"]["expects"] == "raw"
    assert all(one["meaning"] for one in said["input"]["channels"])


def test_a_file_for_standardised_values_takes_those_of_any_scene(bundle, tmp_path):
    made = slidecube.export_bundle(str(bundle), tmp_path / "z.pt2", "torch", expects="standardised", after=1)
    document = load(bundle).document
    first = document.calibrated_for(limit_passes(document.selection, None, 1))
    assert made.expects == "standardised" and made.passes_after == first.after == 1
    values = windows(bundle)
    mean, sd = (
        np.array(v, np.float32)[:, None, None] for v in (document.statistics.mean, document.statistics.sd)
    )
    (found,) = outputs_of_file(tmp_path / "z.pt2", "torch", [(values - mean) / sd])
    case = first.calibration
    plain = expected(bundle, values)
    assert np.isnan(found).sum() == np.isnan(plain).sum() and np.nanmin(found) >= 0
    assert (case.slope, case.intercept) != (document.calibration.slope, document.calibration.intercept)


def test_a_file_that_gives_other_probabilities_is_not_written(bundle, tmp_path, monkeypatch):
    whole = export_files.outputs_of_file

    def wrong(file, kind, channels):
        return [found + np.float32(0.01) for found in whole(file, kind, channels)]

    monkeypatch.setattr(export, "outputs_of_file", wrong)
    with pytest.raises(ModelError) as error:
        slidecube.export_bundle(str(bundle), tmp_path / "model.pt2", "torch")
    assert "0.01" in error.value.message and list(tmp_path.iterdir()) == []


def test_the_command_writes_and_says_what_it_checked(bundle, tmp_path):
    done = CliRunner().invoke(command, ["export", str(bundle), "--torch", str(tmp_path / "m.pt2"), "--json"])
    assert done.exit_code == 0, done.output
    (record,) = json.loads(done.output)
    assert record["kind"] == "torch" and record["largest_difference"] <= record["tolerance"]
    assert (tmp_path / "m.pt2").is_file()
    assert CliRunner().invoke(command, ["export", str(bundle)]).exit_code == 2


def test_onnx_gives_the_same_or_names_the_extra(bundle, tmp_path):
    file = tmp_path / "model.onnx"
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError:
        with pytest.raises(ModelError) as error:
            slidecube.export_bundle(str(bundle), file, "onnx")
        assert "slidecube[onnx]" in str(error.value.remedy) and not file.exists()
        return
    made = slidecube.export_bundle(str(bundle), file, "onnx")
    assert made.largest_difference <= 1e-4
    values = windows(bundle)
    session = onnxruntime.InferenceSession(file)
    (found,) = session.run(["probability"], {"channels": values})
    np.testing.assert_allclose(found, expected(bundle, values), atol=1e-4)
    said = {one.key: one.value for one in onnx.load(file).metadata_props}
    assert json.loads(said[METADATA])["model"] == made.model


def test_a_network_that_cannot_be_traced_is_named(tmp_path):
    class Odd(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Conv2d(2, 1, 1)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.layer(inputs) if float(inputs.sum()) > 0 else -self.layer(inputs)

    cube = write(small_cube(256), tmp_path / "one.zarr")
    request = slidecube.TrainingRequest(
        plan=PLAN, experiment={"inputs": {"backscatter": ["vv"], "terrain": []}}
    )
    slidecube.train(str(cube), request, out=tmp_path / "odd", build=Odd)
    with pytest.raises(ModelError):
        slidecube.export_bundle(str(tmp_path / "odd"), tmp_path / "odd.pt2", "torch")
    assert not (tmp_path / "odd.pt2").exists()
