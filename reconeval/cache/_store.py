"""Files that are found again by what they were made of, and never read half."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from reconeval._cache import cache_folder
from reconeval.calls import one_line
from reconeval.errors import UsageError
from reconeval.rows import atomic_write

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["Entry", "Store", "largest_size", "results_folder"]

ABOUT = "about.json"  # what an entry is, in words; its time is that of the last use
_DIGITS = 64
_LIMIT = "RECONEVAL_CACHE_GB"


def results_folder() -> Path:
    """Return where finished work is kept: `results` in the folder of fetched files."""
    return cache_folder() / "results"


def largest_size() -> int:
    """Return how many bytes may be kept: `$RECONEVAL_CACHE_GB`, 10 without it."""
    text = os.environ.get(_LIMIT, "10")
    try:
        size = float(text) * 1e9
    except ValueError:
        size = math.nan
    if not 0 <= size < math.inf:
        msg = f"{_LIMIT} is {text!r}, expected a number of GB, such as 10"
        raise UsageError(msg)
    return int(size)


@dataclass(frozen=True, slots=True)
class Entry:
    """What is kept under one key.

    Attributes
    ----------
    key
        The key, hexadecimal.
    about
        What it is, in words; empty where this cannot be read.
    size
        Bytes of all its files.
    used
        Seconds since the epoch of its last use.
    """

    key: str
    about: Mapping[str, str]
    size: int
    used: float


class Store:
    """A folder of entries, each a few files under a key that says what they were made of.

    A file begins with the checksum of the rest and is put in place in one step, so that a process
    that was killed, or another one that writes the same, leaves nothing that is later read half.
    What cannot be read or does not fit its checksum is as if it were not there.

    Parameters
    ----------
    folder
        Made on the first write.

    Attributes
    ----------
    folder
        As given.
    failure
        Why nothing more is written, in one line; empty while all is well. A full disk must not
        end a run that could go on without.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.failure = ""
        self.wrote = False
        self._seen: set[str] = set()

    def read(self, key: str, name: str) -> bytes | None:
        """Return the content of one of an entry's files, None where there is none that is whole.

        Parameters
        ----------
        key
            Of the entry, hexadecimal.
        name
            Of the file, such as `score mse`.
        """
        path = self._path(key, name)
        try:
            raw = path.read_bytes()
        except OSError:
            return None
        content = raw[_DIGITS + 1 :]
        if raw[: _DIGITS + 1] != _checksum(content):
            return None
        self._touch(key)
        return content

    def write(
        self, key: str, name: str, content: bytes, *, about: Mapping[str, str] | None = None
    ) -> None:
        """Keep a file; where that fails, `failure` says why and the run goes on without.

        Parameters
        ----------
        key, name
            As for `read`.
        content
            Its bytes.
        about
            What the entry is, in words, for `entries`.
        """
        if self.failure:
            return
        try:
            try:
                self._put(key, name, content, about)
            except FileNotFoundError:  # another process cleared the folder at this moment
                self._put(key, name, content, about)
        except OSError as error:
            self.failure = f"{self.folder} cannot be written ({one_line(error)})"
            return
        self.wrote = True

    def read_json(self, key: str, name: str) -> dict[str, Any] | None:
        """Return the content of a file that `write_json` wrote, None as for `read`."""
        content = self.read(key, name)
        if content is None:
            return None
        found = json.loads(content)
        return found if isinstance(found, dict) else None

    def write_json(
        self,
        key: str,
        name: str,
        content: Mapping[str, Any],
        *,
        about: Mapping[str, str] | None = None,
    ) -> None:
        """Keep plain values, among which NaN and infinities come back as they are."""
        self.write(key, name, json.dumps(dict(content)).encode(), about=about)

    def holds(self, key: str, name: str) -> bool:
        """Return whether there is such a file, whole or not."""
        return self._path(key, name).is_file()

    def entries(self) -> Iterator[Entry]:
        """Yield what is kept, in no order."""
        for folder in self.folder.glob("??/*"):
            if not folder.is_dir():
                continue
            try:
                files = [path.stat() for path in folder.iterdir()]
                used = _last_use(folder)
            except OSError:  # another process cleared it meanwhile
                continue
            yield Entry(folder.name, _about(folder), sum(one.st_size for one in files), used)

    def remove(self, key: str) -> None:
        """Forget an entry."""
        shutil.rmtree(self._folder(key), ignore_errors=True)
        self._seen.discard(key)

    def trim(self, most: int) -> None:
        """Forget the entries that were used longest ago, until `most` bytes are left."""
        entries = sorted(self.entries(), key=lambda entry: entry.used, reverse=True)
        total = 0
        for entry in entries:
            total += entry.size
            if total > most:
                self.remove(entry.key)

    def _put(self, key: str, name: str, content: bytes, about: Mapping[str, str] | None) -> None:
        path = self._path(key, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if about is not None and not (path.parent / ABOUT).is_file():
            atomic_write(
                path.parent / ABOUT, json.dumps(dict(about), indent=1).encode(), durable=False
            )
        # What a loss of power leaves does not fit its checksum: waiting for the disk at each of
        # hundreds of files would be in vain.
        atomic_write(path, _checksum(content) + content, durable=False)

    def _folder(self, key: str) -> Path:
        return self.folder / key[:2] / key

    def _path(self, key: str, name: str) -> Path:
        return self._folder(key) / quote(name, safe=" ")

    def _touch(self, key: str) -> None:
        """Say that an entry is in use, once in a process."""
        if key in self._seen:
            return
        self._seen.add(key)
        try:
            now = time.time()
            os.utime(self._folder(key) / ABOUT, (now, now))
        except OSError:  # a folder that can only be read serves as well
            return


def _checksum(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode() + b"\n"


def _last_use(folder: Path) -> float:
    about = folder / ABOUT
    return (about if about.is_file() else folder).stat().st_mtime


def _about(folder: Path) -> Mapping[str, str]:
    try:
        found = json.loads((folder / ABOUT).read_bytes())
    except (OSError, ValueError):
        return {}
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}
