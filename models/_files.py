"""Save and load a model as one safetensors file: arrays and a JSON header, never a pickle."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reconeval.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

__all__ = ["load_arrays", "save_arrays"]


def save_arrays(
    path: str | os.PathLike[str],
    arrays: Mapping[str, npt.NDArray[Any]],
    *,
    model: str,
    config: Mapping[str, Any],
) -> None:
    """Write arrays and constructor arguments to one file, whole or not at all.

    Parameters
    ----------
    path
        The file to write; an existing one is replaced.
    arrays
        What was learnt, by name.
    model
        Name of the class, checked when loading.
    config
        Arguments of the constructor, as JSON can hold them.
    """
    from safetensors.numpy import save

    path = Path(path)
    # safetensors writes the memory as it lies, whatever the strides.
    ordered = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    content = save(ordered, metadata={"model": model, "config": json.dumps(dict(config))})
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load_arrays(
    path: str | os.PathLike[str], *, model: str
) -> tuple[dict[str, npt.NDArray[np.generic]], dict[str, Any]]:
    """Read what `save_arrays` wrote.

    Parameters
    ----------
    path
        The file.
    model
        Name of the class that is being loaded.

    Returns
    -------
    The arrays by name, and the arguments of the constructor.

    Raises
    ------
    UsageError
        The file is missing, is not a saved model, or holds one of another class.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no dict)
    except (OSError, SafetensorError) as error:
        msg = f"{model}.load: cannot read {os.fspath(path)}: {error}; save one with {model}.save"
        raise UsageError(msg) from None
    if header.get("model") != model:
        found = header.get("model", "no model of this package")
        msg = f"{model}.load: {os.fspath(path)} holds {found}, expected {model}"
        raise UsageError(msg)
    return arrays, json.loads(header["config"])
