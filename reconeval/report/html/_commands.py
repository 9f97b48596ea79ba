"""The command that measures a row again."""

from __future__ import annotations

import shlex
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconeval.rows import Row

__all__ = ["command_of", "narrowing"]

_SUITES = ("benchmarks", "reconeval.benchmarks")


def command_of(row: Row, run: Mapping[str, Any]) -> str:
    """Return the command for all rows of a row's model, dataset and split.

    Parameters
    ----------
    row
        The row.
    run
        The environment of its run.

    Returns
    -------
    One line for a shell. Of a run that did not keep what it takes, the command of the whole run;
    empty if that is unknown, too.
    """
    words = [str(word) for word in run.get("command") or ()]
    if words and PurePath(words[0]).name in {"__main__.py", "py.test"}:
        words[0] = "pytest"
    if not isinstance(run.get("arguments"), list):
        return shlex.join(words)
    source = (run.get("datasets") or {}).get(row.dataset, row.dataset)
    model = row.spec.partition(" --")[0]  # the options of an embedding are among the arguments
    return shlex.join(
        [
            "pytest",
            *_suite(words),
            *("--model", model, "--dataset", source, "--split", row.split),
            *map(str, run["arguments"]),
        ]
    )


def narrowing(row: Row, run: Mapping[str, Any]) -> str:
    """Return what narrows the command of `command_of` to a row; empty if nothing can."""
    if not isinstance(run.get("arguments"), list):
        return ""
    if row.family != "cost":
        return f"--metrics {shlex.quote(row.metric)}"
    timed = "predict" if row.metric.startswith("predict") else "train"
    return f"-k test_{timed}_time"


def _suite(words: Sequence[str]) -> list[str]:
    """Return how the run named the benchmarks."""
    paths = [word.partition("::")[0] for word in words[1:]]
    found = next((path for path in paths if PurePath(path).name in _SUITES), _SUITES[0])
    return ["--pyargs", found] if "--pyargs" in words else [found]
