"""PROGENy from OmniPath: fetched when a user asks for it by name, then kept with its checksum."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from reconeval._cache import cache_folder
from reconeval.calls import one_line
from reconeval.errors import UsageError
from reconeval.resources.loaders import load_progeny
from reconeval.rows import atomic_write

if TYPE_CHECKING:
    from os import PathLike

    import pandas as pd

__all__ = ["fetch_progeny", "progeny_file"]

_COLUMNS = ("source", "target", "weight", "p_value")


def fetch_progeny(
    organism: str = "human",
    *,
    top: int | None = None,
    license: Literal["academic", "commercial", "nonprofit"] = "academic",  # noqa: A002  (decoupler's)
    cache: str | PathLike[str] | None = None,
    refresh: bool = False,
) -> pd.DataFrame:
    """Return PROGENy's pathway footprints as OmniPath has them, through decoupler.

    The first call needs decoupler and the network and keeps the table with its sha256 in the
    user's cache folder; later ones read it there and need neither.

    Parameters
    ----------
    organism
        As decoupler names it, such as human or mouse.
    top
        Keep this many genes of each pathway, the lowest p values first.
    license
        What the table is used for; OmniPath leaves out what that does not allow.
    cache
        Folder to keep the table in; default `$RECONEVAL_CACHE`, or `reconeval` in
        `$XDG_CACHE_HOME` or `~/.cache`.
    refresh
        Fetch again and replace what is kept.

    Returns
    -------
    One row per pathway and gene: source, target, weight (signed) and p_value (adjusted).

    Raises
    ------
    UsageError
        If decoupler is missing, OmniPath cannot be reached or answers without the table, or the
        kept file is not the one that was fetched.

    References
    ----------
    doi:10.1038/s41467-017-02391-6 (PROGENy), doi:10.15252/msb.20209923 (OmniPath).
    """
    path = progeny_file(organism, license=license, cache=cache, refresh=refresh)
    return load_progeny(path, top=top)


def progeny_file(
    organism: str = "human",
    *,
    license: Literal["academic", "commercial", "nonprofit"] = "academic",  # noqa: A002  (decoupler's)
    cache: str | PathLike[str] | None = None,
    refresh: bool = False,
) -> Path:
    """Return the kept and verified table of `fetch_progeny`, fetched where there is none.

    Parameters
    ----------
    organism, license, cache, refresh
        As for `fetch_progeny`.

    Returns
    -------
    A tab-separated file that `load_progeny` reads; beside it lies its checksum, `.sha256`.

    Raises
    ------
    UsageError
        As for `fetch_progeny`.
    """
    folder = cache_folder() if cache is None else Path(cache)
    if not (organism.isalnum() and license.isalnum()):
        msg = f"fetch_progeny: organism={organism!r}, license={license!r}: expected single words"
        raise UsageError(msg)
    path = folder / f"progeny_{organism}_{license}.tsv"
    if refresh or not path.is_file():
        _keep(path, _fetch(organism, license))
    _verify(path)
    return path


def _fetch(organism: str, license: str) -> pd.DataFrame:  # noqa: A002  (decoupler's name)
    """Ask decoupler, and check that the answer is the table."""
    try:
        import decoupler
    except ImportError as error:
        msg = (
            f"PROGENy from OmniPath needs decoupler, which cannot be imported ({one_line(error)}); "
            "pip install 'reconeval[omnipath]', or take the shipped table: load_progeny()"
        )
        raise UsageError(msg) from error
    try:
        table: pd.DataFrame = decoupler.op.progeny(organism=organism, license=license)
    except Exception as error:  # the network, the server and decoupler's asserts
        # The errors of requests are OSErrors, as those of sockets are.
        what = "cannot be reached" if isinstance(error, OSError) else "did not give PROGENy"
        msg = (
            f"OmniPath {what} for organism={organism!r}, license={license!r}: "
            f"{type(error).__name__}: {one_line(error)}; check the network and the names, or "
            "take the shipped table: load_progeny()"
        )
        raise UsageError(msg) from error
    table = table.rename(columns={"padj": "p_value"})  # decoupler 2's name
    missing = [column for column in _COLUMNS if column not in table.columns]
    if missing or table.empty:
        got = f"no column {', '.join(missing)}" if missing else "no rows"
        msg = (
            f"OmniPath's PROGENy for {organism} came with {got}, expected {', '.join(_COLUMNS)}; "
            "try another version of decoupler, or take the shipped table: load_progeny()"
        )
        raise UsageError(msg)
    return table[list(_COLUMNS)]


def _keep(path: Path, table: pd.DataFrame) -> None:
    content = table.to_csv(sep="\t", index=False).encode()
    digest = hashlib.sha256(content).hexdigest()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, content)
        atomic_write(_checksum(path), f"{digest}  {path.name}\n".encode())
    except OSError as error:
        msg = f"{path}: cannot be written ({one_line(error)}); name another folder as cache"
        raise UsageError(msg) from error


def _checksum(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _verify(path: Path) -> None:
    """Check that a kept file is the one that was fetched."""
    try:
        expected = _checksum(path).read_text(encoding="utf-8").partition(" ")[0]
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: cannot be verified ({one_line(error)}); fetch_progeny(refresh=True)"
        raise UsageError(msg) from error
    if found != expected:
        msg = (
            f"{path}: sha256 {found[:12]}..., expected {expected[:12]}...: it is damaged or was "
            "edited; call fetch_progeny(refresh=True)"
        )
        raise UsageError(msg)
