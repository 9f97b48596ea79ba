"""Classes of scvi-tools by name: found without the import, which takes 10 seconds."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
from pathlib import Path
from typing import Any, NamedTuple

from reconeval.calls import describe
from reconeval.errors import UsageError
from reconeval.filling import hint
from reconeval.quiet import quiet

__all__ = ["PACKAGES", "READ", "Named", "check_package", "find_named", "load_class", "refusal"]

# The classes that the adapter reads, as a message names them.
READ = "SCVI, LinearSCVI, SCANVI, TOTALVI, TOTALANVI or DRVI"
_READ = frozenset(re.findall(r"[A-Z]\w+", READ))

# Package and distribution; the package's name is that of the extra that brings it, too.
_PACKAGE_NAMES = {"scvi": "scvi-tools", "drvi": "drvi-py"}
PACKAGES = tuple(_PACKAGE_NAMES)

_PEAKS = "models open chromatin: probabilities of peaks, not expression of genes"
_OTHER = "is a model without the encoder and decoder that are read here"
_PLACES = "models cells in their places in a tissue, which no dataset here has"
_METHYLATION = "models methylation, not expression of genes"
_SPOTS = "models spots that mix cell types, not single cells"
_REFUSED = {
    "PEAKVI": _PEAKS,
    "POISSONVI": _PEAKS,
    "MULTIVI": "models open chromatin beside genes, and no dataset here has peaks",
    "DestVI": _SPOTS,
    "CondSCVI": "encodes the cell type of each cell, which stays hidden for held-out cells",
    "AmortizedLDA": "is a model of Pyro without the encoder and decoder that are read here",
    "AUTOZI": "decodes with sparsity indicators of its own, for which there is no posterior mean",
    "JaxSCVI": "is a model of JAX without the encoder and decoder that are read here",
    "mlxSCVI": "is a model of MLX without the encoder and decoder that are read here",
    "SOLO": "finds doublets and reconstructs no cells",
    "MRVI": "asks for the sample of each cell, and has an encoder and decoder of its own",
    "TorchMRVI": "asks for the sample of each cell, and has an encoder and decoder of its own",
    "JaxMRVI": "asks for the sample of each cell, and has an encoder and decoder of its own",
    "SysVI": "models normalised expression with an encoder and decoder of its own",
    "SCAR": "asks for a profile of ambient molecules, and decodes cells without them",
    "VELOVI": "models spliced and unspliced counts, which no dataset here has",
    "ContrastiveVI": "asks for cells of a background and of a target, with two latent spaces",
    "RESOLVI": _PLACES,
    "SCVIVA": _PLACES,
    "GIMVI": _PLACES,
    "RNAStereoscope": _SPOTS,
    "SpatialStereoscope": _SPOTS,
    "CYTOVI": "models cytometry, not expression of genes",
    "METHYLVI": _METHYLATION,
    "METHYLANVI": _METHYLATION,
    "SCBASSET": "models open chromatin from sequences, not expression of genes",
    "CellAssign": "assigns cell types and reconstructs no cells",
    "Decipher": _OTHER,
}


class Named(NamedTuple):
    """A class that was named and found, but not imported."""

    module: str
    name: str


def refusal(names: list[str]) -> str:
    """Return why the first class of these names that is refused is; empty if none is."""
    return next((f"{name} {_REFUSED[name]}" for name in names if name in _REFUSED), "")


def find_named(target: str, *, where: str) -> Named | None:
    """Find a class of scvi-tools or DRVI in the source of its module.

    Parameters
    ----------
    target
        `MODULE:CLASS` as the user named it.
    where
        Begins the message of an error.

    Returns
    -------
    The class, or None if the module belongs to another package or is no package with a source.

    Raises
    ------
    UsageError
        If the package is not installed, or the module has no such class or one that is not read.
    """
    module, _, name = target.rpartition(":")
    package = module.partition(".")[0]
    if package not in PACKAGES:
        return None
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        msg = (
            f"{where}: needs {package}, which is not installed: pip install 'reconeval[{package}]'"
        )
        raise UsageError(msg)
    path = Path(found.origin).parent.joinpath(*module.split(".")[1:])
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if not source.is_file():
        msg = f"{where}: no module {module!r} in the installed {package}"
        raise UsageError(msg)
    why = refusal([name])
    if why:
        msg = f"{where}: {why}; take {READ}"
        raise UsageError(msg)
    names = _bound_names(source)
    if name not in names:
        msg = f"{where}: {module} has no {name!r}{hint(name, sorted(names))}"
        raise UsageError(msg)
    if name not in _READ:
        msg = f"{where}: {name} is no model class that the adapter reads; take {READ}, or a "
        msg += "subclass of one in a module of your own"
        raise UsageError(msg)
    return Named(module, name)


def check_package(package: str, *, who: str) -> Path:
    """Refuse to go on without scvi-tools or DRVI; neither is imported.

    Parameters
    ----------
    package
        One of `PACKAGES`.
    who
        The class that needs it, to begin a message with.

    Returns
    -------
    The file that an import of the package would run first.

    Raises
    ------
    UsageError
        The package is not installed.
    """
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        msg = f"{who} needs {_PACKAGE_NAMES[package]}, which is not installed: "
        msg += f"pip install 'reconeval[{package}]'"
        raise UsageError(msg)
    return Path(found.origin)


def load_class(module: str, name: str, *, package: str, who: str) -> type[Any]:
    """Import a class of scvi-tools or DRVI, or one that is built on them, in silence.

    Parameters
    ----------
    module, name
        Where it is.
    package
        What it needs, one of `PACKAGES`.
    who
        The class that needs it, to begin a message with.

    Returns
    -------
    The class.

    Raises
    ------
    UsageError
        The package is not installed, or its import fails, as where a dependency does not fit.
    """
    check_package(package, who=who)
    try:
        with quiet():
            found: type[Any] = getattr(importlib.import_module(module), name)
    except (Exception, SystemExit) as error:  # its dependencies may raise anything
        msg = f"{who} needs {_PACKAGE_NAMES[package]}, which is installed but cannot be imported: "
        msg += f"{describe(error)}; make `import {package}` work, for instance by "
        msg += f"pip install --upgrade 'reconeval[{package}]'"
        raise UsageError(msg) from error
    return found


def _bound_names(source: Path) -> set[str]:
    """Return the names with a capital that a module defines or imports at its top."""
    names: set[str] = set()
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
    return {name for name in names if any(letter.isupper() for letter in name)}
