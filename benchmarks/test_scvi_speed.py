"""What the adapter adds to the training and inference of scvi-tools itself."""

from __future__ import annotations

import importlib.util
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from reconeval.cases import EndToEndCase
from reconeval.datasets import load_dataset, make_split
from reconeval.offers import cells_of
from reconeval.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [
    pytest.mark.speed,
    pytest.mark.skipif(
        importlib.util.find_spec("scvi") is None,
        reason="needs scvi-tools: pip install 'reconeval[scvi]'",
    ),
]

SHARE = 0.10
ROUNDS = 5
EPOCHS = 40


def by_hand(case: EndToEndCase) -> None:
    """Do what the adapter does with scvi-tools itself: it validates after each epoch, too."""
    _by_hand(case, check_val_every_n_epoch=1)


def unvalidated(case: EndToEndCase) -> None:
    """Do the same without validation, which scvi-tools leaves out unless it is asked for."""
    _by_hand(case)


def _by_hand(case: EndToEndCase, **options: int) -> None:
    """Train on the split, and get the normalised expression of the test cells."""
    from anndata import concat
    from scvi.model import SCVI

    train, val = case.data.adata(), case.data.val_adata()
    assert val is not None
    cells = concat([train, val], index_unique="-", keys=["train", "val"])
    SCVI.setup_anndata(cells, layer="counts")
    model = SCVI(cells)
    indices = [np.arange(train.n_obs), np.arange(train.n_obs, cells.n_obs), np.arange(0)]
    model.train(
        max_epochs=EPOCHS,
        accelerator="cpu",
        devices=1,
        enable_progress_bar=False,
        datasplitter_kwargs={"external_indexing": indices},
        **options,
    )
    dataset, rows = case.dataset, case.split.test
    assert dataset.counts is not None
    test = cells_of(dataset.X[rows], dataset.genes, dataset.counts[rows])
    model.get_normalized_expression(test, return_numpy=True)


def through_the_adapter(case: EndToEndCase) -> None:
    """Do the same as the harness does it, up to the prediction on the scale of the metrics."""
    from reconeval.adapters.scvi import find_scvi

    adapted = find_scvi("scvi.model:SCVI", where="the benchmark")
    assert adapted is not None
    model = adapted()
    offers = case.train_offers(seed=0)
    model.train(
        offers["adata"].make(),
        offers["val_adata"].make(),
        max_epochs=EPOCHS,
        early_stopping=False,
    )
    args, kwargs = case.test_input().arguments(model)
    model.predict(*args, **kwargs)


def test_adapter_overhead() -> None:
    """Training and inference of 600 and 300 cells, in turn: the fastest of five of each.

    Judged with equal validation; what the adapter's validation itself costs is printed beside it.
    """
    import scvi  # noqa: F401  (its import sets its loggers anew, so it comes before `quiet`)

    dataset = load_dataset("immune")
    case = EndToEndCase(dataset, make_split(dataset, "iid"))
    ways: tuple[Callable[[EndToEndCase], None], ...] = (by_hand, unvalidated, through_the_adapter)
    seconds: dict[str, list[float]] = {way.__name__: [] for way in ways}
    with quiet():
        by_hand(case)  # a warm-up
        for way in ways * ROUNDS:
            start = time.process_time()  # of the processor: others may be at work on the machine
            way(case)
            seconds[way.__name__].append(time.process_time() - start)
    best = {name: min(taken) for name, taken in seconds.items()}
    adapter = best.pop("through_the_adapter")
    shares = {name: adapter / own - 1 for name, own in best.items()}
    for name, share in shares.items():
        print(f"{name} {best[name]:.2f} s, through the adapter {adapter:.2f} s: {share:+.1%}")
    assert shares["by_hand"] < SHARE
