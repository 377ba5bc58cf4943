"""Celery's settings as libraries look them up: by the first word of their name, and with a type.

Owns: ``Option``, ``NAMESPACES``, ``find``: names of ``celery.app.defaults``, which loads this module when it is asked for
one of them. Pure. Never read by an app itself: ``defaults`` has what that needs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

from pyqs_celery_compat.app.defaults import DEFAULTS, TO_NEW, TO_OLD, WITHOUT_NAMESPACE
from pyqs_celery_compat.utils.serialization import strtobool


class Option:
    """One setting, as libraries look it up.

    Parameters:
        default: its value where nothing is set. type: a key of ``typemap``.
    """

    typemap: ClassVar[dict[str, Callable[[Any], Any]]] = {
        "string": str, "int": int, "float": float, "any": lambda value: value, "bool": strtobool, "dict": dict, "tuple": tuple,
    }  # fmt: skip

    def __init__(self, default: Any = None, *, type: str = "string") -> None:
        self.default = default
        self.type = type

    def to_python(self, value: Any) -> Any:
        """A value given as text, as this setting's type."""
        return self.typemap[self.type](value)

    def __repr__(self) -> str:
        return f"<Option: type->{self.type} default->{self.default!r}>"


class searchresult(NamedTuple):  # noqa: N801 - Celery's name
    """Where a setting is: the first word of its name, the rest, and what is known of it."""

    namespace: str | None
    key: str
    type: Option


_TYPES = {bool: "bool", int: "int", float: "float", str: "string", dict: "dict", tuple: "tuple", type(None): "string"}


def _option(name: str) -> Option:
    return Option(DEFAULTS[name], type=_TYPES.get(type(DEFAULTS[name]), "any"))


def _by_namespace() -> dict[str, Any]:
    spaces: dict[str, Any] = {}
    for name in DEFAULTS:
        space, _, rest = name.partition("_")
        if name in WITHOUT_NAMESPACE:
            spaces[name] = _option(name)
        else:
            spaces.setdefault(space, {})[rest] = _option(name)
    return spaces


NAMESPACES: dict[str, Any] = _by_namespace()
SETTING_KEYS = frozenset(DEFAULTS)
_TO_OLD_KEY, _TO_NEW_KEY = TO_OLD, TO_NEW
_OLD_DEFAULTS = {TO_OLD[name]: default for name, default in DEFAULTS.items()}
_OLD_SETTING_KEYS = frozenset(_OLD_DEFAULTS)


def find(name: str, namespace: str = "celery") -> searchresult:
    """The setting of this name, whole or without its first word. Raises KeyError."""
    name = name.lower()
    own = NAMESPACES.get(namespace.lower())
    if isinstance(own, dict) and name in own:
        return searchresult(namespace, name, own[name])
    for space, options in NAMESPACES.items():
        if isinstance(options, dict) and name in options:
            return searchresult(space, name, options[name])
    return searchresult(None, name, _option(name))
