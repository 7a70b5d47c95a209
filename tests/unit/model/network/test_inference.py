"""Streamed windows equal one prediction of the whole area; pixels without data; edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from model.experiments.recipes import SCREENING
from model.inputs.channel_statistics import Statistics
from model.inputs.windows import Box, taper, whole
from model.network.inference import NetworkProbability, predict
from model.network.network import build
from model.network.parts.losses import masked_loss
from model.network.torch_guard import torch
from model.network.training_plan import InferencePlan

STATISTICS = Statistics(channels=("dem", "slope"), mean=(0.5, -0.5), sd=(2.0, 1.0), pixels=1)
PLAN = InferencePlan(window_px=64, overlap_px=24, margin_px=4)


class Scene:
    def __init__(self, values):
        self.values, self.shape = values, values.shape[1:]
        self.reads = np.zeros(self.shape, int)

    def read(self, box):
        self.reads[box.slices] += 1
        return self.values[:, box.slices[0], box.slices[1]].copy()


def scene(height, width, seed=0):
    values = np.random.default_rng(seed).normal(size=(2, height, width)).astype(np.float32)
    return Scene(values)


def network(radius):
    """Convolutions with a receptive field of `radius` pixels around each pixel."""
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(2, 4, 1)]
    for _ in range(radius):
        layers += [torch.nn.Conv2d(4, 4, 3, padding=1), torch.nn.Tanh()]
    return torch.nn.Sequential(*layers, torch.nn.Conv2d(4, 1, 1))


def gathered(strips, area):
    out = np.full((area.height, area.width), -1.0, np.float32)
    expected = area.top
    for strip in strips:
        assert strip.box.top == expected  # each row once, from top to bottom
        expected = strip.box.bottom
        out[strip.box.top - area.top : strip.box.bottom - area.top] = strip.probability
    assert expected == area.bottom
    return out


def at_once(source, area, net):
    """One prediction of the area, padded to the network's stride at the right and below."""
    scaled, valid = STATISTICS.standardise(source.values[:, area.slices[0], area.slices[1]])
    padded = np.pad(scaled, ((0, 0), (0, -area.height % 32), (0, -area.width % 32)))
    with torch.inference_mode():
        full = torch.sigmoid(net(torch.from_numpy(padded[None])))[0, 0].numpy()
    return np.where(valid, full[: area.height, : area.width], np.nan)


@settings(max_examples=15, deadline=None)
@given(st.integers(64, 230), st.integers(64, 230), st.integers(0, 4))
def test_blended_windows_equal_the_whole_where_the_margin_holds_the_receptive_field(height, width, radius):
    source, net = scene(height, width), network(radius)
    area = whole(source.shape)
    got = gathered(
        predict(source, area, STATISTICS, NetworkProbability(net, torch.device("cpu")), PLAN), area
    )
    np.testing.assert_allclose(got, at_once(source, area, net), atol=2e-6)
    assert source.reads.max() == 1  # every pixel is read once


def reach_px(net):
    """The distance up to which other pixels affect a pixel, from the network's gradient."""
    side = 512
    values = torch.randn(1, 2, side, side, requires_grad=True)
    net(values)[0, 0, side // 2, side // 2].backward()
    rows, columns = np.nonzero(values.grad[0].abs().sum(0).numpy())
    return max(np.abs(rows - side // 2).max(), np.abs(columns - side // 2).max())


@pytest.mark.parametrize("architecture", ["unet", "unetplusplus"])
def test_a_network_with_halvings_leaves_no_seam(architecture):
    torch.manual_seed(0)
    spec = SCREENING.model_copy(update={"in_channels": 2, "architecture": architecture})
    net = build(spec).eval()
    reach = reach_px(net)
    margin = 32 * -(-reach // 32)
    plan = InferencePlan(window_px=4 * margin + 64, overlap_px=2 * margin, margin_px=margin)
    source = scene(plan.window_px + 131, plan.window_px + 77)
    area = whole(source.shape)
    got = gathered(
        predict(source, area, STATISTICS, NetworkProbability(net, torch.device("cpu")), plan), area
    )
    expected = at_once(source, area, net)
    np.testing.assert_allclose(got, expected, atol=2e-6)
    assert expected.std() > 1e-4
    # with a margin smaller than the receptive field there is a difference
    narrow = InferencePlan(window_px=4 * margin + 64, overlap_px=32, margin_px=0)
    seen = gathered(
        predict(source, area, STATISTICS, NetworkProbability(net, torch.device("cpu")), narrow), area
    )
    assert np.abs(seen - expected).max() > 1e-4


def test_no_data_stays_apart_and_every_valid_pixel_is_covered():
    source = scene(200, 150)
    source.values[:, :, :7] = np.nan
    source.values[:, 90:100, 60:80] = np.nan
    source.values[1, 5, 20] = np.nan
    area = whole(source.shape)
    strips = predict(source, area, STATISTICS, NetworkProbability(network(2), torch.device("cpu")), PLAN)
    got = gathered(strips, area)
    np.testing.assert_array_equal(np.isnan(got), ~np.isfinite(source.values).all(axis=0))


def test_an_area_is_predicted_from_its_own_pixels():
    source = scene(200, 200)
    area = Box(top=40, left=30, height=70, width=100)
    net = NetworkProbability(network(3), torch.device("cpu"))
    before = gathered(predict(source, area, STATISTICS, net, PLAN), area)
    outside = np.ones((200, 200), bool)
    outside[area.slices] = False
    assert not source.reads[outside].any()
    source.values[:, outside] = 1e6
    np.testing.assert_array_equal(before, gathered(predict(source, area, STATISTICS, net, PLAN), area))


@pytest.mark.parametrize("shape", [(33, 47), (1, 200), (20, 20)])
def test_a_scene_smaller_than_a_window_is_padded_and_cut(shape):
    source = scene(*shape)
    area = whole(source.shape)
    net = network(0)
    got = gathered(
        predict(source, area, STATISTICS, NetworkProbability(net, torch.device("cpu")), PLAN), area
    )
    np.testing.assert_allclose(got, at_once(source, area, net), atol=2e-6)


@given(st.integers(0, 20), st.integers(0, 40))
def test_neighbouring_weights_add_up_to_1(margin, ramp):
    overlap = 2 * margin + ramp
    size = max(2 * overlap, 8)
    left = taper(size, overlap, margin, first=True, last=False)
    right = taper(size, overlap, margin, first=False, last=True)
    if overlap:
        np.testing.assert_allclose(left[-overlap:] + right[:overlap], 1, atol=1e-6)
    assert (left[: size - overlap] == 1).all()


def test_a_plan_whose_margin_does_not_fit_is_refused():
    with pytest.raises(ValidationError, match="margin"):
        InferencePlan(window_px=64, overlap_px=24, margin_px=13)


def test_the_loss_ignores_what_does_not_count():
    logits = torch.randn(2, 8, 8)
    target = (torch.rand(2, 8, 8) > 0.5).float()
    mask = torch.rand(2, 8, 8) > 0.3
    loss = masked_loss(logits, target, mask, 1.0)
    changed = torch.where(mask, logits, torch.full_like(logits, 50.0))
    flipped = torch.where(mask, target, 1 - target)
    assert torch.equal(loss, masked_loss(changed, flipped, mask, 1.0))
    assert not torch.equal(loss, masked_loss(changed, flipped, torch.ones_like(mask), 1.0))
    assert masked_loss(logits, target, torch.zeros_like(mask), 0.0) == 0
