"""Load cells of several perturbations by name, or from the user's own file."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from reconeval.datasets.catalogue import catalogue_names
from reconeval.datasets.loading import dataset_id, user_path
from reconeval.datasets.manifest import read_perturbation_manifest, verify
from reconeval.errors import UsageError

if TYPE_CHECKING:
    from os import PathLike

    from reconeval.datasets._perturbations import PerturbationDataset

__all__ = ["load_perturbation_dataset", "perturbation_dataset_names"]


def perturbation_dataset_names() -> tuple[str, ...]:
    """Return the names of the frozen datasets of perturbed cells."""
    return tuple(read_perturbation_manifest())


def load_perturbation_dataset(
    name_or_path: str | PathLike[str],
    *,
    perturbation_key: str | None = None,
    control: str | None = None,
    cell_type_key: str | None = None,
    batch_key: str | None = None,
    counts_layer: str | None = None,
    embedding: str | None = None,
    descriptor_key: str | None = None,
) -> PerturbationDataset:
    """Load perturbed cells: frozen ones, fetched ones, or those of the user's own `.h5ad` file.

    Parameters
    ----------
    name_or_path
        A name of `perturbation_dataset_names()`, a name of the catalogue whose file was fetched,
        or a path that ends in `.h5ad`. A frozen dataset is loaded once per process: every call
        returns the same object, so copy its arrays before changing them.
    perturbation_key
        Column of `obs` with the perturbation of every cell; this and all below are for the
        user's file only. A label such as `A+B` is the combination of `A` and `B`; `B+A` becomes
        `A+B`, and `A+control` becomes `A`.
    control
        The label of control cells in that column.
    cell_type_key, batch_key
        Columns of `obs` with cell types and conditions.
    counts_layer
        Layer with raw counts, or "X" if `X` holds them. Without it, `X` must be log1p of counts
        per 10 000.
    embedding
        Key of `obsm`, or file of an embedding aligned by cell names. Its decoder is a ridge
        regression. Default 50 principal components. `PerturbationDataset.for_split` fits either
        on the training cells of a split.
    descriptor_key
        Key of `uns`, a table or mapping by perturbation; or of `obsm`, with the same row for all
        cells of a perturbation. Default one coordinate per single perturbation, with which
        nothing can be said of a perturbation that is not in the training.

    Returns
    -------
    The dataset, with the checksum of its file.

    Raises
    ------
    UsageError
        If there is no such dataset or file, a frozen file's checksum is wrong, data of the
        catalogue were not fetched, an option is given for data that are not the user's own, or
        the user's file is unfit.
    """
    options = {
        "perturbation_key": perturbation_key,
        "control": control,
        "cell_type_key": cell_type_key,
        "batch_key": batch_key,
        "counts_layer": counts_layer,
        "embedding": embedding,
        "descriptor_key": descriptor_key,
    }
    names = (*perturbation_dataset_names(), *catalogue_names())
    if name_or_path in names:
        given = [f"--{key.replace('_', '-')}" for key, value in options.items() if value]
        if given:
            msg = f"dataset {name_or_path}: {', '.join(given)}: for your own file; leave it out"
            raise UsageError(msg)
        return _load_named(str(name_or_path))
    path = user_path(name_or_path, names)
    from reconeval.datasets.perturbation_file import load_perturbation_file

    return load_perturbation_file(path, name=dataset_id(path), **options)


def _load_named(name: str) -> PerturbationDataset:
    if name in perturbation_dataset_names():
        return _load_frozen(name)
    from reconeval.datasets.perturbation_file import load_perturbation_source

    return load_perturbation_source(name)


@cache
def _load_frozen(name: str) -> PerturbationDataset:
    from importlib import import_module

    entry = read_perturbation_manifest()[name]
    verify(entry)
    dataset: PerturbationDataset = import_module(f"reconeval.datasets.{name}").load(entry)
    return dataset
