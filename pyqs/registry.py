"""Task names and the objects behind them, and which modules a message may have imported.

Owns: ``Registry`` (one per process, shared by native and compat tasks) and ``ImportPolicy``. Runs in every process;
the policy is asked in executors only. Never imports anything that was not included and does not lie under the working
directory, and looks where a module lies without running a line of it.
"""

from __future__ import annotations

import importlib
import keyword
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pyqs.errors import UnknownTask

#: Directories that hold installed packages, wherever a virtual environment lies.
_INSTALLED = frozenset({"site-packages", "dist-packages"})


class Registry:
    """Task name -> task object. What a task object is, is its runtime's concern."""

    def __init__(self) -> None:
        self._tasks: dict[str, Any] = {}
        self._lock = threading.Lock()

    def register(self, name: str, task: Any) -> None:
        """Add a task; the same name again replaces it (a module that is imported twice, a reloaded one)."""
        with self._lock:
            self._tasks[name] = task

    def get(self, name: str) -> Any | None:
        """The task, or None."""
        return self._tasks.get(name)

    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        with self._lock:
            return tuple(sorted(self._tasks))


#: The tasks of this process.
registry = Registry()


class ImportPolicy:
    """Which module a task name may have imported.

    Parameters:
        include: modules named by the operator (``-A``, ``--include``); they and their submodules are allowed.
        root: the working directory; modules that lie under it are allowed, installed packages under it are not.
    """

    def __init__(self, include: Iterable[str], root: str | Path) -> None:
        self._include = frozenset(include)
        self._root = Path(root).resolve()

    def find(self, name: str, tasks: Registry) -> Any:
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
        except Exception as exc:
            raise UnknownTask(name, f"importing {module} failed: {type(exc).__name__}: {exc}") from exc
        task = tasks.get(name)
        if task is None:
            raise UnknownTask(name, f"{module} was imported and registers no task of this name")
        return task

    def refusal(self, module: str, attribute: str) -> str:
        """Why this module may not be imported for a task name, or "" if it may. Imports nothing."""
        parts = module.split(".")
        if not module or not all(_is_name(part) for part in [*parts, attribute]):
            return "no task of this name is registered; name its module with --include"
        if any(module == allowed or module.startswith(allowed + ".") for allowed in self._include):
            return ""
        if parts[0] in sys.stdlib_module_names or parts[0] in sys.builtin_module_names or parts[0] == "__main__":
            return f"{parts[0]} is part of Python; a message may not have it imported"
        if self._file(parts) is None:
            return f"{module} is not under the working directory; if it holds tasks, name it with --include"
        loaded = sys.modules.get(parts[0])
        if loaded is not None and not self._is_ours(loaded):
            return f"{parts[0]} is already loaded from elsewhere; name {module} with --include"
        return ""

    def _file(self, parts: list[str]) -> Path | None:
        """The source file of this module under the working directory, found by looking, not by importing."""
        place = self._root.joinpath(*parts)
        for candidate in (place.with_suffix(".py"), place / "__init__.py"):
            if candidate.is_file() and self._allows(candidate):
                return candidate
        return None

    def _allows(self, path: Path) -> bool:
        resolved = path.resolve()
        return resolved.is_relative_to(self._root) and not _INSTALLED & set(resolved.relative_to(self._root).parts)

    def _is_ours(self, module: Any) -> bool:
        file = getattr(module, "__file__", None)
        places = [file] if file else list(getattr(module, "__path__", []))
        return bool(places) and all(self._allows(Path(place)) for place in places)


def _is_name(part: str) -> bool:
    return part.isidentifier() and not keyword.iskeyword(part)
