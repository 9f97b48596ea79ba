"""Sources of the models that the plugin tests write into a user's folder."""

GOOD = """
import numpy as np
from pathlib import Path

class Good:
    '''Principal components of a few cells; logs each training into a file.'''

    def __init__(self, n_components=20):
        self.n_components = n_components

    def train(self, X, seed=0):
        with Path("trainings.log").open("a") as log:
            log.write(f"{len(X)} {seed}\\n")
        self.mean = X.mean(axis=0)
        _, _, axes = np.linalg.svd(X[:60] - self.mean, full_matrices=False)
        self.axes = axes[: self.n_components]

    def predict(self, X):
        if not hasattr(self, "axes"):
            raise RuntimeError("train the model first")
        return (X - self.mean) @ self.axes.T @ self.axes + self.mean
"""

MEAN = """
import numpy as np

class Constant:
    def train(self, X):
        self.mean = X.mean(axis=0)

    def predict(self, X):
        return np.tile(self.mean, (len(X), 1))
"""

BROKEN = """
import numpy as np

class Raises:
    def train(self, X):
        raise ValueError("no good")

    def predict(self, X):
        return X

class RaisesLate(Raises):
    def train(self, X):
        pass

    def predict(self, X):
        raise RuntimeError("lost my weights")

class Exits(Raises):
    def train(self, X):
        raise SystemExit(0)

class Nan(Raises):
    def train(self, X):
        pass

    def predict(self, X):
        return np.full_like(X, np.nan)

class Narrow(Nan):
    def predict(self, X):
        return X[:, :-1]

class Generator(Nan):
    def predict(self, X):
        yield from X
"""
