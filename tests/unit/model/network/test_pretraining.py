"""Pretraining without labels, training with few labels, and the mean of several predictions."""

from __future__ import annotations

import numpy as np
import pytest

from model.inputs.channel_statistics import Statistics
from model.inputs.windows import Box
from model.network.ensemble import Ensemble, MirrorMean, mean_probability
from model.network.network import build
from model.network.pretraining import (
    FewerLabels,
    PretrainingOrigin,
    PretrainingPlan,
    keep_labels,
    load,
    pretrain,
    save,
)
from model.network.torch_guard import torch
from model.network.training import train
from model.network.training_plan import NetworkSpec, TrainingPlan
from model.network.training_scene import Scene
from model.split.split import Split
from pipeline.errors import ModelError

SPEC = NetworkSpec(encoder_depth=3, decoder_channels=(32, 16, 8), in_channels=2)
SPLIT = Split(
    train=(Box(top=0, left=0, height=128, width=192),),
    validation=(Box(top=160, left=0, height=96, width=96),),
    test=(Box(top=160, left=120, height=96, width=96),),
    buffer_px=16,
)


class Source:
    """Two channels that are smooth and nearly equal: one can be filled in from the other."""

    shape = (256, 256)

    def __init__(self):
        rng = np.random.default_rng(0)
        field = np.cumsum(np.cumsum(rng.standard_normal(self.shape), axis=0), axis=1)
        field = (field - field.mean()) / field.std()
        self.values = np.stack([field, field + 0.1 * rng.standard_normal(self.shape)]).astype(np.float32)
        self.seen = np.zeros(self.shape, bool)

    def read(self, box):
        self.seen[box.slices] = True
        return self.values[:, box.slices[0], box.slices[1]].copy()


def scene():
    labels = np.zeros(Source.shape, np.uint8)
    labels[::16, ::7] = 1
    statistics = Statistics(channels=("vv_before", "aspect_cos"), mean=(0, 0), sd=(1, 1), pixels=1)
    return Scene(Source(), labels, np.ones(labels.shape, bool), SPLIT, statistics)


def test_pretraining_learns_to_fill_in_and_reads_nothing_but_the_training_area():
    short = pretrain([scene()], SPEC, PretrainingPlan(steps=2, chip_px=32, batch=4), 0)
    one = scene()
    long = pretrain([one], SPEC, PretrainingPlan(steps=60, chip_px=32, batch=4), 0)
    assert long.loss < 0.6 * short.loss
    assert long.loss < 0.5  # a constant prediction has about 1
    assert not one.channels.seen[128:].any() and not one.channels.seen[:, 192:].any()


def test_pretrained_weights_are_where_training_starts():
    weights = pretrain([scene()], SPEC, PretrainingPlan(steps=3, chip_px=32, batch=4), 0).weights
    assert not any(name.startswith("segmentation_head") for name in weights)
    assert set(weights) < set(build(SPEC).state_dict())
    plan = TrainingPlan(chip_px=32, stride_px=16, steps=1, batch=2, learning_rate=1e-12, weight_decay=0)
    started = train(scene(), SPEC, plan, 0, start=weights).network.state_dict()
    name = "encoder.conv1.weight"
    torch.testing.assert_close(started[name], weights[name], atol=1e-6, rtol=0)
    assert not torch.allclose(train(scene(), SPEC, plan, 0).network.state_dict()[name], weights[name])


@pytest.mark.parametrize("seed", range(4))
def test_fewer_labels_are_a_connected_part_that_grows_with_the_share(seed):
    one = scene()
    area = SPLIT.train_mask(one.labels.shape)
    before = np.zeros_like(area)
    for share in (0.05, 0.1, 0.2, 1.0):
        kept = keep_labels(area, one.labels, share, seed)
        assert share <= kept.sum() / area.sum() < share + 0.06
        assert (kept & ~area).sum() == 0 and (before & ~kept).sum() == 0
        assert (one.labels[kept] == 1).any()
        before = kept
    parts = FewerLabels(SPLIT, keep_labels(area, one.labels, 0.1, seed))
    np.testing.assert_array_equal(parts.closed_mask(area.shape), ~area)


def test_the_mean_of_networks_is_that_of_their_log_odds():
    low, high = np.full((32, 32), 0.1, np.float32), np.full((32, 32), 0.9, np.float32)
    np.testing.assert_allclose(mean_probability([low, high]), 0.5, atol=1e-6)
    np.testing.assert_allclose(
        Ensemble([lambda x: low, lambda x: low])(np.zeros((1, 32, 32))), 0.1, rtol=1e-5
    )
    assert np.isfinite(mean_probability([np.zeros((2, 2), np.float32), np.ones((2, 2), np.float32)])).all()


def test_mirrored_views_turn_the_north_component_and_turn_the_answer_back():
    def north(inputs):
        rows = np.linspace(-1, 1, inputs.shape[1], dtype=np.float32)[:, None]
        return 1 / (1 + np.exp(-(inputs[0] + rows * inputs[1])))

    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((2, 32, 32)).astype(np.float32)
    # a rule that is the same for a scene and its mirror: the mean is the rule itself
    np.testing.assert_allclose(
        MirrorMean(north, ("vv_before", "aspect_cos"))(inputs), north(inputs), rtol=1e-4
    )
    # if the sign of a channel is not flipped, it is not
    assert np.abs(MirrorMean(north, ("vv_before", "slope"))(inputs) - north(inputs)).max() > 0.05


def test_pretrained_weights_come_back_from_their_folder_for_the_same_inputs_and_network_only(tmp_path):
    plan, channels = PretrainingPlan(steps=2, chip_px=32, batch=2), ("vv_before", "aspect_cos")
    made = pretrain([scene()], SPEC, plan, 0)
    folder = tmp_path / "pretrained"
    written = save(made, PretrainingOrigin(network=SPEC, channels=channels, plan=plan, seed=0), folder)
    tensors, document = load(folder, SPEC.model_copy(update={"classes": 2}), channels)
    assert document == written
    assert tensors.keys() == made.weights.keys()
    assert all(torch.equal(tensors[name], made.weights[name]) for name in tensors)
    with pytest.raises(ModelError, match=r"vv_before, aspect_cos.*aspect_cos, vv_before"):
        load(folder, SPEC, channels[::-1])
    with pytest.raises(ModelError, match="other sizes"):
        load(folder, SPEC.model_copy(update={"decoder_channels": (16, 16, 8)}), channels)
    data = bytearray((folder / "weights.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "weights.safetensors").write_bytes(data)
    with pytest.raises(ModelError, match=r"pretraining\.json"):
        load(folder, SPEC, channels)
    (folder / "weights.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelError, match="safetensors"):
        load(folder, SPEC, channels)


def test_weights_of_another_network_are_no_start():
    plan = TrainingPlan(chip_px=32, stride_px=16, steps=2, batch=2, device="cpu")
    other = build(SPEC.model_copy(update={"decoder_channels": (16, 16, 8)})).state_dict()
    with pytest.raises(ModelError, match="another network"):
        train(scene(), SPEC, plan, 0, start=other)
    with pytest.raises(ModelError, match="another network"):
        train(scene(), SPEC, plan, 0, start={"encoder.bn1.bias": torch.zeros(64)})
