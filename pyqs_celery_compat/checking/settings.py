"""What becomes of one setting with the value that the source gives it.

Owns: ``setting_of`` (which setting a name in a settings module means) and ``judge``. The fates are those of
``app/setting_table.py``, what a value may be says ``app/setting_checks.py``; here stands what only a reader of source needs:
values that are known in part or not at all. A value is never part of what is said, but for the scheme of a URL.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Any

from pyqs_celery_compat.app import setting_checks
from pyqs_celery_compat.app.backends import BACKEND_ALIASES, LATER
from pyqs_celery_compat.app.defaults import DEFAULTS, TO_NEW
from pyqs_celery_compat.app.setting_table import FACTS, Fate
from pyqs_celery_compat.checking import rules
from pyqs_celery_compat.checking.findings import SAME, Judgement, differs, look, unsupported
from pyqs_celery_compat.checking.values import Value

#: How alike a name must be to a setting's to be taken for a slip.
_SLIP = 0.88
_URLS = frozenset({"broker_url", "broker_read_url", "broker_write_url"})
_SERIALIZERS = frozenset({"task_serializer", "result_serializer", "event_serializer"})
_ACCEPT = frozenset({"accept_content", "result_accept_content"})
#: Settings on whose value it depends whether anything works.
_DECISIVE = frozenset({*_URLS, *_SERIALIZERS, *_ACCEPT, "result_backend", "worker_pool", "broker_transport"})
_PICKLE = frozenset({"pickle", "application/x-python-serialize"})
_SERIALIZER_NAMES = frozenset({"json", "yaml", "msgpack", "pickle"})
#: Backends of django-celery-results.
_DJANGO = frozenset({"django-db", "django-cache"})
UNKNOWN_VALUE = look("its value is not in the source: `pyqs check -A proj` knows it")


def setting_of(name: str, namespaces: Collection[str] = ("CELERY",)) -> str | None:
    """Today's name of the setting that a name means: ``CELERY_BROKER_URL``, ``BROKER_URL``, ``broker_url``."""
    if name in DEFAULTS:
        return name
    for namespace in namespaces:
        bare = name[len(namespace) + 1 :]
        if name.upper().startswith(namespace.upper() + "_") and bare.lower() in DEFAULTS:
            return bare.lower()
    if name in TO_NEW and name.startswith(("CELERY", "BROKER_")):
        return str(TO_NEW[name])
    return None


def slip(name: str, namespaces: Collection[str] = ("CELERY",)) -> str | None:
    """The setting that a name nothing reads is so near to that it was meant; None for a project's own."""
    for namespace in namespaces:
        if name.startswith(namespace + "_"):
            near = difflib.get_close_matches(name[len(namespace) + 1 :].lower(), DEFAULTS, n=1, cutoff=_SLIP)
            return f"{namespace}_{near[0].upper()}" if near else None
    return None


def judge(name: str, value: Value, registered: Collection[str] = ()) -> Judgement:
    """What becomes of a setting, today's name, that has this value.

    Parameters:
        registered: serializers that the project has registered with kombu.
    """
    fact = FACTS[name]
    if value.known and (value.value is None or (fact.fate is not Fate.NO_EFFECT and _is_default(name, value.value))):
        return SAME
    if fact.fate is Fate.HONOURED:
        return _honoured(name, value, registered)
    if value.known and not value.value and fact.fate is not Fate.NO_EFFECT:
        return SAME
    note = fact.note.replace("`", "")
    if fact.fate is Fate.NO_EFFECT:
        return differs(f"no effect, and nothing is lost by that: {note}")
    if fact.fate is Fate.NAMED:
        return differs(f"no effect: {note}")
    return unsupported(f"not there yet: {note}" if fact.fate is Fate.LATER else note)


def _is_default(name: str, value: Any) -> bool:
    default = DEFAULTS[name]
    return bool(value == default or (isinstance(default, tuple) and value == list(default)))


def _honoured(name: str, value: Value, registered: Collection[str]) -> Judgement:
    if name in _URLS:
        return _broker(value)
    if name == "result_backend":
        return result_backend(value)
    if name == "broker_transport":
        return _transport(value)
    if not value.known:
        if name in _ACCEPT and isinstance(value.value, list) and _PICKLE & {str(one) for one in value.value}:
            return rules.PICKLE
        return UNKNOWN_VALUE if name in _DECISIVE else rules.SETTINGS.get(name, SAME)
    if name in _SERIALIZERS:
        return _serializer(value.value, registered)
    if name in _ACCEPT:
        return _accepted(value.value, registered)
    wrong = setting_checks.wrong(name, value.value)
    if wrong:
        return unsupported(f"a worker does not start with this value: {wrong}")
    return rules.SETTINGS.get(name, SAME) if value.value else SAME


def _broker(value: Value) -> Judgement:
    one = value.value[0] if isinstance(value.value, list) and len(value.value) == 1 else value.value
    if (isinstance(one, list) and value.known) or (isinstance(one, str) and ";" in one):
        return unsupported("one URL is meant: a worker has one SQS")
    if not isinstance(one, str):
        return UNKNOWN_VALUE
    scheme, separator, _ = one.partition("://")
    if not separator and not value.known:
        return UNKNOWN_VALUE
    scheme = scheme.rstrip(":/").lower()
    if scheme in ("sqs", ""):
        return SAME
    if scheme == "memory":
        return differs("for tests within one process; a worker needs sqs://")
    if not separator and not scheme.isalnum():
        return UNKNOWN_VALUE  # a host alone: broker_transport says what it is
    return unsupported(
        f"the broker {scheme if scheme.isascii() and len(scheme) < 20 else 'given'!r} is not SQS: sqs:// is the only one"
    )


def result_backend(value: Value) -> Judgement:
    """A ``result_backend``."""
    named = value.value
    if not isinstance(named, str):
        return UNKNOWN_VALUE
    scheme, separator, _ = named.partition("://")
    if not separator and not value.known:
        return UNKNOWN_VALUE
    scheme = scheme.partition("+")[0].rstrip(":/")
    if scheme in LATER:
        return unsupported(f"results cannot be stored in {scheme!r}: docs/results.md has what there is")
    if scheme == "cache":
        return unsupported("the cache backend is the memory of one process: docs/results.md has what there is")
    if scheme in BACKEND_ALIASES or scheme in _DJANGO or named == "":
        return SAME
    if "." in scheme:
        return look("a backend of your own: it works if it is a class with Celery's interface")
    return unsupported("nobody knows this result backend: docs/results.md has what there is")


def _transport(value: Value) -> Judgement:
    if not value.known:
        return UNKNOWN_VALUE
    if str(value.value).lower() == "sqs":
        return SAME
    return unsupported("kombu's transports, and classes made of them, are not used: pyqs has its own way to SQS")


def _serializer(value: Any, registered: Collection[str]) -> Judgement:
    if not isinstance(value, str):
        return unsupported("a worker does not start with this value: it must be the name of a serializer")
    if value in _PICKLE:
        return rules.PICKLE
    if value == "auth":
        return unsupported("the auth serializer (signed messages) is not supported")
    if value in _SERIALIZER_NAMES or value in registered:
        return SAME
    return look("a serializer that nothing in what was read registers with kombu")


def _accepted(value: Any, registered: Collection[str]) -> Judgement:
    if isinstance(value, str) or not isinstance(value, list):
        return unsupported("a worker does not start with this value: it must be a list of serializers, such as ['json']")
    names = {str(one) for one in value}
    if names & _PICKLE:
        return rules.PICKLE
    if "auth" in names:
        return unsupported("the auth serializer (signed messages) is not supported")
    unknown = [one for one in names if "/" not in one and one not in _SERIALIZER_NAMES and one not in registered]
    return look("a serializer that nothing in what was read registers with kombu") if unknown else SAME


#: Transport options that are refused, or mean something else than before.
OPTIONS: dict[str, Judgement] = {
    "predefined_exchanges": unsupported("fanout over SNS is not there: a worker does not start"),
    "supports_fanout": unsupported("fanout over SNS is not there: a worker does not start"),
    "visibility_timeout": differs(
        "it no longer decides how long a task may run, which keeps its message hidden; it counts for queues that are created"
    ),
}


def option(name: str, value: Value) -> Judgement | None:
    """What becomes of an entry of ``broker_transport_options``; None where there is nothing to say."""
    if name in OPTIONS and not (value.known and not value.value):
        return OPTIONS[name]
    if name == "body_encoding" and value.known and value.value != "base64":
        return unsupported("a body_encoding that is not base64 is refused")
    return None
