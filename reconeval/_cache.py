"""Where fetched files are kept."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    """Return `$RECONEVAL_CACHE`, or `reconeval` in `$XDG_CACHE_HOME` or `~/.cache`."""
    own = os.environ.get("RECONEVAL_CACHE")
    if own:
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "reconeval"
