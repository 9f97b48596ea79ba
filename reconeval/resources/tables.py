"""Read tables and texts of gene sets, refusing what is cut off or garbled."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
from typing import TYPE_CHECKING, Any

from reconeval.errors import UsageError
from reconeval.filling import listed

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

__all__ = ["read_table", "read_text"]

_NUMERIC = {"weight", "p_value", "FDR", "Avg_log2FC"}
_OPENERS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


def read_text(path: Path) -> str:
    """Return a file's text; `UsageError` where it cannot be read as UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")  # Excel and others begin with a mark
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> UsageError:
    what = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read: {error}"
    return UsageError(f"{path}: {what}; check the path and that it is a text file")


def read_table(
    path: Path,
    columns: tuple[str, ...],
    *,
    rename: dict[str, str] | None = None,
    complete: tuple[str, ...] = (),
) -> pd.DataFrame:
    """Read the named columns of a table, in that order, without rows that lack one of them.

    Parameters
    ----------
    path
        Comma-separated, or tab-separated where it ends in .tsv or .txt; .gz, .bz2 or .xz.
    columns
        Their names.
    rename
        Names that the file may have -> those of `columns`.
    complete
        Columns of numbers in which each row must have a finite one.

    Returns
    -------
    The table.

    Raises
    ------
    UsageError
        If the file cannot be read, lacks a column, a row has other than the header's fields, or
        numbers are text or, in complete columns, missing or infinite.
    """
    table = _parsed(path).rename(columns=rename or {})
    missing = [column for column in columns if column not in table.columns]
    if missing:
        msg = (
            f"{path}: no column {listed(missing)}, expected {listed(columns)}; "
            f"the file has {listed(map(str, table.columns))}"
        )
        raise UsageError(msg)
    _check_numbers(path, table, columns, complete)
    return table[list(columns)].dropna().reset_index(drop=True)


def _parsed(path: Path) -> pd.DataFrame:
    import pandas as pd

    separator = "\t" if {".tsv", ".txt"} & set(path.suffixes) else ","
    try:
        with _OPENERS.get(path.suffix, open)(path, "rt", encoding="utf-8-sig", newline="") as file:
            text: str = file.read()
        _check_fields(path, text, separator)
        # pandas would take a cytokine or gene called None, NULL or n/a for a missing value.
        return pd.read_csv(
            io.StringIO(text),
            sep=separator,
            index_col=False,
            keep_default_na=False,
            na_values=["", "NA", "NaN", "nan"],
        )
    except UsageError:
        raise
    # pandas' parser errors are ValueErrors, as those of decoding are.
    except (OSError, ValueError, EOFError, csv.Error, lzma.LZMAError) as error:
        raise _unreadable(path, error) from error


def _check_numbers(
    path: Path, table: pd.DataFrame, columns: tuple[str, ...], complete: tuple[str, ...]
) -> None:
    import numpy as np
    import pandas as pd

    for column in _NUMERIC.intersection(columns):
        if not pd.api.types.is_numeric_dtype(table[column]):
            msg = f"{path}: column {column} holds text, expected numbers; check the separator"
            raise UsageError(msg)
    for column in complete:
        n_bad = int((~np.isfinite(table[column])).sum())
        if n_bad:
            msg = (
                f"{path}: column {column} is missing or infinite in {n_bad} of {len(table)} rows, "
                "expected a number in each; mend or drop them"
            )
            raise UsageError(msg)


def _check_fields(path: Path, text: str, separator: str) -> None:
    """Refuse rows that were cut off or have more fields than the header has names."""
    reader = csv.reader(io.StringIO(text), delimiter=separator)
    n_fields, n_rows = 0, 0
    wrong: list[tuple[int, int]] = []  # line and number of fields
    for row in reader:
        if not row:  # an empty line
            continue
        if not n_fields:
            n_fields = len(row)
            continue
        n_rows += 1
        if len(row) != n_fields:
            wrong.append((reader.line_num, len(row)))
    if wrong:
        line, found = wrong[0]
        msg = (
            f"{path}: {len(wrong)} of {n_rows} rows have other than the {n_fields} fields of the "
            f"header, the first, line {line}, has {found}; is the file cut off, or a field with a "
            "separator not in quotes?"
        )
        raise UsageError(msg)
