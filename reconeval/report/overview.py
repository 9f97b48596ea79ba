"""One line per model: what passed, what failed, and how much better than the controls it is."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from typing import TYPE_CHECKING

from reconeval.costs import find
from reconeval.report.texts import number

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.table import Table

    from reconeval.contract import Outcome
    from reconeval.rows import Row

__all__ = ["overview"]

_NARROW_MODEL = 16  # characters that a model's id keeps in a line where the terminal is narrow
_BROKEN = "broken"
_COUNTED = ("pass", "fail")
_COMPARED = ("better", "same", "worse", "new", "incomparable")


def overview(
    rows: Sequence[Row], width: int, outcomes: Mapping[str, Mapping[str, Outcome]]
) -> Table:
    """Return a table with one line per model over all datasets and splits.

    Parameters
    ----------
    rows
        The latest row of each key, of all models.
    width
        Columns of the terminal.
    outcomes
        What came of the checks of each model's contract, by model and check.

    Returns
    -------
    Numbers of scores and costs that passed and failed; how many rules of the contract are broken,
    or else kept; numbers of scores and costs that were skipped, and of those that are better
    or worse than the baseline where there is one; per family the median skill over its
    informative scores where controls were scored; the seconds of training, summed over places.
    A narrow terminal leaves out the last of these.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    models = list(dict.fromkeys([*(row.model for row in rows), *outcomes]))
    texts = _columns(rows, models, outcomes)
    longest = max(map(len, models))
    while len(texts) > 2 and _breadth(texts, 1) + min(longest, _NARROW_MODEL) > width:
        texts.popitem()
    padding = (0, int(_breadth(texts, 2) + longest <= width), 0, 0)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=padding)
    table.add_column("model", overflow="fold", vertical="bottom")
    for name in texts:
        table.add_column(name, justify="right", no_wrap=True, vertical="bottom")
    for index, model in enumerate(models):
        line = {name: Text(column[index]) for name, column in texts.items()}
        if "fail" in line and line["fail"].plain != "0":
            line["fail"].stylize("red")
        if "contract" in line and line["contract"].plain.endswith(_BROKEN):
            line["contract"].stylize("red")
        table.add_row(Text(model), *line.values())
    return table


def _columns(
    rows: Sequence[Row], models: Sequence[str], outcomes: Mapping[str, Mapping[str, Outcome]]
) -> dict[str, list[str]]:
    """Return each column's text for each model, by header, in the order of importance."""
    texts: dict[str, list[str]] = {}
    if rows:
        texts = {word: [str(_count(rows, one, word)) for one in models] for word in _COUNTED}
    if outcomes:
        texts["contract"] = [_contract(outcomes.get(model, {})) for model in models]
    counts = {"skip": [_count(rows, model, "skip") for model in models]}
    counts |= {word: [_compared(rows, model, word) for model in models] for word in _COMPARED}
    texts |= {word: list(map(str, some)) for word, some in counts.items() if any(some)}
    for family in dict.fromkeys(find(row.metric).family for row in rows):
        skills = [_skill(rows, model, family) for model in models]
        if any(skills):
            texts[f"{family}\nskill"] = skills
    seconds = [_seconds(rows, model) for model in models]
    if any(seconds):
        texts["train\nseconds"] = seconds
    return texts


def _breadth(columns: dict[str, list[str]], gap: int) -> int:
    """Return the characters of the columns with a gap before each."""
    widths = (max(map(len, (*name.split("\n"), *column))) for name, column in columns.items())
    return sum(widths) + gap * len(columns)


def _contract(outcomes: Mapping[str, Outcome]) -> str:
    """Return how many rules are broken, or kept where none is; empty where none was checked."""
    counts = Counter(outcome.status for outcome in outcomes.values())
    if counts["failed"]:
        return f"{counts['failed']} {_BROKEN}"
    return f"{counts['passed']} kept" if outcomes else ""


def _count(rows: Iterable[Row], model: str, outcome: str) -> int:
    return sum(row.model == model and row.verdict.startswith(outcome) for row in rows)


def _compared(rows: Iterable[Row], model: str, word: str) -> int:
    words = Counter(_comparison(row) for row in rows if row.model == model)
    return words[word]


def _comparison(row: Row) -> str:
    """Return the first word of the comparison with the baseline."""
    return row.verdict.partition(": ")[2].partition(" ")[0]


def _skill(rows: Iterable[Row], model: str, family: str) -> str:
    # The median: skill is never clipped, and one collapsed metric may have -50.
    skills = [
        row.skill
        for row in rows
        if row.model == model
        and find(row.metric).family == family
        and row.informative is not False
        and row.skill is not None
        and math.isfinite(row.skill)
    ]
    return f"{statistics.median(skills):z.2f}" if skills else ""


def _seconds(rows: Iterable[Row], model: str) -> str:
    values = [row.value for row in rows if row.model == model and row.metric == "train_seconds"]
    return number(math.fsum(values)) if values else ""
