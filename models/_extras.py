"""What the predictors of other packages share: the extra they need, and silence."""

from __future__ import annotations

import importlib.util
import io
import warnings
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING

from reconeval.errors import UsageError
from reconeval.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["check_extra", "silence"]


def check_extra(module: str, *, model: str, extra: str) -> None:
    """Refuse to go on without an optional package; it is not imported.

    Parameters
    ----------
    module
        A module of the package; of a dotted name the parent is imported.
    model
        Name of the class that needs it.
    extra
        The extra of reconeval that brings it.

    Raises
    ------
    UsageError
        The package is not installed.
    """
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        found = None
    if found is None:
        msg = f"{model} needs the package of {module!r}, which is not installed: make an "
        msg += f"environment of its own and run `pip install 'reconeval[{extra}]'` there"
        raise UsageError(msg)


@contextmanager
def silence(verbose: bool = False) -> Iterator[None]:  # noqa: FBT001, FBT002  (as quiet(verbose))
    """Keep what another package prints and warns of out of the terminal, unless `verbose`."""
    with ExitStack() as stack:
        stack.enter_context(quiet(verbose))
        if not verbose:
            stack.enter_context(redirect_stdout(io.StringIO()))
            stack.enter_context(redirect_stderr(io.StringIO()))
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
        yield
