"""`reconeval datasets fetch`: download data of the catalogue, or list what there is."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from reconeval._cache import cache_folder
from reconeval.datasets.catalogue import find_source, read_catalogue
from reconeval.datasets.fetching import fetch, fetched_names

if TYPE_CHECKING:
    import argparse

    from reconeval.datasets.catalogue import Source

__all__ = ["add_arguments", "run", "source_facts"]

# What a shell reports for a program that Ctrl-C ended.
_INTERRUPTED = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="what to fetch; default: list all")
    parser.add_argument(
        "--dir", metavar="DIR", help=f"folder to keep it in (default: {cache_folder()})"
    )


def run(args: argparse.Namespace) -> int:
    """Fetch one entry or list all; returns 0, or 130 where it was interrupted."""
    if args.name is None:
        _print_catalogue(args.dir)
        return 0
    source = find_source(args.name)
    print(f"{source.name}: {source.title}\n  {source.citation}, doi:{source.doi}")
    print(f"  licence: {source.licence}" + (f"; about {source.size}" if source.size else ""))
    if source.checksum is None:
        print("  no checksum is published; the sha256 of the first download is kept and asked for")
    try:
        path = fetch(args.name, folder=args.dir, show=True)
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        return _INTERRUPTED
    variable = f"RECONEVAL_CACHE={args.dir} " if args.dir else ""
    print(f"{path}: ok\nuse it: {variable}pytest benchmarks --dataset {source.name} --model ...")
    return 0


def source_facts(source: Source) -> dict[str, str]:
    """Return what there is to know of an entry before and after it is fetched, by label."""
    here = source.name in fetched_names()
    return {
        "dataset": f"{source.name}: {source.title}",
        "source": source.citation,
        "doi": source.doi,
        "licence": source.licence,
        "page": source.page,
        "control": f"{source.layout.control!r} in obs[{source.layout.perturbation!r}]",
        "size": source.size or "unknown",
        "checksum": source.checksum or "none published",
        "file": str(cache_folder() / f"{source.name}.h5ad")
        if here
        else f"not here; run: reconeval datasets fetch {source.name}",
    }


def _print_catalogue(folder: str | None) -> None:
    here = fetched_names(folder=folder)
    rows = [("name", "size", "here", "cells")]
    rows += [
        (s.name, s.size or "?", "yes" if s.name in here else "no", s.title)
        for s in read_catalogue().values()
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
