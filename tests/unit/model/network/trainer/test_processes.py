"""One training over several processes: it equals training in one process, and a failed process ends it."""

from __future__ import annotations

import numpy as np
import pytest

from model.inputs.channel_source import ScratchChannels
from model.network.batches import Batches
from model.network.network import build, log_odds
from model.network.parts.losses import masked_loss
from model.network.torch_guard import torch
from model.network.training import train
from model.network.training_plan import TrainingPlan
from tests.unit.model.network.test_training import CHANNELS, SPEC, plan, scene

CPU = torch.device("cpu")
HALVES = slice(0, None, 2), slice(1, None, 2)
SHARED = {"processes": 2, "batch": 8, "steps": 2, "validate_every": 6, "augmentation": ("gain",)}


@pytest.fixture
def scratch_scene(tmp_path):
    """A scene whose channels lie in a scratch file without a name, as in every training."""
    plain = scene()
    return type(plain)(
        ScratchChannels(plain.channels, len(CHANNELS), tmp_path),
        plain.labels,
        plain.usable,
        plain.split,
        plain.statistics,
    )


def averaged_by_hand(one, wanted, seed):
    """The same steps in one process: the gradients of both halves of each batch, averaged."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build(SPEC)
    optimiser = torch.optim.AdamW(
        network.parameters(), wanted.learning_rate, weight_decay=wanted.weight_decay
    )
    for batch in Batches([one], wanted, np.random.default_rng(seed), CPU).take(wanted.steps):
        optimiser.zero_grad()
        for part in HALVES:
            inputs, targets, masks = (values[part] for values in batch)
            loss = masked_loss(log_odds(network(inputs)), targets, masks, wanted.dice_weight)
            (loss / 2).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
    return network


def test_two_processes_learn_what_the_mean_of_their_gradients_teaches(scratch_scene):
    wanted = plan(**SHARED, schedule="constant", ema_decay=None, learning_rate=1e-3)
    start = flat(build_at(3))
    by_hand = flat(averaged_by_hand(scratch_scene, wanted, 3)) - start
    shared, again, alone = (
        flat(train(scratch_scene, SPEC, wanted.model_copy(update={"processes": count}), 3).network) - start
        for count in (2, 2, 1)
    )
    assert torch.equal(shared, again)
    # Adam makes a full step even for a gradient of rounding errors: compare all weights by their norm
    assert (shared - by_hand).norm() < 0.02 * by_hand.norm()
    assert (alone - by_hand).norm() > 0.3 * by_hand.norm()  # normalised over the whole batch


def flat(network):
    """(weight,) all of them."""
    return torch.cat([value.detach().flatten() for value in network.parameters()])


def build_at(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build(SPEC)


def test_what_is_learned_together_is_learned(scratch_scene):
    steps = []
    wanted = plan(**{**SHARED, "steps": 40, "validate_every": 20}, learning_rate=5e-3)
    trained = train(scratch_scene, SPEC, wanted, 0, lambda *given: steps.append(given[1]))
    assert steps == [*range(1, 41)]
    assert trained.best.validation_auprc > 0.7
    assert not torch.distributed.is_initialized()


def test_the_parts_of_a_batch_are_the_whole_of_it(scratch_scene):
    wanted = plan(batch=8, augmentation=("mirror along track", "gain"))
    parts = [slice(None), *HALVES]
    drawn = [
        next(Batches([scratch_scene], wanted, np.random.default_rng(5), CPU, part=part).take(1))
        for part in parts
    ]
    for whole, first, second in zip(*drawn, strict=True):
        assert torch.equal(whole[0::2], first) and torch.equal(whole[1::2], second)


def test_a_batch_that_cannot_be_shared_is_refused():
    for batch, processes in ((9, 2), (4, 4)):
        with pytest.raises(ValueError, match="shared evenly"):
            TrainingPlan(batch=batch, processes=processes)
