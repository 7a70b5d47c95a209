"""Parallel work in processes of this machine, each with its share of the cores and its GPU."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


def run_each(
    work: Callable[..., R], tasks: Sequence[T], workers: int, *more: object
) -> Iterator[tuple[int, R]]:
    """Index and result of `work(task, *more)` of every task, in the order of completion; with one worker, in this
    process.

    Args:
        work: a function of a module, whose arguments can be pickled.
        workers: processes; the processor's cores are divided among them, and GPUs are taken in turn.

    Raises:
        Exception: what a task raised; the other tasks that have started are finished first.
    """
    if workers <= 1:
        for index, task in enumerate(tasks):
            yield index, work(task, *more)
        return
    threads = max(1, (os.cpu_count() or 1) // workers)
    context = get_context("spawn")
    numbers: Queue[int] = context.Queue()
    for number in range(workers):
        numbers.put(number)
    with ProcessPoolExecutor(workers, context, start_worker, (threads, numbers)) as pool:
        waiting = {pool.submit(work, task, *more): index for index, task in enumerate(tasks)}
        try:
            for future in as_completed(waiting):
                yield waiting[future], future.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def start_worker(threads: int, numbers: Queue[int]) -> None:
    """Set up a worker process.

    Args:
        numbers: one for each worker, from 0; it decides which GPU is used.
    """
    from model.network.torch_guard import torch

    torch.set_num_threads(threads)
    if gpus := torch.cuda.device_count():
        torch.cuda.set_device(numbers.get() % gpus)
