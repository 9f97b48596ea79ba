"""Import what `MODULE:CLASS` names."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

from reconeval.calls import describe, one_line
from reconeval.errors import UsageError
from reconeval.filling import hint, listed

__all__ = ["class_of", "load_target"]

_OWN_MODELS = "reconeval.models"


def load_target(target: str, *, folder: Path, where: str) -> Any:
    """Import a class or a factory.

    Modules are looked up in `folder` first, then among the installed packages. A path to a
    Python file is taken as it is. `models` is the package of reference models, unless the
    folder has a `models` of its own.

    Parameters
    ----------
    target
        `MODULE:CLASS` or `path/to/file.py:CLASS`; the class may be nested, `Outer.Inner`.
    folder
        Where the user's own modules are; stays on the import path.
    where
        Begins the message of an error.

    Returns
    -------
    A class, a function or a `functools.partial`.

    Raises
    ------
    UsageError
        If there is no such module or class, if the module fails to import, or if the name is
        neither a class nor a factory.
    """
    module_name, _, qualname = target.rpartition(":")
    if not module_name or not all(part.isidentifier() for part in qualname.split(".")):
        msg = f"{where}: expected MODULE:CLASS, e.g. mypkg:MyModel or path/to/file.py:MyModel"
        raise UsageError(msg)
    if module_name.endswith(".py"):
        module = _import_file(folder / Path(module_name).expanduser(), where=where)
    else:
        module = _import_module(module_name, folder, where=where)
    return _usable(_attribute(module, qualname, where=where), target, where=where)


def class_of(target: Any, *, where: str) -> type:
    """Return the class whose instances a class or factory makes.

    Parameters
    ----------
    target
        A class, a `functools.partial` of one, or a function with a return annotation.
    where
        Begins the message of an error.

    Returns
    -------
    The class.

    Raises
    ------
    UsageError
        If a function does not say what it returns.
    """
    while isinstance(target, functools.partial):
        target = target.func
    if isinstance(target, type):
        return target
    try:
        returned = get_type_hints(target).get("return")
    except (NameError, TypeError):  # an annotation that only a type checker can resolve
        returned = None
    if isinstance(returned, type) and returned is not type(None):
        return returned
    name = getattr(target, "__name__", repr(target))
    msg = f"{where}: {name} is a function that does not say what it returns; "
    msg += f"annotate it with the class: def {name}(...) -> MyModel"
    raise UsageError(msg)


def _import_module(name: str, folder: Path, *, where: str) -> ModuleType:
    _put_first(folder)
    if not all(part.isidentifier() for part in name.split(".")):
        msg = f"{where}: {name!r} is no module name; name a file as path/to/file.py:CLASS"
        raise UsageError(msg)
    name = _own_models(name)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _failed_import(name, error, where) from error
        near = hint(name, sorted(_modules_in(folder)), "the folder has")
        msg = f"{where}: no module {error.name!r} installed nor in {folder}{near}"
        raise UsageError(msg) from None
    except (Exception, SystemExit) as error:  # a stranger's module may raise anything
        raise _failed_import(name, error, where) from error


def _import_file(path: Path, *, where: str) -> ModuleType:
    path = path.resolve()
    if not path.is_file():
        near = hint(path.name, sorted(p.name for p in path.parent.glob("*.py")), "the folder has")
        msg = f"{where}: no file {path}{near}"
        raise UsageError(msg)
    _put_first(path.parent)
    known = sys.modules.get(path.stem)
    if known is not None and getattr(known, "__file__", None) == str(path):
        return known
    # A file called like a loaded module must not take its place.
    name = path.stem if known is None else f"{path.stem}_at_{path.parent.name}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        msg = f"{where}: {path} cannot be imported; expected a Python file"
        raise UsageError(msg)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and torch look their module up there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a stranger's file may raise anything
        del sys.modules[name]
        raise _failed_import(path.name, error, where) from error
    return module


def _put_first(folder: Path) -> None:
    text = str(folder.resolve())
    if sys.path[:1] != [text]:
        sys.path[:] = [text, *(entry for entry in sys.path if entry != text)]
    importlib.invalidate_caches()  # a file may be younger than the last look at its folder


def _own_models(name: str) -> str:
    """Return `models...` as `reconeval.models...` unless the user has a `models` of their own."""
    top, dot, rest = name.partition(".")
    if top != "models":
        return name
    own, found = importlib.util.find_spec(_OWN_MODELS), importlib.util.find_spec(top)
    if own is None or own.origin is None:
        return name
    ours = _OWN_MODELS + dot + rest
    if found is None:
        return ours
    if found.origin is None:  # a folder without __init__.py: of modules, or of saved weights
        return name if rest and importlib.util.find_spec(name) else ours
    return ours if Path(found.origin).samefile(own.origin) else name


def _modules_in(folder: Path) -> set[str]:
    files = {path.stem for path in folder.glob("*.py")}
    return files | {path.parent.name for path in folder.glob("*/__init__.py")}


def _failed_import(name: str, error: BaseException, where: str) -> UsageError:
    if isinstance(error, ModuleNotFoundError):
        return UsageError(f"{where}: {name} imports {error.name!r}, which is not installed")
    if isinstance(error, SyntaxError):
        place = f"{Path(error.filename or name).name}:{error.lineno}"
        return UsageError(f"{where}: {place} is no valid Python ({one_line(error.msg)})")
    return UsageError(f"{where}: importing {name} raised {describe(error)}")


def _attribute(module: ModuleType, qualname: str, *, where: str) -> Any:
    found: Any = module
    for part in qualname.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            owner = getattr(found, "__qualname__", module.__name__)
            msg = f"{where}: {owner} has no {part!r}{hint(part, _classes_in(found))}"
            raise UsageError(msg + _reference_model(module, qualname)) from None
        except (Exception, SystemExit) as error:  # a lazy module imports the class now
            raise _failed_import(module.__name__, error, where) from error
    return found


def _reference_model(module: ModuleType, name: str) -> str:
    """Return what to add where a reference model is hidden by a `models` of the user's own."""
    if module.__name__ != "models" or name not in importlib.import_module(_OWN_MODELS).__all__:
        return ""
    return f"; for the reference model write {_OWN_MODELS}:{name}"


def _classes_in(owner: Any) -> list[str]:
    listed_names = getattr(owner, "__all__", None)
    if listed_names is not None:
        return sorted(map(str, listed_names))
    return sorted(
        name
        for name, value in vars(owner).items()
        if not name.startswith("_") and (isinstance(value, type) or inspect.isfunction(value))
    )


def _usable(found: Any, target: str, *, where: str) -> Any:
    if isinstance(found, (type, functools.partial)) or inspect.isroutine(found):
        return found
    if isinstance(found, ModuleType):
        known = _classes_in(found)
        msg = f"{where}: {target} is a module; name a class in it (has {listed(known)})"
        raise UsageError(msg)
    kind = type(found)
    msg = f"{where}: {target} is an instance of {kind.__name__}; name its class, "
    msg += f"{kind.__module__}:{kind.__qualname__}, or a function that returns it"
    raise UsageError(msg)
