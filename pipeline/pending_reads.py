"""What zarr still reads when a read has failed.

zarr reads the chunks of an array at once, on an event loop in a thread of its own. It raises at the first chunk that
cannot be decoded, while the others still wait. Where the process ends then, asyncio prints lines for each of them.
"""

from __future__ import annotations

import asyncio
import atexit
import sys
from contextlib import suppress
from functools import cache

WAIT_S = 2.0
"""for what others may still need"""
CANCEL_S = 10.0
"""for a chunk that a thread is reading"""
STOP_S = 10.0


def wait_for_reads() -> None:
    """Give reads that were begun some time to end; nothing is cancelled, since other threads may need them."""
    _on_loop(cancel=False)


def cancel_reads() -> None:
    """End every read: the process has nothing more to do with them."""
    _on_loop(cancel=True)
    if "zarr.core.sync" in sys.modules:
        _stop_at_exit()


@cache
def _stop_at_exit() -> None:
    """Stop zarr's loop before zarr does, which waits 0.2 s for it and closes it in any case, with a traceback.

    What is registered last runs first, so that this is called once zarr has been imported.
    """
    atexit.register(_stop_loop)


def _stop_loop() -> None:
    module = sys.modules["zarr.core.sync"]
    loop, thread = module.loop[0], module.iothread[0]
    if loop is None or thread is None or loop.is_closed():
        return
    with suppress(RuntimeError):  # it was closed meanwhile
        loop.call_soon_threadsafe(loop.stop)
        thread.join(STOP_S)


def _on_loop(*, cancel: bool) -> None:
    module = sys.modules.get("zarr.core.sync")  # not imported for this: a command may not have read anything
    loop = None if module is None else module.loop[0]
    if loop is None or loop.is_closed() or not loop.is_running() or not asyncio.all_tasks(loop):
        return
    with suppress(Exception):  # the error that is being reported matters more
        asyncio.run_coroutine_threadsafe(_end(cancel), loop).result(CANCEL_S)


async def _end(cancel: bool) -> None:
    if not (left := asyncio.all_tasks() - {asyncio.current_task()}):
        return
    if cancel:
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
    else:
        await asyncio.wait(left, timeout=WAIT_S)
