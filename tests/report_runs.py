"""Made runs for tests of the report: many models with long names, all that rows can hold."""

import numpy as np

from reconeval.gate._saved import saved_of
from reconeval.metrics import METRICS
from reconeval.report.html.material import Material, Measured, Predicted
from reconeval.rows import Row
from reconeval.runs import metric_names

PLACES = (("immune", "iid"), ("immune", "cell_type"), ("pbmc68k", "iid"), ("pbmc68k", "cell_type"))
COSTS = {"train_seconds": "s", "predict_cells_per_second": "cells/s", "peak_rss_mb": "MB"}
EVIL = '<script>window.evil = 1</script>"\'><img src=x onerror="window.evil = 2">'
RUN = {
    "reconeval": "0.1.0",
    "versions": {"numpy": "2.4.6", "torch": "2.13.0"},
    "commit": "c" * 40,
    "python": "3.11.7",
    "system": "Linux",
    "machine": "x86_64",
    "cpu_count": 2,
    "command": ["pytest", "benchmarks", "--model", "models:ReconPCA", "--seeds", "3"],
    "device": "cpu",
    "seeds": [0, 1, 2],
    "start": "2026-11-20T10:00:00+00:00",
    "duration_s": 61.25,
    "arguments": ["--seeds", "3"],
    "datasets": {"immune": "immune", "pbmc68k": "pbmc68k"},
}


def long_names(n):
    return [f"scvi.model:SCVI+n_latent:{10 + i}+gene_likelihood:nb+quite_long" for i in range(n)]


def made_run(models, places=PLACES, metrics=None, *, seed=0, genes=2300, name="made.json"):
    """A run with everything that a row and a document can hold."""
    rng = np.random.default_rng(seed)
    metrics = metric_names("end_to_end") if metrics is None else metrics
    rows = [
        row
        for model in models
        for place in places
        for row in (
            *(_score(rng, model, place, METRICS[name]) for name in metrics),
            *(_cost(rng, model, place, cost) for cost in COSTS),
        )
    ]
    document = {
        "schema": 1,
        "run": RUN,
        "rows": [row.to_dict() for row in rows],
        "material": _material(rng, models, places, genes).to_dict(),
    }
    return saved_of(document, name)


def _row(model, place, **more):
    return Row(
        model=model,
        spec=f"mine:{model}",
        task="end_to_end",
        dataset=place[0],
        dataset_version="1",
        dataset_sha256="a" * 64,
        split=place[1],
        n=300,
        seeds=3,
        **more,
    )


def _score(rng, model, place, metric):
    value, width = rng.normal(0.5, 0.2), rng.uniform(0.005, 0.05)
    informative = metric.name != "r2"
    failed = rng.random() < 0.03
    word = rng.choice(["same", "same", "better", "worse"])
    return _row(
        model,
        place,
        metric=metric.name,
        metric_version=metric.version,
        family=metric.family,
        unit=metric.unit,
        higher_is_better=metric.higher_is_better,
        value=value,
        low=value - width / 2,
        high=value + width / 2,
        ci_low=value - width,
        ci_high=value + width,
        ci_method="bootstrap over cells (percentile, 1000)",
        negative=0.1,
        positive=0.9,
        skill=(value - 0.1) / 0.8,
        informative=informative,
        threshold=0.2,
        baseline=value + rng.normal(0, 0.03),
        verdict=f"fail: {word}" if failed else f"pass: {word}",
        reason=f"{metric.name} is too far from what was expected of it" if failed else "",
    )


def _cost(rng, model, place, cost):
    value = float(rng.lognormal(4, 1))
    return _row(
        model,
        place,
        metric=cost,
        metric_version=1,
        family="cost",
        unit=COSTS[cost],
        higher_is_better=cost.startswith("predict"),
        value=value,
        low=value,
        high=value,
        verdict="pass",
    )


def _material(rng, models, places, genes):
    material = Material()
    for dataset, split in places:
        means = rng.gamma(0.5, 1, genes).astype(np.float32)
        cells = rng.normal(0, (6, 3), (300, 2)).astype(np.float32)
        material.measured[dataset, split] = Measured(
            dataset=dataset,
            dataset_sha256="a" * 64,
            split=split,
            genes=tuple(f"GENE{i}" for i in range(genes)),
            means=means,
            cells=cells,
            controls=np.empty((0, 2), np.float32),
        )
        for i, model in enumerate(models):
            noise = rng.normal(0, 0.02 * (i + 1), genes)
            material.predicted[model, dataset, split] = Predicted(
                model=model,
                dataset=dataset,
                split=split,
                means=(means + noise).astype(np.float32),
                cells=cells * np.float32(i / max(1, len(models) - 1)),
            )
    return material
