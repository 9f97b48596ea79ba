"""Download one file for pooch, going on where an earlier attempt stopped."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconeval.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import requests

__all__ = ["Downloader", "progress_bar", "readable_size"]

_BLOCK = 1 << 16
# Seconds to wait for a connection, and for the next bytes.
_TIMEOUT = (20, 60)


class Downloader:
    """A downloader for `pooch.retrieve` that keeps what it has got in a file of its own.

    pooch starts from nothing each time and deletes what is incomplete. This one adds to `part`
    and asks the server for the rest alone (RFC 9110, sections 13.1.5 and 14.2), on condition
    that the file is still the one that was begun. Without a tag to ask by, or where the server
    does not know ranges, it starts over.

    Parameters
    ----------
    part
        The incomplete file; beside it lies the server's tag of the version, `.tag`.
    report
        Called with the bytes that are there and the bytes of the whole file, or None.
    """

    def __init__(self, part: Path, report: Callable[[int, int | None], None]) -> None:
        self.part = part
        self._tag = part.with_name(f"{part.name}.tag")
        self._report = report

    def __call__(
        self,
        url: str,
        output_file: Any,
        pooch: Any,  # noqa: ARG002  (pooch passes itself)
        check_only: bool | None = False,  # noqa: FBT001, FBT002, ARG002  (pooch's signature)
    ) -> None:
        """Complete the file and put it where pooch wants it.

        Raises
        ------
        UsageError
            If the server answers with something that is no HDF5 file.
        OSError
            If the server or the network fails, as an exception of requests, or the disk does.
        """
        import h5py
        import requests

        headers = {"Accept-Encoding": "identity", **self._range()}
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
            if not self._is_whole(answer):
                answer.raise_for_status()
                self._write(answer)
        if not h5py.is_hdf5(self.part):
            self.forget()
            msg = f"{url}: the server sent no .h5ad file, so perhaps a page; try again later"
            raise UsageError(msg)
        # A second name, since pooch deletes its file when checking it is interrupted.
        output = Path(output_file)
        output.unlink(missing_ok=True)
        try:
            os.link(self.part, output)
        except OSError:  # a file system without hard links
            self.part.replace(output)

    def forget(self) -> None:
        """Delete what has been got."""
        self.part.unlink(missing_ok=True)
        self._tag.unlink(missing_ok=True)

    @property
    def size(self) -> int:
        """Bytes that have been got."""
        return self.part.stat().st_size if self.part.is_file() else 0

    def _range(self) -> dict[str, str]:
        tag = self._tag.read_text(encoding="utf-8") if self._tag.is_file() else ""
        return {"Range": f"bytes={self.size}-", "If-Range": tag} if tag and self.size else {}

    def _is_whole(self, answer: requests.Response) -> bool:
        """Whether nothing is left to send: the server then calls the range unsatisfiable."""
        if answer.status_code != 416:
            return False
        if answer.headers.get("Content-Range") == f"bytes */{self.size}":
            return True
        self.forget()
        return False

    def _write(self, answer: requests.Response) -> None:
        start = 0
        if answer.status_code == 206:
            start = self.size
            sent = answer.headers.get("Content-Range", "")
            if not sent.startswith(f"bytes {start}-"):
                self.forget()
                msg = f"{answer.url}: asked for bytes from {start} on, got {sent!r}; try again"
                raise UsageError(msg)
        else:
            self.forget()
            self._tag.write_text(_tag_of(answer), encoding="utf-8")
        length = answer.headers.get("Content-Length")
        total = start + int(length) if length else None
        if total is not None and shutil.disk_usage(self.part.parent).free < total - start:
            raise OSError(errno.ENOSPC, f"{readable_size(total - start)} are needed")
        self._report(start, total)
        with self.part.open("ab") as file:
            for block in answer.iter_content(_BLOCK):
                file.write(block)
                self._report(file.tell(), total)


def _tag_of(answer: requests.Response) -> str:
    """Return what identifies this version of the file to its server; empty if nothing does."""
    tag = answer.headers.get("ETag", "")
    # A weak tag says that two versions mean the same, not that their bytes agree.
    return answer.headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag


def readable_size(n_bytes: int) -> str:
    """Return a number of bytes as a person would say it."""
    size, units = float(n_bytes), ["B", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.3g} {units[0]}"


@contextmanager
def progress_bar(label: str, *, shown: bool) -> Iterator[Callable[[int, int | None], None]]:
    """Show a bar on the terminal while the block runs; nothing in a log.

    Parameters
    ----------
    label
        What is fetched.
    shown
        Whether to show anything at all.

    Yields
    ------
    A function to call with the bytes that are there and the bytes of the whole, or None.
    """
    if not (shown and sys.stderr.isatty()):
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
