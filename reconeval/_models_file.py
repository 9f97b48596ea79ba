"""Files of models, one table each: the table's name is the alias.

[recon32]
target = "models:ReconAE"
kwargs = {n_latent = 32}
train = {max_epochs = 50}
exceptions = {one_cell = "needs the neighbours of a cell"}
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

from reconeval.errors import UsageError
from reconeval.filling import hint

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["check_table", "read_models_file"]

_KINDS = {"target": str, "kwargs": dict, "train": dict, "exceptions": dict}


def read_models_file(path: Path, *, where: str) -> dict[str, Any]:
    """Read the tables of a file.

    Parameters
    ----------
    path
        The TOML file.
    where
        Begins the message of an error.

    Returns
    -------
    Tables by alias, in the order of the file.

    Raises
    ------
    UsageError
        If the file cannot be read, is no TOML, or is empty.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"{where}: {path} cannot be read ({error.strerror})"
        raise UsageError(msg) from None
    except ValueError as error:  # not UTF-8, or not TOML
        msg = f"{where}: {path} is no valid TOML ({error})"
        raise UsageError(msg) from None
    if not tables:
        msg = f'{where}: {path} has no models; write [ALIAS] and target = "MODULE:CLASS"'
        raise UsageError(msg)
    return tables


def check_table(table: Any, *, where: str) -> None:
    """Refuse a table without a target, with an unknown key or with a value of another kind.

    Parameters
    ----------
    table
        What stands in the file under an alias.
    where
        Begins the message of an error.

    Raises
    ------
    UsageError
        Naming the key, what stands there and what is expected.
    """
    if not isinstance(table, dict) or "target" not in table:
        msg = f'{where}: expected a table with target = "MODULE:CLASS", got {table!r}'
        raise UsageError(msg)
    for key, value in table.items():
        if key not in _KINDS:
            msg = f"{where}: unknown key {key!r}{hint(key, _KINDS, 'takes')}"
            raise UsageError(msg)
        if not isinstance(value, _KINDS[key]):
            expected = "a text" if _KINDS[key] is str else "a table"
            msg = f"{where}: {key} is {value!r}, expected {expected}"
            raise UsageError(msg)
    if "?" in table["target"]:
        msg = f"{where}: target holds settings; write them as kwargs = {{...}}, train = {{...}}"
        raise UsageError(msg)
