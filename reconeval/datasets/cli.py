"""`reconeval datasets list|verify|describe|fetch`: what ships, and what can be downloaded."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from reconeval.datasets import fetch_command
from reconeval.datasets.loading import load_dataset
from reconeval.datasets.manifest import read_manifest, verify
from reconeval.datasets.splits import make_split, split_names
from reconeval.errors import UsageError
from reconeval.filling import hint

if TYPE_CHECKING:
    import argparse

    from reconeval.datasets._types import Split
    from reconeval.datasets.manifest import Entry

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="one line per frozen dataset")
    actions.add_parser("verify", help="check the files against their checksums")
    describe = actions.add_parser("describe", help="source, terms, genes and splits of one")
    describe.add_argument("name", metavar="NAME", help="name of a frozen dataset")
    fetch_command.add_arguments(
        actions.add_parser("fetch", help="download perturbation data, or list what there is")
    )


def run(args: argparse.Namespace) -> int:
    """Run a subcommand; returns 0, 1 where `verify` finds a bad file, 130 after Ctrl-C."""
    if args.action == "fetch":
        return fetch_command.run(args)
    entries = read_manifest()
    if args.action == "list":
        _print_table(list(entries.values()))
    elif args.action == "verify":
        bad = [entry for entry in entries.values() if not _is_intact(entry)]
        return int(bool(bad))
    else:
        _describe(_find(args.name))
    return 0


def _find(name: str) -> Entry:
    entries = read_manifest()
    if name not in entries:
        msg = f"no frozen dataset {name!r}{hint(name, entries, 'datasets:')}"
        raise UsageError(msg)
    return entries[name]


def _size(entry: Entry) -> str:
    try:
        return f"{entry.path.stat().st_size / 1e6:.2f} MB"
    except FileNotFoundError:
        return "missing"


def _print_table(entries: list[Entry]) -> None:
    rows = [("name", "version", "cells", "genes", "types", "size", "licence")]
    rows += [
        (e.name, e.version, f"{e.cells}", f"{e.genes}", f"{e.cell_types}", _size(e), e.licence)
        for e in entries
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def _is_intact(entry: Entry) -> bool:
    try:
        verify(entry)
    except UsageError as error:
        print(error, file=sys.stderr)
        return False
    print(f"{entry.name} {entry.version}: ok (sha256 {entry.sha256[:12]}...)")
    return True


def _describe(entry: Entry) -> None:
    dataset = load_dataset(entry.name)
    facts = {
        "dataset": f"{entry.name} {entry.version}: {entry.cells} cells x {entry.genes} genes, "
        f"{entry.cell_types} cell types",
        "source": entry.source,
        "doi": entry.doi,
        "licence": entry.licence,
        "genes": entry.rule,
        "values": "X log1p of counts per 10 000, layers['counts'] raw counts, "
        "obs['total_counts'] over all measured genes",
        **{f"split {name}": _split_line(make_split(dataset, name)) for name in split_names()},
        "file": f"{entry.path} ({_size(entry)})",
        "sha256": entry.sha256,
    }
    width = max(map(len, facts))
    for label, text in facts.items():
        print(f"{label.ljust(width)}  {text}")


def _split_line(split: Split) -> str:
    sizes = f"{len(split.train)} training, {len(split.val)} validation, {len(split.test)} test"
    return f"{sizes}; held out: {', '.join(split.held_out)}" if split.held_out else sizes
