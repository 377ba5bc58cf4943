"""Whether the values of an app's settings can be what was meant, and what a worker has to say of them.

Owns: ``check``, ``objections``, ``remarks``, and what each kind of the table takes. Runs where a worker reads its app's
settings and in ``pyqs report``; never in a process that only publishes. What is set to Celery's default is never wrong. Secrets
stay out of what is said.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any

from pyqs_celery_compat.app.defaults import DEFAULTS, TO_NEW
from pyqs_celery_compat.app.setting_table import FACTS, QUIET, Fate
from pyqs_celery_compat.compression import ALIASES
from pyqs_celery_compat.exceptions import ImproperlyConfigured
from pyqs_celery_compat.rate_limits import tokens_per_second
from pyqs_celery_compat.serialization import CONTENT_TYPES
from pyqs_celery_compat.settings import Settings, censor

#: How alike a name must be to be taken for a slip of the keyboard: a project has settings of its own, too.
_SLIP = 0.88
#: By how many letters the lengths may differ.
_LENGTH = 3
#: The longest value that is shown.
_SHOWN = 60
#: A result backend that is none.
_NOTHING = ("disabled", "disabled://")
_POOLS = ("prefork", "processes", "solo")


def check(conf: Settings) -> None:
    """Raise one ImproperlyConfigured that names everything with which a worker cannot start; else nothing."""
    found = list(objections(conf))
    if found:
        raise ImproperlyConfigured("\n".join(["these settings cannot be honoured:", *found]) if found[1:] else found[0])


def objections(conf: Settings) -> Iterator[str]:
    """What is wrong, a line for each setting: its value, and what would be right."""
    for name, fact in FACTS.items():
        value = conf.get(name)
        if value is None or value == DEFAULTS[name]:
            continue
        if fact.fate is Fate.REFUSED:
            if value not in ("", b""):
                yield f"{name} is set: {fact.note}" if "key" in name else f"{name} = {shown(name, value)}: {fact.note}"
        elif said := wrong(name, value):
            yield f"{name} = {shown(name, value)}: {said}"


def wrong(name: str, value: Any) -> str:
    """What is wrong with a value of a setting, and what would be right; "" where nothing is."""
    return "" if value is None or value == DEFAULTS[name] else _KINDS[FACTS[name].kind](value)


def remarks(conf: Settings) -> Iterator[str]:
    """What a worker says once, when it starts: settings without an effect that somebody may miss, and names near to one."""
    for name, fact in FACTS.items():
        if fact.fate in (Fate.NAMED, Fate.LATER) and name not in QUIET and is_set(conf, name):
            word = "is not kept yet" if fact.fate is Fate.LATER else "has no effect"
            yield f"{name} {word}: {fact.note.replace('`', '')}"
    yield from slips(conf)


def is_set(conf: Settings, name: str) -> bool:
    """Whether somebody has set it to something else than Celery's default, or than nothing."""
    value = conf.get(name)
    return bool(value) and value not in _NOTHING and value != DEFAULTS[name] and conf.value_set_for(name)


def slips(conf: Settings) -> Iterator[str]:
    """Names that nothing reads and that are near to a setting's: a line for each."""
    prefix = conf.prefix or ""
    taken = {_bare(name, prefix) for name in conf if conf.value_set_for(name)}
    for name in conf:
        bare = _bare(name, prefix)
        if (
            bare in DEFAULTS
            or name in TO_NEW
            or name.startswith("_")
            or isinstance(conf[name], (ModuleType, type, FunctionType))
        ):
            continue
        if prefix and not name.upper().startswith(prefix.upper()) and name not in conf.changes:
            continue  # of Django's or the project's own
        known = [one for one in (DEFAULTS if bare.islower() else TO_NEW) if abs(len(one) - len(bare)) <= _LENGTH]
        near = difflib.get_close_matches(bare, known, n=1, cutoff=_SLIP)
        if near and TO_NEW.get(near[0], near[0]) not in taken:
            meant = prefix + (near[0].upper() if prefix.isupper() else near[0]) if prefix else near[0]
            yield f"{name}: there is no setting of this name; did you mean {meant}?"


def _bare(name: str, prefix: str) -> str:
    """The name without the namespace, in small letters where there is one; an old name as today's."""
    if prefix and name.upper().startswith(prefix.upper()):
        name = name[len(prefix) :].lower()
    return TO_NEW.get(name, name)


def shown(name: str, value: Any) -> str:
    """A value fit for a text: short, and without secrets."""
    try:
        text = repr(censor(name, value))
    except Exception as exc:
        return f"<a {type(value).__name__} whose repr raises {type(exc).__name__}>"
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


# -- kinds: what is wrong with a value, in words; "" where nothing is -----------------------------------------------------
def _flag(value: Any) -> str:
    if isinstance(value, (str, bytes)):
        return "text, where True or False is meant (Celery takes any text but '' for True, 'False' too)"
    return "" if isinstance(value, (int, float)) else f"True or False is meant, not a value of type {type(value).__name__}"


def _count(value: Any) -> str:
    try:
        good = isinstance(value, (int, float, str)) and int(value) >= 0 and float(value) == int(value)
    except (OverflowError, ValueError):
        good = False
    return "" if good else "must be a number of at least 0, or None"


def _count_or_auto(value: Any) -> str:
    return "" if value in ("", "auto") else _count(value)


def _bound(value: Any) -> str:
    return "" if value is False else _count(value)


def _seconds(value: Any) -> str:
    good = isinstance(value, (int, float)) and value >= 0
    return "" if good else "must be a number of seconds of at least 0, or None"


def _protocol(value: Any) -> str:
    return "" if value in (1, 2) else "must be 1 or 2"


def _pool(value: Any) -> str:
    return "" if str(value) in _POOLS else "is not supported: tasks run in processes here; 'prefork' or 'solo' is right"


def _text(value: Any) -> str:
    return "" if isinstance(value, str) else f"text is meant, not a value of type {type(value).__name__}"


def _urls(value: Any) -> str:
    if isinstance(value, (list, tuple)) and len(value) != 1:
        return "one URL is meant: a worker has one SQS (and SQS is never down at one address only)"
    one = value[0] if isinstance(value, (list, tuple)) else value
    return "" if isinstance(one, str) else "must be a URL: 'sqs://'"


def _rate(value: Any) -> str:
    try:
        tokens_per_second(value)
    except ValueError as exc:
        return str(exc)
    return ""


def _level(value: Any) -> str:
    if isinstance(value, int) or isinstance(logging.getLevelName(str(value).upper()), int):
        return ""
    return "must be a level of Python's logging, such as 'WARNING'"


def _names(value: Any) -> str:
    one_each = (value,) if isinstance(value, str) else value
    if isinstance(one_each, (list, tuple, set, frozenset)) and all(isinstance(one, str) for one in one_each):
        return ""
    return "must be a list of modules by name"


def _mapping(value: Any) -> str:
    return "" if isinstance(value, Mapping) else f"a dict is meant, not a value of type {type(value).__name__}"


def _timezone(value: Any) -> str:
    from zoneinfo import ZoneInfo, available_timezones

    if not isinstance(value, str):
        return "" if hasattr(value, "utcoffset") else "must be a time zone by name, such as 'Europe/Rome'"
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        near = difflib.get_close_matches(value, available_timezones(), n=1)
        return "no time zone of this name" + (f"; did you mean {near[0]!r}?" if near else "")
    return ""


def _accept(value: Any) -> str:
    if isinstance(value, str) or not isinstance(value, (list, tuple, set, frozenset)):
        return "must be a list of serializers, such as ['json']"
    return next(filter(None, (_known(one, CONTENT_TYPES) for one in value if "/" not in str(one))), "")


def _serializer(value: Any) -> str:
    return _known(value, {*CONTENT_TYPES} - {"pickle-safe"})


def _known(value: Any, ours: Iterable[str]) -> str:
    """Whether it is one of our serializers, or one that the project has registered with kombu."""
    from kombu.serialization import registry

    known = {*ours, *registry.name_to_type} - {"auth"}
    if isinstance(value, str) and value in known:
        return ""
    if value == "auth":
        return "the auth serializer (signed messages) is not supported"
    near = difflib.get_close_matches(str(value), known, n=1)
    hint = (
        f"did you mean {near[0]!r}?" if near else f"{', '.join(sorted(known))} are, or what kombu.serialization has registered"
    )
    return f"{value!r} is no serializer that is known here; {hint}"


def _compression(value: Any) -> str:
    known = {*ALIASES, *ALIASES.values()}
    return "" if isinstance(value, str) and value in known else f"is not known here; {', '.join(sorted(ALIASES))} are"


def _anything(value: Any) -> str:
    return ""


_KINDS: dict[str, Callable[[Any], str]] = {
    "accept": _accept,
    "anything": _anything,
    "bound": _bound,
    "compression": _compression,
    "count": _count,
    "count or auto": _count_or_auto,
    "flag": _flag,
    "level": _level,
    "mapping": _mapping,
    "names": _names,
    "pool": _pool,
    "protocol": _protocol,
    "rate": _rate,
    "seconds": _seconds,
    "serializer": _serializer,
    "text": _text,
    "timezone": _timezone,
    "urls": _urls,
}
