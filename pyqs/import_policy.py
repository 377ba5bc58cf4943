"""Which modules a message may have imported.

Owns: ``ImportPolicy``. Asked in executors only. Never imports anything that was not included and does not lie under the working
directory, and decides without running a line of it.
"""

from __future__ import annotations

import ast
import importlib
import keyword
import logging
import os
import sys
import sysconfig
from collections.abc import Iterable
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, PathFinder, SourceFileLoader
from pathlib import Path
from typing import Any, Protocol

from pyqs.errors import UnknownTask

log = logging.getLogger(__name__)

#: Directories that hold installed packages, wherever a virtual environment lies.
_INSTALLED = frozenset({"site-packages", "dist-packages"})
#: Python's own modules, should the working directory lie above them.
_PYTHONS_OWN = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))


class Tasks(Protocol):
    """Where a name is looked up: this process's registry, or an app's."""

    def get(self, name: str) -> Any | None:
        """The task, or None."""
        ...


class ImportPolicy:
    """Which module a task name may have imported, decided without running a line of it.

    Parameters:
        include: modules named by the operator (``-A``, ``--include``); they and their submodules are allowed.
        root: the working directory; source files that lie under it and define the task are allowed, installed packages and
            Python's own modules under it are not.
    """

    def __init__(self, include: Iterable[str], root: str | Path) -> None:
        self._include = frozenset(include)
        self._root = Path(root).resolve()
        self._warned: set[str] = set()

    def find(self, name: str, tasks: Tasks) -> Any:
        """The registered task of this name, after importing its module if that is allowed.

        Raises:
            UnknownTask: there is none; says why.
        """
        task = tasks.get(name)
        if task is not None:
            return task
        module, _, attribute = name.rpartition(".")
        reason = self.refusal(module, attribute)
        if reason:
            raise UnknownTask(name, reason)
        try:
            importlib.import_module(module)
        except BaseException as exc:  # a module may raise SystemExit
            if module not in self._warned:
                self._warned.add(module)
                log.warning("module %s, which a message names, does not load", module, exc_info=True)
            raise UnknownTask(name, f"importing {module} raised {type(exc).__name__}") from exc
        task = tasks.get(name)
        if task is None:
            raise UnknownTask(name, f"{module} registers no task of this name")
        return task

    def refusal(self, module: str, attribute: str) -> str:
        """Why this module may not be imported for ``module.attribute``, or "" if it may. Imports nothing."""
        parts = module.split(".")
        if not module or not all(map(_is_name, [*parts, attribute])):
            return "no task of this name is registered; name its module with --include"
        if any(module == allowed or module.startswith(allowed + ".") for allowed in self._include):
            return ""
        if module in sys.modules:
            return f"{module} is loaded and registers no task of this name"
        file = self._file(parts)
        if file is None:
            return f"{module} is no module of the working directory; if it holds tasks, name it with --include"
        if not _defines(file, attribute, f"{module}.{attribute}"):
            return f"{module} decorates no function of this name; if it makes the task in another way, name it with --include"
        return ""

    def _file(self, parts: list[str]) -> Path | None:
        """The source file that importing this module would run, if it and its packages lie under the working directory."""
        if parts[0] in sys.builtin_module_names or self._root == Path(self._root.anchor):
            return None  # under "/" lies everything
        # The same search as the import's, whose first match may well be somebody else's module of the same name.
        spec = PathFinder.find_spec(parts[0])
        loaded = sys.modules.get(parts[0])
        if loaded is not None:
            spec = getattr(loaded, "__spec__", None)
        for depth in range(1, len(parts) + 1):
            if spec is None:
                return None
            folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
            file = Path(spec.origin) if spec.origin and spec.has_location else None
            if not all(map(self._allows, [*folders, *([file] if file else [])])):
                return None
            if depth == len(parts):
                return file if file is not None and file.suffix == ".py" else None
            # Each package's own folders; PathFinder would import nothing either, but knows parents only once they are loaded.
            name = ".".join(parts[: depth + 1])
            finders = (FileFinder(str(folder), (SourceFileLoader, SOURCE_SUFFIXES)) for folder in folders)
            spec = next((found for finder in finders if (found := finder.find_spec(name)) is not None), None)
        return None

    def _allows(self, path: Path) -> bool:
        resolved, path = path.resolve(), Path(os.path.normpath(path))  # an entry of sys.path may climb out with ".."
        if not (path.is_relative_to(self._root) or resolved.is_relative_to(self._root)):
            return False
        if _INSTALLED & {*path.parts, *resolved.parts} or any(resolved.is_relative_to(place) for place in _PYTHONS_OWN):
            return False
        inside = [folder for folder in resolved.parents if folder != self._root and folder.is_relative_to(self._root)]
        return not any((folder / "pyvenv.cfg").exists() for folder in inside)


def _is_name(part: str) -> bool:
    return part.isidentifier() and not keyword.iskeyword(part) and not part.startswith("__")


def _defines(file: Path, attribute: str, name: str) -> bool:
    """Whether the source makes a task of this name as far as one can see without running it.

    That is a decorated function, a class or the result of a call bound to ``attribute``, or the full name as a string
    (``custom_function_path``). A script that is no task module is not run because a message names it.
    """
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return True  # let the import say what is wrong
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=found, decorator_list=[_, *_]) if found == attribute:
                return True
            case ast.AsyncFunctionDef(name=found, decorator_list=[_, *_]) if found == attribute:
                return True
            case ast.ClassDef(name=found) if found == attribute:
                return True
            case ast.Assign(targets=targets, value=ast.Call()):
                if any(isinstance(target, ast.Name) and target.id == attribute for target in targets):
                    return True
            case ast.Constant(value=text) if text == name:
                return True
    return False
