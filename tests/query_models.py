"""A small linear model that maps queries, with faults that can be switched on."""

from __future__ import annotations

import numpy as np


class Mapper:
    """What `QueryModel.query_mapper` returns, and what it maps onto."""

    def __init__(
        self,
        axes,
        offsets,
        *,
        rate=0.1,
        max_epochs=5,
        minibatch=20,
        drift=0.0,
        neighbours=False,
        rounding=False,
        forgets=False,
        unseeded=False,
        loose_decoder=False,
        shift=0.0,
        n_steps=0,
    ):
        self.axes, self.offsets = axes, dict(offsets)
        self.options = {
            "rate": rate,
            "max_epochs": max_epochs,
            "minibatch": minibatch,
            "drift": drift,
            "neighbours": neighbours,
            "rounding": rounding,
            "forgets": forgets,
            "unseeded": unseeded,
            "loose_decoder": loose_decoder,
        }
        self.shift = shift
        self.n_steps = n_steps

    def latent(self, cells, *, batch_size=None):
        X = np.asarray(cells.X, dtype=np.float64)
        Z = X @ self.axes
        Z += np.stack([self.offsets[batch] for batch in cells.obs["batch"].astype(str)])
        if self.options["neighbours"]:
            Z += 0.1 * X.mean()
        if self.options["rounding"] and batch_size == 7:
            Z = Z.astype(np.float16)
        return Z.astype(np.float32)

    def map(self, cells, *, seed, max_epochs=None, max_steps=None):
        rng = np.random.default_rng(None if self.options["unseeded"] else seed)
        labels = np.asarray(cells.obs["batch"].astype(str))
        width = self.axes.shape[1]
        epochs = self.options["max_epochs"] if max_epochs is None else max_epochs
        per_epoch = -(-len(labels) // self.options["minibatch"])
        steps = epochs * per_epoch if max_steps is None else max_steps
        offsets = dict(self.offsets)
        Z = np.asarray(cells.X, dtype=np.float64) @ self.axes
        for batch in sorted(set(labels)):
            start, goal = rng.normal(0, 0.01, width), -Z[labels == batch].mean(axis=0)
            offsets[batch] = goal + (start - goal) * (1 - self.options["rate"]) ** steps
        axes = self.axes * (1 - self.options["drift"]) ** steps
        # Drawn without the seed, and not saved: only what is decoded tells.
        shift = np.random.default_rng().normal() if self.options["loose_decoder"] else 0.0
        return Mapper(axes, offsets, **self.options, shift=shift, n_steps=steps)

    @property
    def model(self):
        return self

    def predict(self, X, obs=None):
        assert set(obs["batch"].astype(str)) <= set(self.offsets)
        Z = X @ self.axes
        return (Z @ self.axes.T + self.shift).astype(np.float32)

    def reloaded(self, folder):
        np.savez(folder / "mapped.npz", axes=self.axes, **self.offsets)
        with np.load(folder / "mapped.npz", allow_pickle=False) as file:
            offsets = {name: file[name] for name in file.files if name != "axes"}
            if self.options["forgets"]:
                offsets = {name: np.zeros_like(offset) for name, offset in offsets.items()}
            return Mapper(file["axes"], offsets, **self.options)


class QueryModel:
    """Principal axes of the reference, and an offset for each batch."""

    n_trained = 0

    def __init__(self, n_components=4):
        self.n_components = n_components

    def train(self, adata, batch_key=None):
        type(self).n_trained += 1
        self.batches = sorted(set(adata.obs[batch_key].astype(str)))
        X = np.asarray(adata.X, dtype=np.float64)
        self.axes = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)[2][: self.n_components].T

    def predict(self, X):
        return (X @ self.axes @ self.axes.T).astype(np.float32)

    def query_mapper(self, **settings):
        zeros = {batch: np.zeros(self.axes.shape[1]) for batch in self.batches}
        return Mapper(self.axes, zeros, **settings)


class NoMapper:
    def train(self, X):
        self.mean = X.mean(axis=0)

    def predict(self, X):
        return np.tile(self.mean, (len(X), 1))
