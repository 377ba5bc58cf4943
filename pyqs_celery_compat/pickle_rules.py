"""What a pickle may do when it is read safely.

Owns: ``SafeRules``, the answers of the safe level to the pickle machine's questions. Runs in an executor, on values of unknown
origin. Nothing is imported or called by name; nothing but a UUID and an exception is given a state.

Exceptions that are not Python's own become an ``UnknownException`` that carries their name.
"""

from __future__ import annotations

import re
import uuid
import zoneinfo
from collections import Counter, OrderedDict, defaultdict, deque
from typing import Any

from pyqs_celery_compat.pickle_atoms import MalformedPickle
from pyqs_celery_compat.pickle_names import (
    BUILDERS,
    GETATTR,
    MODULES,
    NAMES,
    NEWOBJ,
    RECONSTRUCTOR,
    UNPICKLE_ZONE,
    ForbiddenName,
    Token,
    set_uuid,
)

_EXCEPTION_NAME = re.compile(r"[A-Za-z_]\w*(Error|Exception|Warning|Timeout|Exit|DoesNotExist)", re.ASCII)
_EXCEPTION_MODULE = re.compile(r"[A-Za-z_][\w.]*\.(exceptions|errors)", re.ASCII)
_CLASS_NAME = re.compile(r"[A-Z]\w*", re.ASCII)


class UnknownException(Exception):
    """Stands for an exception whose class is not imported: its dotted name, its arguments and its attributes."""

    def __init__(self, name: str, args: tuple[Any, ...]) -> None:
        super().__init__(*args)
        self.name = name
        self.state: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"{self.name}{self.args!r}"


class SafeRules:
    """Plain data only; see the module's docstring."""

    def __init__(self) -> None:
        #: True once a Token is on the stack, from where it could get into the value.
        self.gave_token = False

    def find(self, module: str, name: str) -> Any:
        """The class or token for a name; raises ForbiddenName."""
        known = NAMES.get((MODULES.get(module, module), name))
        if known is None:
            known = self.find_other(module, name)
        if type(known) is Token:
            self.gave_token = True
        return known

    def find_other(self, module: str, name: str) -> Any:
        """A name that is not in the table: an exception is carried by its name, anything else is refused."""
        named_so = _EXCEPTION_NAME.fullmatch(name) or (_EXCEPTION_MODULE.fullmatch(module) and _CLASS_NAME.fullmatch(name))
        if named_so and module not in MODULES and module != "builtins":
            return Token(module, name)
        raise ForbiddenName(module, name)

    def call(self, function: Any, args: tuple[Any, ...]) -> Any:
        """What a call would have given, made by our own builders."""
        if not isinstance(function, (type, Token)):
            raise MalformedPickle("it calls something that is no class")
        builder = BUILDERS.get(function)
        if builder is not None:
            return builder(*args)
        if isinstance(function, type):
            if issubclass(function, BaseException):
                return function(*args)
            raise ForbiddenName(function.__module__, function.__qualname__)
        return self.call_token(function, args)

    def call_token(self, token: Token, args: tuple[Any, ...]) -> Any:
        """The few functions of pickle itself, and exceptions by name."""
        if token is NEWOBJ and args:
            return self.new(args[0], args[1:], {})
        if token is RECONSTRUCTOR and len(args) == 3:
            return self.reconstruct(*args)
        if token is GETATTR:
            if len(args) == 2 and args[0] is zoneinfo.ZoneInfo and args[1] == "_unpickle":
                return UNPICKLE_ZONE
            raise ForbiddenName("builtins", "getattr")
        if (MODULES.get(token.module, token.module), token.name) in NAMES:
            raise MalformedPickle("arguments that do not fit")
        return UnknownException(f"{token.module}.{token.name}", args)

    def reconstruct(self, cls: Any, base: Any, state: Any) -> Any:
        """``copyreg._reconstructor``, which protocols 0 and 1 use for every instance."""
        return self.new(cls, () if base is object else (state,), {})

    def new(self, cls: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A new object of a plain type."""
        if kwargs:
            raise MalformedPickle("keyword arguments for a plain type")
        return self.call(cls, args)

    def build(self, obj: Any, state: Any) -> None:
        """Set the state of a UUID or an exception; nothing else that is plain has one."""
        if not state:
            return
        if type(state) is not dict or not all(type(key) is str for key in state):
            raise MalformedPickle("a state that is no dict")
        if type(obj) is uuid.UUID:
            set_uuid(obj, state.get("int"))
        elif type(obj) is UnknownException:
            obj.state = state
        elif isinstance(obj, BaseException):
            # No descriptor is run and nothing that the class defines is shadowed.
            obj.__dict__.update({key: value for key, value in state.items() if not hasattr(type(obj), key)})
        else:
            raise MalformedPickle(f"a state for {type(obj).__name__}")

    def set_items(self, obj: Any, pairs: list[tuple[Any, Any]]) -> None:
        """Fill a dict's plain relatives."""
        if type(obj) not in (OrderedDict, defaultdict, Counter):
            raise MalformedPickle(f"items for {type(obj).__name__}")
        for key, value in pairs:
            obj[key] = value

    def extend(self, obj: Any, items: list[Any]) -> None:
        """Fill a deque."""
        if type(obj) is not deque:
            raise MalformedPickle(f"items for {type(obj).__name__}")
        obj.extend(items)

    def add(self, obj: Any, items: list[Any]) -> None:
        """Nothing but a set takes members."""
        raise MalformedPickle(f"members for {type(obj).__name__}")
