"""Results of earlier runs, found again by what they were made of."""

from __future__ import annotations

from reconeval.cache._cache import Cache
from reconeval.cache._store import Entry, Store, results_folder

__all__ = ["Cache", "Entry", "Store", "results_folder"]
