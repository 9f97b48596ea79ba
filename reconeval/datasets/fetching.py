"""Fetch data of the catalogue when a user asks for it by name, and keep it with its checksum."""

from __future__ import annotations

import errno
import logging
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from reconeval._cache import cache_folder
from reconeval.calls import one_line
from reconeval.datasets._download import Downloader, progress_bar, readable_size
from reconeval.datasets._network import network_fault
from reconeval.datasets.catalogue import find_source, read_catalogue
from reconeval.datasets.manifest import sha256_of
from reconeval.errors import UsageError
from reconeval.rows import atomic_write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

    from anndata import AnnData

    from reconeval.datasets.catalogue import Source

__all__ = ["fetch", "fetch_source", "fetched_names", "fetched_path", "load_fetched"]


def fetch(name: str, *, folder: str | PathLike[str] | None = None, show: bool = False) -> Path:
    """Download one entry of the catalogue, or check what an earlier call has kept.

    An interrupted download goes on where it stopped. The file is kept once it has the published
    checksum; where there is none, the sha256 of the first download is recorded and asked of
    every later one.

    Parameters
    ----------
    name
        A name of `catalogue_names()`.
    folder
        Where to keep it; default `$RECONEVAL_CACHE`, or `reconeval` in the user's cache folder.
    show
        Whether to show a progress bar, on a terminal only.

    Returns
    -------
    The complete and verified file, `name.h5ad`; beside it lies its checksum, `.sha256`.

    Raises
    ------
    UsageError
        If there is no such entry, it has to be downloaded by hand, the network, the server or
        the disk fails, or the file is not the one that was expected.
    """
    return fetch_source(find_source(name), folder=folder, show=show)


def fetch_source(
    source: Source, *, folder: str | PathLike[str] | None = None, show: bool = False
) -> Path:
    """Do what `fetch` does, for an entry that need not be in the catalogue."""
    path = _path(source.name, folder)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if source.url is None:
            _check_by_hand(source, path, source.checksum or _recorded(path))
            _finish(source, path)
        else:
            with _alone(path):
                _download(source, path, source.checksum or _recorded(path), show=show)
                _finish(source, path)
    except OSError as error:
        msg = f"{path}: cannot be written ({one_line(error)}); name another folder by --dir"
        raise UsageError(msg) from error
    return path


def fetched_names(*, folder: str | PathLike[str] | None = None) -> tuple[str, ...]:
    """Return the entries of the catalogue that are kept, complete and with a checksum."""
    paths = {name: _path(name, folder) for name in read_catalogue()}
    return tuple(name for name, path in paths.items() if _recorded(path) and path.is_file())


def fetched_path(
    name: str, *, folder: str | PathLike[str] | None = None, reread: bool = False
) -> Path:
    """Return the kept file of an entry, without any network.

    Parameters
    ----------
    name, folder
        As for `fetch`.
    reread
        Read the whole file against its checksum; default only when it was changed after that
        was recorded.

    Returns
    -------
    The file.

    Raises
    ------
    UsageError
        If there is no such entry, it was not fetched, or its file was damaged or edited.
    """
    source = find_source(name)
    path = _path(source.name, folder)
    recorded = _recorded(path)
    if recorded is None or not path.is_file():
        msg = f"dataset {name} is not in {path.parent}; run: {_command(name, folder)}"
        raise UsageError(msg)
    record = _record_of(path)
    if reread or path.stat().st_mtime_ns > record.stat().st_mtime_ns:
        if sha256_of(path) != recorded:
            msg = (
                f"{path}: its sha256 is not {recorded[:12]}... of {record.name}, so it is "
                f"damaged or was edited; run: {_command(name, folder)}"
            )
            raise UsageError(msg)
        record.touch()
    return path


def load_fetched(
    name: str,
    *,
    folder: str | PathLike[str] | None = None,
    cells: int | None = 25_000,
    genes: int | None = 2_000,
    seed: int = 0,
) -> AnnData:
    """Load a kept file in the common schema, without any network.

    Parameters
    ----------
    name, folder
        As for `fetch`.
    cells
        Draw this many cells at random where there are more; None for all.
    genes
        Keep this many genes of highest variance of log1p of counts per 10 000, over all cells
        that are loaded; None for all.
    seed
        Seed of the draw.

    Returns
    -------
    `X` log1p of counts per 10 000, `layers["counts"]`, and as `obs` columns `perturbation`,
    `total_counts` (over all genes), and `cell_type` and `condition` where the source has them.
    In `uns`: `control`, the label of control cells; `parts`, for each combination the single
    perturbations; `sha256` of the file.

    Raises
    ------
    UsageError
        As for `fetched_path`, or if the file lacks what the source documents.
    """
    from reconeval.datasets.layouts import load_source

    path = fetched_path(name, folder=folder)
    adata = load_source(find_source(name), path, cells=cells, genes=genes, seed=seed)
    adata.uns["sha256"] = _recorded(path)
    return adata


def _path(name: str, folder: str | PathLike[str] | None) -> Path:
    return (cache_folder() if folder is None else Path(folder)) / f"{name}.h5ad"


def _command(name: str, folder: str | PathLike[str] | None) -> str:
    return f"reconeval datasets fetch {name}" + ("" if folder is None else f" --dir {folder}")


def _record_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _recorded(path: Path) -> str | None:
    record = _record_of(path)
    return record.read_text(encoding="utf-8").partition(" ")[0] if record.is_file() else None


def _record(path: Path) -> None:
    """Write down the checksum of a verified file, unless that was done for the same file."""
    record = _record_of(path)
    if not record.is_file() or path.stat().st_mtime_ns > record.stat().st_mtime_ns:
        atomic_write(record, f"{sha256_of(path)}  {path.name}\n".encode())


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let one process at a time fetch a file; a second one waits and then finds it there.

    The lock's empty file stays: whoever waits for it would hold another lock than newcomers if it
    were deleted.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"waiting for another fetch of {path.name}", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _download(source: Source, path: Path, known: str | None, *, show: bool) -> None:
    import pooch

    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)
    with progress_bar(source.name, shown=show) as report:
        downloader = Downloader(path.with_name(f"{path.name}.part"), report)
        try:
            pooch.retrieve(
                source.url, known, fname=path.name, path=path.parent, downloader=downloader
            )
        except UsageError:
            raise
        except (OSError, ValueError) as error:
            if not isinstance(error, OSError):  # pooch's word for a wrong checksum
                downloader.forget()
            raise UsageError(_explain(source, path, downloader.size, error)) from error
        finally:
            logger.setLevel(level)
        downloader.forget()


def _explain(source: Source, path: Path, got: int, error: Exception) -> str:
    """Return what went wrong and what to do about it, in one line."""
    from requests.exceptions import RequestException

    again = f"; run the same command again to go on from {readable_size(got)}" if got else ""
    if isinstance(error, RequestException):
        by_hand = (
            f"download it from {source.page}, save it as {path} and run the same command again"
        )
        return f"{source.name} from {source.url}: {network_fault(error, by_hand)}{again}"
    if isinstance(error, OSError):
        if error.errno == errno.ENOSPC:
            what = (
                f"{source.name}: the disk of {path.parent} is full ({one_line(error)}); make room"
            )
        else:
            what = f"{path}: cannot be written ({one_line(error)}); check the folder"
        return f"{what} or name another one by --dir{again}"
    known, step = source.checksum, f"look for a new version on {source.page}"
    if known is None:
        known, step = _recorded(path), f"delete {_record_of(path)} to take the new version"
    return (
        f"{source.name} from {source.url}: what came has another checksum than {known}, so it was "
        f"deleted; try again, and if it stays so {step}"
    )


def _finish(source: Source, path: Path) -> None:
    """Record the checksum of a file that has been checked, if it can be an `.h5ad` at all."""
    import h5py

    if not h5py.is_hdf5(path):
        msg = f"{path}: not an HDF5 file, so not .h5ad; download it again from {source.page}"
        raise UsageError(msg)
    _record(path)


def _check_by_hand(source: Source, path: Path, known: str | None) -> None:
    import pooch

    if not path.is_file():
        msg = (
            f"{source.name} cannot be downloaded for you: on {source.page} {source.by_hand}, save "
            f"it as {path} and run the same command again to record its checksum"
        )
        raise UsageError(msg)
    if known is not None:
        algorithm, _, digest = known.rpartition(":")
        if pooch.file_hash(path, alg=algorithm or "sha256") != digest:
            msg = (
                f"{path}: its checksum is not {known}: damaged, edited or another version; "
                f"download it again, or delete {_record_of(path).name} to take it as it is"
            )
            raise UsageError(msg)
