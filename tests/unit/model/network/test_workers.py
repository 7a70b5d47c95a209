"""Parallel trials: every worker has its own GPU if there are enough."""

from __future__ import annotations

import os
from queue import Queue

import pytest

from model.network.torch_guard import torch
from model.network.workers import run_each, start_worker


def doubled(number: int, more: int) -> tuple[int, int, int]:
    if number < 0:
        raise ValueError(f"{number} cannot be doubled")
    return 2 * number + more, torch.get_num_threads(), os.getpid()


def test_results_come_with_the_place_of_their_task():
    found = dict(run_each(doubled, [5, 6, 7], 2, 1))
    assert {index: value for index, (value, _, _) in found.items()} == {0: 11, 1: 13, 2: 15}
    assert {threads for _, threads, _ in found.values()} == {max(1, (os.cpu_count() or 1) // 2)}
    assert os.getpid() not in {process for _, _, process in found.values()}
    assert [value for _, (value, _, _) in run_each(doubled, [5, 6], 1, 0)] == [10, 12]


def test_an_error_of_a_task_is_raised():
    with pytest.raises(ValueError, match="-1 cannot be doubled"):
        list(run_each(doubled, [1, -1], 2, 0))


def test_workers_take_gpus_in_turn(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    taken = []
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    numbers: Queue[int] = Queue()
    for number in range(3):
        numbers.put(number)
        start_worker(torch.get_num_threads(), numbers)  # type: ignore[arg-type]
    assert taken == [0, 1, 0]
