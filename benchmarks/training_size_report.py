"""The results of `training_size` as tables and a picture."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from reconeval.benchmarks.training_size import PCA, Result, difference
from reconeval.rows import atomic_write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

__all__ = ["score_table", "training_table", "write_plot"]

_BOTH = ("train_mse", "mse")
# Okabe and Ito's colours, which differ for colour-blind readers too.
_COLORS = ("#000000", "#0072B2", "#D55E00", "#009E73")
_MARKERS = "osD^"


def score_table(results: Sequence[Result]) -> str:
    """Write a Markdown table of the errors of test cells.

    The mean `mse` and, in brackets, the lowest and highest over seeds; then the difference of each
    model to PCA, below 0 where the model is better, with its 95 % interval.
    """
    models = _models(results)
    against = [model for model in models if model not in {PCA, "Mean"}]
    heads = ["dataset", "cells", *models, *(f"{model} minus {PCA}" for model in against)]
    lines = [heads, ["---"] * len(heads)]
    for (dataset, n_train), here in _places(results).items():
        scores = [_spread([one.mse for one in here if one.model == model]) for model in models]
        gaps = ["{:+.4f} ({:+.4f} to {:+.4f})".format(*difference(here, one)) for one in against]
        lines.append([dataset, str(n_train), *scores, *gaps])
    return _markdown(lines)


def training_table(results: Sequence[Result]) -> str:
    """Write a Markdown table of the errors of training cells beside those of test cells.

    Means over seeds, and the fewest and most epochs until training stopped and until the least
    loss of the validation cells.
    """
    errors = ["training cells", "test cells", "their difference"]
    heads = ["dataset", "cells", "model", *errors, "epochs", "best epoch"]
    lines = [heads, ["---"] * len(heads)]
    for (dataset, n_train), here in _places(results).items():
        for model in _models(results):
            mine = [one for one in here if one.model == model]
            train, test = (float(np.mean([getattr(one, name) for one in mine])) for name in _BOTH)
            numbers = [f"{train:.4f}", f"{test:.4f}", f"{test - train:.4f}"]
            epochs = [
                _range([one.epochs for one in mine]),
                _range([one.best_epoch for one in mine]),
            ]
            lines.append([dataset, str(n_train), model, *numbers, *epochs])
    return _markdown(lines)


def write_plot(results: Sequence[Result], path: Path) -> None:
    """Draw errors against the number of training cells, a panel per dataset, to an SVG file.

    Test cells with solid lines and bands from the lowest to the highest over seeds, training cells
    with broken lines.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    datasets = list(dict.fromkeys(one.dataset for one in results))
    figure = Figure(figsize=(4 * len(datasets), 3.4), layout="constrained", facecolor="white")
    FigureCanvasSVG(figure)
    panels = figure.subplots(1, len(datasets), squeeze=False)[0]
    for panel, dataset in zip(panels, datasets, strict=True):
        _panel(panel, [one for one in results if one.dataset == dataset])
        panel.set(title=f"{dataset}/iid", xlabel="training cells")
    panels[0].set_ylabel("mse: test solid, training broken")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    content = io.BytesIO()
    with rc_context({"svg.hashsalt": "reconeval", "svg.fonttype": "none"}):
        figure.savefig(content, format="svg", metadata={"Date": None})
    atomic_write(path, content.getvalue())


def _panel(panel: Axes, results: Sequence[Result]) -> None:
    sizes = sorted({one.n_train for one in results})
    for model, color, marker in zip(_models(results), _COLORS, _MARKERS, strict=False):
        train, test = (
            np.array(
                [
                    [
                        getattr(one, name)
                        for one in results
                        if (one.model, one.n_train) == (model, n)
                    ]
                    for n in sizes
                ]
            )
            for name in _BOTH
        )
        panel.plot(sizes, test.mean(axis=1), color=color, marker=marker, ms=4, label=model)
        panel.fill_between(sizes, test.min(axis=1), test.max(axis=1), color=color, alpha=0.15, lw=0)
        panel.plot(sizes, train.mean(axis=1), color=color, marker=marker, ms=3, ls="--", lw=0.8)
    panel.set_xscale("log")
    panel.set_xticks(sizes, [str(n) for n in sizes])
    panel.minorticks_off()
    panel.spines[["top", "right"]].set_visible(False)


def _models(results: Sequence[Result]) -> list[str]:
    return list(dict.fromkeys(one.model for one in results))


def _places(results: Sequence[Result]) -> dict[tuple[str, int], list[Result]]:
    found: dict[tuple[str, int], list[Result]] = {}
    for one in results:
        found.setdefault((one.dataset, one.n_train), []).append(one)
    return found


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _spread(values: Sequence[float]) -> str:
    return f"{np.mean(values):.4f} ({min(values):.4f} to {max(values):.4f})"


def _range(values: Sequence[int]) -> str:
    return "-" if not any(values) else f"{min(values)} to {max(values)}"
