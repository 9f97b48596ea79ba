"""A comparison of saved runs as a table, as markdown for a pull request, or as JSON."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from typing import TYPE_CHECKING, Any

from reconeval.gate import ALPHA
from reconeval.report.texts import number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from reconeval.compare import Finding

__all__ = ["render"]

Found = tuple[str, "Sequence[Finding]"]

_HEADERS = ("model", "metric", "on", "old", "new", "change", "95 %", "verdict")
_MOST = 150  # lines of a table in a comment, which a forge cuts off at 65 536 characters
_RULES = (
    f"Worse: beyond chance, held at {ALPHA * 100:.0f} % for the whole run (Benjamini-Hochberg), "
    "and by more than 1 % of the way from the negative control to the best value; costs: by ratio."
)


def render(old: str, found: Sequence[Found], kind: str, *, everything: bool = False) -> str:
    """Return a comparison as text.

    Parameters
    ----------
    old
        Name of the run that the others are compared with.
    found
        For each other run its name and its findings, the worst first.
    kind
        `table`, `md` or `json`.
    everything
        Whether a table also lists rows that are the same.

    Returns
    -------
    Lines, the last one ended.
    """
    if kind == "json":
        document = {"schema": 1, "baseline": old, "alpha": ALPHA, "compared": list(_records(found))}
        return json.dumps(document, indent=1, allow_nan=False) + "\n"
    if kind == "md":
        return "\n\n".join(_markdown(old, name, findings) for name, findings in found) + "\n"
    tables = (_table(old, name, findings, everything=everything) for name, findings in found)
    return "\n\n".join(tables) + "\n"


def _title(findings: Sequence[Finding]) -> str:
    fails = sum(finding.fails for finding in findings)
    return {0: "no regression", 1: "1 regression"}.get(fails, f"{fails} regressions")


def _counts(findings: Sequence[Finding]) -> str:
    counts = Counter[str](finding.word for finding in findings)
    order = ("worse", "lost", "incomparable", "better", "same", "new")
    return ", ".join(f"{counts[word]} {word}" for word in order if counts[word])


def _cells(finding: Finding) -> tuple[str, ...]:
    row, base, found = finding.row, finding.baseline, finding.comparison
    lost = finding.word == "lost"
    verdict: str = finding.word
    if finding.word in ("worse", "incomparable") and not finding.fails:
        verdict += " (not gated)"
    return (
        row.model,
        row.metric,
        f"{row.dataset}/{row.split}",
        "" if base is None else _number(base.value),
        "" if lost else _number(row.value),
        _change(finding),
        "" if found.interval is None else _interval(finding),
        verdict,
    )


def _change(finding: Finding) -> str:
    found = finding.comparison
    if found.ratio is not None:
        return f"x{found.ratio:.3g}"
    if found.loss is None or found.loss == 0:
        return ""
    return f"{'worse' if found.loss > 0 else 'better'} by {abs(found.loss):.3g}"


def _interval(finding: Finding) -> str:
    """Return the interval of the change, in the direction that `_change` tells."""
    found = finding.comparison
    if found.interval is None or found.loss is None:
        return ""
    low, high = found.interval
    return f"{low:.3g} to {high:.3g}" if found.loss > 0 else f"{-high:.3g} to {-low:.3g}"


def _number(value: float) -> str:
    return number(value) if math.isfinite(value) else "undefined"


def _table(old: str, name: str, findings: Sequence[Finding], *, everything: bool) -> str:
    import io

    from rich import box
    from rich.console import Console
    from rich.table import Table

    shown = [one for one in findings if everything or one.fails or one.word not in ("same", "new")]
    table = Table(*_HEADERS, box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for finding in shown:
        table.add_row(*_cells(finding), style="red" if finding.fails else None)
    out = io.StringIO()
    width = int(os.environ.get("COLUMNS", "0")) or _terminal_width()
    console = Console(file=out, width=width, highlight=False, color_system=None)
    console.print(f"{old} -> {name}: {_title(findings)} ({_counts(findings)})", markup=False)
    if shown:
        console.print(table)
    for finding in findings:
        if finding.fails:
            line = f"{finding.row.model}: {finding.comparison.message}"
            console.print(line, markup=False, soft_wrap=True)
    console.print(_RULES, markup=False)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def _terminal_width() -> int:
    import shutil

    return max(100, min(shutil.get_terminal_size((140, 24)).columns, 200))


def _markdown(old: str, name: str, findings: Sequence[Finding]) -> str:
    fails = [finding for finding in findings if finding.fails]
    parts = [f"### reconeval: {_title(findings)}", f"`{old}` → `{name}`: {_counts(findings)}"]
    if fails:
        parts.append(_markdown_table(fails))
    for title, some in (
        ("better", [one for one in findings if one.word == "better"]),
        ("all comparisons", list(findings)),
    ):
        if some:
            table = _markdown_table(some)
            summary = f"<summary>{title} ({len(some)})</summary>"
            parts.append(f"<details>{summary}\n\n{table}\n\n</details>")
    return "\n\n".join([*parts, f"<sub>{_RULES}</sub>"])


def _markdown_table(findings: Sequence[Finding]) -> str:
    lines = [_markdown_line(_HEADERS), "|" + "---|" * len(_HEADERS)]
    lines += [_markdown_line(_cells(finding)) for finding in findings[:_MOST]]
    if len(findings) > _MOST:
        lines.append(f"\n... and {len(findings) - _MOST} more")
    return "\n".join(lines)


def _markdown_line(cells: Iterable[str]) -> str:
    # A pipe would end the cell; an angle bracket would begin a tag.
    escaped = (cell.replace("|", "\\|").replace("<", "&lt;") for cell in cells)
    return "| " + " | ".join(escaped) + " |"


def _records(found: Sequence[Found]) -> Iterator[dict[str, Any]]:
    for name, findings in found:
        counts = Counter[str](finding.word for finding in findings)
        yield {
            "run": name,
            "regressions": sum(finding.fails for finding in findings),
            "counts": dict(sorted(counts.items())),
            "rows": [_record(finding) for finding in findings],
        }


def _record(finding: Finding) -> dict[str, Any]:
    row, base, found = finding.row, finding.baseline, finding.comparison
    lost = finding.word == "lost"
    low, high = found.interval or (None, None)
    record: dict[str, Any] = {
        "model": row.model,
        "dataset": row.dataset,
        "split": row.split,
        "metric": row.metric,
        "verdict": finding.word,
        "fails": finding.fails,
        "old": None if base is None else base.value,
        "old_ci": None if base is None else [base.ci_low, base.ci_high],
        "new": None if lost else row.value,
        "new_ci": None if lost else [row.ci_low, row.ci_high],
        "loss": found.loss,
        "loss_ci": [low, high],
        "ratio": found.ratio,
        "p": found.p,
        "how": found.how,
        "message": found.message,
    }
    return {name: _plain(value) for name, value in record.items()}


def _plain(value: object) -> object:
    """Return what JSON can hold: a number that is not finite becomes None."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
