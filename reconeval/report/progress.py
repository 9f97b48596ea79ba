"""A progress bar on a terminal, nothing in a log."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self, TextIO

if TYPE_CHECKING:
    from types import TracebackType

    import pytest
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

__all__ = ["Progress"]


class Progress:
    """Shows how many trainings are done and which one runs.

    Parameters
    ----------
    config
        pytest's configuration; its capture hides the terminal from tests.
    total
        Number of trainings of the run.
    """

    def __init__(self, config: pytest.Config, total: int) -> None:
        self._config = config
        self._total = total
        self._terminal: TextIO | None = None
        self._bar: Bar | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        """Find the terminal behind pytest's capture."""
        capture = self._config.pluginmanager.getplugin("capturemanager")
        reporter = self._config.pluginmanager.getplugin("terminalreporter")
        if capture is None or reporter is None or not reporter.isatty:
            return self
        with capture.global_and_fixture_disabled():
            self._terminal = os.fdopen(os.dup(2), "w")
        if not self._terminal.isatty():
            self._terminal.close()
            self._terminal = None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the terminal as it was."""
        self.pause()
        if self._terminal is not None:
            self._terminal.close()

    def __call__(self, text: str) -> None:
        """Show what begins now, and count what was shown before as done."""
        if self._terminal is None:
            return
        if self._bar is None:
            self._bar = self._make(self._terminal)
            self._task = self._bar.add_task(text, total=self._total)
        elif self._task is not None:
            self._bar.update(self._task, advance=1, description=text)
        self._bar.start()

    def pause(self) -> None:
        """Take the bar away, so that pytest can write."""
        if self._bar is not None:
            self._bar.stop()

    @staticmethod
    def _make(terminal: TextIO) -> Bar:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
        )

        columns = (
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
        )
        console = Console(file=terminal, force_terminal=True)
        # The thread that redraws must not write into a captured stream.
        return Progress(
            *columns,
            console=console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
