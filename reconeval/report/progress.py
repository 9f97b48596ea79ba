"""A progress line on a terminal, nothing in a log."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self, TextIO

from reconeval.report.epochs import epochs_told_to

if TYPE_CHECKING:
    from types import TracebackType

    import pytest
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

__all__ = ["Progress"]

_BAR, _CLOCK = 12, 7  # characters


class Progress:
    """Shows how many trainings are done, which one runs, its epoch and for how long it has.

    Nothing is shown where pytest does not write to a terminal, in CI (`CI` is set) and on a dumb
    terminal. Epochs are known of models that train by Lightning.

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
        self._text = ""
        self._begun = 0  # trainings that were announced
        self._listening = ExitStack()

    def __enter__(self) -> Self:
        """Find the terminal behind pytest's capture."""
        capture = self._config.pluginmanager.getplugin("capturemanager")
        reporter = self._config.pluginmanager.getplugin("terminalreporter")
        if capture is None or reporter is None or not reporter.isatty or _is_quiet():
            return self
        with capture.global_and_fixture_disabled():
            self._terminal = os.fdopen(os.dup(2), "w")
        if not self._terminal.isatty():
            self._terminal.close()
            self._terminal = None
            return self
        self._listening.enter_context(epochs_told_to(self._epoch))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the terminal as it was."""
        self._listening.close()
        self.pause()
        if self._terminal is not None:
            self._terminal.close()

    def __call__(self, text: str) -> None:
        """Show what begins now, and count what was shown before as done."""
        if self._terminal is None:
            return
        if self._bar is None:
            self._bar = self._make(self._terminal)
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._text = text
        # A task of its own for each training, so that its time starts at 0.
        self._task = self._bar.add_task(self._fitted(""), total=self._total, completed=self._begun)
        self._begun += 1
        self._bar.start()

    def pause(self) -> None:
        """Take the line away, so that pytest can write."""
        if self._bar is not None and self._task is not None:
            self._bar.stop()
            self._bar.remove_task(self._task)
            self._task = None

    def _epoch(self, number: int, last: int | None) -> None:
        """Show the epoch of the training that is shown, and its part of the bar."""
        if self._bar is None or self._task is None:
            return
        of = f"/{last}" if last is not None else ""
        part = (number - 1) / last if last is not None else 0.0
        self._bar.update(
            self._task,
            description=self._fitted(f", epoch {number}{of}"),
            completed=self._begun - 1 + min(part, 1.0),
        )

    def _fitted(self, end: str) -> str:
        """Return the line's text, shortened before its end where the terminal is narrow."""
        if self._bar is None:
            return self._text + end
        counter = 2 * len(str(self._total)) + 1
        room = self._bar.console.width - sum((_BAR, 1, counter, 1, _CLOCK, 1, len(end)))
        text = self._text if len(self._text) <= room else f"{self._text[: max(room - 1, 0)]}…"
        return text + end

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
        from rich.table import Column

        whole = Column(no_wrap=True)
        columns = (
            BarColumn(bar_width=_BAR, table_column=whole),
            MofNCompleteColumn(table_column=whole),
            TimeElapsedColumn(table_column=whole),
            TextColumn("{task.description}", markup=False, table_column=whole),
        )
        # Asked here: rich would ask the standard streams, which pytest has taken.
        width = os.get_terminal_size(terminal.fileno()).columns or 80
        console = Console(file=terminal, force_terminal=True, width=width)
        # The thread that redraws must not write into a captured stream.
        return Progress(
            *columns,
            console=console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )


def _is_quiet() -> bool:
    ci = os.environ.get("CI", "").lower() not in ("", "0", "false")
    return ci or os.environ.get("TERM") == "dumb"
