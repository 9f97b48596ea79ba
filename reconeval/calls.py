"""Calls into a stranger's model: every failure becomes one line that names the call."""

from __future__ import annotations

import contextlib
import inspect
import os
import sysconfig
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from reconeval.errors import ModelError, ReconevalError
from reconeval.interrupts import kept_interrupts

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconeval._typing import FloatArray

__all__ = ["NothingRan", "call_model", "checked_prediction", "describe", "one_line"]

T = TypeVar("T")

_RECONEVAL = str(Path(__file__).parent) + os.sep
_LIBRARIES = tuple(
    sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")
)
_LONGEST = 300


class NothingRan(ModelError):  # noqa: N818  (says what happened, like the others that models meet)
    """A call returned a coroutine or generator: what its function does is still to be done."""


def one_line(text: object) -> str:
    """Return a text on a single line, cut to a readable length."""
    line = " ".join(str(text).split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."


def describe(error: BaseException) -> str:
    """Return an error's type, text and place in one line.

    The place is the deepest line of the user's own code: what a library raised deeper down is
    for the traceback, which stays chained to the error.
    """
    text = one_line(error)
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((_RECONEVAL, "<frozen"))
    ]
    own = [frame for frame in frames if not frame.filename.startswith(_LIBRARIES)]
    at = "".join(f" (at {Path(f.filename).name}:{f.lineno})" for f in (own or frames)[-1:])
    return type(error).__name__ + (f": {text}" if text else "") + at


def call_model(label: str, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call the user's code.

    Parameters
    ----------
    label
        The call in words, to begin the message with: "ReconFoo.train on immune/iid, seed 0".
    function, *args, **kwargs
        What to call.

    Returns
    -------
    What the function returns.

    Raises
    ------
    NothingRan
        If the function is asynchronous or has a `yield`.
    ModelError
        If the function raises, `SystemExit` included; reconeval's own errors pass unchanged.
    KeyboardInterrupt
        If Ctrl-C came meanwhile, whatever the function made of it.
    """
    try:
        # What a model does to NumPy's error state or the current folder stays with the model.
        with np.errstate(), contextlib.chdir(Path.cwd()), kept_interrupts():
            value = function(*args, **kwargs)
    except (ReconevalError, KeyboardInterrupt):
        raise
    except BaseException as error:  # a stranger's code may raise anything, SystemExit included
        msg = f"{label} raised {describe(error)}"
        raise ModelError(msg) from error
    _refuse_unstarted(label, value)
    return value


def _refuse_unstarted(label: str, value: object) -> None:
    if inspect.iscoroutine(value):
        value.close()  # Python would warn that nobody awaited it
        step = "write `def` instead of `async def`"
    elif inspect.isasyncgen(value):
        step = "write `def` instead of `async def`, and no `yield`"
    elif inspect.isgenerator(value):
        step = "take out the `yield`, and join batches with np.concatenate"
    else:
        return
    msg = f"{label} returned {_kind(value)}, of which nothing has run: {step}"
    raise NothingRan(msg)


def checked_prediction(
    raw: object, shape: tuple[int, ...], who: str, *, column: str = "gene"
) -> FloatArray:
    """Return a prediction if it is a finite floating array of the right shape.

    Parameters
    ----------
    raw
        What `predict` returned.
    shape
        Expected (n_cells, n_genes), or (n_cells, n_dimensions) of an embedding.
    who
        The call in words, to begin the message with.
    column
        What a column is: `gene` or `dimension`.

    Returns
    -------
    A copy: a model may hand out a buffer that its next call overwrites.

    Raises
    ------
    ModelError
        If it is no array, or one of another shape, of no floating type, or with NaN or infinity.
    """
    expected = f"expected a floating numpy array of shape {shape}"
    if not isinstance(raw, np.ndarray) or isinstance(raw, np.matrix):
        msg = f"{who} returned {_kind(raw)}, {expected}{_remedy(raw)}"
        raise ModelError(msg)
    if raw.shape != shape:
        msg = f"{who} returned shape {raw.shape}, {expected}: a row per cell, a column per {column}"
        raise ModelError(msg)
    if not np.issubdtype(raw.dtype, np.floating):
        msg = f"{who} returned dtype {raw.dtype}, {expected}; convert with .astype(np.float32)"
        raise ModelError(msg)
    bad = ~np.isfinite(raw)
    if bad.any():
        row, at = (int(index) for index in np.argwhere(bad)[0])
        msg = (
            f"{who} returned {int(bad.sum())} NaN or infinite of {raw.size} values, the first "
            f"({raw[row, at]}) for cell {row}, {column} {at}; expected finite values"
        )
        raise ModelError(msg)
    return raw.copy()


def _kind(value: object) -> str:
    if value is None:
        return "None"
    kind = type(value)
    module = kind.__module__.partition(".")[0]
    name = kind.__name__ if module == "builtins" else f"{module} {kind.__name__}"
    article = "an" if name[0].lower() in "aeio" else "a"
    return f"{article} {name}"


def _remedy(value: object) -> str:
    if value is None:
        return "; does predict end without `return`?"
    if hasattr(value, "detach"):
        return "; return prediction.detach().cpu().numpy()"
    if hasattr(value, "toarray"):
        return "; return prediction.toarray()"
    if hasattr(value, "to_numpy"):
        return "; return prediction.to_numpy()"
    if hasattr(value, "__next__"):
        return "; collect the batches with np.concatenate"
    return "; convert with np.asarray"
