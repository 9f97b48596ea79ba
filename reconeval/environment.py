"""Where a run took place: versions, commit, machine and command line."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from reconeval import __version__

__all__ = ["environment"]

_PACKAGES = (
    "anndata",
    "lightning",
    "numpy",
    "pytest",
    "pytest-benchmark",
    "scanpy",
    "scikit-learn",
    "scipy",
    "torch",
)


def environment() -> dict[str, Any]:
    """Return what a reader needs to tell one run from another, as plain JSON values."""
    return {
        "reconeval": __version__,
        "versions": _versions(),
        "commit": _commit(),
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu_count": os.cpu_count(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # run from a checkout with a part of the packages
            continue
    return found


def _commit() -> str | None:
    """Return the commit of the current folder, where the model's own code most likely lies."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607  (the user's own git)
            capture_output=True,
            text=True,
            check=True,
            timeout=5,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
