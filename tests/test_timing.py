"""Seconds and memory are those of the block; sizes are those of the model."""

import time

import numpy as np
import pytest
import torch

from reconeval.models import ReconPCA
from reconeval.timing import Replay, Usage, n_parameters


def test_the_clock_stands_still_until_it_is_advanced():
    clock = Replay()
    assert clock() == clock() == 0.0
    clock.advance(1.5)
    assert clock() == 1.5


def test_usage_measures_its_block():
    with Usage() as usage:
        time.sleep(0.05)
    assert usage.seconds >= 0.05


def test_usage_sees_memory_that_is_gone_afterwards():
    with Usage() as idle:
        pass
    with Usage(interval=0.001) as busy:
        block = np.ones(40_000_000)  # 320 MB
        time.sleep(0.05)
        del block
    assert busy.peak_rss_mb > idle.peak_rss_mb + 250
    assert busy.added_rss_mb > 250


def test_memory_that_was_there_before_is_not_added():
    block = np.ones(40_000_000)
    with Usage() as usage:
        pass
    assert 0 <= usage.added_rss_mb < 100
    assert usage.peak_rss_mb > 320
    del block


def test_an_error_passes_through_and_is_timed():
    usage = Usage()
    with pytest.raises(ValueError, match="no"), usage:
        raise ValueError("no")
    assert usage.seconds > 0


class Holder:
    def __init__(self):
        self.encoder = torch.nn.Linear(3, 2)
        self.same = self.encoder
        self.name = "x"


class Declared:
    n_parameters = 7


class DeclaredByNumPy:
    n_parameters = np.prod((3, 4))


def trained_pca():
    model = ReconPCA(2)
    model.train(np.eye(6, 4))
    return model


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (torch.nn.Linear(3, 2), 8),
        (Holder(), 8),
        (Declared(), 7),
        (DeclaredByNumPy(), 12),
        (ReconPCA(2), 0),
        (trained_pca(), 2 * 4 + 4),
        (object(), None),
    ],
)
def test_parameters_are_counted_once(model, expected):
    assert n_parameters(model) == expected
