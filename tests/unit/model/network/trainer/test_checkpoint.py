"""A killed training goes on, and gives the very weights of one that was not killed."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model.network.torch_guard import torch
from model.network.trainer.checkpoint import CheckpointFiles
from model.network.training import train
from pipeline.errors import ModelError
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


def rows(checkpoint: Path) -> list[dict[str, str]]:
    """The evaluations that are written beside a checkpoint."""
    with (checkpoint.parent / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


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
    (file,) = tmp_path.glob("*/last.ckpt")
    assert [row["step"] for row in rows(file)] == ["6"]
    steps: list[int] = []
    again = train(scene(), SPEC, plan(checkpoints=tmp_path), 3, lambda stage, done, *_: steps.append(done))
    assert steps == [7, 8, 9, 10, 11, 12] and not file.exists()
    assert [row["step"] for row in rows(file)] == ["6", "12"]
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
    assert steps[0] == 1 and len(list(tmp_path.glob("*/last.ckpt"))) == 1


def test_a_damaged_file_is_not_used_and_no_pickle_is_opened(tmp_path):
    files, file = CheckpointFiles("a" * 64), tmp_path / "one" / "last.ckpt"
    assert not files.usable(file)
    files.save_checkpoint({"step": 3, "values": torch.ones(2)}, file)
    assert files.usable(file) and set(files.load_checkpoint(file)) == {"step", "values"}
    assert not CheckpointFiles("b" * 64).usable(file)
    whole = file.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"no checkpoint"):
        file.write_bytes(damaged)
        assert not files.usable(file)

    class Runs:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "ran"),))

    for content in ({"identity": "a" * 64, "bad": Runs()}, [1]):
        torch.save(content, file)
        assert not files.usable(file) and not (tmp_path / "ran").exists()
    for _ in range(2):
        files.remove_checkpoint(file)
    assert not file.parent.exists()


def test_a_flipped_byte_is_seen(tmp_path):
    files, file = CheckpointFiles("a" * 64), tmp_path / "last.ckpt"
    files.save_checkpoint({"values": torch.ones(10_000)}, file)
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 2] ^= 1
    file.write_bytes(whole)
    assert not files.usable(file)


def _without_weights(state: dict[str, Any]) -> None:
    del state["state_dict"]


def _odd_weights(state: dict[str, Any]) -> None:
    state["state_dict"] = {name: torch.ones(3) for name in state["state_dict"]}


def _odd_optimizer(state: dict[str, Any]) -> None:
    state["optimizer_states"] = [{"state": {}, "param_groups": []}]


def _odd_loops(state: dict[str, Any]) -> None:
    state["loops"] = {"fit_loop": 7}


def _no_state(state: dict[str, Any]) -> None:
    state.clear()


@pytest.mark.parametrize(
    "change",
    [_without_weights, _odd_weights, _odd_optimizer, _odd_loops, _no_state],
    ids=lambda one: one.__name__,
)
def test_malformed_content_of_the_right_training_is_named(
    tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    stopped_at(8, tmp_path)
    (file,) = tmp_path.glob("*/last.ckpt")
    state = torch.load(file, weights_only=True)
    identity = state["identity"]
    change(state)
    torch.save({**state, "identity": identity}, file)
    with pytest.raises(ModelError) as caught:
        train(scene(), SPEC, plan(checkpoints=tmp_path), 3)
    assert str(file) in caught.value.message and file.exists()


def test_where_it_is_kept_is_not_in_documents(tmp_path):
    assert "checkpoints" not in plan(checkpoints=tmp_path).model_dump(mode="json")
