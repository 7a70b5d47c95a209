"""A killed training goes on, and gives the very weights of one that was not killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from model.network.parts.checkpoint import Checkpoint
from model.network.torch_guard import torch
from model.network.training import train
from tests.unit.model.network.test_training import SPEC, plan, scene

PROJECT = Path(__file__).resolve().parents[5]
KILLED = """
import sys, time
from pathlib import Path
from model.network.training import train
from tests.unit.model.network.test_training import SPEC, plan, scene

def progress(stage, done, total=None, remark="", /):
    if done == 9:  # after the evaluation of step 6, in the middle of what follows
        print("waiting", flush=True)
        time.sleep(600)

train(scene(), SPEC, plan(checkpoints=Path(sys.argv[1])), 3, progress)
"""


class StoppedError(Exception):
    """Ends a training from its progress."""


def test_a_killed_training_goes_on_and_gives_the_same_weights(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None and child.stdout.readline() == "waiting\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    (file,) = tmp_path.iterdir()
    steps: list[int] = []
    again = train(scene(), SPEC, plan(checkpoints=tmp_path), 3, lambda stage, done, *_: steps.append(done))
    assert steps == [7, 8, 9, 10, 11, 12] and not file.exists()
    whole = train(scene(), SPEC, plan(), 3)
    assert again.history == whole.history and again.best == whole.best
    ours, theirs = again.network.state_dict(), whole.network.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def stopped_at(step: int, folder: Path, seed: int = 3, **changes: object) -> None:
    def progress(stage: str, done: int, *_: object) -> None:
        if done == step:
            raise StoppedError

    with pytest.raises(StoppedError):
        train(scene(), SPEC, plan(checkpoints=folder, **changes), seed, progress)


def test_another_training_does_not_take_it(tmp_path):
    stopped_at(8, tmp_path)
    steps: list[int] = []
    train(scene(), SPEC, plan(checkpoints=tmp_path), 4, lambda stage, done, *_: steps.append(done))
    assert steps[0] == 1 and len(list(tmp_path.iterdir())) == 1


def test_a_damaged_file_is_not_used_and_no_pickle_is_opened(tmp_path, caplog):
    checkpoint = Checkpoint(tmp_path, "a" * 64)
    checkpoint.write({"step": 3, "values": torch.ones(2)})
    found = checkpoint.read()
    assert found is not None and found["step"] == 3
    assert Checkpoint(tmp_path, "a" * 24 + "b" * 40).read() is None  # the same name, another training
    whole = checkpoint.file.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"no checkpoint"):
        checkpoint.file.write_bytes(damaged)
        assert checkpoint.read() is None

    class Runs:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "ran"),))

    torch.save({"identity": "a" * 64, "bad": Runs()}, checkpoint.file)
    assert checkpoint.read() is None and not (tmp_path / "ran").exists()
    checkpoint.remove()
    checkpoint.remove()


def test_where_it_is_kept_is_not_in_documents(tmp_path):
    assert "checkpoints" not in plan(checkpoints=tmp_path).model_dump(mode="json")
