"""What is known of each frozen dataset, and the check that its file is the one described."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from reconeval.errors import UsageError

__all__ = [
    "FROZEN",
    "Entry",
    "PerturbationEntry",
    "read_manifest",
    "read_perturbation_manifest",
    "sha256_of",
    "verify",
]

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
    file
        Name of the file that ships.
    cells_sha256
        Checksum of cells that are made from the file's when they are loaded; empty where the
        file has them.
    query_batches
        Batches that are mapped onto the others; empty where there are no batches.
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
    file: str
    cells_sha256: str = ""
    query_batches: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """The file."""
        return FROZEN / self.file


@dataclass(frozen=True, slots=True, kw_only=True)
class PerturbationEntry:
    """A frozen dataset of perturbed cells as its manifest describes it.

    Attributes
    ----------
    name, version
        Its name and the version of its content.
    file
        Name of the file that ships.
    sha256
        Checksum of the file's bytes.
    cells, genes, perturbations, cell_types, conditions
        How many there are, the control not counted as a perturbation; 0 where there are none.
    held_out
        For each split that holds groups out, the groups that it keeps for the test.
    source, doi, licence
        Where the cells come from and on what terms.
    rule
        How the cells, genes and embedding were made.
    cells_sha256
        Checksum of cells that are drawn when they are loaded; empty where the file has them.
    source_sha256
        Checksum of the file that `tools/make_perturbation_datasets.py` read; empty for none.
    """

    name: str
    version: str
    file: str
    sha256: str
    cells: int
    genes: int
    perturbations: int
    cell_types: int
    conditions: int
    held_out: dict[str, tuple[str, ...]]
    source: str
    doi: str
    licence: str
    rule: str
    cells_sha256: str
    source_sha256: str

    @property
    def path(self) -> Path:
        """The file."""
        return FROZEN / self.file


@cache
def read_manifest() -> dict[str, Entry]:
    """Return the frozen datasets by name, in the manifest's order."""
    tables = tomllib.loads((FROZEN / "MANIFEST.toml").read_text(encoding="utf-8"))
    lists = ("held_out", "query_batches")
    return {
        name: Entry(
            name=name,
            **{
                "file": f"{name}.h5ad",
                **table,
                **{key: tuple(table.get(key, ())) for key in lists},
            },
        )
        for name, table in tables.items()
    }


@cache
def read_perturbation_manifest() -> dict[str, PerturbationEntry]:
    """Return the frozen datasets of perturbed cells by name, in the manifest's order."""
    tables = tomllib.loads((FROZEN / "PERTURBATIONS.toml").read_text(encoding="utf-8"))
    return {
        name: PerturbationEntry(
            name=name,
            **{
                **table,
                "held_out": {split: tuple(groups) for split, groups in table["held_out"].items()},
            },
        )
        for name, table in tables.items()
    }


def sha256_of(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(entry: Entry | PerturbationEntry) -> None:
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
