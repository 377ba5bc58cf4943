"""How a module of ours gets its second name.

Owns: ``AliasSpec`` and its loader (the module that is there already, put under another name), ``ThenLoader`` (an action after
somebody else's loader), ``OursLoader`` and ``all_by_celerys_name``. Runs inside the import system, under the locks of the
modules concerned. Never executes a module of ours twice.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import Any

from pyqs_celery_compat import aliases

#: Names of Celery's that their modules answer to as ``__name__`` just now, because import hooks are told of them.
borrowed_names: set[str] = set()


class AliasSpec(ModuleSpec):
    """The spec of a module of ours under its other name; equal to the module's own.

    ``__spec__`` goes on being the own one, whichever name was imported last: by it the module is reloaded and its resources are
    found.

    Parameters:
        name: the other name. own: the module's own spec.
    """

    def __init__(self, name: str, own: ModuleSpec) -> None:
        self.own = own
        super().__init__(name, _SameModule(own), origin=own.origin, is_package=own.submodule_search_locations is not None)
        if own.submodule_search_locations is not None:
            self.submodule_search_locations = own.submodule_search_locations

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ModuleSpec) and getattr(other, "own", other).name == self.own.name

    def lend_name(self, module: ModuleType) -> None:
        """Have the module called by this spec's name until it is loaded."""
        borrowed_names.add(self.name)
        module.__name__ = self.name

    @property
    def _initializing(self) -> bool:
        # The import system sets it, the last thing that it does with a spec: after all import hooks.
        return bool(self.__dict__.get("_loading"))

    @_initializing.setter
    def _initializing(self, value: bool) -> None:
        self.__dict__["_loading"] = value
        if not value and self.name in borrowed_names:
            module = sys.modules[self.own.name]
            module.__name__ = self.own.name
            module.__loader__ = self.own.loader
            borrowed_names.discard(self.name)


class _SameModule(Loader):
    """Answers with the module that has the name of ours."""

    def __init__(self, own: ModuleSpec) -> None:
        self._own = own

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module, loaded first if need be."""
        _thread.underway.append(spec.name)
        try:
            module = importlib.import_module(self._own.name)
        except RuntimeError as exc:
            # Whoever has its lock waits for this name: the module is executed, as Python hopes, too, in such a circle.
            if not _is_deadlock(exc) or self._own.name not in sys.modules:
                raise
            module = sys.modules[self._own.name]
        finally:
            _thread.underway.remove(spec.name)
        if module.__spec__ is not None and not isinstance(module.__spec__, AliasSpec):
            self._own = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Undo what the import system has done to the module, which has been executed before."""
        spec, module.__spec__ = module.__spec__, self._own
        # Somebody has put a loader around this one (New Relic, ddtrace, wrapt): it finds its hooks by the module's name.
        if isinstance(spec, AliasSpec) and spec.loader is not self:
            spec.own = self._own
            spec.lend_name(module)

    def get_code(self, fullname: str) -> CodeType | None:
        """The module's code, for ``python -m``."""
        return self._own.loader.get_code(self._own.name)  # type: ignore[union-attr, no-any-return]


class ThenLoader(Loader):
    """Somebody else's loader, and something to do when it is done.

    Parameters:
        real: the loader; it is what the module has as its loader afterwards.
        action: called with the module when it has been executed.
    """

    def __init__(self, real: Any, action: Callable[[ModuleType], None]) -> None:
        self._real = real
        self._action = action

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """The real loader's module."""
        return self._real.create_module(spec)  # type: ignore[no-any-return]

    def exec_module(self, module: ModuleType) -> None:
        """Load it, then act."""
        module.__loader__ = self._real
        if module.__spec__ is not None:
            module.__spec__.loader = self._real
        self._real.exec_module(module)
        self._action(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class OursLoader(ThenLoader):
    """The loader of a module of ours, after which it has Celery's name, too.

    That waits for the end of the outermost module that this thread is loading: an import hook may use whatever it likes, and
    only then is all of it whole.

    Parameters:
        real: its loader.
    """

    def __init__(self, real: Any) -> None:
        super().__init__(real, lambda module: None)

    def exec_module(self, module: ModuleType) -> None:
        """Load it, and note that it was."""
        _thread.depth += 1
        try:
            super().exec_module(module)
        finally:
            _thread.depth -= 1
        _thread.loaded.append(module.__spec__.name if module.__spec__ else module.__name__)
        if _thread.depth == 0:
            loaded, _thread.loaded = _thread.loaded, []
            for name in loaded:
                _also_by_celerys_name(name)


class _Thread(threading.local):
    """What a thread is loading."""

    def __init__(self) -> None:
        #: How many modules of ours, one inside of the other.
        self.depth = 0
        #: Those that are done, and have not got their other name yet.
        self.loaded: list[str] = []
        #: Names of Celery's for which a module of ours is being loaded, and which it gets by that.
        self.underway: list[str] = []


_thread = _Thread()


def all_by_celerys_name() -> None:
    """Import every module of ours that is loaded by Celery's name, too.

    Import hooks wait for ``celery.app.trace``, whoever loads it and by which name.
    """
    for name in sorted(set(sys.modules)):
        if aliases.celerys(name) and not _is_being_loaded(name):
            _also_by_celerys_name(name)


def _also_by_celerys_name(own: str) -> None:
    name = aliases.celerys(own)
    if name is None or own not in sys.modules or name in sys.modules or name in _thread.underway:
        return
    try:
        importlib.import_module(name)
    except RuntimeError as exc:
        if not _is_deadlock(exc):
            raise
        # Another thread imports it by that name just now, and waits for this one.


def _is_deadlock(exc: RuntimeError) -> bool:
    """Whether the import system has found that two threads wait for each other's modules."""
    return type(exc).__name__ == "_DeadlockError"


def _is_being_loaded(name: str) -> bool:
    spec = getattr(sys.modules.get(name), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))
