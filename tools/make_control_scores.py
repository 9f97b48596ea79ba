"""Write the scores of the controls on the embedded data.

    python tools/make_control_scores.py

Run it after a change of a dataset, a split, a metric's version or the controls' version. Write
elsewhere with ``--out`` to compare: another processor or library has other last digits.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconeval.cases.making import Cases
from reconeval.controls import CONTROLS_VERSION, SEED
from reconeval.controls._annotating import score_controls
from reconeval.controls._store import FROZEN, place_of
from reconeval.datasets import (
    dataset_names,
    load_perturbation_dataset,
    perturbation_dataset_names,
    split_names,
)
from reconeval.datasets.perturbation_splits import perturbation_split_names
from reconeval.metrics.registry import get_metric
from reconeval.options import Options
from reconeval.quiet import quiet
from reconeval.rows import atomic_write
from reconeval.runs import metric_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from reconeval.cases import Case


def embedded_cases() -> Iterator[Case]:
    """Yield every embedded dataset with every split that it has."""
    names = [("end_to_end", name, split_names()) for name in dataset_names()]
    names += [
        ("latent_shift", name, perturbation_split_names(load_perturbation_dataset(name)))
        for name in perturbation_dataset_names()
    ]
    for task, name, splits in names:
        for split in splits:
            yield Cases(task, Options(), {name: name}).get(name, split)


def entry_of(case: Case) -> dict[str, Any]:
    """Score the controls of a case by every metric of its task."""
    controls = score_controls(case)
    metrics = [get_metric(name) for name in metric_names(case.task)]
    with quiet():
        scores = {metric.name: controls.scores(metric).to_dict() for metric in metrics}
    return {"dataset": case.dataset.name, **place_of(case)._asdict(), "scores": scores}


def text_of(document: dict[str, Any]) -> str:
    """Return JSON with one line for each metric, so that a change can be read."""
    places = []
    for entry in document["places"]:
        facts = ", ".join(
            f"{json.dumps(k)}: {json.dumps(v)}" for k, v in entry.items() if k != "scores"
        )
        lines = (
            f"  {json.dumps(name)}: {json.dumps(one)}" for name, one in entry["scores"].items()
        )
        places.append(f'{{{facts}, "scores": {{\n' + ",\n".join(lines) + "\n}}")
    head = f'"controls_version": {document["controls_version"]}, "seed": {document["seed"]}'
    return f'{{{head}, "places": [\n' + ",\n".join(places) + "\n]}\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Write the table; returns 0."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=FROZEN, help="where to write (%(default)s)")
    args = parser.parse_args(argv)
    places = []
    for case in embedded_cases():
        start = time.perf_counter()
        places.append(entry_of(case))
        print(f"{case.name}: {time.perf_counter() - start:.1f} s", flush=True)
    document = {"controls_version": CONTROLS_VERSION, "seed": SEED, "places": places}
    atomic_write(args.out, text_of(document).encode())
    print(f"{args.out}: {len(places)} places, {args.out.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
