"""What is known of each frozen dataset, and the check that its file is the one described."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from reconeval.errors import UsageError

__all__ = ["FROZEN", "Entry", "read_manifest", "sha256_of", "verify"]

FROZEN = Path(__file__).parent / "frozen"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A frozen dataset as the manifest describes it.

    Attributes
    ----------
    name, version
        Its name and the version of its content.
    sha256
        Checksum of the file's bytes.
    cells, genes, cell_types
        How many there are.
    held_out
        Cell types that the `cell_type` split keeps for the test.
    source, doi, licence
        Where the cells come from and on what terms.
    rule
        How the genes were chosen.
    source_sha256
        Checksum of the file that `tools/make_datasets.py` read.
    """

    name: str
    version: str
    sha256: str
    cells: int
    genes: int
    cell_types: int
    held_out: tuple[str, ...]
    source: str
    doi: str
    licence: str
    rule: str
    source_sha256: str

    @property
    def path(self) -> Path:
        """The file."""
        return FROZEN / f"{self.name}.h5ad"


@cache
def read_manifest() -> dict[str, Entry]:
    """Return the frozen datasets by name, in the manifest's order."""
    tables = tomllib.loads((FROZEN / "MANIFEST.toml").read_text(encoding="utf-8"))
    return {
        name: Entry(name=name, **{**table, "held_out": tuple(table["held_out"])})
        for name, table in tables.items()
    }


def sha256_of(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(entry: Entry) -> None:
    """Check that a frozen file is there and is the one that the manifest describes.

    Raises
    ------
    UsageError
        If the file is missing, or its checksum differs: damaged, truncated or edited.
    """
    if not entry.path.is_file():
        msg = f"dataset {entry.name}: {entry.path} is missing; install reconeval again"
        raise UsageError(msg)
    found = sha256_of(entry.path)
    if found != entry.sha256:
        msg = (
            f"dataset {entry.name}: {entry.path} has sha256 {found[:12]}..., expected "
            f"{entry.sha256[:12]}...: it is damaged or was edited; install reconeval again"
        )
        raise UsageError(msg)
