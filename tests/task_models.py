"""Small decoders, embedders and predictors that tests write into a user's folder."""

DECODERS = """
import json
import numpy as np


class Linear:
    task = "decode"

    def __init__(self, embed_dim, n_genes):
        self.shape = (embed_dim + 1, n_genes)
        self.weights = None

    def train(self, embedding, X):
        self.weights = np.linalg.lstsq(_padded(embedding), X, rcond=None)[0]
        assert self.weights.shape == self.shape

    def predict(self, embedding):
        if self.weights is None:
            raise RuntimeError("call train first")
        return (_padded(embedding) @ self.weights).astype(np.float32)


class ByType(Linear):
    def train(self, embedding, X, obs):
        super().train(embedding, X)
        types = obs["cell_type"].astype(str)
        self.shifts = {t: X[types == t].mean(0) - X.mean(0) for t in set(types)}

    def predict(self, embedding, obs=None):
        plain = super().predict(embedding)
        if obs is None:
            return plain
        return plain + np.stack([self.shifts[t] for t in obs["cell_type"].astype(str)])


class Spy(Linear):
    def train(self, embedding, X, obs, val_obs, adata):
        super().train(embedding, X)
        self.seen = [obs, val_obs, adata.obs]

    def predict(self, embedding, obs=None):
        tables = [*self.seen, *([] if obs is None else [obs])]
        _log("obs", columns=[list(table) for table in tables])
        return super().predict(embedding)


class Narrow(Linear):
    def predict(self, embedding):
        return super().predict(embedding)[:, 1:]


class Raises(Linear):
    def train(self, embedding, X):
        raise ValueError("no good")


def _padded(embedding):
    return np.c_[embedding, np.ones(len(embedding))]


def _log(what, **more):
    with open("calls.jsonl", "a") as file:
        file.write(json.dumps({"call": what, **more}) + chr(10))
"""

EMBEDDERS = """
import json
import numpy as np


class Axes:
    def __init__(self, d=20, seed=None):
        self.d, self.seed = d, seed

    def fit(self, adata):
        _log("fit", adata, self.seed)
        self.mean = adata.X.mean(axis=0)
        self.axes = np.linalg.svd(adata.X - self.mean, full_matrices=False)[2][: self.d]

    def embed(self, adata):
        _log("embed", adata, self.seed)
        return (adata.X - self.mean) @ self.axes.T


class Noise:
    def embed(self, adata):
        return np.random.normal(size=(adata.n_obs, 3))


class Raises:
    def embed(self, adata):
        raise OSError("no checkpoint")


class Short:
    def embed(self, adata):
        return np.zeros((adata.n_obs - 1, 3), dtype="float32")


class Flat:
    def embed(self, adata):
        return np.zeros(adata.n_obs)


class Mute:
    pass


def _log(what, adata, seed):
    cells = {"call": what, "cells": list(adata.obs_names), "seed": seed}
    cells["depth"] = float(adata.layers["counts"].sum())
    with open("calls.jsonl", "a") as file:
        file.write(json.dumps(cells) + chr(10))
"""

PREDICTORS = """
import numpy as np


class Linear:
    def __init__(self):
        self.weights = None

    def train(self, ctrl_emb, pert_emb, pert_cov):
        shifts = pert_emb - ctrl_emb
        self.weights = np.linalg.lstsq(_padded(pert_cov), shifts, rcond=None)[0]

    def predict(self, ctrl_emb, pert_cov):
        if self.weights is None:
            raise RuntimeError("call train first")
        return (ctrl_emb + _padded(pert_cov) @ self.weights).astype(np.float32)


class Nothing:
    def train(self, ctrl_emb, pert_emb, pert_cov):
        pass

    def predict(self, ctrl_emb, pert_cov):
        return ctrl_emb.copy()


class Narrow(Nothing):
    def predict(self, ctrl_emb, pert_cov):
        return ctrl_emb[:, 1:].copy()


class Raises(Nothing):
    def train(self, ctrl_emb, pert_emb, pert_cov):
        raise ValueError("no good")


class Nan(Nothing):
    def predict(self, ctrl_emb, pert_cov):
        return ctrl_emb * np.nan


class Lost(Nothing):
    def predict(self, ctrl_emb, pert_cov):
        raise KeyError("who is this?")


class Spoils(Linear):
    def train(self, ctrl_emb, pert_emb, pert_cov):
        super().train(ctrl_emb, pert_emb, pert_cov)
        for array in (ctrl_emb, pert_emb, pert_cov):
            array[:] = np.nan

    def predict(self, ctrl_emb, pert_cov):
        prediction = super().predict(ctrl_emb, pert_cov)
        for array in (ctrl_emb, pert_cov):
            array[:] = np.nan
        return prediction


def _padded(covariates):
    return np.c_[covariates, np.ones(len(covariates))]
"""
