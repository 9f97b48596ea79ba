"""Settings that can only fail, refused before anything is trained.

This looks at models that come with reconeval, as they are or as a base, and at models of
scvi-tools. What a stranger's own code makes of its settings is known only once it runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconeval._ranges import check_least
from reconeval.adapters.scvi import ScviModel, check_training
from reconeval.calls import call_model
from reconeval.errors import ReconevalError, UsageError
from reconeval.offers import OFFERED, fixed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconeval.spec import ModelSpec

__all__ = ["check_settings"]

_OWN = ("reconeval.models.", "reconeval.adapters._scvi")
_COUNTS = ("max_epochs", "epochs", "max_steps", "iterations", "batch_size")  # in a training


def check_settings(specs: Iterable[ModelSpec], *, option: str = "--model ") -> None:
    """Refuse wrong settings; scvi-tools is imported where a model needs it.

    Parameters
    ----------
    specs
        Models as the user named them. Classes with a constructor or a `train` of the user's own
        are spared the check of that one.
    option
        Begins the message of an error.

    Raises
    ------
    UsageError
        If a package that a model needs cannot be imported, or if a constructor or a training takes
        no such setting or refuses its value whatever the data.
    """
    for spec in specs:
        if isinstance(spec.factory, type):
            try:
                _check(spec, spec.factory)
            except ReconevalError as error:
                msg = f"{option}{spec.source}: {error}"
                raise UsageError(msg) from error


def _check(spec: ModelSpec, cls: type[Any]) -> None:
    if _is_own(cls.__init__):
        sizes = {name: fixed(1) for name in OFFERED[spec.task].constructor}
        call_model("building it", spec.build, sizes)
    if not _is_own(getattr(cls, "train", None)):
        return
    where = f"{spec.name}.train()"
    given = {name: value for name, value in spec.train_kwargs.items() if name in _COUNTS}
    check_least(where, 1, **given)
    if issubclass(cls, ScviModel):
        check_training(cls, spec.train_kwargs, where=where)


def _is_own(function: object) -> bool:
    return str(getattr(function, "__module__", "")).startswith(_OWN)
