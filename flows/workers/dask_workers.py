"""Dask workers of a flow run: a cluster that starts here, or the workers of a running scheduler.

What Prefect's `DaskTaskRunner` leaves open is bounded and named here: a scheduler that is away, one without workers or
that loses them all, a task whose workers died.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal

from prefect.task_runners import ThreadPoolTaskRunner

from pipeline.errors import SettingsError, SlidecubeError

if TYPE_CHECKING:
    from distributed import Client
    from prefect.futures import PrefectFuture
    from prefect.task_runners import TaskRunner
    from prefect.tasks import Task
    from prefect_dask.task_runners import DaskTaskRunner

log = logging.getLogger(__name__)

Runner = Literal["threads", "dask"]
CONNECT_S = 20.0
"""longest wait for the answer of a Dask scheduler"""
WORKERS_WAIT_S = 120.0
"""longest wait for the first worker of a Dask scheduler, and for one after the last has gone"""
LOOK_S = 5.0
"""between two looks at whether any worker is left"""
SEND_S = 20.0
"""longest wait for lines and states that a worker has not sent to Prefect's server yet"""


def task_runner(runner: Runner, jobs: int, address: str | None, threads: int = 1) -> TaskRunner[Any]:
    """What runs tasks: threads of this process, a running Dask cluster, or one of `jobs` workers that starts here.

    `threads` is the number of tasks that a worker which starts here runs at once.

    Raises:
        SlidecubeError: `runner` is dask, and prefect-dask is not installed.
        SettingsError: no scheduler answers at `address`, or none of its workers is there within `WORKERS_WAIT_S`.
    """
    if runner == "threads":
        return ThreadPoolTaskRunner(max_workers=jobs)
    try:
        from prefect_dask.task_runners import DaskTaskRunner
    except ImportError as error:
        raise SlidecubeError(
            "Nothing can run on Dask: prefect-dask is not installed.",
            "Install the extra: pip install 'slidecube[dask]'; or use runner=threads.",
        ) from error
    if address:
        _ensure_workers(address)
        return DaskTaskRunner(address=address)
    return DaskTaskRunner(
        cluster_kwargs={"n_workers": jobs, "threads_per_worker": threads, "dashboard_address": "127.0.0.1:0"}
    )


def _ensure_workers(address: str) -> None:
    """Wait for a worker of a running scheduler: without one, tasks would wait for ever."""
    from distributed import Client

    log.info("waiting for a worker of the Dask scheduler %s", address)
    try:
        with Client(address, timeout=CONNECT_S, set_as_default=False) as client:  # type: ignore[no-untyped-call]
            client.wait_for_workers(1, timeout=WORKERS_WAIT_S)
    except TimeoutError as error:
        raise SettingsError(
            f"The Dask scheduler {address} has no worker.", f"Start one: dask worker {address}"
        ) from error
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"No Dask scheduler answers at {address} ({type(error).__name__}).",
            "Start one (`dask scheduler`) or correct the address, as in tcp://HOST:8786.",
        ) from error


class DaskWorkers:
    """The workers of a flow run, and the tasks that were given to them."""

    def __init__(self, runner: DaskTaskRunner) -> None:
        self._runner = runner
        self.client: Client = (
            runner.client
        )  # now: its first use starts the cluster, in whichever thread that is
        self._given: list[PrefectFuture[Any]] = []
        self._ended = threading.Event()
        self._gone = False
        """whether no worker was left for `WORKERS_WAIT_S`"""

    def submit(self, task: Task[..., Any], **parameters: Any) -> PrefectFuture[Any]:
        """Give a task to the workers; those given first are begun first."""
        future = self._runner.submit(task, parameters=parameters)
        self._given.append(future)
        if self._gone:
            self._drop()
        return future

    def objections(self, objection: Callable[..., str | None], *arguments: object) -> dict[str, str]:
        """What `objection` says of each worker that is there, by address; those of which it says None are left out."""
        said = self.client.run(objection, *arguments, on_error="return")
        return {str(where): str(words) for where, words in said.items() if words is not None}

    def loss_of(self, future: PrefectFuture[Any]) -> SlidecubeError | None:
        """The error of a task whose state no worker has brought back; None: one has."""
        dask = future.wrapped_future  # type: ignore[attr-defined]
        if dask.status == "finished":
            return None
        if self._gone:
            return SlidecubeError(
                f"No Dask worker was left for {WORKERS_WAIT_S:.0f} s.", "Start workers and run again."
            )
        if dask.status == "error":
            why = dask.exception()
            if type(why).__name__ != "KilledWorker":
                return SlidecubeError(f"Dask could not run it: {type(why).__name__}: {why!s:.500}")
            return SlidecubeError(
                "The Dask workers that built it died.", "Look at their memory and their logs."
            )
        return SlidecubeError(
            "The Dask scheduler lost it.", "See whether the scheduler is running, and run again."
        )

    def _drop(self) -> None:
        """Cancel what has not ended; what has not begun is then never begun."""
        waiting = [f.wrapped_future for f in self._given if not f.wrapped_future.done()]  # type: ignore[attr-defined]
        with suppress(OSError, TimeoutError):
            self.client.cancel(waiting, force=True)  # type: ignore[no-untyped-call]

    def _count(self) -> int:
        try:
            return len(self.client.nthreads())  # type: ignore[no-untyped-call]
        except Exception:  # the scheduler is away, which Dask says by errors of many types
            return 0

    def _watch(self) -> None:
        """Cancel every task once no worker has been there for too long: Dask itself would wait for ever."""
        seen = time.monotonic()
        while not self._ended.wait(LOOK_S):
            if self._count():
                seen = time.monotonic()
            elif time.monotonic() - seen >= WORKERS_WAIT_S and not self._gone:
                log.error("no Dask worker was left for %.0f s: what is not built is dropped", WORKERS_WAIT_S)
                self._gone = True
                self._drop()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        watch = threading.Thread(target=self._watch, name="dask-watch", daemon=True)
        watch.start()
        try:
            yield
        finally:
            self._ended.set()
            self._drop()
            watch.join(CONNECT_S)
            with suppress(Exception):  # the lines of a worker that is gone are gone with it
                self.client.run(_send, on_error="ignore")


async def _send() -> None:
    """On a worker: wait until its log and its states of tasks have gone to Prefect's server."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for service in (APILogWorker, EventsWorker):
        waits: Any = service.drain_all(timeout=SEND_S, at_exit=False)
        await waits


@contextmanager
def dask_workers(jobs: int, address: str | None, threads: int) -> Iterator[DaskWorkers]:
    """The workers of the scheduler at `address`, or of a cluster that starts here and ends with this block.

    At the end what has not begun is dropped.

    Raises: as `task_runner` does.
    """
    with task_runner("dask", jobs, address, threads) as runner:
        workers = DaskWorkers(runner)  # type: ignore[arg-type]
        with workers._watched():
            yield workers
