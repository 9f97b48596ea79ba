"""Model classes in the manner of scvi-tools: setup_anndata, train, encode, decode.

Here is what turns such a class into a model of the harness, and the steps that it takes, for
whoever works with a model of scvi-tools itself: `setup`, `fit`, `posterior_mean` and others.
scvi-tools is imported when settings are checked or a model is built, not before.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from reconeval.adapters._scvi_cells import per_molecule, setup
from reconeval.adapters._scvi_decoding import latent_mean, posterior_log1p, posterior_mean
from reconeval.adapters._scvi_model import ScviModel
from reconeval.adapters._scvi_names import READ, find_named, load_class, refusal
from reconeval.adapters._scvi_settings import check_train_options
from reconeval.adapters._scvi_training import fit, seeded
from reconeval.errors import UsageError
from reconeval.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "ScviModel",
    "adapt_scvi",
    "check_training",
    "find_scvi",
    "fit",
    "latent_mean",
    "load_class",
    "per_molecule",
    "posterior_log1p",
    "posterior_mean",
    "seeded",
    "setup",
]


def adapt_scvi(cls: type, make: Callable[..., Any], *, where: str) -> type | None:
    """Return a model class for a class of scvi-tools, or None if `cls` is of another kind.

    Parameters
    ----------
    cls
        The class that the user named, such as a subclass of `scvi.model.SCVI` of their own.
    make
        Makes an instance; the class itself.
    where
        Begins the message of an error.

    Returns
    -------
    A subclass of `ScviModel` of the same name, or None.

    Raises
    ------
    UsageError
        If the class is one that reconstructs no expression, or `make` is another callable.
    """
    if not all(callable(getattr(cls, name, None)) for name in ("setup_anndata", "train")):
        return None
    why = refusal([base.__name__ for base in cls.__mro__])
    if why:
        msg = f"{where}: {why}; take {READ}"
        raise UsageError(msg)
    if make is not cls:
        msg = f"{where}: name the class {cls.__name__} itself, with its settings after '?'"
        raise UsageError(msg)
    return _model_class(cls.__module__, cls.__name__, lambda: cls)


def find_scvi(target: str, *, where: str) -> type | None:
    """Return a model class for a class of scvi-tools or DRVI by its name, without importing it.

    Parameters
    ----------
    target
        `MODULE:CLASS` as the user named it.
    where
        Begins the message of an error.

    Returns
    -------
    A subclass of `ScviModel` of the same name, or None if the module is of another package.

    Raises
    ------
    UsageError
        If the package is not installed, or has no such class or one that the adapter does not read.
    """
    named = find_named(target, where=where)
    if named is None:
        return None

    def load() -> type[Any]:
        package = named.module.partition(".")[0]
        return load_class(named.module, named.name, package=package, who=named.name)

    return _model_class(named.module, named.name, load)


def check_training(cls: type[ScviModel], settings: Mapping[str, Any], *, where: str) -> None:
    """Refuse wrong settings of a training; this imports scvi-tools.

    Parameters
    ----------
    cls
        The class of the model; one with a `train` of its own knows its settings itself.
    settings
        What `train` would get.
    where
        Begins the message and ends with the call.

    Raises
    ------
    UsageError
        If scvi-tools cannot be imported, takes no such setting, or a value is out of range.
    """
    if cls.train is ScviModel.train:
        own = inspect.signature(ScviModel.train).parameters.values()
        with quiet():
            check_train_options(cls.scvi_class(), settings, own=own, where=where)


def _model_class(module: str, name: str, load: Callable[[], type[Any]]) -> type[ScviModel]:
    body = {"__module__": module, "__doc__": ScviModel.__doc__, "scvi_class": staticmethod(load)}
    return type(name, (ScviModel,), body)
