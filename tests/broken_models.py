"""Models that each break one rule of the contract, and sound ones.

`breaks` names the check that a class is there for, `also` those that cannot hold either. What
a model does wrong, it does for every input, so that generated matrices find it.
"""

import numpy as np
from scipy import sparse


class Sound:
    """Moves each value towards its gene's mean, by a share drawn from the seed."""

    breaks = None
    also = frozenset()

    def __init__(self, n_genes, seed=0):
        self.n_genes = n_genes
        self.seed = seed
        self.mean = None

    def train(self, X, seed=0):
        self.mean = X.mean(axis=0, dtype=np.float64)
        self.share = np.random.default_rng(seed).uniform(0.2, 0.8, X.shape[1])

    def predict(self, X):
        if self.mean is None:
            raise RuntimeError("Sound is not trained; call train first")
        if sparse.issparse(X):
            raise TypeError("sparse input is not supported")
        return self.reconstruct(X)

    def reconstruct(self, X):
        return self.mean + self.share * (X - self.mean)

    def save(self, path):
        with path.open("wb") as file:
            np.savez(file, mean=self.mean, share=self.share)

    @classmethod
    def load(cls, path):
        with np.load(path) as arrays:
            model = cls(len(arrays["mean"]))
            model.mean, model.share = arrays["mean"], arrays["share"]
        return model


class SoundElsewhere(Sound):
    """Takes sparse input, loads into an instance, trains on what AnnData holds."""

    def train(self, adata, random_state, **kwargs):
        super().train(adata.X, random_state)

    def predict(self, X):
        return super().predict(X.toarray() if sparse.issparse(X) else X)

    def load(self, path):
        loaded = Sound.load(path)
        self.mean, self.share = loaded.mean, loaded.share


def returns_class(n_genes) -> Sound:
    return Sound


class PredictIsNumber(Sound):
    breaks = "signatures"

    def __init__(self, n_genes):
        super().__init__(n_genes)
        self.predict = 3


class PredictTakesTwo(Sound):
    task = "end_to_end"
    breaks = "signatures"

    def predict(self, X, covariates):
        return X


class TaskChanges(Sound):
    breaks = "signatures"

    def __init__(self, n_genes):
        super().__init__(n_genes)
        self.task = "decode"


class NumbersUntrained(Sound):
    breaks = "untrained"

    def __init__(self, n_genes):
        super().__init__(n_genes)
        self.mean, self.share = np.zeros(n_genes), np.ones(n_genes)


class AccidentUntrained(Sound):
    breaks = "untrained"

    def predict(self, X):
        if sparse.issparse(X):
            raise TypeError("sparse input is not supported")
        return self.reconstruct(X)

    def reconstruct(self, X):
        return X * self.share[None, :] + self.mean.copy() * (1 - self.share)


class WordlessUntrained(Sound):
    breaks = "untrained"

    def predict(self, X):
        if self.mean is None:
            raise RuntimeError
        return super().predict(X)


class TrainRaises(Sound):
    breaks = "training"

    def train(self, X):
        raise ValueError("learning rate\nis negative")


class TrainYields(Sound):
    breaks = "training"

    def train(self, X, seed=0):
        super().train(X, seed)
        yield


class TrainIsAsynchronous(Sound):
    breaks = "training"

    async def train(self, X, seed=0):
        super().train(X, seed)


class BuildRaises(Sound):
    breaks = "signatures"

    def __init__(self, n_genes):
        raise ValueError("number of layers is negative")


class PredictsNaN(Sound):
    breaks = "prediction"

    def reconstruct(self, X):
        Y = super().reconstruct(X)
        Y[-1, -1] = np.nan
        return Y


class PredictsOneGeneLess(Sound):
    breaks = "prediction"

    def reconstruct(self, X):
        return super().reconstruct(X)[:, 1:]


class PredictsGenerator(Sound):
    breaks = "prediction"

    def reconstruct(self, X):
        return (row for row in super().reconstruct(X))


class PredictsAsynchronously(Sound):
    breaks = "prediction"
    also = frozenset({"untrained"})

    async def predict(self, X):
        return super().predict(X)


class PredictsList(Sound):
    breaks = "prediction"

    def reconstruct(self, X):
        return super().reconstruct(X).tolist()


class PredictsNothing(Sound):
    breaks = "prediction"

    def reconstruct(self, X):
        super().reconstruct(X)


class PredictsIntegers(Sound):
    breaks = "prediction"

    def reconstruct(self, X):
        return np.rint(super().reconstruct(X)).astype(int)


class PredictsTensor(Sound):
    breaks = "prediction"

    def reconstruct(self, X):
        import torch

        return torch.as_tensor(super().reconstruct(X))


class PredictsSparse(Sound):
    breaks = "prediction"

    def reconstruct(self, X):
        return sparse.csr_matrix(super().reconstruct(X))


class PredictRaises(Sound):
    breaks = "prediction"

    def reconstruct(self, X):
        return X @ np.zeros((X.shape[1] + 1, 1))


class WorksInPlace(Sound):
    breaks = "input_untouched"
    also = frozenset({"read_only_input"})

    def reconstruct(self, X):
        X -= self.mean
        X *= self.share
        X += self.mean
        return X.copy()


class LocksInput(Sound):
    breaks = "input_untouched"

    def reconstruct(self, X):
        X.flags.writeable = False
        return super().reconstruct(X)


class UnlocksInput(Sound):
    breaks = "read_only_input"

    def reconstruct(self, X):
        X.flags.writeable = True
        return super().reconstruct(X)


class CountsCalls(Sound):
    breaks = "repeated_prediction"
    also = frozenset({"read_only_input", "batch_composition", "cell_order", "other_cells"})
    also |= {"float_types"}
    calls = 0

    def reconstruct(self, X):
        self.calls += 1
        return super().reconstruct(X) + self.calls


class KnowsBatchSize(Sound):
    breaks = "batch_composition"

    def reconstruct(self, X):
        return super().reconstruct(X) + len(X)


class KnowsPlace(Sound):
    breaks = "cell_order"
    also = frozenset({"batch_composition"})

    def reconstruct(self, X):
        return super().reconstruct(X) + np.arange(len(X))[:, None]


class KnowsOthers(Sound):
    breaks = "other_cells"
    also = frozenset({"batch_composition"})

    def reconstruct(self, X):
        return super().reconstruct(X) + X.mean()


class SqueezesOneCell(Sound):
    breaks = "one_cell"
    also = frozenset({"batch_composition"})

    def reconstruct(self, X):
        return super().reconstruct(X).squeeze()


class SparseIsEmpty(Sound):
    breaks = "sparse_input"

    def predict(self, X):
        return super().predict(np.zeros(X.shape) if sparse.issparse(X) else X)


class SparseIsAccident(Sound):
    breaks = "sparse_input"

    def predict(self, X):
        return super().predict(X.reshape(X.shape, order="C").ravel().reshape(X.shape))


class DoubleIsRefused(Sound):
    breaks = "float_types"

    def reconstruct(self, X):
        if X.dtype != np.float32:
            raise RuntimeError("expected scalar type Float but found Double")
        return super().reconstruct(X)


class DoubleIsMisread(Sound):
    breaks = "float_types"

    def reconstruct(self, X):
        return super().reconstruct(X.view(np.float32)[:, : X.shape[1]])


class ForgetsShare(Sound):
    breaks = "save_load"

    @classmethod
    def load(cls, path):
        model = super().load(path)
        model.share = np.ones_like(model.share)
        return model


class LoadsNothing(Sound):
    breaks = "save_load"

    @classmethod
    def load(cls, path):
        super().load(path)


class IgnoresSeed(Sound):
    breaks = "same_seed"
    also = frozenset({"trained_afresh"})

    def train(self, X):
        super().train(X, seed=None)


class TrainsOnce(Sound):
    breaks = "trained_afresh"

    def train(self, X, seed=0):
        if self.mean is None:
            super().train(X, seed)


class Accumulates(Sound):
    breaks = "trained_afresh"

    def train(self, X, seed=0):
        before = self.mean
        super().train(X, seed)
        if before is not None:
            self.mean = (self.mean + before) / 2


class KnownAccident(AccidentUntrained):
    """Declares what it breaks, and something that it does not."""

    contract_exceptions = {"untrained": "loads weights that are always there", "one_cell": "old"}
