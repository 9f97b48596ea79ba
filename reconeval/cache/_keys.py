"""The keys that finished work is found under: digests of all that it was made of."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reconeval.cache._sources import (
    UnknownCodeError,
    code_digest,
    environment_digest,
    harness_digest,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconeval.cases import Case
    from reconeval.inputs import Inputs
    from reconeval.metrics.registry import Metric
    from reconeval.options import Options
    from reconeval.spec import ModelSpec

__all__ = ["Keys", "digest", "digest_of_inputs"]

FORMAT = 1  # raised when what the files hold means something else
_DATA_OPTIONS = (
    "cell_type_key",
    "counts_layer",
    "batch_key",
    "protein_key",
    "covariates",
    "embedding",
    "perturbation_key",
    "control",
    "descriptor_key",
)
_MOST_FILES = 5000


@dataclass(eq=False)
class Keys:
    """Makes the keys of a run.

    What a model was defined by is read once, when it is first asked for: the code that runs is the
    code that was imported, whatever becomes of its file meanwhile.

    Parameters
    ----------
    options
        What the user asked for.

    Attributes
    ----------
    unknown
        Why results are not kept, by the model's id or the name of the case.
    """

    options: Options
    unknown: dict[str, str] = field(default_factory=dict, init=False)
    _models: dict[str, str | None] = field(default_factory=dict, init=False, repr=False)
    _cases: dict[str, str | None] = field(default_factory=dict, init=False, repr=False)
    _metrics: dict[str, str | None] = field(default_factory=dict, init=False, repr=False)

    def model(self, spec: ModelSpec) -> str | None:
        """Return a model's part of a key; None, and the reason in `unknown`, where it has none."""
        if spec.id not in self._models:
            try:
                made = [spec.name, code_digest(spec.factory), spec.kwargs, spec.train_kwargs]
                files = [_files_named(settings) for settings in (spec.kwargs, spec.train_kwargs)]
                self._models[spec.id] = digest(made, files)
            except UnknownCodeError as reason:
                self.unknown[spec.id] = str(reason)
                self._models[spec.id] = None
        return self._models[spec.id]

    def case(self, case: Case) -> str | None:
        """Return the part of a key that is the data: the cells, the split, what models see."""
        if case.name not in self._cases:
            dataset, split = case.dataset, case.split
            rows = {
                name: _hash(part) if isinstance(part, np.ndarray) else part
                for name, part in vars(split).items()
            }
            options = [getattr(self.options, name) for name in _DATA_OPTIONS]
            data = [case.task, dataset.version, dataset.sha256]
            try:
                self._cases[case.name] = digest(data, rows, options, _embedding_of(case))
            except UnknownCodeError as reason:
                self.unknown[case.name] = str(reason)
                self._cases[case.name] = None
        return self._cases[case.name]

    def metric(self, metric: Metric) -> str | None:
        """Return a metric's part of a key, None where its code is not known."""
        if metric.name not in self._metrics:
            try:
                code = code_digest(metric.compute)
                self._metrics[metric.name] = digest(metric.name, metric.version, code)
            except UnknownCodeError:
                self._metrics[metric.name] = None
        return self._metrics[metric.name]

    def fit(self, spec: ModelSpec, case: Case, seed: int, accelerator: str) -> str | None:
        """Return the key of a training, None where it cannot be told what it is made of."""
        parts = self.model(spec), self.case(case), seed, _device(accelerator)
        return _key("fit", *parts)

    def contract(self, spec: ModelSpec, case: Case) -> str | None:
        """Return the key of the contract's checks, None as for `fit`."""
        return _key("contract", self.model(spec), self.case(case), spec.id, spec.exceptions)

    def truth(self, case: Case) -> str | None:
        """Return the key of what the data alone determine, None as for `fit`."""
        return _key("truth", self.case(case))


def _key(*parts: Any) -> str | None:
    if None in parts:
        return None
    return digest(FORMAT, harness_digest(), environment_digest(), *parts)


def _embedding_of(case: Case) -> Any:
    """Return what tells one embedding of a decoder's cells from another, None without one."""
    from reconeval.cases import DecodeCase
    from reconeval.embedding import EmbedderSpec

    if not isinstance(case, DecodeCase):
        return None
    source = case.embedding
    if isinstance(source, EmbedderSpec):
        name = source.target.rpartition(":")[2]
        files = _files_named(source.kwargs)
        return [name, code_digest(source.factory), source.kwargs, files, case.seed]
    embedded = case.embedded
    return [_hash(part) for part in (embedded.train, embedded.val, embedded.test)]


def digest(*parts: Any) -> str:
    """Return the sha256 of plain values, the same for equal values in any order of their keys."""
    text = json.dumps(parts, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()


def digest_of_inputs(inputs: Inputs) -> str:
    """Return a digest of what `predict` is asked about, labels included."""
    arrays = {name: _hash(array) for name, array in inputs.arrays.items()}
    labels = {
        name: label.reset_index().to_dict("list")
        if hasattr(label, "iloc")
        else np.asarray(label).tolist()
        for name, label in inputs.labels.items()
    }
    return digest(arrays, labels)


def _hash(array: np.ndarray[Any, Any]) -> str:
    head = f"{array.dtype.str} {array.shape} ".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()


def _device(accelerator: str) -> str:
    if accelerator != "gpu":
        return accelerator
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else accelerator


def _files_named(settings: Mapping[str, Any]) -> list[list[str]]:
    """Return name and digest of each file and folder that a setting is the path of."""
    found = []
    for text in _texts(settings.values()):
        path = Path(text).expanduser()
        try:
            if path.is_file():
                found.append([text, _file_digest(path, path.stat().st_mtime_ns)])
            elif path.is_dir():
                found.append([text, _folder_digest(path)])
        except (OSError, ValueError):  # a text that can be no path
            continue
    return found


def _texts(values: Any) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            if value:
                yield value
        elif isinstance(value, list | tuple | dict):
            yield from _texts(value.values() if isinstance(value, dict) else value)


@cache
def _file_digest(path: Path, changed: int) -> str:  # noqa: ARG001  (a part of the cache's key)
    from reconeval.datasets.manifest import sha256_of

    return sha256_of(path)


def _folder_digest(folder: Path) -> str:
    """Return a digest of the names, sizes and times of a folder's files: weights can be large."""
    files = []
    for path in folder.rglob("*"):
        if path.is_file():
            about = path.stat()
            files.append([path.relative_to(folder).as_posix(), about.st_size, about.st_mtime_ns])
        if len(files) > _MOST_FILES:
            msg = f"the folder {folder} of its settings has more than {_MOST_FILES} files"
            raise UnknownCodeError(msg)
    return digest(sorted(files))
