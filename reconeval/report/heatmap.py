"""The funky heatmap: methods by metrics, circles for rank percentiles, bars for their means."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from reconeval.costs import COSTS
from reconeval.errors import UsageError
from reconeval.metrics.aggregate import (
    HIGHER_IS_BETTER,
    aggregate_rank_percentile,
    family_of,
    without_counts,
)
from reconeval.metrics.registry import METRICS, Family
from reconeval.report.picture import BAR, CELL, NUMBER, OVERALL_BAR, Block, Column, Picture
from reconeval.report.themes import THEMES
from reconeval.rows import atomic_write

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["funky_heatmap"]

DPI = 200
FORMATS = (".svg", ".png")


def funky_heatmap(
    scores: pd.DataFrame,
    *,
    path: str | Path | None = None,
    theme: Literal["light", "dark"] = "light",
    higher_is_better: Mapping[str, bool | None] | None = None,
    families: Mapping[str, str] | None = None,
    title: str = "",
) -> Figure:
    """Draw methods by metrics, the best method at the top.

    One row per method, sorted by its mean rank percentile over all metrics but costs. Bars show
    that mean and the one of each family; a circle per metric is larger and stands out more from
    the page the better the method ranks in it, and carries the raw value. See
    `reconeval.metrics.aggregate.aggregate_rank_percentile` for the percentiles.

    Parameters
    ----------
    scores
        Methods x metrics, raw values; NaN where a method has none, shown as n/a. Where others
        have one, the method's overall number carries a star: it is a mean over fewer metrics.
    path
        Where to save: ending in .svg or .png, or without an ending for both.
    theme
        "light" or "dark" page.
    higher_is_better
        Direction of metrics, before that in the table of metrics and costs.
    families
        Families of metrics, before that in the table.
    title
        Shown at the top.

    Returns
    -------
    The figure, not tied to pyplot: nothing to close.

    Raises
    ------
    UsageError
        If there is no method or metric, the theme or the path's ending is unknown, or the scores
        cannot be ranked.
    """
    if theme not in THEMES:
        msg = f"theme {theme!r} is unknown, expected one of {', '.join(THEMES)}"
        raise UsageError(msg)
    scores = without_counts(scores)
    if scores.empty:
        msg = f"nothing to draw: {scores.shape[0]} methods x {scores.shape[1]} metrics"
        raise UsageError(msg)
    targets = [] if path is None else _targets(Path(path))
    directions = {name: cost.higher_is_better for name, cost in COSTS.items()}
    directions |= higher_is_better or {}
    table = aggregate_rank_percentile(scores, higher_is_better, families=families)
    order = table["overall"].sort_values(ascending=False, kind="stable", na_position="last").index
    blocks = _blocks([str(name) for name in scores], directions, families or {})
    picture = Picture(THEMES[theme], [str(name) for name in order], blocks, title)
    picture.draw(scores.rename(columns=str).loc[order], table.loc[order])
    for target in targets:
        _save(picture.figure, target)
    return picture.figure


def _targets(path: Path) -> list[Path]:
    """Return the files to write."""
    if path.suffix and path.suffix not in FORMATS:
        msg = f"{path}: unknown ending {path.suffix!r}, expected {' or '.join(FORMATS)} or none"
        raise UsageError(msg)
    if not path.resolve().parent.is_dir():
        msg = f"{path}: folder {path.resolve().parent} does not exist; create it first"
        raise UsageError(msg)
    return [path] if path.suffix else [path.with_suffix(ending) for ending in FORMATS]


def _save(figure: Figure, path: Path) -> None:
    """Write the picture at once, and the same bytes for the same picture."""
    import matplotlib as mpl

    content = io.BytesIO()
    kind = path.suffix[1:]
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    # text stays text: to be searched, and read aloud
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "reconeval"}):
        figure.savefig(content, format=kind, dpi=DPI, metadata=metadata)
    atomic_write(path, content.getvalue())


def _blocks(
    metrics: Sequence[str],
    directions: Mapping[str, bool | None],
    families: Mapping[str, str],
) -> list[Block]:
    """Columns in the order drawn: the means, then the metrics of each family."""
    family = {name: family_of(name, families) for name in metrics}
    # families in the order of the table of metrics; strangers before the costs, which stand last
    known = list(get_args(Family))
    names = sorted(
        set(family.values()), key=lambda one: (one == "cost", _position(one, known), one)
    )
    means = Block("mean percentile", "overall")
    means.columns = [
        Column(name, "", name, bar + NUMBER)
        for name, bar in [("overall", OVERALL_BAR), *((name, BAR) for name in names)]
    ]
    blocks = [means]
    for name in names:
        columns = [
            Column(metric, _arrow(metric, directions), name, CELL)
            for metric in metrics
            if family[metric] == name
        ]
        blocks.append(Block(name, name, columns))
    return blocks


def _position(name: str, known: Sequence[str]) -> int:
    return known.index(name) if name in known else len(known)


def _arrow(metric: str, directions: Mapping[str, bool | None]) -> str:
    """Direction as a sign."""
    direction = directions.get(metric, HIGHER_IS_BETTER.get(metric))
    if direction is None:
        return METRICS[metric].arrow
    return "↑" if direction else "↓"
