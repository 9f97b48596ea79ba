"""What `reconeval score` is given: files, keys and targets, checked in terms of its options."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconeval.errors import UsageError
from reconeval.filling import listed

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

    from anndata import AnnData

    from reconeval.metrics.pair import Pair

__all__ = ["FILES", "check_options", "make_pair", "read_files"]

# A file's place on the command line -> what the library calls its cells.
FILES = {
    "truth": "adata_true",
    "prediction": "adata_pred",
    "reference": "adata_ctrl",
    "train": "adata_train",
}
_NEED_REFERENCE = ("embedding", "perturbation_key", "covariate_key")


def check_options(args: argparse.Namespace) -> None:
    """Refuse options that need another one, before any file is read."""
    for name in _NEED_REFERENCE:
        if getattr(args, name) is not None and args.reference is None:
            option = f"--{name.replace('_', '-')}"
            msg = f"{option} {getattr(args, name)}: needs --reference FILE, measured control cells"
            raise UsageError(msg)
    if args.targets is not None and args.perturbation_key is None:
        msg = f"--targets {args.targets}: needs --perturbation-key COLUMN, whose labels it names"
        raise UsageError(msg)


def read_files(args: argparse.Namespace) -> tuple[dict[str, AnnData], dict[str, str]]:
    """Read the files that were given.

    Parameters
    ----------
    args
        The command's arguments.

    Returns
    -------
    Cells and sha256 by what they are, a key of `FILES`.

    Raises
    ------
    UsageError
        If a file cannot be used, or lacks a column or embedding that an option names.
    """
    from reconeval.datasets.user_file import read_cells

    cells, sha256 = {}, {}
    for name in FILES:
        path: Path | None = getattr(args, name)
        if path is not None:
            sha256[name], cells[name] = read_cells(path, predicted=name == "prediction")
    _check_labels(args, cells)
    _check_control(args, cells)
    _check_embeddings(args, cells)
    return cells, sha256


def make_pair(args: argparse.Namespace, cells: dict[str, AnnData]) -> Pair:
    """Align truth and prediction.

    Parameters
    ----------
    args
        The command's arguments.
    cells
        What `read_files` returned.

    Returns
    -------
    Truth and prediction.

    Raises
    ------
    UsageError
        If genes, cells or labels do not fit; it says which file is which.
    """
    from reconeval.metrics.measured import measured
    from reconeval.metrics.prepared import pair_of

    targets = None if args.targets is None else _targets(args, cells["truth"])
    try:
        truth = measured(
            cells["truth"],
            cells.get("reference"),
            adata_train=cells.get("train"),
            cell_type_key=args.cell_type_key,
            perturbation_key=args.perturbation_key,
            covariate_key=args.covariate_key,
            control=args.control or None,
            targets=targets,
            use_rep=args.embedding,
            device=args.device,
            seed=args.seed,
        )
        return pair_of(truth, cells["prediction"])
    except UsageError as error:
        named = {name: getattr(args, place) for place, name in FILES.items() if name in str(error)}
        which = ", ".join(f"{name} is {path}" for name, path in named.items())
        if not which:
            raise
        msg = f"{error} ({which})"
        raise UsageError(msg) from error


def _check_labels(args: argparse.Namespace, cells: dict[str, AnnData]) -> None:
    from reconeval.datasets.user_file import check_labels

    for name, key, places in (
        ("cell_type_key", args.cell_type_key, ("truth",)),
        ("perturbation_key", args.perturbation_key, ("truth", "prediction", "train")),
        ("covariate_key", args.covariate_key, tuple(FILES)),
    ):
        for place in places if key is not None else ():
            # Without a perturbation the training cells are no groups; the labels of predicted
            # cells may be those of the measured ones they are matched with.
            unused = place == "train" and args.perturbation_key is None
            matched = place == "prediction" and cells[place].n_obs == cells["truth"].n_obs
            if place not in cells or unused or (matched and key not in cells[place].obs):
                continue
            path = getattr(args, place)
            check_labels(path, cells[place].obs, f"--{name.replace('_', '-')}", key)


def _check_control(args: argparse.Namespace, cells: dict[str, AnnData]) -> None:
    if "train" not in cells or args.perturbation_key is None or not args.control:
        return
    labels = set(cells["train"].obs[args.perturbation_key].astype(str))
    if args.control not in labels:
        msg = (
            f"--control {args.control}: no cell of {args.train} has that label in "
            f"{args.perturbation_key} (it has {listed(sorted(labels))}); name the label of the "
            "controls there, or say --control '' if there are none"
        )
        raise UsageError(msg)


def _check_embeddings(args: argparse.Namespace, cells: dict[str, AnnData]) -> None:
    if args.embedding is None:
        return
    expected = None
    for path, adata in _embedded(args, cells):
        if args.embedding not in adata.obsm:
            msg = (
                f"--embedding {args.embedding}: {path} has no such obsm (it has "
                f"{listed(adata.obsm)}); compute it there, or leave the option out"
            )
            raise UsageError(msg)
        width = adata.obsm[args.embedding].shape[1:]
        expected = width if expected is None else expected
        if width != expected:
            msg = (
                f"--embedding {args.embedding}: {path} has {_width(width)} there, expected the "
                f"{_width(expected)} of {args.truth}; embed all files alike"
            )
            raise UsageError(msg)


def _embedded(
    args: argparse.Namespace, cells: dict[str, AnnData]
) -> Iterator[tuple[Path, AnnData]]:
    for place in ("truth", "prediction", "reference"):
        yield getattr(args, place), cells[place]


def _width(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) + " columns"


def _targets(args: argparse.Namespace, truth: AnnData) -> dict[str, str]:
    """Read which gene each perturbation targets."""
    from reconeval.resources.tables import read_table

    table = read_table(args.targets, ("perturbation", "gene")).astype(str).drop_duplicates()
    twice = table.loc[table["perturbation"].duplicated(), "perturbation"]
    if len(twice):
        msg = f"{args.targets}: {twice.iloc[0]} has more than one gene; keep one for each"
        raise UsageError(msg)
    targets = dict(zip(table["perturbation"], table["gene"], strict=True))
    labels = sorted(set(truth.obs[args.perturbation_key].astype(str)))
    if not targets.keys() & set(labels):
        msg = (
            f"{args.targets}: names none of the perturbations of {args.truth} ({listed(labels)}), "
            f"but {listed(targets)}; write them as in obs"
        )
        raise UsageError(msg)
    if not set(targets.values()) & set(truth.var_names):
        msg = (
            f"{args.targets}: names none of the genes of {args.truth}, but "
            f"{listed(targets.values())}; write them as in var_names"
        )
        raise UsageError(msg)
    return targets
