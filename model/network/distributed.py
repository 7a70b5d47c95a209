"""One training over several processes, one for each GPU, by torch's own distributed data parallel.

Every process draws the same random batch and trains on its own part of it; gradients are averaged. The number of
processes does not change a batch, with two exceptions: the loss is the mean over parts, and on a CPU batch
normalisation sees a part (on GPUs it is synchronised).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from model.network.torch_guard import torch
from pipeline.errors import ModelError

PATIENCE = timedelta(hours=1)
"""how long processes wait for the one that evaluates the network on the validation area"""
START_S = 600.0
"""how long they wait for each other to start"""
FAILURE_S = 30.0
"""how long the first process waits for the error of another one that has closed its connection; a loaded machine takes
more than 5 s to end it"""
_FAILED = (ProcessRaisedException, ProcessExitedException)


@dataclass(frozen=True)
class Group:
    """The rank of this process among those that train together."""

    rank: int = 0
    """from 0; the first process evaluates and keeps the network"""
    size: int = 1

    @property
    def part(self) -> slice:
        """Which chips of a batch this process trains on."""
        return slice(self.rank, None, self.size)

    def prepared(self, network: torch.nn.Module, device: torch.device) -> torch.nn.Module:
        """The network with the changes that training in several processes needs."""
        if self.size > 1 and device.type == "cuda":
            return torch.nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call, no-any-return]
        return network

    def shared(self, network: torch.nn.Module, device: torch.device) -> torch.nn.Module:
        """The network whose gradients are averaged over all processes; itself where there is one."""
        if self.size == 1:
            return network
        # a shallow encoder keeps the weights of the halvings that it does not use: static_graph allows for them
        return torch.nn.parallel.DistributedDataParallel(
            network,
            device_ids=[torch.cuda.current_device()] if device.type == "cuda" else None,
            static_graph=True,
        )

    def mean(self, value: torch.Tensor) -> float:
        """The mean of a number over all processes; all of them get it."""
        value = value.detach()
        if self.size > 1:
            value = value.clone()
            torch.distributed.all_reduce(value)
            value = value / self.size
        return float(value)


SINGLE = Group()


@contextmanager
def process_group(
    processes: int, on_gpus: bool, work: Callable[..., object], *arguments: Any
) -> Iterator[Group]:
    """Start `work(*arguments, group)` in other processes; this process is the first of the group.

    Args:
        processes: how many, this one included; 1: no other is started.
        work: a function of a module, whose arguments can be pickled.

    Raises:
        ModelError: there are fewer GPUs than processes, or another process failed.
    """
    if processes == 1:
        yield SINGLE
        return
    if on_gpus and torch.cuda.device_count() < processes:
        raise ModelError(
            f"{processes} processes need a GPU each, and there are {torch.cuda.device_count()}.",
            f"Train with --processes {max(1, torch.cuda.device_count())}.",
        )
    threads = torch.get_num_threads()
    with TemporaryDirectory(prefix="slidecube-") as folder:
        meeting = _Rendezvous(
            file=str(Path(folder) / "meeting"),
            processes=processes,
            on_gpus=on_gpus,
            threads=max(1, threads // processes),
        )
        others = torch.multiprocessing.start_processes(  # type: ignore[attr-defined, no-untyped-call]
            _other, (meeting, work, arguments), processes - 1, join=False
        )
        try:
            torch.set_num_threads(meeting.threads)
            meeting.join(0, lambda: others.join(timeout=0.1))
            yield Group(0, processes)
            while not others.join(timeout=1.0):
                pass
        except (RuntimeError, *_FAILED) as error:
            if (cause := _failure(others, error)) is error:
                raise
            raise cause from error
        finally:
            torch.set_num_threads(threads)
            for process in others.processes:
                process.terminate()
                process.join()
            if torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()


@dataclass(frozen=True)
class _Rendezvous:
    """How the processes of one training find each other."""

    file: str
    """the file through which they meet"""
    processes: int
    on_gpus: bool
    threads: int
    """CPU threads of each process"""

    def join(self, rank: int, watch: Callable[[], object]) -> None:
        """Wait for all processes, then join them. `watch` raises where one has failed.

        Raises:
            ModelError: not all of them start in time.
        """
        store = torch.distributed.FileStore(self.file, self.processes)  # type: ignore[attr-defined]
        store.set(f"ready {rank}", "yes")
        if rank == 0:
            began = time.monotonic()
            while not store.check([f"ready {other}" for other in range(self.processes)]):
                watch()
                if time.monotonic() - began > START_S:
                    raise ModelError(
                        f"Not all of {self.processes} processes have started after {START_S:.0f} s."
                    )
        torch.distributed.init_process_group(
            "nccl" if self.on_gpus else "gloo",
            store=store,
            rank=rank,
            world_size=self.processes,
            timeout=PATIENCE,
        )


def _other(
    index: int, meeting: _Rendezvous, work: Callable[..., object], arguments: tuple[object, ...]
) -> None:
    """The work of a further process."""
    rank = index + 1
    torch.set_num_threads(meeting.threads)
    if meeting.on_gpus:
        torch.cuda.set_device(rank)
    meeting.join(rank, lambda: None)
    try:
        work(*arguments, Group(rank, meeting.processes))
    finally:
        torch.distributed.destroy_process_group()


def _failure(others: Any, error: Exception) -> Exception:
    """The error that another process raised, if there is one; else the given error."""
    if isinstance(error, ModelError):
        return error
    if not isinstance(error, _FAILED):
        try:
            others.join(timeout=FAILURE_S)
        except _FAILED as cause:
            error = cause
        else:
            return error
    last = str(error).strip().splitlines()[-1]
    return ModelError(
        f"A process that trained with this one failed: {last}", "Try again, or train with --processes 1."
    )
