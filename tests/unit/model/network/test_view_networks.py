"""The networks that are tried beside the U-Net: a level at full resolution, and one encoder for both directions."""

from __future__ import annotations

import pytest
import torch

from model.inputs.channel import DIRECTIONS
from model.inputs.inputs import Inputs
from model.network.architectures import ARCHITECTURES
from model.network.network import build
from model.network.training_plan import NetworkSpec
from model.network.view_networks import SharedViews, mirrored

INPUTS = Inputs(track="both", views="any", change=("log_ratio",))


def spec(architecture: str, channels: tuple[str, ...] = INPUTS.channels) -> NetworkSpec:
    plain = NetworkSpec(
        architecture=architecture, encoder_depth=3, decoder_channels=(32, 16, 8), in_channels=1
    )
    return plain.on(channels)


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_every_network_gives_a_value_a_pixel_and_learns_in_every_part(architecture):
    torch.manual_seed(0)
    network = build(spec(architecture))
    values = torch.randn(2, len(INPUTS.channels), 64, 96)
    found = network(values)
    assert found.shape == (2, 1, 64, 96)
    found.square().mean().backward()
    learned = {
        name.partition(".")[0] for name, weight in network.named_parameters() if weight.grad is not None
    }
    assert learned == {name.partition(".")[0] for name, _ in network.named_parameters()}


def test_channels_are_named_for_networks_that_need_them_alone():
    assert spec("unet").channels == () and "channels" not in spec("unet").model_dump()
    assert spec("unet-views").channels == INPUTS.channels
    again = NetworkSpec.model_validate_json(spec("unet-views").model_dump_json())
    build(again)
    with pytest.raises(ValueError, match="two views"):
        build(spec("unet-views", Inputs().channels))


def test_one_encoder_sees_both_directions_alike():
    """With the views exchanged and all mirrored, the output is the mirrored one."""
    torch.manual_seed(0)
    network = build(spec("unet-views")).eval()
    assert isinstance(network, SharedViews)
    names = INPUTS.channels
    other_view = {f"@{one}": f"@{two}" for one, two in (DIRECTIONS, DIRECTIONS[::-1])}
    swapped = [
        names.index(name.partition("@")[0] + other_view.get(f"@{name.partition('@')[2]}", ""))
        for name in names
    ]
    values = torch.randn(1, len(names), 32, 256)
    for name in ("seen@ascending", "seen@descending"):
        values[:, names.index(name)] = 1.0
    other = values[:, swapped].clone()
    other[:, names.index("aspect_sin")] *= -1
    with torch.inference_mode():
        first, second = network.features(values), network.features(mirrored(other))
    for one, two in zip(first[1:], second[1:], strict=True):
        edge = one.shape[-1] // 4  # the edge column stands for one that is outside
        inner = (..., slice(None), slice(edge, -edge))
        torch.testing.assert_close(mirrored(two)[inner], one[inner], rtol=1e-4, atol=1e-4)


def test_an_absent_view_has_no_part_in_the_features():
    torch.manual_seed(0)
    network = build(spec("unet-views")).eval()
    names = list(INPUTS.channels)
    values = torch.randn(1, len(names), 64, 64)
    values[:, names.index("seen@ascending")] = 0.0
    values[:, names.index("seen@descending")] = 1.0
    changed = values.clone()
    for index, name in enumerate(names):
        if name.endswith("@ascending") and not name.startswith("seen"):
            changed[:, index] += 1.0
    with torch.inference_mode():
        torch.testing.assert_close(network(values), network(changed))
