"""One training over several processes: it equals training in one process, and a failed process ends it."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

from model.inputs.channel_source import ScratchChannels
from model.network.batches import Batches
from model.network.network import build, log_odds
from model.network.parts.losses import masked_loss
from model.network.torch_guard import torch
from model.network.training import train
from model.network.training_plan import TrainingPlan
from pipeline.errors import ModelError
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


class BadSource:
    """Channels that another process cannot read, by an error or by being killed."""

    def __init__(self, source, kill):
        self.shape, self.values, self.kill, self.home = source.shape, source.values, kill, os.getpid()

    def read(self, box):
        if os.getpid() != self.home:
            if self.kill:
                os.kill(os.getpid(), signal.SIGKILL)
            raise ModelError("the scratch copy is gone")
        return self.values[:, box.slices[0], box.slices[1]].copy()


@pytest.mark.parametrize(("kill", "named"), [(False, "scratch copy is gone"), (True, "SIGKILL")])
def test_a_process_that_fails_ends_the_training_and_says_why(kill, named):
    plain = scene()
    bad = type(plain)(
        BadSource(plain.channels, kill), plain.labels, plain.usable, plain.split, plain.statistics
    )
    environment = dict(os.environ)
    with pytest.raises(ModelError, match=named):
        train(bad, SPEC, plan(**SHARED), 0)
    assert not torch.distributed.is_initialized() and dict(os.environ) == environment


def test_an_error_of_the_progress_ends_the_processes(scratch_scene):
    threads = torch.get_num_threads()

    def progress(*_):
        raise ModelError("the page is gone")

    with pytest.raises(ModelError, match="page is gone"):
        train(scratch_scene, SPEC, plan(**SHARED), 0, progress)
    assert torch.get_num_threads() == threads


def test_too_few_gpus_are_named(monkeypatch):
    monkeypatch.setattr("model.network.training.choose_device", lambda _: torch.device("cuda"))
    with pytest.raises(ModelError, match=r"64 processes .*GPU"):
        train(scene(), SPEC, plan(processes=64, batch=128), 0)
