"""Assign perturbed cells and their controls to training, validation and test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reconeval.datasets._perturbations import PerturbationSplit
from reconeval.datasets.manifest import read_perturbation_manifest
from reconeval.datasets.splits import draw_groups
from reconeval.errors import UsageError
from reconeval.filling import hint

if TYPE_CHECKING:
    from reconeval._typing import BoolArray, IntArray, StrArray
    from reconeval.datasets._perturbations import PerturbationDataset

__all__ = ["make_perturbation_split", "perturbation_split_names"]

_NAMES = ("iid", "perturbation", "cell_type", "condition")
_IID_FRACTIONS = (0.6, 0.1)  # training, validation
_TRAIN_FRACTION = 0.9  # of the cells that are not held out
_CONTROL_FRACTION = 0.7  # training and validation, as of the perturbed cells in `iid`
_NOUNS = {"perturbation": "perturbations", "cell_type": "cell types", "condition": "conditions"}
_LEAST_LEFT = {"perturbation": 2, "cell_type": 2, "condition": 1}
_ADVICE = {
    "cell_type": "needs cell types; add --cell-type-key COLUMN",
    "condition": "needs conditions such as donors; add --batch-key COLUMN",
}


def perturbation_split_names(dataset: PerturbationDataset | str | None = None) -> tuple[str, ...]:
    """Return the splits of perturbed cells.

    Parameters
    ----------
    dataset
        A dataset, or the name of a frozen one, which is not loaded for this; default none.

    Returns
    -------
    The splits that the dataset allows, `iid` first; without a dataset all that there are.
    """
    if dataset is None:
        return _NAMES
    if isinstance(dataset, str):
        return ("iid", *read_perturbation_manifest()[dataset].held_out)
    if dataset.version != "user":
        return perturbation_split_names(dataset.name)
    return tuple(name for name in _NAMES if _is_possible(dataset, name))


def _is_possible(dataset: PerturbationDataset, name: str) -> bool:
    try:
        make_perturbation_split(dataset, name)
    except UsageError:
        return False
    return True


def make_perturbation_split(
    dataset: PerturbationDataset, name: str, *, seed: int = 0
) -> PerturbationSplit:
    """Assign every perturbed cell to training, validation or test, and the controls to a side.

    Parameters
    ----------
    dataset
        The cells.
    name
        `iid`: of each perturbation 60 % training, 10 % validation and 30 % test; for
        `latent_synthetic` the 80 % training and 20 % test that its recipe fixes, whatever the
        seed. `perturbation`, `cell_type`, `condition`: whole groups for the test, the other
        cells 90 to 10. The groups are those of the manifest for a frozen dataset; for the user's
        own they are drawn with the seed until they have 20 % of the perturbed cells, at most
        50 %, with two groups or more left for training (one where conditions are held out).
    seed
        Seeds the shuffles and the partners.

    Returns
    -------
    The split. Controls of a held-out cell type or condition are all test controls, the others all
    training controls; in `iid` and `perturbation` 70 % of the controls of each cell type and
    condition are for training. Known partners and cells of one source stay together; a training
    cell that shares its partner or source with a held-out cell is left out.

    Raises
    ------
    UsageError
        If there is no such split, the labels that it needs are missing, no choice of groups fits,
        or a side has no cells or no controls.
    """
    if name not in _NAMES:
        msg = f"dataset {dataset.name}: no split {name!r}{hint(name, _NAMES, 'splits:')}"
        raise UsageError(msg)
    rng = np.random.default_rng(seed)
    held_out: tuple[str, ...] = ()
    if name == "iid":
        train, val, test = _iid(dataset, rng)
    else:
        groups = _groups(dataset, name)
        held_out = _held_out(dataset, name, groups, rng)
        train, val, test = _whole_groups(dataset, np.isin(groups, held_out), rng)
    train_controls, test_controls = _controls(dataset, name, held_out, (train, val, test), rng)
    for part, rows in (
        ("training cells", train),
        ("test cells", test),
        ("training controls", train_controls),
        ("test controls", test_controls),
    ):
        if not len(rows):
            msg = f"dataset {dataset.name}: split {name} leaves no {part}; take more cells"
            raise UsageError(msg)
    return PerturbationSplit(
        name,
        train,
        val,
        test,
        held_out,
        train_controls=train_controls,
        test_controls=test_controls,
        train_partner=_partners(dataset, train, train_controls, rng),
        val_partner=_partners(dataset, val, train_controls, rng),
        test_partner=_partners(dataset, test, test_controls, rng),
    )


def _units(dataset: PerturbationDataset) -> IntArray:
    """Return for each cell what must stay on its side: its source, its partner, or itself."""
    rows = np.arange(len(dataset.perturbation), dtype=np.int64)
    if dataset.sources is not None:
        return dataset.sources
    if dataset.partner is not None:
        return np.where(dataset.partner < 0, rows, dataset.partner)
    return rows


def _perturbed(dataset: PerturbationDataset) -> IntArray:
    return np.flatnonzero(dataset.perturbation != dataset.control).astype(np.int64)


def _iid(
    dataset: PerturbationDataset, rng: np.random.Generator
) -> tuple[IntArray, IntArray, IntArray]:
    if dataset.name == "latent_synthetic" and dataset.version != "user":
        from reconeval.datasets.latent_synthetic import fixed_rows

        train, test = fixed_rows()
        return train, np.empty(0, np.int64), test
    rows = rng.permutation(_perturbed(dataset))
    units = _units(dataset)
    if len(np.unique(units[rows])) < len(rows):  # the shares of a perturbation are near 60/10/30
        parts = _cut(rng.permutation(np.unique(units[rows])))
        train, val, test = (rows[np.isin(units[rows], part)] for part in parts)
        return train, val, test
    labels = dataset.perturbation[rows]
    cut = [_cut(rows[labels == label]) for label in np.unique(labels)]
    train, val, test = (rng.permutation(np.concatenate(part)) for part in zip(*cut, strict=True))
    return train, val, test


def _cut(items: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    first, second = (round(len(items) * share) for share in np.cumsum(_IID_FRACTIONS))
    return items[:first], items[first:second], items[second:]


def _groups(dataset: PerturbationDataset, name: str) -> StrArray:
    """Return the label of every cell that a split holds out by."""
    if name == "perturbation":
        return dataset.perturbation
    groups = dataset.cell_types if name == "cell_type" else dataset.conditions
    if groups is None:
        msg = f"dataset {dataset.name}: split {name} {_ADVICE[name]}"
        raise UsageError(msg)
    return groups


def _held_out(
    dataset: PerturbationDataset, name: str, groups: StrArray, rng: np.random.Generator
) -> tuple[str, ...]:
    if dataset.version != "user":
        fixed = read_perturbation_manifest()[dataset.name].held_out
        if name not in fixed:
            known = hint(name, perturbation_split_names(dataset.name), "splits:")
            msg = f"dataset {dataset.name}: no groups to hold out for split {name}{known}"
            raise UsageError(msg)
        return fixed[name]
    labels = groups[_perturbed(dataset)]
    if name != "perturbation":  # a group without controls has nothing to be compared with
        with_controls = np.unique(groups[dataset.perturbation == dataset.control])
        labels = labels[np.isin(labels, with_controls)]
    return draw_groups(
        labels,
        rng,
        where=dataset.name,
        split=name,
        noun=_NOUNS[name],
        least_left=_LEAST_LEFT[name],
    )


def _whole_groups(
    dataset: PerturbationDataset, held: BoolArray, rng: np.random.Generator
) -> tuple[IntArray, IntArray, IntArray]:
    rows = rng.permutation(_perturbed(dataset))
    test, units = rows[held[rows]], _units(dataset)
    rest = rows[~held[rows] & ~np.isin(units[rows], units[test])]
    n_train = round(len(np.unique(units[rest])) * _TRAIN_FRACTION)
    in_train = np.isin(units[rest], rng.permutation(np.unique(units[rest]))[:n_train])
    return rest[in_train], rest[~in_train], test


def _controls(
    dataset: PerturbationDataset,
    name: str,
    held_out: tuple[str, ...],
    parts: tuple[IntArray, IntArray, IntArray],
    rng: np.random.Generator,
) -> tuple[IntArray, IntArray]:
    """Divide the controls into those of training and those of the test."""
    controls = rng.permutation(np.flatnonzero(dataset.perturbation == dataset.control))
    controls = controls.astype(np.int64)
    units = _units(dataset)
    if name in {"cell_type", "condition"}:
        in_test = np.isin(_groups(dataset, name)[controls], held_out)
    elif dataset.partner is not None:
        in_test = np.zeros(len(controls), dtype=bool)
    else:
        in_test = _test_share(_kinds(dataset)[controls])
    # A control that a perturbed cell belongs to goes where that cell went.
    in_test[np.isin(units[controls], units[np.concatenate(parts[:2])])] = False
    in_test[np.isin(units[controls], units[parts[2]])] = True
    return controls[~in_test], controls[in_test]


def _test_share(kinds: IntArray) -> BoolArray:
    """Mark 30 % of each kind, one at least where there are two."""
    in_test = np.zeros(len(kinds), dtype=bool)
    for kind in np.unique(kinds):
        rows = np.flatnonzero(kinds == kind)
        n_train = max(1, min(round(len(rows) * _CONTROL_FRACTION), len(rows) - 1))
        in_test[rows[n_train:]] = True
    return in_test


def _kinds(dataset: PerturbationDataset) -> IntArray:
    """Give each cell the number of its pair of cell type and condition."""
    labels = [label for label in (dataset.cell_types, dataset.conditions) if label is not None]
    if not labels:
        return np.zeros(len(dataset.perturbation), dtype=np.int64)
    codes = np.stack([np.unique(label, return_inverse=True)[1] for label in labels])
    return np.unique(codes, axis=1, return_inverse=True)[1].ravel().astype(np.int64)


def _partners(
    dataset: PerturbationDataset, rows: IntArray, controls: IntArray, rng: np.random.Generator
) -> IntArray:
    """Return each cell's known partner, or draw one that is as like it as its side has."""
    if dataset.partner is not None:
        return dataset.partner[rows]
    partners = rng.choice(controls, size=len(rows))
    alike = [_kinds(dataset)]
    if dataset.cell_types is not None:
        alike.insert(0, np.unique(dataset.cell_types, return_inverse=True)[1].astype(np.int64))
    for kinds in alike:  # the finer one last, so that it decides where it can
        for kind in np.unique(kinds[rows]):
            pool = controls[kinds[controls] == kind]
            if len(pool):
                mine = kinds[rows] == kind
                partners[mine] = rng.choice(pool, size=int(mine.sum()))
    return partners
