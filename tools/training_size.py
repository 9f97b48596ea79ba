#!/usr/bin/env python
"""Train models on more and more cells, print the tables and draw the figure of the study.

docs/training-size.md keeps both:

    python tools/training_size.py RESULTS.jsonl FIGURE.svg [DATASET ...]

Datasets are those of `reconeval.benchmarks.training_size.SIZES`, by default immune. Each result is
added to RESULTS.jsonl as it comes, so that a study that was stopped goes on where it was.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from reconeval.benchmarks.training_size import SEEDS, SIZES, load, study
from reconeval.benchmarks.training_size_report import score_table, training_table, write_plot

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(results: Path, figure: Path, datasets: Sequence[str]) -> None:
    """Run what is missing, print two Markdown tables and write the figure."""
    found = []
    for name in datasets:
        found += study(load(name), SIZES[name], SEEDS, keep=results, progress=say)
    print(f"{score_table(found)}\n\n{training_table(found)}")
    write_plot(found, figure)


def say(line: str) -> None:
    """Say what was done, apart from the tables."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:] or ["immune"])
