"""Decoders and predictors that each break one rule of the contract, and sound ones.

A fault is written once, as a mixin on top of a sound model: `PredictsNaN` becomes
`DecoderPredictsNaN` and `PredictorPredictsNaN`. `breaks` names the check that a fault is there
for, `also` those that cannot hold either. What a model does wrong, it does for every input, so
that generated matrices find it.
"""

import numpy as np


class Sound:
    """What both tasks share: least squares, a share drawn from the seed, files."""

    breaks = None
    also = frozenset()
    weights = None

    def fit(self, x, y, seed):
        x = np.column_stack([np.ones(len(x)), x]).astype(np.float64)
        ridge = 0.1 * np.eye(x.shape[1])
        self.weights = np.linalg.solve(x.T @ x + ridge, x.T @ y)
        self.share = np.random.default_rng(seed).uniform(0.5, 0.8, y.shape[1])

    def check_trained(self):
        if self.weights is None:
            raise RuntimeError("not trained; call train first")

    def fitted(self, x):
        return self.share * (self.weights[0] + x @ self.weights[1:])

    def save(self, path):
        with path.open("wb") as file:
            np.savez(file, weights=self.weights, share=self.share)

    @classmethod
    def load(cls, path):
        model = cls()
        with np.load(path) as arrays:
            model.weights, model.share = arrays["weights"], arrays["share"]
        return model


class SoundDecoder(Sound):
    """Least squares from the embedding, and a step for the cells that `obs` marks."""

    task = "decode"

    def train(self, embedding, X, obs=None, seed=0):
        self.fit(embedding, X, seed)

    def predict(self, embedding, obs=None):
        self.check_trained()
        return self.answer(embedding) + self.step(obs)

    def answer(self, embedding):
        return self.fitted(embedding)

    def step(self, obs):
        marked = obs is not None and "marked" in obs
        return obs["marked"].to_numpy(np.float64)[:, None] if marked else 0.0


class SoundPredictor(Sound):
    """Adds what least squares say of the descriptor to the control cell."""

    task = "latent_shift"

    def train(self, ctrl_emb, pert_emb, pert_cov, seed=0):
        self.fit(pert_cov, pert_emb - ctrl_emb, seed)

    def predict(self, ctrl_emb, pert_cov):
        self.check_trained()
        return self.answer(ctrl_emb, pert_cov)

    def answer(self, ctrl_emb, pert_cov):
        return ctrl_emb + self.fitted(pert_cov)


class SoundPredictorOfTypes(SoundPredictor):
    """Takes labels by name, which the task is read without, and no files."""

    task = None
    save = load = None

    def train(self, ctrl_emb, pert_emb, pert_cov, *, cell_type, condition, parts, random_state):
        types = np.unique(cell_type)
        assert len(cell_type) == len(condition) == len(ctrl_emb)
        super().train(ctrl_emb, pert_emb, pert_cov, seed=random_state)
        self.types = dict(zip(types, np.linspace(0.1, 0.2, len(types)), strict=True))

    def predict(self, ctrl_emb, pert_cov, *, cell_type):
        self.check_trained()
        steps = np.array([self.types.get(one, 0.0) for one in cell_type])
        return self.answer(ctrl_emb, pert_cov) + steps[:, None]


class Mapper:
    """Is for a task that has no contract."""

    task = "query_mapping"

    def train(self, X): ...

    def predict(self, X):
        return X


class BuildReturnsItsClass:
    breaks = "signatures"

    def __new__(cls):
        return cls


class PredictIsNumber:
    breaks = "signatures"

    def __init__(self):
        self.predict = 3


class TaskChanges:
    breaks = "signatures"

    def __init__(self):
        self.task = "query_mapping"


class BuildRaises:
    breaks = "signatures"

    def __init__(self):
        raise ValueError("number of layers is negative")


class NumbersUntrained:
    breaks = "untrained"

    def check_trained(self):
        pass

    def fitted(self, x):
        return super().fitted(x) if self.weights is not None else 0.0

    def answer(self, *arrays):
        return arrays[0] if self.weights is None else super().answer(*arrays)


class AccidentUntrained:
    breaks = "untrained"

    def check_trained(self):
        pass


class WordlessUntrained:
    breaks = "untrained"

    def check_trained(self):
        if self.weights is None:
            raise RuntimeError


class TrainRaises:
    breaks = "training"

    def fit(self, x, y, seed):
        raise ValueError("learning rate\nis negative")


class PredictsNaN:
    breaks = "prediction"

    def answer(self, *arrays):
        Y = super().answer(*arrays)
        Y[-1, -1] = np.nan
        return Y


class PredictsOneColumnLess:
    breaks = "prediction"

    def answer(self, *arrays):
        return super().answer(*arrays)[:, 1:]


class PredictRaises:
    breaks = "prediction"

    def answer(self, *arrays):
        return arrays[0] @ np.zeros((arrays[0].shape[1] + 1, 1))


class PredictsNothing:
    breaks = "prediction"

    def predict(self, *args, **kwargs):
        super().predict(*args, **kwargs)


class PredictsIntegers:
    breaks = "prediction"

    def predict(self, *args, **kwargs):
        return np.rint(super().predict(*args, **kwargs)).astype(int)


class WorksInPlace:
    breaks = "input_untouched"
    also = frozenset({"read_only_input"})

    def answer(self, *arrays):
        arrays[0].__iadd__(1)
        return super().answer(*arrays)


class LocksInput:
    breaks = "input_untouched"

    def answer(self, *arrays):
        arrays[-1].flags.writeable = False
        return super().answer(*arrays)


class UnlocksInput:
    breaks = "read_only_input"

    def answer(self, *arrays):
        arrays[-1].flags.writeable = True
        return super().answer(*arrays)


class CountsCalls:
    breaks = "repeated_prediction"
    also = frozenset({"read_only_input", "batch_composition", "cell_order", "other_cells"})
    also |= {"float_types"}
    calls = 0

    def answer(self, *arrays):
        self.calls += 1
        return super().answer(*arrays) + self.calls


class KnowsBatchSize:
    breaks = "batch_composition"

    def answer(self, *arrays):
        return super().answer(*arrays) + len(arrays[0])


class KnowsPlace:
    breaks = "cell_order"
    also = frozenset({"batch_composition"})

    def answer(self, *arrays):
        return super().answer(*arrays) + np.arange(len(arrays[0]))[:, None]


class KnowsOthers:
    breaks = "other_cells"
    also = frozenset({"batch_composition"})

    def answer(self, *arrays):
        return super().answer(*arrays) + arrays[0].mean()


class SqueezesOneCell:
    breaks = "one_cell"
    also = frozenset({"batch_composition"})

    def predict(self, *args, **kwargs):
        return super().predict(*args, **kwargs).squeeze()


class DoubleIsRefused:
    breaks = "float_types"

    def answer(self, *arrays):
        if arrays[-1].dtype != np.float32:
            raise RuntimeError("expected scalar type Float but found Double")
        return super().answer(*arrays)


class DoubleIsMisread:
    breaks = "float_types"

    def answer(self, *arrays):
        last = arrays[-1]
        return super().answer(*arrays[:-1], last.view(np.float32)[:, : last.shape[1]])


class ForgetsShare:
    breaks = "save_load"

    @classmethod
    def load(cls, path):
        model = super().load(path)
        model.share = np.ones_like(model.share)
        return model


class LoadsNothing:
    breaks = "save_load"

    @classmethod
    def load(cls, path):
        super().load(path)


class IgnoresSeed:
    breaks = "same_seed"
    also = frozenset({"trained_afresh"})

    def fit(self, x, y, seed):
        super().fit(x, y, seed=None)


class TrainsOnce:
    breaks = "trained_afresh"

    def fit(self, x, y, seed):
        if self.weights is None:
            super().fit(x, y, seed)


class Accumulates:
    breaks = "trained_afresh"

    def fit(self, x, y, seed):
        before = self.weights
        super().fit(x, y, seed)
        if before is not None:
            self.weights = (self.weights + before) / 2


FAULTS = [value for value in list(globals().values()) if getattr(value, "breaks", None) is not None]
for base, prefix in ((SoundDecoder, "Decoder"), (SoundPredictor, "Predictor")):
    for fault in FAULTS:
        name = prefix + fault.__name__
        globals()[name] = type(name, (fault, base), {"__module__": __name__})


class DecoderNeedsMore(SoundDecoder):
    breaks = "signatures"

    def predict(self, embedding, library_size):
        return self.answer(embedding) * library_size


class DecoderChangesObs(SoundDecoder):
    breaks = "input_untouched"

    def step(self, obs):
        obs["marked"] = ~obs["marked"]
        return 0.0


class PredictorNeedsMore(SoundPredictor):
    breaks = "signatures"

    def predict(self, ctrl_emb, pert_cov, dose):
        return self.answer(ctrl_emb, pert_cov) * dose


class PredictorCentresTraining(SoundPredictor):
    breaks = "training_untouched"

    def train(self, ctrl_emb, pert_emb, pert_cov, seed=0):
        pert_emb -= ctrl_emb
        self.fit(pert_cov, pert_emb, seed)


class PredictorLocksTraining(SoundPredictor):
    breaks = "training_untouched"

    def train(self, ctrl_emb, pert_emb, pert_cov, seed=0):
        super().train(ctrl_emb, pert_emb, pert_cov, seed)
        pert_cov.flags.writeable = False


class PredictorChangesDecoder(SoundPredictor):
    breaks = "training_untouched"

    def train(self, ctrl_emb, pert_emb, pert_cov, decode, seed=0):
        super().train(ctrl_emb, pert_emb, pert_cov, seed)
        decode.intercept[:] += 1


class PredictorScalesDescriptors(SoundPredictor):
    breaks = "input_untouched"
    also = frozenset({"read_only_input"})

    def answer(self, ctrl_emb, pert_cov):
        pert_cov *= 2
        return super().answer(ctrl_emb, pert_cov)


class PredictorKnowsOtherDescriptors(SoundPredictor):
    breaks = "other_cells"
    also = frozenset({"batch_composition"})

    def answer(self, ctrl_emb, pert_cov):
        return super().answer(ctrl_emb, pert_cov) + pert_cov.mean()


class PredictorIgnoresDescriptor(SoundPredictor):
    breaks = "descriptor_matters"

    def answer(self, ctrl_emb, pert_cov):
        return super().answer(ctrl_emb, np.zeros_like(pert_cov))


class PredictorTellsOneApart(SoundPredictor):
    """Knows the first perturbation that it met from the others, and no more."""

    breaks = "descriptor_matters"

    save = load = None

    def train(self, ctrl_emb, pert_emb, pert_cov, seed=0):
        super().train(ctrl_emb, pert_emb, pert_cov, seed)
        self.first = pert_cov[0].copy()

    def answer(self, ctrl_emb, pert_cov):
        is_first = np.isclose(pert_cov, self.first).all(axis=1, keepdims=True)
        return super().answer(ctrl_emb, np.where(is_first, pert_cov, 0))


class PredictorKnowsByHeart(SoundPredictor):
    breaks = "unseen_descriptor"

    save = load = None

    def train(self, ctrl_emb, pert_emb, pert_cov, seed=0):
        super().train(ctrl_emb, pert_emb, pert_cov, seed)
        self.known = {row.tobytes() for row in pert_cov.astype(np.float32)}

    def answer(self, ctrl_emb, pert_cov):
        unknown = [row for row in pert_cov.astype(np.float32) if row.tobytes() not in self.known]
        if unknown:
            raise KeyError(f"no representation of {unknown[0]}")
        return super().answer(ctrl_emb, pert_cov)
