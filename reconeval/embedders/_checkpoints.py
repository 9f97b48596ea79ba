"""What every foundation model's checkpoint has to pass before a package loads it."""

from __future__ import annotations

import importlib.metadata
import pickle
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from reconeval.calls import one_line
from reconeval.errors import UsageError
from reconeval.filling import listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

__all__ = ["check_files", "check_package", "check_tensors", "load_plain", "loading"]

_SHOWN = 5


def check_package(package: str, *, where: str, environment: str) -> None:
    """Refuse to go on without a package, and say where it can be had.

    Parameters
    ----------
    package
        Its name for pip; a module of the same name as its own may be anybody's.
    where
        Begins the message.
    environment
        Name of the environment in `tools/environments`.

    Raises
    ------
    UsageError
        If it is not installed.
    """
    try:
        importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        msg = (
            f"{where}: {package} is not installed; it has an environment of its own: run "
            f"`tools/embed {environment} ...`, and give the file that it writes to --embedding"
        )
        raise UsageError(msg) from None


def check_files(folder: Path, names: Iterable[str], *, where: str) -> None:
    """Refuse a folder that lacks a file of the package's format."""
    if not folder.is_dir():
        msg = f"{where}: no folder {folder}; expected one with {listed(names)}"
        raise UsageError(msg)
    missing = [name for name in names if not (folder / name).exists()]
    if missing:
        msg = f"{where}: {folder} has no {listed(missing)}; expected {listed(names)}"
        raise UsageError(msg)


def load_plain(
    path: Path, *, where: str, trust_pickle: bool = False, plain: Iterable[Any] = ()
) -> Any:
    """Read a file of torch, refusing one that could run code when it is read.

    Parameters
    ----------
    path
        The file.
    where
        Begins the message.
    trust_pickle
        Read whatever it holds.
    plain
        Classes beyond torch's own that may occur, since they only hold values.

    Returns
    -------
    What the file holds, on the CPU.

    Raises
    ------
    UsageError
        If it cannot be read, or holds objects of other classes.
    """
    import torch
    from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

    if not path.is_file():
        msg = f"{where}: no file {path}; give the path of a checkpoint"
        raise UsageError(msg)
    with safe_globals(list(plain)):
        try:
            unsafe = [] if trust_pickle else get_unsafe_globals_in_checkpoint(path)
            if not unsafe:
                return torch.load(path, map_location="cpu", weights_only=not trust_pickle)
        except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
            msg = f"{where}: {path} cannot be read as torch.save writes it ({one_line(error)})"
            raise UsageError(msg) from error
    msg = (
        f"{where}: {path} holds objects of {listed(sorted(unsafe)[:_SHOWN])}, expected tensors and "
        "plain values, since loading others can run code; trust_pickle=true loads it all the same"
    )
    raise UsageError(msg)


def check_tensors(expected: Mapping[str, Any], found: Mapping[str, Any], *, where: str) -> None:
    """Refuse a checkpoint without all tensors of a model, or with tensors of another shape.

    Parameters
    ----------
    expected
        The tensors that the model uses, by name.
    found
        The tensors of the checkpoint, by the same names; further ones are no fault.
    where
        Begins the message.

    Raises
    ------
    UsageError
        If one is missing or has another shape: the package would leave random values there.
    """
    missing = [name for name in expected if name not in found]
    if missing:
        msg = f"{where}: the checkpoint lacks {len(missing)} of {len(expected)} tensors "
        msg += f"({listed(missing[:_SHOWN])}); get the whole file again"
        raise UsageError(msg)
    for name, tensor in expected.items():
        if tuple(tensor.shape) != tuple(found[name].shape):
            got, wanted = tuple(found[name].shape), tuple(tensor.shape)
            msg = f"{where}: the checkpoint's {name} has shape {got}, expected {wanted} by its "
            msg += "own settings; get its files again, all of one version"
            raise UsageError(msg)


@contextmanager
def loading(path: Path, *, where: str) -> Iterator[None]:
    """Turn what a package raises over a checkpoint into one line."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        # A package that tries another way after the first hides what was wrong.
        first: BaseException = error
        while first.__context__ is not None and not first.__suppress_context__:
            first = first.__context__
        reason = f"{type(first).__name__}: {one_line(first)}"
        msg = f"{where}: {path} cannot be loaded ({reason}); check that its files are whole"
        raise UsageError(msg) from error
