"""Training: repeatable, on one scene or several, by the recipe that the plan names."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from model.inputs.channel_statistics import Statistics
from model.inputs.windows import Box
from model.network.batches import Batches
from model.network.inference import NetworkProbability
from model.network.torch_guard import torch
from model.network.training import predictions, train
from model.network.training_plan import NetworkSpec, TrainingPlan
from model.network.training_scene import Scene
from model.split.split import Split
from pipeline.errors import ModelError

SPEC = NetworkSpec(encoder_depth=3, decoder_channels=(32, 16, 8), in_channels=2)
CPU = torch.device("cpu")
CHANNELS = ("vv_before", "vv_after")


def plan(**changes):
    plain = {"chip_px": 32, "stride_px": 16, "steps": 12, "batch": 4, "validate_every": 6, "device": "cpu"}
    return TrainingPlan.model_validate(plain | changes)


class Source:
    """VV rises where there is a landslide, by `step`."""

    def __init__(self, labels, seed, step):
        rng = np.random.default_rng(seed)
        self.shape = labels.shape
        before, after = rng.standard_normal((2, *self.shape))
        self.values = np.stack([before, after + step * (labels == 1)]).astype(np.float32)
        self.values[:, :, :3] = np.nan

    def read(self, box):
        return self.values[:, box.slices[0], box.slices[1]].copy()


def scene(seed=0, step=3.0, landslides=True):
    labels = np.zeros((160, 128), np.uint8)
    if landslides:
        for top, left in itertools.product(range(4, 160, 20), range(6, 128, 20)):
            labels[top : top + 6, left : left + 5] = 1
    labels[:, -4:] = 255
    source = Source(labels, seed, step)
    split = Split(
        train=(Box(top=0, left=0, height=80, width=128),),
        validation=(Box(top=88, left=0, height=72, width=60),),
        test=(Box(top=88, left=68, height=72, width=60),),
        buffer_px=8,
    )
    usable = np.isfinite(source.values[0])
    return Scene(source, labels, usable, split, Statistics.of(source, CHANNELS, split.train))


def weights(trained):
    return trained.network.state_dict()


RECIPES = {
    "default": {},
    "the paper's": {
        "sampling": "fixed chips",
        "optimiser": "adam",
        "schedule": "constant",
        "dice_weight": 0.0,
    },
    "careful": {"augmentation": ("mirror along track", "gain"), "ema_decay": 0.8},
}


@pytest.mark.parametrize("name", RECIPES)
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(name):
    first, second, other = (train(scene(), SPEC, plan(**RECIPES[name]), seed) for seed in (1, 1, 2))
    assert first.history == second.history and len(first.history) == 2
    for key, value in weights(first).items():
        assert torch.equal(value, weights(second)[key]), key
    assert any(not torch.equal(value, weights(other)[key]) for key, value in weights(first).items())


def test_a_network_learns_what_there_is_to_learn_and_two_classes_learn_as_one():
    for classes in (1, 2):
        spec = SPEC.model_copy(update={"classes": classes})
        trained = train(scene(), spec, plan(steps=60, validate_every=20, learning_rate=5e-3), 0)
        assert trained.best.validation_auprc > 0.7
        score, truth = predictions(scene(), scene().split.test, NetworkProbability(trained.network, CPU))
        assert score[truth].mean() > 3 * score[~truth].mean()


def test_what_is_kept_is_the_mean_of_the_weights_where_one_is_asked_for(monkeypatch):
    seen = []
    update = torch.optim.swa_utils.AveragedModel.update_parameters

    def watched(self, network):
        update(self, network)
        seen.append((network.state_dict()["network.encoder.conv1.weight"].clone(), self.module))

    monkeypatch.setattr(torch.optim.swa_utils.AveragedModel, "update_parameters", watched)
    trained = train(scene(), SPEC, plan(steps=6, ema_decay=0.5), 0)
    assert len(seen) == 6
    kept = weights(trained)["encoder.conv1.weight"]
    expected = seen[0][0]
    for count, (last, _) in enumerate(seen[1:], start=1):
        kept_share = min(0.5, (1 + count) / (10 + count))  # the first steps decay faster
        expected = kept_share * expected + (1 - kept_share) * last
    torch.testing.assert_close(kept, expected)
    running = weights(trained)["encoder.bn1.running_var"]
    assert not torch.equal(running, torch.ones_like(running))


def test_several_scenes_take_turns_and_are_judged_by_the_mean_of_their_scores():
    scenes = [scene(0), scene(1, step=0.0)]
    drawn = Batches(scenes, plan(batch=2), np.random.default_rng(0), CPU)
    read = [0, 0]
    for number, one in enumerate(scenes):

        def counted(box, number=number, inner=one.channels.read):
            read[number] += 1
            return inner(box)

        one.channels.read = counted
    for _ in drawn.take(60):
        pass
    assert sum(read) == 120 and min(read) > 40
    trained = train([scene(0), scene(1, step=0.0)], SPEC, plan(), 3)
    alone = []
    for one in (scene(0), scene(1, step=0.0)):
        score, truth = predictions(one, one.split.validation, NetworkProbability(trained.network, CPU))
        order = np.argsort(-score, kind="stable")
        alone.append(float((np.cumsum(truth[order]) / np.arange(1, len(order) + 1))[truth[order]].mean()))
    assert trained.best.validation_auprc == pytest.approx(np.mean(alone), abs=2e-3)


def test_the_chips_of_a_batch_are_of_several_scenes():
    scenes = [scene(number) for number in range(3)]
    for number, one in enumerate(scenes):
        one.channels.values[0] = number  # tells of which scene a chip is
    flat = Statistics(channels=CHANNELS, mean=(0.0, 0.0), sd=(1.0, 1.0), pixels=1)
    scenes = [replace(one, statistics=flat) for one in scenes]
    wanted = plan(batch=8, augmentation=())

    def scenes_of(recipe):
        drawn = Batches(scenes, recipe, np.random.default_rng(0), CPU).take(100)
        return np.array([inputs[:, 0].amax(dim=(1, 2)).numpy() for inputs, _, _ in drawn])

    found = scenes_of(wanted)
    assert found.shape == (100, 8)
    shares = [(found == number).mean() for number in range(3)]
    assert shares == pytest.approx([1 / 3] * 3, abs=0.05)
    assert np.mean([len(set(batch)) > 1 for batch in found]) > 0.9
    fixed = scenes_of(wanted.model_copy(update={"sampling": "fixed chips"}))
    assert all(len(set(batch)) == 1 for batch in fixed)


def test_a_part_of_a_batch_of_several_scenes_holds_chips_of_the_whole_batch():
    def batches(part):
        one = Batches([scene(0), scene(1)], plan(), np.random.default_rng(3), CPU, part=part)
        return list(one.take(5))

    for whole, *parts in zip(*map(batches, (slice(None), slice(0, 2), slice(2, 4))), strict=True):
        for index in (0, 1, 2):
            rows = {tuple(chip.flatten().tolist()) for chip in torch.cat([part[index] for part in parts])}
            assert rows == {tuple(chip.flatten().tolist()) for chip in whole[index]}


@pytest.mark.parametrize("name", RECIPES)
def test_scenes_held_on_a_device_give_the_batches_that_reading_by_chips_gives(name):
    recipe = plan(**RECIPES[name])
    streamed, resident = (
        list(Batches([scene(0), scene(1)], recipe, np.random.default_rng(5), CPU, resident=resident).take(8))
        for resident in (False, True)
    )
    for one, other in zip(streamed, resident, strict=True):
        for a, b in zip(one, other, strict=True):
            assert torch.equal(a, b)
            assert a.dtype == b.dtype
        assert one[0].is_contiguous(memory_format=torch.channels_last)
        assert other[0].is_contiguous(memory_format=torch.channels_last)


def test_fixed_chips_are_each_seen_once_an_epoch():
    one = scene()
    batches = Batches(
        [one], plan(sampling="fixed chips", augmentation=(), batch=2), np.random.default_rng(0), CPU
    )
    seen = [float(chip.sum()) for inputs, _, _ in batches.take(batches.chips) for chip in inputs]
    counts = {value: seen.count(value) for value in seen}
    assert len(counts) == batches.chips and set(counts.values()) == {2}


def test_a_fault_while_the_next_batch_is_read_stops_the_training():
    one = scene()
    inner, calls = one.channels.read, itertools.count()

    def read(box):
        if next(calls) > 5:
            raise ModelError("The scratch copy is gone.")
        return inner(box)

    one.channels.read = read
    with pytest.raises(ModelError, match="scratch copy is gone"):
        train(one, SPEC, plan(), 0)


def test_a_scene_without_landslides_is_refused():
    with pytest.raises(ModelError, match="No chip"):
        train(scene(landslides=False), SPEC, plan(), 0)
