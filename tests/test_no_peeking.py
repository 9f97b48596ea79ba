"""A predictor that hunts for test cells finds none, and one that writes changes no score."""

from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, fields, is_dataclass, replace

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from reconeval.cases import LatentShiftCase
from reconeval.contract import PredictorSubject, few_cells
from reconeval.datasets import (
    PerturbationDataset,
    load_perturbation_dataset,
    make_perturbation_split,
    perturbation_dataset_names,
    perturbation_split_names,
)
from reconeval.datasets._decoders import AffineDecoder
from reconeval.spec import parse_models
from tests.conftest import ROOT

NAMES = ("A", "B", "C", "A+B", "D")
D, C, GENES = 6, 4, 9


class Cheater:
    """Keeps all that it is given."""

    def __init__(self, embed_dim, cov_dim, n_genes, seed):
        pass

    def train(
        self,
        ctrl_emb,
        pert_emb,
        pert_cov,
        *,
        ctrl_cov,
        perturbation,
        parts,
        decode,
        seed,
        accelerator,
        enable_progress_bar,
        logger,
        val_ctrl_emb=None,
        val_pert_emb=None,
        val_pert_cov=None,
        cell_type=None,
        condition=None,
    ):
        # `parts` may name what is held out: which perturbations combine tells of no cell.
        given = {name: value for name, value in locals().items() if name not in {"self", "parts"}}
        self.loot = self.keep(given)

    def predict(self, ctrl_emb, pert_cov, cell_type=None, condition=None):
        given = {name: value for name, value in locals().items() if name != "self"}
        self.loot_of_predict = self.keep(given)
        return ctrl_emb

    def keep(self, given):
        return Loot.of(given)


class Vandal(Cheater):
    """Writes to all that it is given, locked or not."""

    def keep(self, given):
        for one in list(reachable(given)):
            if isinstance(one, np.ndarray):
                with suppress(ValueError):  # of memory that is not the array's own
                    one.flags.writeable = True
                    one.fill("ruined" if one.dtype.kind in "OUS" else 1e9)
        return given


def reachable(root):
    """Yield all objects that some code holding `root` could get at, globals and frames aside."""
    seen, waiting = set(), [root]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        if isinstance(one, dict):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, (list, tuple, set, frozenset)):
            waiting += one
        elif isinstance(one, np.ndarray):
            waiting.append(one.base)
        elif not isinstance(one, (str, bytes, int, float, type)):
            waiting += [cell.cell_contents for cell in getattr(one, "__closure__", None) or ()]
            names = ("__self__", "__dict__", "__defaults__", "__kwdefaults__", "func", "args")
            waiting += [getattr(one, name, None) for name in names]
            if is_dataclass(one):
                waiting += [getattr(one, field.name, None) for field in fields(one)]


@dataclass
class Loot:
    """The rows of all matrices that were found, by their width, and all words."""

    rows: dict[int, set[bytes]]
    words: set[str]

    @classmethod
    def of(cls, root):
        found = cls({}, set())
        for one in reachable(root):
            if isinstance(one, str):
                found.words.add(one)
            array = one.detach().numpy() if hasattr(one, "detach") else one
            if not isinstance(array, np.ndarray):
                continue
            if array.dtype.kind in "OUS":
                found.words |= set(array.astype(str).ravel())
            elif array.ndim == 2 and array.dtype.kind == "f":
                known = found.rows.setdefault(array.shape[1], set())
                known |= {row.tobytes() for row in array.astype(np.float32)}
        return found

    def n_known(self, matrix):
        """Return how many rows of a matrix were found."""
        known = self.rows.get(matrix.shape[1], set())
        return sum(row.tobytes() in known for row in matrix.astype(np.float32))


@pytest.fixture(scope="module")
def drawn():
    """Perturbed cells of two types and three donors, with embedding, expression and decoder."""
    rng = np.random.default_rng(0)
    labels = np.array(["none", *NAMES])[rng.integers(0, 1 + len(NAMES), 900)]
    embedding = rng.normal(size=(900, D)).astype(np.float32)
    genes = rng.normal(size=(D, GENES)).astype(np.float32)
    return PerturbationDataset(
        name="drawn",
        version="user",
        sha256="0" * 64,
        genes=tuple(f"g{j}" for j in range(GENES)),
        X=(embedding @ genes + 0.1).astype(np.float32),
        embedding=embedding,
        perturbation=labels,
        control="none",
        descriptors={name: rng.normal(size=C).astype(np.float32) for name in NAMES},
        decode=AffineDecoder(genes, np.zeros(GENES, dtype=np.float32)),
        cell_types=np.array(["T cell", "B cell", "NK cell"])[rng.integers(0, 3, 900)],
        conditions=np.array(["donor 1", "donor 2", "donor 3"])[rng.integers(0, 3, 900)],
        parts={"A+B": ("A", "B")},
    )


def case_of(dataset, split):
    rows = make_perturbation_split(dataset, split)
    return LatentShiftCase(dataset.for_split(rows), rows)


def cheater_on(case, name="Cheater"):
    """Build, train and ask a cheater as a run does."""
    (spec,) = parse_models([f"tests.test_no_peeking:{name}"], folder=ROOT)
    assert spec.task == "latent_shift"
    cheater = spec.build(case.constructor_offers(seed=0))
    spec.train(cheater, case.train_offers(seed=0))
    args, kwargs = case.test_input().arguments(cheater)
    cheater.predict(*args, **kwargs)
    return cheater


def check_finds_nothing(case):
    dataset, split = case.dataset, case.split
    cheater = cheater_on(case)
    trained, asked = cheater.loot, cheater.loot_of_predict
    secret = {"embedding": dataset.embedding[split.test], "X": dataset.X[split.test]}
    for loot in (trained, asked):
        assert {name: loot.n_known(rows) for name, rows in secret.items()} == {
            "embedding": 0,
            "X": 0,
        }
    assert trained.n_known(dataset.embedding[split.test_controls]) == 0
    assert trained.n_known(dataset.embedding[split.train]) == len(split.train)  # it does hunt
    assert not asked.words & set(dataset.descriptors)
    if split.name == "perturbation":
        assert not trained.words & set(split.held_out)
        held_out = np.stack([dataset.descriptors[name] for name in split.held_out])
        assert trained.n_known(held_out) == 0
    elif split.held_out:  # a cell type or a condition
        assert not trained.words & set(split.held_out)


def check_changes_nothing(dataset, split):
    """Let the vandal loose on a copy of a dataset, which stays equal to the dataset."""
    case = case_of(deepcopy(dataset), split)
    before = case_of(dataset, split)
    after, cells = case.dataset, before.dataset.embedding[before.split.test]
    expected = before.dataset.decode(cells)
    vandal = cheater_on(case, "Vandal")
    assert not np.allclose(vandal.loot["decode"](cells), expected, rtol=0.1)  # it does write
    assert (vandal.loot["pert_emb"] == 1e9).all()
    assert np.array_equal(after.decode(cells), expected)
    for name in ("X", "embedding", "perturbation", "cell_types", "conditions", "counts"):
        was = getattr(before.dataset, name)
        assert was is None or np.array_equal(getattr(after, name), was), name
    for name, descriptor in before.dataset.descriptors.items():
        assert np.array_equal(after.descriptors[name], descriptor)
    for name, was in before.test_input().arrays.items():
        assert np.array_equal(case.test_input().arrays[name], was)
    for name, was in vars(before.data).items():
        if isinstance(was, np.ndarray):
            assert np.array_equal(getattr(case.data, name), was), name


@pytest.mark.parametrize("split", perturbation_split_names())
def test_changes_no_cell_and_no_decoder(drawn, split):
    check_changes_nothing(drawn, split)


@pytest.mark.parametrize("name", perturbation_dataset_names())
def test_changes_none_of_the_frozen_datasets(name):
    check_changes_nothing(load_perturbation_dataset(name), "iid")


@pytest.mark.parametrize("name", perturbation_dataset_names())
def test_frozen_datasets_are_read_only(name):
    dataset = load_perturbation_dataset(name)
    dataset = dataset.for_split(make_perturbation_split(dataset, "iid"))
    arrays = [dataset.X, dataset.embedding, *vars(dataset.decode).values()]
    assert len(arrays) > 3
    for array in arrays:
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


@pytest.mark.parametrize("split", perturbation_split_names())
def test_finds_no_test_cell_and_nothing_that_is_held_out(drawn, split):
    check_finds_nothing(case_of(drawn, split))


@pytest.mark.parametrize("name", perturbation_dataset_names())
def test_finds_none_in_the_frozen_datasets(name):
    dataset = load_perturbation_dataset(name)
    for split in perturbation_split_names(dataset):
        check_finds_nothing(case_of(dataset, split))


def test_finds_none_in_a_file_of_the_user(drawn, tmp_path):
    kinds = {"what": drawn.perturbation, "kind": drawn.cell_types, "donor": drawn.conditions}
    obs = pd.DataFrame(kinds, index=[f"c{i}" for i in range(len(drawn.X))]).astype("category")
    var = pd.DataFrame(index=list(drawn.genes))
    AnnData(np.log1p(np.abs(drawn.X)), obs=obs, var=var).write_h5ad(tmp_path / "mine.h5ad")
    keys = {"perturbation_key": "what", "cell_type_key": "kind", "batch_key": "donor"}
    dataset = load_perturbation_dataset(tmp_path / "mine.h5ad", control="none", **keys)
    for split in perturbation_split_names(dataset):
        check_finds_nothing(case_of(dataset, split))


def test_finds_nothing_that_is_held_out_in_the_contract(drawn):
    case = case_of(drawn, "perturbation")
    (spec,) = parse_models(["tests.test_no_peeking:Cheater"], folder=ROOT)
    loot = PredictorSubject(spec, *few_cells(case.data, case.test_input())).trained.loot
    held_out = case.split.held_out
    assert not loot.words & set(held_out)
    assert loot.n_known(np.stack([drawn.descriptors[name] for name in held_out])) == 0
    assert loot.n_known(drawn.embedding[case.split.test]) == 0
    assert loot.n_known(drawn.embedding[case.split.train]) == 60


class TestHunt:
    """What leaks is found."""

    def test_in_the_training_rows(self, drawn):
        split = make_perturbation_split(drawn, "perturbation")
        leaking = replace(
            split,
            train=np.concatenate([split.train, split.test]),
            train_partner=np.concatenate([split.train_partner, split.test_partner]),
        )
        loot = cheater_on(LatentShiftCase(drawn, leaking)).loot
        assert loot.n_known(drawn.embedding[split.test]) == len(split.test)
        assert loot.n_known(np.stack([drawn.descriptors[p] for p in split.held_out])) > 0
        assert set(split.held_out) <= loot.words

    def test_in_what_an_array_is_a_view_of(self, drawn):
        view = drawn.embedding[:10]
        assert Loot.of({"ctrl_emb": view}).n_known(drawn.embedding) == len(drawn.embedding)

    def test_behind_the_decoder(self, drawn):
        def decode(Z):
            return drawn.decode(Z)

        leaking = replace(drawn, decode=decode)
        case = case_of(leaking, "iid")
        loot = cheater_on(case).loot
        assert loot.n_known(drawn.embedding[case.split.test]) == len(case.split.test)
        assert loot.n_known(drawn.X[case.split.test]) == len(case.split.test)
