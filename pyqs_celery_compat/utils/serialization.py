"""Exceptions on their way into a pickle, base64, and what of a value JSON can hold.

Owns: what ``celery.utils.serialization`` has. Pure. Reads pickles of nobody else: it tries only whether what is at hand comes
out of one again.
"""

from __future__ import annotations

import datetime
import numbers
import pickle
import sys
from base64 import b64decode as base64decode
from base64 import b64encode as base64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from inspect import getmro
from itertools import takewhile
from types import MappingProxyType
from typing import Any

from pyqs_celery_compat.naming import belongs_to

__all__ = [
    "UnpickleableExceptionWrapper",
    "create_exception_cls",
    "find_pickleable_exception",
    "get_pickleable_etype",
    "get_pickleable_exception",
    "get_pickled_exception",
    "strtobool",
    "subclass_exception",
]

#: Where a search among an exception's bases ends.
unwanted_base_classes = (Exception, BaseException, object)
STRTOBOOL_DEFAULT_TABLE = MappingProxyType(
    {"false": False, "no": False, "0": False, "off": False, "true": True, "yes": True, "1": True, "on": True}
)


def subclass_exception(name: str, parent: type, module: str) -> type:
    """A new exception class of this name, as if it were from that module."""
    return type(name, (parent,), {"__module__": module})


def create_exception_cls(name: str, module: str, parent: type | None = None) -> type:
    """The same, of Exception if nothing else is said."""
    return subclass_exception(name, parent or Exception, module)


def itermro(cls: type, stop: Iterable[type]) -> Iterator[type]:
    """A class and its bases, up to the first of those."""
    stops = tuple(stop)
    return takewhile(lambda base: base not in stops, getmro(cls))


def find_pickleable_exception(
    exc: BaseException, loads: Callable[[bytes], Any] = pickle.loads, dumps: Callable[[Any], bytes] = pickle.dumps
) -> BaseException | None:
    """The nearest base's exception, with the same arguments, that comes out of a pickle again; None where none does.

    Exceptions of Python's own are not looked for: they would say too little.
    """
    for base in itermro(type(exc), unwanted_base_classes):
        try:
            found = base(*exc.args)
            loads(dumps(found))
        except Exception:
            continue
        return found  # type: ignore[no-any-return]
    return None


def get_pickleable_etype(
    cls: type, loads: Callable[[bytes], Any] = pickle.loads, dumps: Callable[[Any], bytes] = pickle.dumps
) -> type:
    """The class, or the nearest base of it, that a pickle can name; Exception where none can."""
    for base in getmro(cls):
        try:
            loads(dumps(base))
        except Exception:
            continue
        return base
    return Exception


class UnpickleableExceptionWrapper(Exception):
    """Says which exception it was, where that one cannot be pickled.

    Parameters:
        exc_module, exc_cls_name: its class by name. exc_args: its arguments, as texts where they cannot be pickled either.
        text: its repr.
    """

    exc_module: str
    exc_cls_name: str
    exc_args: Any

    def __init__(self, exc_module: str, exc_cls_name: str, exc_args: Any, text: str | None = None) -> None:
        safe = ensure_serializable(exc_args, lambda value: pickle.loads(pickle.dumps(value)))  # noqa: S301 - its own
        self.exc_module = exc_module
        self.exc_cls_name = exc_cls_name
        self.exc_args = safe
        self.text = text
        super().__init__(exc_module, exc_cls_name, safe, text)

    def restore(self) -> BaseException:
        """An exception of a class of that name, made for it."""
        return create_exception_cls(self.exc_cls_name, self.exc_module)(*self.exc_args)  # type: ignore[no-any-return]

    def __str__(self) -> str:
        return str(self.text)

    @classmethod
    def from_exception(cls, exc: BaseException) -> UnpickleableExceptionWrapper:
        """The wrapper of an exception."""
        kind = type(exc)
        try:
            text = repr(exc)
        except Exception as failure:
            text = f"<{kind.__name__}: repr failed with {type(failure).__name__}>"
        return cls(kind.__module__, kind.__name__, getattr(exc, "args", []), text)


#: Modules whose exceptions every side has.
_OF_ALL = frozenset({"builtins", "celery.exceptions"})
_PLAIN = frozenset({str, bytes, int, float, bool, type(None)})


def get_pickleable_exception(exc: BaseException) -> BaseException:
    """The exception if it can be pickled, else the nearest base's that can, else a wrapper that says what it was."""
    is_one = isinstance(exc, BaseException)  # what was given to Retry may be anything
    plain = is_one and type(exc).__module__ in _OF_ALL and not vars(exc) and exc.__cause__ is None
    if plain and all(type(part) in _PLAIN for part in exc.args):
        return exc  # without trying
    try:
        pickle.loads(pickle.dumps(exc))  # noqa: S301 - its own
    except Exception:
        pass
    else:
        return exc
    return find_pickleable_exception(exc) or UnpickleableExceptionWrapper.from_exception(exc)


def get_pickled_exception(exc: BaseException) -> BaseException:
    """What a wrapper stands for; any other exception as it is."""
    return exc.restore() if isinstance(exc, UnpickleableExceptionWrapper) else exc


def ensure_serializable(items: Iterable[Any], encoder: Callable[[Any], Any]) -> tuple[Any, ...]:
    """The items, as a tuple; those that the encoder refuses by their repr."""

    def safe(item: Any) -> Any:
        try:
            encoder(item)
        except Exception:
            return repr(item)
        return item

    return tuple(map(safe, items))


def b64encode(s: str | bytes) -> str:
    """Base64 as text."""
    return base64encode(s.encode() if isinstance(s, str) else s).decode()


def b64decode(s: str | bytes) -> bytes:
    """The bytes of a base64."""
    return base64decode(s.encode() if isinstance(s, str) else s)


def strtobool(term: Any, table: Mapping[str, bool] | None = None) -> Any:
    """``yes`` ``no`` ``on`` ``off`` ``true`` ``false`` ``1`` ``0`` as a bool; what is no text comes back as it is.

    Raises:
        TypeError: any other text.
    """
    if not isinstance(term, str):
        return term
    try:
        return (STRTOBOOL_DEFAULT_TABLE if table is None else table)[term.lower()]
    except KeyError:
        raise TypeError(f"Cannot coerce {term!r} to type bool") from None


def _time_text(value: datetime.datetime | datetime.time) -> str:
    if isinstance(value, datetime.datetime) and value.utcoffset() == datetime.timedelta(0):
        return value.isoformat().removesuffix("+00:00") + "Z"
    if not value.microsecond:
        return value.isoformat()
    return value.isoformat(timespec="milliseconds")


def jsonify(
    obj: Any,
    builtin_types: Any = (numbers.Real, str),
    key: str | None = None,
    keyfilter: Callable[[str], bool] | None = None,
    unknown_type_filter: Callable[[Any], Any] | None = None,
) -> Any:
    """A value in JSON's types: dates and times as text, tuples as lists.

    Parameters:
        key: where it is, for the error. keyfilter: which keys of a dict are kept; those of None values are not.
        unknown_type_filter: what to make of any other type.

    Raises:
        ValueError: another type, and no filter for it.
    """

    def inner(value: Any, at: Any) -> Any:
        return jsonify(value, builtin_types, at, keyfilter, unknown_type_filter)

    if obj is None or isinstance(obj, builtin_types):
        return obj
    if hasattr(obj, "as_dict"):  # kombu's queues and exchanges
        return inner(obj.as_dict(recurse=True), key)
    if isinstance(obj, (tuple, list)):
        return [inner(value, key) for value in obj]
    if isinstance(obj, dict):
        return {name: inner(value, name) for name, value in obj.items() if keyfilter is None or keyfilter(name)}
    if isinstance(obj, (datetime.datetime, datetime.time)):
        return _time_text(obj)
    if isinstance(obj, datetime.date):
        return obj.isoformat()
    if isinstance(obj, datetime.timedelta):
        return str(obj)
    if unknown_type_filter is None:
        raise ValueError(f"Unsupported type: {type(obj)!r} {obj!r} (parent: {key})")
    return unknown_type_filter(obj)


def raise_with_context(exc: BaseException) -> None:
    """Raise it because of the exception being handled; that one itself where it is the same.

    Raises:
        BaseException: always.
    """
    handled = sys.exc_info()[1]
    if handled is None:
        raise exc
    if handled is exc:
        raise
    raise exc from handled


belongs_to("celery.utils.serialization", UnpickleableExceptionWrapper)
