"""The paper's network with its number of parameters, and two classes as log-odds."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from model.inputs import cubes
from model.network.architectures import ARCHITECTURES, Architecture, register
from model.network.network import build, log_odds, parameters, plan_as_run
from model.network.torch_guard import smp, torch
from model.network.training_plan import NetworkSpec, TrainingPlan
from pipeline.errors import ModelError


@pytest.mark.parametrize(
    ("architecture", "channels", "count"),
    [
        ("unetplusplus", 2, 48_982_754),
        ("unetplusplus", 4, 48_989_026),
        ("unetplusplus", 8, 49_001_570),
        ("unet", 2, 32_518_114),
    ],
)
def test_the_papers_networks_have_the_published_number_of_parameters(architecture, channels, count):
    spec = NetworkSpec(architecture=architecture, encoder="resnet50", in_channels=channels, classes=2)
    with torch.device("meta"):
        assert parameters(build(spec)) == count


@pytest.mark.parametrize("depth", [3, 4, 5])
@pytest.mark.parametrize("architecture", ["unet", "unetplusplus"])
def test_every_depth_gives_one_value_a_pixel(architecture, depth):
    spec = NetworkSpec(architecture=architecture, encoder_depth=depth, in_channels=3)
    network = build(spec).eval()
    with torch.inference_mode():
        assert log_odds(network(torch.zeros(1, 3, 32, 64))).shape == (1, 32, 64)


def test_two_classes_are_the_log_odds_of_their_softmax_and_their_cross_entropy_the_binary_one():
    generator = torch.Generator().manual_seed(0)
    output = torch.randn(2, 2, 4, 4, generator=generator)
    target = (torch.rand(2, 4, 4, generator=generator) < 0.5).long()
    torch.testing.assert_close(torch.sigmoid(log_odds(output)), torch.softmax(output, dim=1)[:, 1])
    torch.testing.assert_close(
        torch.nn.functional.cross_entropy(output, target),
        torch.nn.functional.binary_cross_entropy_with_logits(log_odds(output), target.float()),
    )


def test_the_decoder_wants_a_width_for_each_halving():
    with pytest.raises(ValidationError, match="decoder_channels"):
        NetworkSpec(encoder_depth=3, decoder_channels=(64, 32), in_channels=1)
    small = build(NetworkSpec(encoder_depth=3, decoder_channels=(32, 16, 8), in_channels=1))
    assert parameters(small) < parameters(build(NetworkSpec(encoder_depth=3, in_channels=1)))


def test_weights_that_cannot_be_had_are_an_error_that_names_the_encoder(monkeypatch):
    spec = NetworkSpec(encoder_depth=3, in_channels=2, initial_weights="imagenet")
    whole = smp.Unet

    def offline(encoder_weights=None, **options):
        if encoder_weights is not None:
            raise OSError("no network")
        return whole(encoder_weights=None, **options)

    monkeypatch.setattr(smp, "Unet", offline)
    with pytest.raises(ModelError, match="resnet18"):
        build(spec)
    pretrained = spec.model_copy(update={"initial_weights": "pretrained"})
    with pytest.raises(ModelError, match="pretraining"):
        build(pretrained)
    assert parameters(build(pretrained, pretrained=False)) > 0


def test_a_plan_names_the_precision_that_the_device_computes_in():
    plan = TrainingPlan(precision="bfloat16", device="cpu")
    assert plan_as_run(plan) == plan.model_copy(update={"precision": "float32"})
    assert plan_as_run(plan_as_run(plan)) == plan_as_run(plan)


def test_a_trial_or_a_bundle_is_named_after_the_precision_that_ran(monkeypatch):
    from model import api
    from model.experiments.results.results import Trial
    from model.experiments.substitutes import substitute_for
    from model.inputs.inputs import Inputs

    wanted = TrainingPlan(precision="bfloat16", device="cpu")
    spec = NetworkSpec(in_channels=1)
    trial = Trial(label="", inputs=Inputs(), network=spec, plan=wanted, protocol="strict", seed=0, fold=0)
    found, notes = substitute_for(trial)
    assert found.plan is not None and found.plan.precision == "float32" and notes == ()
    asked = []
    monkeypatch.setattr(
        api.cubes,
        "load",
        lambda cube: (None, cubes.CubeFacts(uri="a", area="a", digest="a", shape=(1, 1), simulated=True)),
    )
    monkeypatch.setattr(
        api, "once", lambda target, origin, *rest: asked.append(origin.options["plan.precision"])
    )
    api.train("a", api.TrainingRequest(plan=wanted, experiment=api.Experiment(inputs=Inputs())))
    assert asked == ["float32"]


class Plain(torch.nn.Module):
    """Three convolutions."""

    def __init__(self, in_channels: int, classes: int) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(in_channels, 8, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.Conv2d(8, classes, 3, padding=1),
        )

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.layers(values)


def test_a_network_of_ones_own_is_one_entry_and_no_other_class_can_be_named(monkeypatch):
    with pytest.raises(ValidationError):
        NetworkSpec(architecture="plain", in_channels=3)
    plain = Architecture(
        title="three convolutions", build=lambda sizes, _: Plain(sizes.in_channels, sizes.classes)
    )
    monkeypatch.setitem(ARCHITECTURES, "plain", plain)
    spec = NetworkSpec(architecture="plain", in_channels=3)
    network = build(spec)
    assert isinstance(network, Plain) and spec.in_words == "three convolutions"
    assert log_odds(network(torch.zeros(1, 3, 32, 64))).shape == (1, 32, 64)
    with pytest.raises(ModelError):
        build(spec.model_copy(update={"initial_weights": "imagenet"}))
    monkeypatch.delitem(ARCHITECTURES, "plain")
    with pytest.raises(ModelError, match="plain"):
        build(spec)


def test_a_name_is_registered_once():
    with pytest.raises(ValueError, match="unet"):
        register("unet", Architecture(title="another", build=lambda sizes, _: Plain(1, 1)))
    register("unet", ARCHITECTURES["unet"])


def test_a_narrow_unet_gives_what_the_whole_one_gives_with_a_tenth_of_its_weights():
    sizes = {"encoder_depth": 3, "decoder_channels": (64, 32, 16), "in_channels": 18}
    torch.manual_seed(0)
    whole = build(NetworkSpec(**sizes)).eval()
    torch.manual_seed(0)
    narrow = build(NetworkSpec(architecture="unet-narrow", **sizes)).eval()
    chips = torch.randn(1, 18, 32, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(narrow(chips), whole(chips))
    assert parameters(narrow) < 0.1 * parameters(whole)
