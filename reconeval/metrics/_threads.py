"""Work on blocks, one core for each."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["in_threads", "n_threads"]

S = TypeVar("S")
T = TypeVar("T")

_MAX_THREADS = 4  # bounds the memory in flight


def in_threads(work: Callable[[S], T], items: Iterable[S]) -> list[T]:
    """Call `work` on each item, several at a time; returns what it returned, in order.

    NumPy lets go of the interpreter while it sorts and computes, so threads are enough. A matrix
    product inside takes one core: threads of BLAS that wait for each other at every block lose
    much of their time on a machine that does other work, too.
    """
    from threadpoolctl import threadpool_limits

    items = list(items)
    if len(items) == 1:
        return [work(items[0])]
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(n_threads()) as pool:
        return list(pool.map(work, items))


def n_threads() -> int:
    """Return how many items are under way at once."""
    return min(_MAX_THREADS, os.cpu_count() or 1)
