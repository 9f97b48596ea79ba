"""Model classes in the manner of scvi-tools: setup_anndata, train, encode, decode.

Here is what turns such a class into a model of the harness, and the steps that it takes, for
whoever works with a model of scvi-tools itself: `setup`, `fit`, `posterior_mean` and others.
scvi-tools is imported when settings are checked or a model is built, not before.
"""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, Any

from reconeval.adapters._scvi_cells import per_molecule, setup
from reconeval.adapters._scvi_decoding import latent_mean, posterior_log1p, posterior_mean
from reconeval.adapters._scvi_model import ScviModel
from reconeval.adapters._scvi_names import READ, check_package, find_named, refusal
from reconeval.adapters._scvi_settings import check_train_options
from reconeval.adapters._scvi_training import fit, seeded
from reconeval.errors import UsageError
from reconeval.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from reconeval._model_spec import ModelSpec

__all__ = [
    "ScviModel",
    "adapt_scvi",
    "check_package",
    "check_settings",
    "find_scvi",
    "fit",
    "latent_mean",
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
        with quiet():
            found: type[Any] = getattr(importlib.import_module(named.module), named.name)
        return found

    return _model_class(named.module, named.name, load)


def check_settings(specs: Iterable[ModelSpec]) -> None:
    """Refuse wrong settings of models of scvi-tools, which is imported where there are any.

    Parameters
    ----------
    specs
        Models as the user named them; those of other kinds are left alone, and so are classes of
        the user's own with a constructor or a `train` of their own.

    Raises
    ------
    UsageError
        If a class, its module or its training takes no such setting, or one is out of range.
    """
    for spec in specs:
        cls = spec.factory
        if not (isinstance(cls, type) and issubclass(cls, ScviModel)):
            continue
        if cls.__init__.__module__.startswith("reconeval."):
            try:
                spec.build({})
            except UsageError as error:
                msg = f"--model {spec.source}: {error}"
                raise UsageError(msg) from None
        if cls.train is ScviModel.train:
            own = inspect.signature(ScviModel.train).parameters.values()
            where = f"--model {spec.source}: {spec.name}.train()"
            with quiet():
                check_train_options(cls.scvi_class(), spec.train_kwargs, own=own, where=where)


def _model_class(module: str, name: str, load: Callable[[], type[Any]]) -> type[ScviModel]:
    body = {"__module__": module, "__doc__": ScviModel.__doc__, "scvi_class": staticmethod(load)}
    return type(name, (ScviModel,), body)
