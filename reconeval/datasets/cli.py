"""`reconeval datasets list|verify|describe|fetch`: what ships, and what can be downloaded."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from reconeval.datasets import fetch_command
from reconeval.datasets.catalogue import Source, read_catalogue
from reconeval.datasets.fetching import fetched_path
from reconeval.datasets.loading import load_dataset
from reconeval.datasets.manifest import (
    Entry,
    PerturbationEntry,
    read_manifest,
    read_perturbation_manifest,
    verify,
)
from reconeval.datasets.perturbation_loading import load_perturbation_dataset
from reconeval.datasets.perturbation_splits import (
    make_perturbation_split,
    perturbation_split_names,
)
from reconeval.datasets.splits import make_split, split_names
from reconeval.errors import UsageError
from reconeval.filling import hint

if TYPE_CHECKING:
    import argparse

    from reconeval.datasets._types import Split

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="one line per frozen dataset")
    check = actions.add_parser("verify", help="check files against their checksums")
    check.add_argument(
        "name", metavar="NAME", nargs="?", help="frozen or fetched dataset; default: all frozen"
    )
    describe = actions.add_parser("describe", help="source, terms, genes and splits of one")
    describe.add_argument("name", metavar="NAME", help="frozen dataset, or one that can be fetched")
    fetch_command.add_arguments(
        actions.add_parser("fetch", help="download perturbation data, or list what there is")
    )


def run(args: argparse.Namespace) -> int:
    """Run a subcommand; returns 0, 1 where `verify` finds a bad file, 130 after Ctrl-C."""
    if args.action == "fetch":
        return fetch_command.run(args)
    frozen: dict[str, Entry | PerturbationEntry]
    frozen = {**read_manifest(), **read_perturbation_manifest()}
    if args.action == "list":
        _print_table(list(frozen.values()))
        return 0
    known: dict[str, Entry | PerturbationEntry | Source] = {**frozen, **read_catalogue()}
    if args.name is not None and args.name not in known:
        msg = f"no dataset {args.name!r}{hint(args.name, known, 'datasets:')}"
        raise UsageError(msg)
    if args.action == "verify":
        chosen = frozen.values() if args.name is None else [known[args.name]]
        bad = [entry for entry in chosen if not _is_intact(entry)]
        return int(bool(bad))
    _describe(known[args.name])
    return 0


def _size(entry: Entry | PerturbationEntry) -> str:
    try:
        return f"{entry.path.stat().st_size / 1e6:.2f} MB"
    except FileNotFoundError:
        return "missing"


def _print_table(entries: list[Entry | PerturbationEntry]) -> None:
    rows: list[tuple[str, ...]] = [
        ("name", "version", "cells", "genes", "types", "perturbations", "size", "licence")
    ]
    for e in entries:
        perturbations = e.perturbations if isinstance(e, PerturbationEntry) else 0
        numbers = (e.cells, e.genes, e.cell_types, perturbations)
        rows.append((e.name, e.version, *map(_number, numbers), _size(e), e.licence))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def _number(n: int) -> str:
    return str(n) if n else "-"


def _is_intact(entry: Entry | PerturbationEntry | Source) -> bool:
    try:
        if isinstance(entry, Source):
            print(f"{fetched_path(entry.name, reread=True)}: ok")
        else:
            verify(entry)
            sha256 = entry.sha256
            if isinstance(entry, Entry) and entry.cells_sha256:
                sha256 = load_dataset(entry.name).sha256  # makes the cells and checks them
            print(f"{entry.name} {entry.version}: ok (sha256 {sha256[:12]}...)")
    except UsageError as error:
        print(error, file=sys.stderr)
        return False
    return True


def _describe(entry: Entry | PerturbationEntry | Source) -> None:
    facts = fetch_command.source_facts(entry) if isinstance(entry, Source) else _frozen_facts(entry)
    width = max(map(len, facts))
    for label, text in facts.items():
        print(f"{label.ljust(width)}  {text}")


def _frozen_facts(entry: Entry | PerturbationEntry) -> dict[str, str]:
    own = _perturbation_facts(entry) if isinstance(entry, PerturbationEntry) else _facts(entry)
    return {
        "dataset": f"{entry.name} {entry.version}: {entry.cells} cells x {entry.genes} genes"
        + (f", {entry.cell_types} cell types" if entry.cell_types else ""),
        "source": entry.source,
        "doi": entry.doi,
        "licence": entry.licence,
        **own,
        "file": f"{entry.path} ({_size(entry)})",
        "sha256": entry.sha256,
    }


def _facts(entry: Entry) -> dict[str, str]:
    dataset = load_dataset(entry.name)
    batches = {}
    if dataset.batch_key is not None:
        sizes = dataset.adata.obs[dataset.batch_key].value_counts(sort=False)
        counted = ", ".join(f"{name} {n}" for name, n in sizes.items())
        query = ", ".join(entry.query_batches)
        batches = {"batches": f"{counted} cells; query: {query}", "cells sha256": dataset.sha256}
    return {
        "genes": entry.rule,
        "values": "X log1p of counts per 10 000, layers['counts'] raw counts, "
        "obs['total_counts'] over all measured genes",
        **{f"split {name}": _split_line(make_split(dataset, name)) for name in split_names()},
        **batches,
    }


def _perturbation_facts(entry: PerturbationEntry) -> dict[str, str]:
    dataset = load_perturbation_dataset(entry.name)
    lines = {}
    for name in perturbation_split_names(dataset):
        split = make_perturbation_split(dataset, name)
        controls = f"{len(split.train_controls)} and {len(split.test_controls)} controls"
        lines[f"split {name}"] = f"{_split_line(split)}; {controls}"
    length = len(next(iter(dataset.descriptors.values())))
    return {
        "made": entry.rule,
        "control": dataset.control,
        "perturbations": ", ".join(dataset.descriptors),
        "descriptors": f"{length} numbers each",
        "embedding": f"{dataset.embedding.shape[1]} dimensions",
        **lines,
    }


def _split_line(split: Split) -> str:
    sizes = f"{len(split.train)} training, {len(split.val)} validation, {len(split.test)} test"
    return f"{sizes}; held out: {', '.join(split.held_out)}" if split.held_out else sizes
