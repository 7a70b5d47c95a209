"""What Prefect's pages show of a flow run: the log of the libraries, and an error of ours as one sentence."""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec
from uuid import UUID

from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import FailedRun
from prefect.logging.handlers import APILogHandler
from prefect.states import Failed

from pipeline.archives.http.http_errors import without_secrets
from pipeline.errors import SlidecubeError

P = ParamSpec("P")

LIBRARIES = ("pipeline", "model")
"""loggers whose records go to the pages from INFO on; of other libraries what they warn of"""


class RunLog(APILogHandler):
    """Sends records to the run in which they arose; those of a library's own threads to `flow_run`."""

    def __init__(self, flow_run: UUID, level: int = logging.INFO) -> None:
        super().__init__(level=level)
        self.flow_run = flow_run

    def filter(self, record: logging.LogRecord) -> bool:
        """Name the run in the record: a thread without a context of Prefect has none."""
        task, flow = TaskRunContext.get(), FlowRunContext.get()
        if task is not None:
            record.task_run_id = task.task_run.id
            record.flow_run_id = task.task_run.flow_run_id or self.flow_run
        elif flow is not None and flow.flow_run is not None:
            record.flow_run_id = flow.flow_run.id
        else:
            record.flow_run_id = self.flow_run
        return super().filter(record)


class OthersLog(RunLog):
    """The same for warnings of other libraries, Python's own `warnings` among them, without tokens of addresses."""

    def __init__(self, flow_run: UUID) -> None:
        super().__init__(flow_run, logging.WARNING)

    def filter(self, record: logging.LogRecord) -> bool:
        """Leave out what has a handler of its own; make the message fit to be shown."""
        if record.name.partition(".")[0] in (*LIBRARIES, "prefect"):
            return False
        record.msg, record.args = without_secrets(record.getMessage()), ()
        return super().filter(record)


class _Installed:
    """The handlers of this process, while a flow runs; flows that run inside it use the same."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.flows = 0
        self.handler: RunLog | None = None
        self.others: OthersLog | None = None
        self.levels: dict[str, int] = {}

    def enter(self, flow_run: UUID) -> None:
        with self.lock:
            self.flows += 1
            if self.flows > 1:
                return
            self.handler = RunLog(flow_run)
            for name in LIBRARIES:
                logger = logging.getLogger(name)
                self.levels[name] = logger.level
                logger.setLevel(logging.INFO)
                logger.addHandler(self.handler)
            self.others = OthersLog(flow_run)
            logging.getLogger().addHandler(self.others)
            logging.captureWarnings(True)

    def leave(self) -> None:
        with self.lock:
            self.flows -= 1
            if self.flows or self.handler is None:
                return
            for name, level in self.levels.items():
                logging.getLogger(name).removeHandler(self.handler)
                logging.getLogger(name).setLevel(level)
            if self.others is not None:
                logging.getLogger().removeHandler(self.others)
            logging.captureWarnings(False)
            self.handler = self.others = None


_installed = _Installed()


@contextmanager
def library_log() -> Iterator[None]:
    """Send what slidecube logs from level INFO, and what other libraries warn of, to the pages of the current run."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        yield
        return
    _installed.enter(context.flow_run.id)
    try:
        yield
    finally:
        _installed.leave()


def in_pages(function: Callable[P, State[Any]]) -> Callable[P, State[Any]]:
    """The function of a flow, with the libraries' log in its pages, and failed by an error's sentence."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> State[Any]:
        with library_log():
            try:
                return function(*args, **kwargs)
            except SlidecubeError as error:
                return Failed(message=str(error), data=error)

    # Prefect resolves annotations by the module of what it gets, which is this one
    run.__signature__ = inspect.signature(function, eval_str=True)  # type: ignore[attr-defined]
    run.__annotations__ = inspect.get_annotations(function, eval_str=True)
    return run


def without_traceback(record: logging.LogRecord) -> bool:
    """A filter of Prefect's loggers: the traceback of an error that names its cause tells an operator nothing.

    Prefect repeats the error of a run when the process of the run ends; only the state and the task name it.
    """
    error = record.exc_info[1] if record.exc_info else None
    if not isinstance(error, (SlidecubeError, FailedRun)):
        return True
    record.exc_info = None
    return record.name == "prefect.task_runs"


for _name in ("prefect.flow_runs", "prefect.task_runs", "prefect.engine"):
    logging.getLogger(_name).addFilter(without_traceback)
