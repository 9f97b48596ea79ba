"""Which code a result was made by: the user's own source, the packages, and reconeval itself."""

from __future__ import annotations

import hashlib
import importlib.util
import platform
import re
import site
import sys
import sysconfig
from contextlib import suppress
from functools import cache, partial
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconeval._loading import class_of
from reconeval.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator
    from importlib.machinery import ModuleSpec

__all__ = ["UnknownCodeError", "code_digest", "environment_digest", "harness_digest"]

_HARNESS = Path(__file__).resolve().parents[1]
_MODELS = "models"  # reconeval.models, in a checkout a folder beside the harness
_DATA = {".h5ad", ".safetensors"}  # frozen datasets have a checksum of their own
_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(?P<module>[.\w]+)[ \t]+)?import\b[ \t]*(?P<names>\([^)]*\)|[^\n;]+)",
    re.MULTILINE,
)
_SKIPPED = {"__pycache__", "node_modules", "site-packages"}


class UnknownCodeError(Exception):
    """It cannot be told by what code something is done; the message says why."""


@cache
def environment_digest() -> str:
    """Return a digest of Python, the platform and every installed distribution.

    All of them, since what a model imports may import anything. A distribution is told by its
    version and by its list of files with their checksums: a package that was changed and installed
    again may have kept its version.
    """
    names = {
        f"{path.name} {_installed_files(path)}"
        for folder in _site_folders()
        for pattern in ("*.dist-info", "*.egg-info")
        for path in folder.glob(pattern)
        if not path.name.startswith("reconeval-")
    }
    about = [sys.version, platform.system(), platform.machine(), *sorted(names)]
    return _hash("\n".join(about).encode())


def _installed_files(folder: Path) -> str:
    """Return a digest of what a distribution installed, empty where it left no list."""
    try:
        lines = (folder / "RECORD").read_bytes().splitlines()
    except OSError:
        return ""
    # Scripts begin with the path of this very environment, and tell nothing of the code.
    return _hash(b"\n".join(sorted(line for line in lines if not line.startswith(b".."))))


@cache
def harness_digest() -> str:
    """Return a digest of the files of reconeval: its code, reference models, gene sets, tables."""
    paths = (path for folder in _own_folders(_HARNESS) for path in _files_below(folder))
    code = (path for path in paths if path.suffix not in _DATA)
    return _digest_of({_label(path, _HARNESS.parent): path.read_bytes() for path in code})


@cache
def _own_folders(harness: Path) -> tuple[Path, ...]:
    """Return where reconeval's own code lies, that of the reference models included."""
    beside = harness.parent / _MODELS
    installed = (harness / _MODELS).is_dir() or not (beside / "__init__.py").is_file()
    return (harness,) if installed else (harness, beside)


def code_digest(target: Any) -> str:
    """Return a digest of the source that a class or a function is defined by.

    Parameters
    ----------
    target
        A class, a function, or a `functools.partial` of one.

    Returns
    -------
    A digest of the files of its module and those of its bases, of all modules in the same
    package, and of what these import. Of what is installed, only the target's own package is
    among them; others are told apart by `environment_digest`, reconeval's own code by
    `harness_digest`.

    Raises
    ------
    UnknownCodeError
        If a module has no source file, such as `__main__`.
    """
    targets = list(_targets_of(target))
    own = {_module_of(one).partition(".")[0] for one in targets}
    modules = {module for one in targets for module in _modules_of(one)}
    todo = [path for module in modules for path in _source_of(module)]
    found: dict[Path, bytes] = {}
    packages: set[Path] = set()
    asked: set[str] = set()
    seen: set[Path] = set()
    while todo:
        named = todo.pop()
        if named in seen:
            continue
        seen.add(named)
        path = named.resolve()
        if path in found or _covered(path, own):
            continue
        try:
            found[path] = path.read_bytes()
        except OSError as error:
            msg = f"{path} cannot be read ({error.strerror})"
            raise UnknownCodeError(msg) from None
        package = _package_of(path)
        if package is not None and package not in packages:
            packages.add(package)
            todo += [one for one in _files_below(package) if one.suffix == ".py"]
        if path.suffix == ".py":
            todo += _imported(path, found[path], own, asked)
    labels = {path: _label(path, _package_of(path) or path.parent) for path in found}
    # Two files of one name in two folders are both told.
    return _digest_of({f"{labels[path]} {_hash(text)}": text for path, text in found.items()})


def _targets_of(target: Any) -> Iterator[Any]:
    """Yield a class or function, and the classes that it makes or stands around."""
    while isinstance(target, partial):
        target = target.func
    yield target
    if isinstance(target, type):
        wrapped = getattr(target, "make", None)  # what an adapter stands around
        if callable(wrapped):
            yield from _targets_of(wrapped)
        return
    with suppress(UsageError):
        yield from _targets_of(class_of(target, where=""))


def _module_of(target: Any) -> str:
    return str(getattr(target, "__module__", None))


def _modules_of(target: Any) -> set[str]:
    bases = target.__mro__ if isinstance(target, type) else ()
    return {_module_of(target), *(base.__module__ for base in bases)}


def _source_of(module: str) -> Iterator[Path]:
    """Yield the file of a loaded module, nothing for one of the standard library."""
    if module.partition(".")[0] in sys.stdlib_module_names and module != "__main__":
        return
    file = getattr(sys.modules.get(module), "__file__", None)
    if module == "__main__" or file is None:
        msg = f"it is defined in {module}, which has no source file"
        raise UnknownCodeError(msg)
    path = Path(file)
    if path.suffix != ".py" and not _covered(path.resolve()):
        msg = f"it is defined in {path.name}, which is no Python source"
        raise UnknownCodeError(msg)
    yield path


def _imported(path: Path, source: bytes, own: set[str], asked: set[str]) -> Iterator[Path]:
    """Yield the files of the modules that a file imports anywhere, its functions included.

    Modules that were asked for before are left out, and new ones added to `asked`.
    """
    # Ten times faster than a syntax tree, and as good for what only has to find too much.
    for found in _IMPORT.finditer(source.decode(errors="replace")):
        module, names = found["module"] or "", _names_in(found["names"])
        base = module.lstrip(".")
        if base != module:
            folder = path.parents[len(module) - len(base) - 1]
            for name in names:
                yield from _beside(folder, [*base.split("."), name])
        else:
            full = {f"{module}.{name}" if module else name for name in names} - asked
            asked |= full
            for name in full:
                yield from _resolved(name, own)


def _names_in(text: str) -> list[str]:
    """Return the names of an import, without comments and what they are called afterwards."""
    listed = re.sub(r"#[^\n]*", "", text).strip("()").split(",")
    return [words[0] for one in listed if (words := one.split())]


def _resolved(name: str, own: set[str]) -> Iterator[Path]:
    """Yield the files of a module and its packages that are not covered; imports nothing."""
    first, *rest = name.split(".")
    if first in sys.stdlib_module_names or first == "reconeval":
        return
    try:
        spec = importlib.util.find_spec(first)
    except (ImportError, ValueError, AttributeError):  # half imported, or made by hand
        spec = getattr(sys.modules.get(first), "__spec__", None)
    full = first
    while spec is not None:
        if spec.origin is not None and spec.has_location:
            path = Path(spec.origin)
            if _covered(path.resolve(), own):
                return
            yield path
        if not rest or spec.submodule_search_locations is None:
            return
        full = f"{full}.{rest[0]}"
        spec = _find_in(full, list(spec.submodule_search_locations))
        rest = rest[1:]


def _find_in(name: str, folders: list[str]) -> ModuleSpec | None:
    return PathFinder.find_spec(name, folders)


def _beside(folder: Path, parts: Iterable[str]) -> Iterator[Path]:
    """Yield the files that a relative import names."""
    for part in filter(None, parts):
        for path in (folder / f"{part}.py", folder / part / "__init__.py"):
            if path.is_file():
                yield path
        folder /= part


def _package_of(path: Path) -> Path | None:
    """Return the outermost package that a file is in, None for a module by itself."""
    folder, package = path.parent, None
    while (folder / "__init__.py").is_file():
        folder, package = folder.parent, folder
    return package


def _files_below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name in _SKIPPED:
            continue
        if path.is_dir():
            if not path.is_symlink():  # it may lead back here
                yield from _files_below(path)
        elif path.is_file():
            yield path.resolve()


def _covered(path: Path, own: Container[str] = ()) -> bool:
    """Whether another digest tells a change of a file: of a package, of Python, or of reconeval.

    Installed packages that are named in `own` are not covered.
    """
    if any(path.is_relative_to(folder) for folder in _own_folders(_HARNESS)):
        return True
    for folder in _site_folders():
        if path.is_relative_to(folder):
            return path.relative_to(folder).parts[0].partition(".")[0] not in own
    return any(path.is_relative_to(folder) for folder in _standard_folders())


@cache
def _site_folders() -> tuple[Path, ...]:
    folders = [
        *site.getsitepackages(),
        sysconfig.get_path("purelib"),
        sysconfig.get_path("platlib"),
    ]
    if site.ENABLE_USER_SITE:
        folders.append(site.getusersitepackages())
    return tuple(dict.fromkeys(Path(folder).resolve() for folder in folders))


@cache
def _standard_folders() -> tuple[Path, ...]:
    return tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))


def _label(path: Path, folder: Path) -> str:
    return path.relative_to(folder.resolve()).as_posix()


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _digest_of(files: dict[str, bytes]) -> str:
    lines = (f"{label} {_hash(content)}" for label, content in sorted(files.items()))
    return _hash("\n".join(lines).encode())
