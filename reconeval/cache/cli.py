"""`reconeval cache`: what finished runs have kept, and how to be rid of it."""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from reconeval.cache._store import Store, largest_size, results_folder
from reconeval.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from reconeval.cache._store import Entry

__all__ = ["add_arguments", "run"]

_DAY = 86400.0
_OTHERS = {"data": "(of the data alone)"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    jobs = parser.add_subparsers(dest="job", required=True, metavar="info|clear")
    info = jobs.add_parser("info", help="folder, entries and size, by model")
    clear = jobs.add_parser("clear", help="delete what is kept, all of it or the oldest")
    clear.add_argument(
        "--older-than",
        type=float,
        metavar="DAYS",
        help="only what no run has used for so many days (default: everything)",
    )
    for job in (info, clear):
        job.add_argument(
            "--cache-dir",
            type=Path,
            metavar="DIR",
            help="as for pytest (default: $RECONEVAL_CACHE/results, or in the user's cache folder)",
        )


def run(args: argparse.Namespace) -> int:
    """Show or clear the cache.

    Parameters
    ----------
    args
        Parsed arguments.

    Returns
    -------
    0.

    Raises
    ------
    UsageError
        If the number of days is negative.
    """
    store = Store(args.cache_dir or results_folder())
    if args.job == "clear":
        return _clear(store, args.older_than)
    return _info(store)


def _info(store: Store) -> int:
    entries: dict[str, list[Entry]] = defaultdict(list)
    for entry in store.entries():
        kind = entry.about.get("kind", "")
        entries[_OTHERS.get(kind, entry.about.get("model", "(unknown)"))].append(entry)
    everything = [entry for some in entries.values() for entry in some]
    print(f"{store.folder}: {_summed(everything)}, at most {largest_size() / 1e6:.0f} MB")
    width = max(map(len, entries), default=0)
    for name in sorted(entries):
        last = max(entry.used for entry in entries[name])
        day = time.strftime("%Y-%m-%d", time.localtime(last))
        print(f"  {name:<{width}}  {_summed(entries[name])}, last used {day}")
    return 0


def _clear(store: Store, days: float | None) -> int:
    if days is not None and not days >= 0:
        msg = f"--older-than {days:g}: expected a number of days, 0 or more"
        raise UsageError(msg)
    before = time.time() - (days or 0.0) * _DAY
    old = [entry for entry in store.entries() if days is None or entry.used < before]
    for entry in old:
        store.remove(entry.key)
    print(f"{store.folder}: deleted {_summed(old)}")
    return 0


def _summed(entries: list[Entry]) -> str:
    size = sum(entry.size for entry in entries) / 1e6
    return f"{len(entries)} {'entry' if len(entries) == 1 else 'entries'}, {size:.1f} MB"
