"""The names that a pickle may use when it is read safely, and what each of them gives.

Owns: the table of plain data types of both Pythons, and the builders that stand in for their constructors. Runs in an executor,
on values of unknown origin. Never imports a module because a pickle names it (pytz and zoneinfo are asked for time zones,
nothing else is), never calls a function that a pickle names: each builder checks its arguments itself.

Celery's signatures become plain dicts, which is what they are on the wire.
"""

from __future__ import annotations

import builtins
import re
import uuid
import zoneinfo
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction
from typing import Any

from pyqs_celery_compat.pickle_atoms import OBJECT_LIMIT, MalformedPickle, hash_cost


class ForbiddenName(Exception):
    """A pickle names something that these rules do not know."""

    def __init__(self, module: str, name: str) -> None:
        super().__init__(f"{module}.{name}")
        self.module = module
        self.name = name


class Token:
    """Stands on the stack for a function or class that is never loaded; nothing can be set on it or called."""

    __slots__ = ("module", "name")
    module: str
    name: str

    def __init__(self, module: str, name: str) -> None:
        object.__setattr__(self, "module", module)
        object.__setattr__(self, "name", name)

    def __setattr__(self, key: str, value: object) -> None:
        raise AttributeError(key)


#: Python 2's module names.
MODULES = {"__builtin__": "builtins", "exceptions": "builtins", "copy_reg": "copyreg", "backports.zoneinfo": "zoneinfo"}
_EXCEPTIONS = {
    name: value for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, BaseException)
} | {"StandardError": Exception}
_ZONE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,3}")
_ENCODINGS = {"latin1", "latin-1", "iso-8859-1", "utf-8", "utf8", "ascii"}

#: bits of an integer that becomes a Decimal or Fraction, which costs quadratic time.
_BITS = 16_000

GETATTR = Token("builtins", "getattr")
NEWOBJ = Token("copyreg", "__newobj__")
RECONSTRUCTOR = Token("copyreg", "_reconstructor")
UNPICKLE_ZONE = Token("zoneinfo", "ZoneInfo._unpickle")


def _packed(state: object, size: int) -> bytes:
    """A packed state: bytes, or latin-1 text where Python 2 wrote it."""
    raw = state.encode("latin-1") if type(state) is str else state
    if type(raw) is not bytes or len(raw) != size:
        raise MalformedPickle("a date or time that is none")
    return raw


def _datetime(state: object, zone: object = None) -> datetime:
    raw = _packed(state, 10)
    if zone is not None and not isinstance(zone, tzinfo):
        raise MalformedPickle("a time zone that is none")
    year, month, fold = raw[0] << 8 | raw[1], raw[2] & 0x7F, raw[2] >> 7
    return datetime(year, month, raw[3], raw[4], raw[5], raw[6], int.from_bytes(raw[7:], "big"), zone, fold=fold)


def _date(state: object) -> date:
    raw = _packed(state, 4)
    return date(raw[0] << 8 | raw[1], raw[2], raw[3])


def _time(state: object, zone: object = None) -> time:
    raw = _packed(state, 6)
    if zone is not None and not isinstance(zone, tzinfo):
        raise MalformedPickle("a time zone that is none")
    return time(raw[0] & 0x7F, raw[1], raw[2], int.from_bytes(raw[3:], "big"), zone, fold=raw[0] >> 7)


def _timedelta(days: object = 0, seconds: object = 0, microseconds: object = 0) -> timedelta:
    return timedelta(_whole(days), _whole(seconds), _whole(microseconds))


def _timezone(offset: object, name: object = None) -> timezone:
    if type(offset) is not timedelta or not (name is None or type(name) is str):
        raise MalformedPickle("a time zone that is none")
    return timezone(offset) if name is None else timezone(offset, name)


def _whole(value: object) -> int:
    if type(value) is not int:
        raise MalformedPickle("a number is needed")
    return value


def _zone(key: object, from_cache: object = True) -> tzinfo:
    """``ZoneInfo._unpickle``: a zone by its name."""
    if type(key) is not str or not _ZONE_NAME.fullmatch(key):
        raise MalformedPickle("a time zone name that is none")
    return zoneinfo.ZoneInfo(key)


def _pytz() -> Any:
    try:
        import pytz
    except ImportError:
        return None
    return pytz


def _pytz_utc() -> tzinfo:
    pytz = _pytz()
    return timezone.utc if pytz is None else pytz.utc


def _pytz_zone(key: object, offset: object = None, dst: object = None, name: object = None) -> tzinfo:
    """``pytz._p``: a zone by its name, or that zone at one fixed offset (seconds), as localised datetimes have it.

    Without pytz the fixed form is a plain offset, which keeps the instant exact.
    """
    if type(key) is not str or not _ZONE_NAME.fullmatch(key):
        raise MalformedPickle("a time zone name that is none")
    pytz = _pytz()
    base: tzinfo | None = None if pytz is None else pytz.timezone(key)
    if offset is None:
        return zoneinfo.ZoneInfo(key) if base is None else base
    shift = timedelta(seconds=_whole(offset))
    known = getattr(base, "_tzinfos", {})
    if type(dst) is int and type(name) is str and (fixed := known.get((shift, timedelta(seconds=dst), name))):
        found: tzinfo = fixed
        return found
    return timezone(shift, name) if type(name) is str else timezone(shift)


def _uuid(*args: object) -> uuid.UUID:
    """An empty UUID; its state follows."""
    if args:
        raise MalformedPickle("a UUID with arguments")
    made = object.__new__(uuid.UUID)
    set_uuid(made, 0)
    return made


def set_uuid(made: uuid.UUID, value: object) -> None:
    if type(value) is not int or not 0 <= value < 1 << 128:
        raise MalformedPickle("a UUID that is none")
    object.__setattr__(made, "int", value)
    object.__setattr__(made, "is_safe", uuid.SafeUUID.unknown)


def _decimal(value: object = "0") -> Decimal:
    if type(value) is not str and (type(value) is not int or value.bit_length() > _BITS):
        raise MalformedPickle("a Decimal that is none")
    return Decimal(value)


def _fraction(value: object, below: object = 1) -> Fraction:
    if type(value) is str and re.fullmatch(r"-?[0-9]{1,4000}(/[0-9]{1,4000})?", value):
        return Fraction(value)
    above, below = _whole(value), _whole(below)
    if max(above.bit_length(), below.bit_length()) > _BITS:
        raise MalformedPickle("a Fraction of numbers that are too long")
    return Fraction(above, below)


def _complex(real: object, imag: object = 0.0) -> complex:
    if not isinstance(real, (int, float)) or not isinstance(imag, (int, float)):
        raise MalformedPickle("a complex number that is none")
    return complex(real, imag)


def _range(*args: object) -> range:
    return range(*(_whole(arg) for arg in args))


def _slice(*args: object) -> slice:
    if not all(arg is None or type(arg) is int for arg in args):
        raise MalformedPickle("a slice that is none")
    return slice(*args)


def _items(items: object) -> Any:
    if type(items) not in (list, tuple, set, frozenset):
        raise MalformedPickle("a sequence is needed")
    return items


def _keys(items: object) -> Any:
    total = 0
    for item in _items(items):
        cost = hash_cost(item)
        if cost is None:
            raise MalformedPickle("a key that is too deep or has no hash")
        total += cost
    if total > OBJECT_LIMIT:
        raise MalformedPickle("keys that cost too much")
    return items


def _bytearray(value: object = b"", encoding: object = "latin-1") -> bytearray:
    if type(value) is str and encoding in ("latin-1", "latin1"):
        return bytearray(value, "latin-1")
    if type(value) is not bytes:  # a number would reserve that many bytes
        raise MalformedPickle("a bytearray that is none")
    return bytearray(value)


def _bytes(value: object = b"", encoding: object = "latin-1") -> bytes:
    return bytes(_bytearray(value, encoding))


def _encode(text: object, encoding: object = "utf-8") -> bytes:
    """``_codecs.encode``, with which protocol 2 writes bytes."""
    if type(text) is not str or type(encoding) is not str or encoding.lower() not in _ENCODINGS:
        raise MalformedPickle("bytes in an encoding that pickles do not use")
    return text.encode(encoding)


def _ordered(pairs: object = ()) -> OrderedDict[Any, Any]:
    made: OrderedDict[Any, Any] = OrderedDict()
    for pair in _items(pairs):
        key, value = _items(pair)
        _keys((key,))
        made[key] = value
    return made


def _defaultdict(factory: object = None) -> defaultdict[Any, Any]:
    if factory is None:
        return defaultdict()
    if not isinstance(factory, type) or factory not in _FACTORIES:
        raise MalformedPickle("a defaultdict whose factory is not a plain type")
    return defaultdict(factory)


def _counter(values: object = None) -> Counter[Any]:
    made: Counter[Any] = Counter()
    if values is not None:
        if type(values) is not dict:
            raise MalformedPickle("a Counter that is none")
        dict.update(made, values)
    return made


def _deque(items: object = (), maxlen: object = None) -> deque[Any]:
    return deque(_items(items), None if maxlen is None else _whole(maxlen))


def signature(*args: object) -> dict[str, Any]:
    """Celery's signatures: a dict with the keys task, args, kwargs, options, ...

    A chord's header comes out as a list of its members, which is what Celery's own ``signature`` makes of a group there.
    """
    if len(args) != 1 or not isinstance(args[0], dict):
        raise MalformedPickle("a signature that is none")
    made = dict(args[0])
    kwargs = made.get("kwargs")
    if made.get("subtask_type") == "chord" and isinstance(kwargs, dict):
        header = kwargs.get("header")
        if isinstance(header, dict) and isinstance(inner := header.get("kwargs"), dict) and "tasks" in inner:
            made["kwargs"] = {**kwargs, "header": list(_items(inner["tasks"]))}
    return made


def _safe_text(text: object = "") -> str:
    if type(text) is not str:
        raise MalformedPickle("text is needed")
    return text


def _dict(items: object = ()) -> dict[Any, Any]:
    """A plain copy; so this project writes its own signatures."""
    if type(items) is dict:
        return dict(items)
    return dict(_ordered(items))


#: what a defaultdict may make.
_FACTORIES = (list, dict, set, frozenset, tuple, str, bytes, int, float, bool, OrderedDict, deque, Counter)

#: name -> object. Real classes where a class may also be a value; a Token for what must never be loaded.
NAMES: dict[tuple[str, str], Any] = {
    **{("builtins", kind.__name__): kind for kind in (list, dict, set, frozenset, tuple, str, bytes, bytearray)},
    **{("builtins", kind.__name__): kind for kind in (int, float, bool, complex, range, slice, object)},
    ("builtins", "unicode"): str,
    ("builtins", "long"): int,
    ("builtins", "xrange"): range,
    ("builtins", "Ellipsis"): Ellipsis,
    ("builtins", "NotImplemented"): NotImplemented,
    ("builtins", "getattr"): GETATTR,
    ("copyreg", "__newobj__"): NEWOBJ,
    ("copyreg", "_reconstructor"): RECONSTRUCTOR,
    **{("collections", kind.__name__): kind for kind in (OrderedDict, defaultdict, deque, Counter)},
    **{("datetime", kind.__name__): kind for kind in (datetime, date, time, timedelta, timezone)},
    ("decimal", "Decimal"): Decimal,
    ("fractions", "Fraction"): Fraction,
    ("uuid", "UUID"): uuid.UUID,
    ("zoneinfo", "ZoneInfo"): zoneinfo.ZoneInfo,
    ("zoneinfo", "ZoneInfo._unpickle"): UNPICKLE_ZONE,
    **{("builtins", name): value for name, value in _EXCEPTIONS.items()},
}

#: class or token -> what stands in for calling it; a class that is missing here is only a value.
BUILDERS: dict[Any, Callable[..., Any]] = {
    dict: _dict,
    set: lambda items=(): set(_keys(items)),
    frozenset: lambda items=(): frozenset(_keys(items)),
    bytearray: _bytearray,
    bytes: _bytes,
    complex: _complex,
    range: _range,
    slice: _slice,
    OrderedDict: _ordered,
    defaultdict: _defaultdict,
    deque: _deque,
    Counter: _counter,
    datetime: _datetime,
    date: _date,
    time: _time,
    timedelta: _timedelta,
    timezone: _timezone,
    Decimal: _decimal,
    Fraction: _fraction,
    uuid.UUID: _uuid,
    UNPICKLE_ZONE: _zone,
}


def _name(module: str, name: str, builder: Callable[..., Any]) -> None:
    token = Token(module, name)
    NAMES[module, name] = token
    BUILDERS[token] = builder


_name("_codecs", "encode", _encode)
_name("pytz", "_UTC", _pytz_utc)
_name("pytz", "_p", _pytz_zone)
_name("pytz", "FixedOffset", lambda minutes: timezone(timedelta(minutes=_whole(minutes))))
for _module in ("dateutil.tz", "dateutil.tz.tz"):
    _name(_module, "tzutc", lambda: timezone.utc)
for _text_name in ("SafeText", "SafeString", "SafeUnicode"):
    _name("django.utils.safestring", _text_name, _safe_text)
for _task_name in ("signature", "subtask", "maybe_signature", "Signature", "_chain", "chain", "group", "_chord", "chord"):
    _name("celery.canvas", _task_name, signature)
