"""The processes of one training, and what they tell the one that starts them: progress, the result, an error."""

from __future__ import annotations

import logging
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context, set_forkserver_preload
from multiprocessing.connection import Connection
from typing import Any

from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from model.network.trainer.evaluations import Evaluations
from model.network.trainer.lightning_guard import (
    LOGGERS,
    DDPStrategy,
    MultiProcessingLauncher,
    lightning,
    torch,
)
from model.network.trainer.network_step import NetworkStep
from model.network.trainer.scene_batches import SceneBatches
from model.network.training_plan import Check
from pipeline.errors import ModelError, SlidecubeError
from pipeline.progress import Progress
from pipeline.records import Frozen

WAIT_S = 10.0
"""how long the last messages of processes that have ended are waited for"""


class Fitted(Frozen):
    """What a training gives besides the weights."""

    history: tuple[Check, ...]
    best: Check
    chips: int


class Messenger(lightning.Callback):
    """In each process: sets it up as the first one is, and sends what happens to the one that started it."""

    def __init__(self, sender: Connection, threads: int) -> None:
        self._sender, self._threads = sender, threads
        self._random = torch.get_rng_state()
        self._deterministic = torch.are_deterministic_algorithms_enabled()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Arrive in a process, where Lightning's remarks are kept out of the output too."""
        self.__dict__.update(state)
        warnings.simplefilter("ignore")
        for name in LOGGERS:
            logging.getLogger(name).setLevel(logging.ERROR)

    def progress(self, what: str, done: int, total: int | None = None, remark: str = "", /) -> None:
        """Send the progress."""
        self._sender.send((what, done, total, remark))

    def setup(self, trainer: lightning.Trainer, module: NetworkStep, stage: str) -> None:
        """Set the share of the cores, and what makes results repeatable; take weights of one's own.

        Tensors that a process is given lie in memory that it shares with the others.
        """
        for value in (*module.parameters(), *module.buffers()):
            value.data = value.data.clone(memory_format=torch.preserve_format)
        torch.set_num_threads(self._threads)
        torch.set_rng_state(self._random)
        torch.use_deterministic_algorithms(self._deterministic)
        torch.backends.cudnn.deterministic = True
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]

    def on_exception(self, trainer: lightning.Trainer, module: NetworkStep, exception: BaseException) -> None:
        """Send an error that a user can act on."""
        if isinstance(exception, SlidecubeError):
            self._sender.send(exception)


def fitted(trainer: lightning.Trainer) -> Fitted:
    """The result of a trainer in this process."""
    (evaluations,) = (one for one in trainer.callbacks if isinstance(one, Evaluations))
    data: SceneBatches = trainer.datamodule
    if evaluations.best is None:
        raise ModelError("Training made no step.")
    return Fitted(history=tuple(evaluations.history), best=evaluations.best, chips=data.chips)


class SharedStrategy(DDPStrategy):
    """Distributed data parallel in processes that this one starts; `fitted` is the result of the first of them."""

    fitted: Fitted | None = None

    def validation_step(self, *given: Any) -> Any:
        """Evaluate without the other processes, which have nothing to evaluate."""
        return self.lightning_module.validation_step(*given)

    def _configure_launcher(self) -> None:
        # a process that has used a GPU cannot be forked; without one, a server imports torch and Lightning once
        on_gpu = self.root_device.type == "cuda"
        if not on_gpu:
            set_forkserver_preload([__name__])
        self._launcher = _Launcher(self, start_method="spawn" if on_gpu else "forkserver")


class _Launcher(MultiProcessingLauncher):
    """Hands over the result with the weights.

    That it is a class of this module makes a new process import `torch_guard` before Lightning.
    """

    @property
    def is_interactive_compatible(self) -> bool:
        """Yes: what the processes run lies in modules."""
        return True

    def get_extra_results(self, trainer: lightning.Trainer) -> dict[str, Any]:
        """In the first of the processes."""
        return {**super().get_extra_results(trainer), "fitted": fitted(trainer)}

    def update_main_process_results(self, trainer: lightning.Trainer, extra: dict[str, Any]) -> None:
        """In the process that started them."""
        trainer.strategy.fitted = extra.pop("fitted")
        super().update_main_process_results(trainer, extra)


class Listener:
    """The other end: passes progress on while the processes train, and keeps their first error."""

    def __init__(self, progress: Progress) -> None:
        self._receiver, self.sender = get_context("spawn").Pipe(duplex=False)
        self._progress, self._ended = progress, threading.Event()
        self.error: Exception | None = None

    @contextmanager
    def listening(self, stop: Callable[[], None]) -> Iterator[None]:
        """Listen during the block.

        Args:
            stop: ends the processes.

        Raises:
            Exception: what a process raised, or the progress.
            ModelError: a process was killed, or raised what is no error of this project.
        """
        listener = threading.Thread(target=self._listen, args=(stop,), daemon=True)
        listener.start()
        try:
            yield
        except (ProcessRaisedException, ProcessExitedException) as cause:
            self._end(listener)
            raise self.error or _named(cause) from cause
        finally:
            self._end(listener)
            stop()
        if self.error is not None:
            raise self.error

    def _end(self, listener: threading.Thread) -> None:
        self._ended.set()
        listener.join(WAIT_S)

    def _listen(self, stop: Callable[[], None]) -> None:
        while self._receiver.poll(0 if self._ended.is_set() else 0.2) or not self._ended.is_set():
            if not self._receiver.poll():
                continue
            message = self._receiver.recv()
            if isinstance(message, Exception):
                self.error = self.error or message
            elif self.error is None:
                try:
                    self._progress(*message)
                except Exception as error:
                    self.error = error
                    stop()


def _named(cause: Exception) -> ModelError:
    last = str(cause).strip().splitlines()[-1]
    return ModelError(
        f"A process that trained with others failed: {last}", "Try again, or train with --processes 1."
    )


@contextmanager
def signals_kept() -> Iterator[lightning.Callback]:
    """A callback by which signals do during a training what they do without one.

    Lightning's trainer catches SIGTERM and waits for a batch, and makes an exit of an interrupt from the keyboard.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lightning.Callback()
        return
    interrupt, kept = signal.getsignal(signal.SIGINT), _SignalsKept(signal.getsignal(signal.SIGTERM))
    try:
        yield kept
    except SystemExit:
        if kept.interrupted:
            raise KeyboardInterrupt from None
        raise
    finally:
        signal.signal(signal.SIGINT, interrupt)


class _SignalsKept(lightning.Callback):
    def __init__(self, terminate: Any) -> None:
        self._terminate, self.interrupted = terminate, False

    def __getstate__(self) -> dict[str, Any]:
        """In another process a signal ends it."""
        return {"_terminate": signal.SIG_DFL, "interrupted": False}

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        signal.signal(signal.SIGTERM, self._terminate)

    def on_exception(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, exception: BaseException
    ) -> None:
        self.interrupted = isinstance(exception, KeyboardInterrupt)
