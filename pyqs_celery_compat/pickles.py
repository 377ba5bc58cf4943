"""Reading pickles at three levels of trust, and writing them.

Owns: which level reads what. Runs in an executor (reading) and in the producer (writing).

- ``safe``: plain data of both Pythons, exceptions by name, Celery's signatures as dicts. Runs nothing, imports nothing.
- ``safe`` with ``allow`` patterns (``--pickle-allow 'myapp.models.*'``): these classes too. A pattern with a wildcard gives
  classes only, only those that are defined where the pattern says (not what a module imported), and never anything of the
  standard library; a function, or something of the standard library, must be written out in full. Nested names
  (``Outer.Inner``) are not reached. Whoever can write to the queue can then make instances of these classes with any arguments
  and any state, so their ``__init__``, ``__setstate__`` and ``__reduce__`` helpers must be harmless.
- ``full``: everything that Python's own unpickler does, code execution included; only when the user says so.

Byte strings of Python 2 come out as latin-1 text at every level (see ``pickle_atoms``).
"""

from __future__ import annotations

import copyreg
import importlib
import io
import pickle
import sys
from collections import deque
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from pyqs_celery_compat.pickle_atoms import MalformedPickle
from pyqs_celery_compat.pickle_machine import Machine
from pyqs_celery_compat.pickle_names import NAMES, ForbiddenName, Token, signature
from pyqs_celery_compat.pickle_rules import SafeRules

#: What kombu writes.
PROTOCOL = 4

_WILDCARDS = frozenset("*?[")
#: not in the standard library, but as able to run things
_TOOLS = frozenset({"pip", "setuptools", "pkg_resources", "distutils", "_pytest", "pytest", "IPython", "numpy"})


def loads_safe(data: bytes, allow: Sequence[str] = ()) -> Any:
    """Read a pickle without trust.

    Parameters:
        allow: fnmatch patterns of ``module.name`` that may be imported on top of plain data.

    Raises:
        ForbiddenName: it names something that is neither plain data nor allowed.
        MalformedPickle: it is broken or breaks a limit.
        Exception: what constructors of plain values, and allowed classes, raise.
    """
    rules = AllowRules(allow) if allow else SafeRules()
    value = Machine(data, rules).run()
    if rules.gave_token:
        _refuse_tokens(value)
    return value


def loads_full(data: bytes) -> Any:
    """Read a pickle with full trust: it may run any code.

    Celery's signatures become dicts even so; nothing here needs Celery.
    """
    return _FullUnpickler(io.BytesIO(data), encoding="latin-1").load()


def dumps(value: Any) -> bytes:
    """Write a pickle as kombu does.

    Signatures of this project are written as plain dicts, because a reader need not have it; Celery takes dicts for them.
    """
    buffer = io.BytesIO()
    _Pickler(buffer, PROTOCOL).dump(value)
    return buffer.getvalue()


def is_dangerous(module: str) -> bool:
    """Tell whether a module's names are never allowed by a wildcard: the standard library, and tools that run code."""
    top = module.partition(".")[0]
    return top in sys.stdlib_module_names or top in _TOOLS or top in ("__builtin__", "__builtins__", "copy_reg", "exceptions")


class _Pickler(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, dict) and type(obj).__module__.startswith(("celery.canvas", "pyqs_celery_compat.")):
            return dict, (dict(obj),)
        return NotImplemented


class _FullUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module == "celery.canvas" and (module, name) in NAMES:
            return signature
        return super().find_class(module, name)


def _refuse_tokens(value: Any) -> None:
    """A function or exception class that a pickle holds as a value was never loaded, so it cannot be handed to a task."""
    seen: set[int] = set()
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, Token):
            raise ForbiddenName(item.module, item.name)
        if isinstance(item, BaseException):
            item = item.args
        if isinstance(item, (dict, list, tuple, set, frozenset, deque)) and id(item) not in seen:
            seen.add(id(item))
            todo.extend(item)
            if isinstance(item, dict):
                todo.extend(item.values())


class AllowRules(SafeRules):
    """Plain data, and what the user's patterns name."""

    def __init__(self, allow: Sequence[str]) -> None:
        super().__init__()
        self.exact = frozenset(pattern for pattern in allow if not _WILDCARDS.intersection(pattern))
        self.patterns = tuple(pattern for pattern in allow if _WILDCARDS.intersection(pattern))
        self.granted: list[Any] = []

    def matches(self, module: str, name: str) -> bool:
        """Tell whether the patterns cover a name."""
        full = f"{module}.{name}"
        if full in self.exact:
            return True
        return not is_dangerous(module) and any(fnmatchcase(full, pattern) for pattern in self.patterns)

    def find_other(self, module: str, name: str) -> Any:
        """Import an allowed name; the rest as in the safe rules."""
        if "." in name or not self.matches(module, name):
            return super().find_other(module, name)
        try:
            found = getattr(importlib.import_module(module), name)
        except (Exception, SystemExit) as error:
            raise MalformedPickle(f"it needs {module}.{name}, which cannot be imported ({type(error).__name__})") from None
        if f"{module}.{name}" not in self.exact and not self.is_allowed(found):
            raise ForbiddenName(module, name)
        self.granted.append(found)
        return found

    def is_allowed(self, found: Any) -> bool:
        """Tell whether an object is a class that is defined where a pattern says, or that was found under its full name."""
        if any(found is one for one in self.granted):
            return True
        return isinstance(found, type) and self.matches(found.__module__, found.__qualname__)

    def call(self, function: Any, args: tuple[Any, ...]) -> Any:
        """Call what is allowed."""
        if not self.is_allowed(function):
            return super().call(function, args)
        _refuse_tokens(args)
        return function(*args)

    def new(self, cls: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Make an instance of what is allowed."""
        if not isinstance(cls, type) or not self.is_allowed(cls):
            return super().new(cls, args, kwargs)
        _refuse_tokens((args, kwargs))
        return cls.__new__(cls, *args, **kwargs)

    def reconstruct(self, cls: Any, base: Any, state: Any) -> Any:
        """Make an instance of an allowed class that an old protocol wrote."""
        if isinstance(cls, type) and self.is_allowed(cls) and base in (object, dict, list, tuple, set, str, bytes, int, float):
            return copyreg._reconstructor(cls, base, state)  # type: ignore[attr-defined]
        return super().reconstruct(cls, base, state)

    def build(self, obj: Any, state: Any) -> None:
        """Set the state of an allowed instance, as pickle does."""
        cls = type(obj)
        if not self.is_allowed(cls):
            super().build(obj, state)
            return
        _refuse_tokens(state)
        if (set_state := getattr(cls, "__setstate__", None)) is not None:
            set_state(obj, state)
        else:
            parts = state if type(state) is tuple and len(state) == 2 else (state, None)
            for key, value in (parts[0] or {}).items():
                obj.__dict__[key] = value
            for key, value in (parts[1] or {}).items():
                setattr(obj, key, value)

    def set_items(self, obj: Any, pairs: list[tuple[Any, Any]]) -> None:
        """Fill an allowed mapping."""
        if not self.is_allowed(type(obj)):
            super().set_items(obj, pairs)
            return
        for key, value in pairs:
            obj[key] = value

    def extend(self, obj: Any, items: list[Any]) -> None:
        """Fill an allowed list."""
        if not self.is_allowed(type(obj)):
            super().extend(obj, items)
            return
        for item in items:
            obj.append(item)

    def add(self, obj: Any, items: list[Any]) -> None:
        """Fill an allowed set."""
        if not self.is_allowed(type(obj)):
            super().add(obj, items)
            return
        for item in items:
            obj.add(item)
