"""ImageNet weights: named at once where they cannot be had, and the same first filters for both dates."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants
from safetensors.torch import save_file

from model.experiments.results.results import Trial, TrialTask
from model.inputs.cubes import CubeFacts
from model.inputs.inputs import Inputs
from model.network import training
from model.network.network import build
from model.network.parts.imagenet import same_filter_for_both_dates
from model.network.torch_guard import smp, torch
from model.network.training_plan import NetworkSpec, PaperPlan
from pipeline.errors import ModelError
from tests.unit.model.network.test_training import scene

CHANNELS = ("vv_before", "vv_after", "vh_before", "vh_after", "vv_log_ratio", "dem", "slope")
SPEC = NetworkSpec(in_channels=7, initial_weights="imagenet")


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> torch.Tensor:
    """A cache of the model hub that holds an encoder; its first filters (out, red green blue, y, x)."""
    found = smp.encoders.encoders["resnet18"]["pretrained_settings"]["imagenet"]
    folder = tmp_path / f"models--{found['repo_id'].replace('/', '--')}" / "snapshots" / found["revision"]
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    encoder = smp.encoders.get_encoder("resnet18", in_channels=3, weights=None)
    save_file(dict(encoder.state_dict()), folder / "model.safetensors")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}/{revision}/{filename}"
    )
    return encoder.conv1.weight.detach().clone()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A hub that is out of order, with an empty cache; the paths that it was asked for."""
    asked: list[str] = []

    class Answers(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(self.path)
            self.send_response(503)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/{revision}/{filename}"
    )
    yield asked
    server.shutdown()
    server.server_close()


def test_a_hub_that_fails_is_asked_once_and_named(hub):
    started = time.monotonic()
    with pytest.raises(ModelError) as error:
        build(SPEC)
    assert time.monotonic() - started < 5 and len(hub) == 1
    assert "resnet18" in error.value.message and "503" in error.value.message


def test_a_hub_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}/{revision}/{filename}"
    )
    started = time.monotonic()
    with pytest.raises(ModelError) as error:
        build(SPEC)
    assert time.monotonic() - started < 5 and "127.0.0.1:9" in error.value.message


def test_weights_in_the_cache_need_no_hub(weights):
    network = build(SPEC)
    assert torch.allclose(network.encoder.conv1.weight[:, 4], weights[:, 1] * 3 / 7)


def test_both_dates_of_a_quantity_begin_with_the_same_filter(weights):
    network = build(SPEC)
    same_filter_for_both_dates(network, CHANNELS)
    first = network.encoder.conv1.weight.detach()
    # vv red, vh green, vv_log_ratio blue, dem red, slope green; all times 3 / channels, as the library scales
    for channel, colour in enumerate((0, 0, 1, 1, 2, 0, 1)):
        assert torch.allclose(first[:, channel], weights[:, colour] * 3 / 7), CHANNELS[channel]
    # a scene that did not change gives what two equal filters give: the difference of both dates is 0
    chip = torch.zeros(1, 7, 64, 64)
    chip[:, 0], chip[:, 1] = 1.0, -1.0
    with torch.no_grad():
        assert float(network.encoder.conv1(chip).abs().max()) < 1e-6


def test_views_of_a_quantity_begin_with_the_same_filter_too(weights):
    names = (
        "vv_before@ascending",
        "vv_after@ascending",
        "vv_before@descending",
        "vv_after@descending",
        "dem",
    )
    network = build(SPEC.model_copy(update={"in_channels": 5}))
    same_filter_for_both_dates(network, names)
    first = network.encoder.conv1.weight.detach()
    assert all(torch.equal(first[:, 0], first[:, index]) for index in (1, 2, 3))
    assert not torch.equal(first[:, 0], first[:, 4])


def test_training_begins_with_them_and_the_protocol_paper_does_not(weights):
    own = training._initial((scene(),), SPEC.model_copy(update={"in_channels": 2}), None).encoder.conv1.weight
    assert torch.equal(own[:, 0], own[:, 1])
    published = build(SPEC.model_copy(update={"in_channels": 2})).encoder.conv1.weight
    assert not torch.equal(published[:, 0], published[:, 1])


def test_results_of_the_earlier_rule_are_not_answered():
    facts = CubeFacts(uri="x", area="x", digest="0" * 64, shape=(1, 1), simulated=True)

    def digest(protocol: str, initial: str) -> tuple[str, str]:
        network = NetworkSpec(in_channels=1, initial_weights=initial)
        trial = Trial(
            label="", inputs=Inputs(), network=network, protocol=protocol, seed=0, paper=PaperPlan()
        )
        task = TrialTask(cube="x", trial=trial)
        plain = {
            "trial": trial.model_dump(mode="json", exclude={"label"}),
            "cube": facts.digest,
            "protocol": "p",
        }
        from pipeline.records import digest_of_json

        return task.digest_on(facts, "p"), digest_of_json(plain)

    for protocol, initial, same in (
        ("paper", "imagenet", True),
        ("strict", "random", True),
        ("strict", "imagenet", False),
    ):
        now, before = digest(protocol, initial)
        assert (now == before) is same
