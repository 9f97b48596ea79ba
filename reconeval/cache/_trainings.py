"""A training as it is kept: what was measured of it, and all predictions that were asked for."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from reconeval.cache._keys import digest_of_inputs
from reconeval.errors import ModelError
from reconeval.timing import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconeval._typing import FloatArray
    from reconeval.cache._store import Store
    from reconeval.inputs import Inputs
    from reconeval.metrics.registry import Metric
    from reconeval.runs import Run

__all__ = ["ROUNDS", "TEST", "Kept", "keep", "load"]

TEST = "test"  # the prediction for the test cells; others are named by what was asked
ROUNDS = "rounds"
_FIT, _PREDICTIONS = "fit", "predictions"
_USAGE = ("seconds", "peak_rss_mb", "added_rss_mb", "peak_gpu_mb")
_DTYPES = ("float16", "float32", "float64")  # that the file format has


@dataclass(eq=False)
class Kept:
    """What is kept of a training.

    Attributes
    ----------
    key
        The key of the training.
    mark
        Digest of the predictions: what was computed of others, by a model that is not the same
        when it is trained again, is not taken for this one's. Empty where nothing is kept.
    training, predicting
        Seconds and memory of the two.
    n_parameters
        Number of parameters, None where nobody knows.
    countable
        Whether the model could say `n_parameters`.
    reference_seconds
        How fast the machine was, see `reconeval.reference`; None where nobody measured it.
    reused
        Whether an earlier run has trained the model.
    """

    key: str
    mark: str
    training: Usage
    predicting: Usage
    n_parameters: int | None
    countable: bool
    reference_seconds: float | None
    reused: bool
    _predictions: dict[str, FloatArray] | None = field(default=None, init=False, repr=False)

    def prediction(self, store: Store, name: str) -> FloatArray | None:
        """Return a copy of a prediction, None where it was never asked for or is damaged."""
        if self._predictions is None:
            self._predictions = self._load(store)
        found = self._predictions.get(name)
        return None if found is None else found.copy()

    def read(self, store: Store, name: str) -> dict[str, Any] | None:
        """Return what was computed of the predictions, None where there is nothing."""
        if not self.mark:
            return None
        found = store.read_json(self.key, name)
        return found if found is not None and found["mark"] == self.mark else None

    def write(self, store: Store, name: str, content: Mapping[str, Any]) -> None:
        """Keep what was computed of the predictions."""
        if self.mark:
            store.write_json(self.key, name, {"mark": self.mark, **content})

    def _load(self, store: Store) -> dict[str, FloatArray]:
        from safetensors.numpy import load as load_arrays

        content = store.read(self.key, _PREDICTIONS)
        if content is None or _mark(content) != self.mark:
            store.remove(self.key)  # the next run makes it anew
            return {}
        arrays: dict[str, FloatArray] = load_arrays(content)
        return arrays


def keep(
    store: Store,
    run: Run,
    key: str,
    *,
    metrics: Iterable[Metric],
    timed: bool,
    reference_seconds: float | None,
    about: Mapping[str, str],
) -> Kept:
    """Keep a training that has just finished, with all that is going to be asked of its model.

    A run that goes on after it was killed has no model, so what needs one is asked now: the
    predictions that metrics need beside that of the test cells, the size, and the seconds of
    predictions. The description is written last; before that, there is nothing to find.

    Parameters
    ----------
    store
        Where to.
    run
        The model's run, with this one training.
    key
        Of the training.
    metrics
        The metrics that are going to be scored.
    timed
        Whether the seconds of predictions are going to be asked for.
    reference_seconds
        How fast the machine is, None where nobody measured it.
    about
        What it is, in words.

    Returns
    -------
    What is kept: no files, if the predictions are of a type of number that they cannot hold.
    """
    from safetensors.numpy import save

    fit = run.fits[0]
    predictions = _all_predictions(run, metrics)
    storable = all(array.dtype.name in _DTYPES for array in predictions.values())
    native = {name: _native(array) for name, array in predictions.items()}
    content = save(native) if storable else b""
    n_parameters, countable = None, True
    try:
        n_parameters = run.n_parameters(fit)
    except ModelError:  # told when it is asked for again
        countable = False
    kept = Kept(
        key=key,
        mark=_mark(content) if storable else "",
        training=fit.training,
        predicting=fit.predicting,
        n_parameters=n_parameters,
        countable=countable,
        reference_seconds=reference_seconds,
        reused=False,
    )
    if not storable:
        return kept
    store.write(key, _PREDICTIONS, content, about=about)
    if timed:
        with suppress(ModelError):  # told when it is asked for again
            kept.write(store, ROUNDS, {"seconds": run.rounds()})
    description = {
        "training": _usage_to_dict(fit.training),
        "predicting": _usage_to_dict(fit.predicting),
        "n_parameters": n_parameters,
        "countable": countable,
        "reference_seconds": reference_seconds,
    }
    kept.write(store, _FIT, description)
    return kept


def load(store: Store, key: str) -> Kept | None:
    """Return what is kept of a training, None where no run has finished it."""
    found = store.read_json(key, _FIT)
    if found is None or not store.holds(key, _PREDICTIONS):
        return None
    for name in ("training", "predicting"):
        found[name] = _usage_from_dict(found[name])
    return Kept(key=key, **found, reused=True)


def _all_predictions(run: Run, metrics: Iterable[Metric]) -> dict[str, FloatArray]:
    fit = run.fits[0]
    predictions = {TEST: fit.prediction}

    def predict(inputs: Inputs) -> FloatArray:
        name = digest_of_inputs(inputs)
        predictions[name] = run.predict(fit, inputs)
        return predictions[name]

    for metric in metrics:
        with suppress(Exception):  # the metric's own test tells what broke
            run.case.completed(metric, fit.pair, predict)
    return predictions


def _native(array: FloatArray) -> FloatArray:
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))


def _mark(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _usage_to_dict(usage: Usage) -> dict[str, float | None]:
    return {name: getattr(usage, name) for name in _USAGE}


def _usage_from_dict(values: Mapping[str, float | None]) -> Usage:
    usage = Usage()
    for name in _USAGE:
        setattr(usage, name, values[name])
    return usage
