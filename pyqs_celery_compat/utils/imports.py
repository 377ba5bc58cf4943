"""Importing what the user names: configuration modules, classes, task modules.

Owns: ``symbol_by_name``, ``import_task_modules``. Runs where an app is loaded: a short-lived process, an executor, a
caller that asks for it. Imports nothing that was not named.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery


class NotAPackage(Exception):
    """A module below something that is no package was asked for."""


#: The script's path where ``__main__`` was imported by multiprocessing under its own name; then tasks are named after it.
MP_MAIN_FILE = os.environ.get("MP_MAIN_FILE")


def qualname(obj: Any) -> str:
    """``module.Name`` of a class or function, or of an object's class; ``Outer.Name`` where it is inside of another."""
    if not hasattr(obj, "__name__") and hasattr(obj, "__class__"):
        obj = obj.__class__
    name = getattr(obj, "__qualname__", None) or obj.__name__
    return name if "." in name else f"{obj.__module__}.{name}"


def symbol_by_name(
    name: Any,
    aliases: Mapping[str, str] | None = None,
    imp: Callable[..., Any] | None = None,
    package: str | None = None,
    sep: str = ".",
    default: Any = None,
    **kwargs: Any,
) -> Any:
    """``package.module:attribute`` or ``package.module.attribute``; anything that is not text as it is.

    Parameters:
        aliases: short names and what they stand for.
        imp: imports a module; package: what a relative name is below of, both as ``importlib.import_module`` has them.
        sep: between module and attribute where there is no colon.
        default: the answer if there is no such thing; None raises.

    Raises:
        ImportError, AttributeError: there is no such thing, and no default.
    """
    if not isinstance(name, str):
        return name
    name = (aliases or {}).get(name) or name
    module, separator, attribute = name.partition(":") if ":" in name else name.rpartition(sep)
    load = importlib.import_module if imp is None else imp
    try:
        if not separator:
            return load(name, package=package, **kwargs) if package or kwargs else load(name)
        found: Any = load(module or str(package), package=package, **kwargs) if package or kwargs else load(module)
        for part in filter(None, attribute.split(".")):
            found = getattr(found, part)
        return found
    except (ImportError, AttributeError):
        if default is None:
            raise
    return default


def instantiate(name: Any, *args: Any, **kwargs: Any) -> Any:
    """An object of the class of this name."""
    return symbol_by_name(name)(*args, **kwargs)


@contextmanager
def cwd_in_path() -> Iterator[None]:
    """The working directory is first on ``sys.path`` inside."""
    try:
        directory = os.getcwd()
    except FileNotFoundError:
        directory = ""
    if not directory or directory in sys.path:
        yield
        return
    sys.path.insert(0, directory)
    try:
        yield
    finally:
        try:
            sys.path.remove(directory)
        except ValueError:
            pass


def find_module(module: str, path: Any = None, imp: Callable[[str], Any] | None = None) -> Any:
    """The module, looked for in the working directory, too.

    Raises:
        NotAPackage: a part of the name before the last is a module. ImportError: there is none.
    """
    load = importlib.import_module if imp is None else imp
    with cwd_in_path():
        try:
            return load(module)
        except ImportError:
            parts = module.split(".")
            for count in range(1, len(parts)):
                parent = ".".join(parts[:count])
                if not hasattr(load(parent), "__path__"):
                    raise NotAPackage(parent) from None
            raise


def import_from_cwd(module: str, imp: Callable[..., Any] | None = None, package: str | None = None) -> Any:
    """Import with the working directory on the path, where it comes first."""
    load = importlib.import_module if imp is None else imp
    with cwd_in_path():
        return load(module, package=package)


def reload_from_cwd(module: ModuleType, reloader: Callable[[ModuleType], ModuleType] | None = None) -> ModuleType:
    """Load a module again, with the working directory on the path."""
    with cwd_in_path():
        return (reloader or importlib.reload)(module)


def module_file(module: ModuleType) -> str:
    """The file of a module's source."""
    name = module.__file__ or ""
    return name[:-1] if name.endswith(".pyc") else name


def gen_task_name(app: Any, name: str, module_name: str | None) -> str:
    """The name of a task that was given none: its module's and its function's, ``__main__`` being the app's ``main``."""
    module_name = module_name or "__main__"
    module = sys.modules.get(module_name)
    if module is not None and MP_MAIN_FILE and getattr(module, "__file__", None) == MP_MAIN_FILE:
        module_name = "__main__"
    if module_name == "__main__" and app.main:
        return ".".join([app.main, name])
    return ".".join(part for part in (module_name, name) if part)


@lru_cache
def load_extension_class_names(namespace: str) -> tuple[tuple[str, str], ...]:
    """Name and path of the entry points of a group; looked for once."""
    from importlib.metadata import entry_points

    return tuple((point.name, point.value) for point in entry_points(group=namespace))


def load_extension_classes(namespace: str) -> Iterator[tuple[str, Any]]:
    """Name and object of the entry points of a group; one that cannot be loaded is warned about and left out."""
    for name, path in load_extension_class_names(namespace):
        try:
            found = symbol_by_name(path)
        except (ImportError, SyntaxError) as exc:
            warnings.warn(f"Cannot load {namespace} extension {path!r}: {exc!r}", stacklevel=2)
        else:
            yield name, found


def import_task_modules(app: Celery, include: Iterable[str] = ()) -> None:
    """Import what the app's loader finds: ``imports``, ``include`` and what ``autodiscover_tasks`` asked for; then these.

    Raises: what the imports raise.
    """
    app.loader.import_default_modules()
    for module in dict.fromkeys(include):
        importlib.import_module(module)


def listed(value: Any) -> list[str]:
    """A setting that is one name or several, as a list."""
    return [value] if isinstance(value, str) else list(value or ())


def find_related_module(package: str, related_name: str | None) -> ModuleType | None:
    """The module beside a package; None where there is none. A dotted Django AppConfig falls back one level."""
    try:
        module = importlib.import_module(package)
    except ModuleNotFoundError:
        package, _, _ = package.rpartition(".")
        if not package:
            raise
        module = importlib.import_module(package)
    if not related_name:
        return module
    name = f"{package}.{related_name}"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name == name:
            return None
        raise
