"""The stages of long work at a terminal, and how long each took."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column


class Stages:
    """Stages in order, each with its elapsed time; a live display on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓[/]"),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
            TextColumn(
                "{task.fields[note]}",
                style="dim",
                markup=False,
                table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1),
            ),
            console=console,
            expand=True,
        )
        self._current: TaskID | None = None
        self._began_s = time.monotonic()

    def __enter__(self) -> Stages:
        if self.console.is_terminal:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._finish()
        self._progress.stop()

    def begin(self, stage: str) -> None:
        """End the stage before this one and begin this one."""
        self._finish()
        self._current = self._progress.add_task(stage, total=1, note="")
        if not self.console.is_terminal:
            self.console.print(
                f"[{time.monotonic() - self._began_s:4.0f} s] {stage}", markup=False, highlight=False
            )

    def note(self, text: str) -> None:
        """Show a remark next to the running stage; only on a terminal."""
        if self._current is not None:
            self._progress.update(self._current, note=text)

    def _finish(self) -> None:
        if self._current is not None:
            self._progress.update(self._current, completed=1, note="")
