"""Adapters that let classes of other libraries run as they are.

An adapter looks at a class by its methods and, if it knows the kind, returns a class with
`train` and `predict` that takes the same settings. A new kind is one more entry of `ADAPTERS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from reconeval.adapters.scikit_learn import adapt_transformer
from reconeval.adapters.scvi import ScviModel, adapt_scvi, find_scvi

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ADAPTERS", "Adapter", "adapt", "find_scvi"]


class Adapter(Protocol):
    """One kind of class of another library."""

    def __call__(self, cls: type, make: Callable[..., Any], *, where: str) -> type | None:
        """Return a model class for `cls`, or None if it is of another kind.

        Parameters
        ----------
        cls
            The class that the user named.
        make
            Makes an instance: the class itself, or a factory.
        where
            Begins the message of an error.

        Raises
        ------
        UsageError
            If the class is of this kind but lacks what reconstruction needs.
        """


ADAPTERS: tuple[Adapter, ...] = (adapt_scvi, adapt_transformer)


def adapt(cls: type, make: Callable[..., Any] | None = None, *, where: str = "") -> type | None:
    """Return a model class for a class of another library.

    Parameters
    ----------
    cls
        The class that the user named.
    make
        Makes an instance; default the class itself.
    where
        Begins the message of an error.

    Returns
    -------
    A class with `train` and `predict` and the constructor's signature of `make`, or None if
    `cls` has these methods itself or no adapter knows its kind.

    Raises
    ------
    UsageError
        If an adapter knows the kind but the class lacks what reconstruction needs.
    """
    if issubclass(cls, ScviModel):
        return None
    where = where or cls.__name__
    found = (adapter(cls, make or cls, where=where) for adapter in ADAPTERS)
    return next((adapted for adapted in found if adapted is not None), None)
