"""``app.conf``: settings in layers, read from the user's configuration on first use.

Owns: ``Settings``. Pure, in whatever process the app lives in. Reading a setting loads the configuration; writing one
does not. Knows nothing of what a setting means. Never shows a secret in its repr.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from functools import lru_cache
from typing import Any

from pyqs_celery_compat.app.defaults import DEFAULTS, TO_NEW, TO_OLD
from pyqs_celery_compat.exceptions import ImproperlyConfigured

_MISSING = object()
_HIDDEN = re.compile("API|TOKEN|KEY|SECRET|PASS|PROFANITIES_LIST|SIGNATURE|DATABASE", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(?<=://)[^/@]*@")

#: What the environment decides whatever the configuration says.
_ENVIRONMENT = {
    "broker_url": "CELERY_BROKER_URL",
    "broker_read_url": "CELERY_BROKER_READ_URL",
    "broker_write_url": "CELERY_BROKER_WRITE_URL",
    "result_backend": "CELERY_RESULT_BACKEND",
}
#: Attributes that fall back to another setting (as items they do not).
_ALTERNATIVES = {
    "broker_url": ("broker_url", "broker_host"),
    "broker_read_url": ("broker_read_url", "broker_url", "broker_host"),
    "broker_write_url": ("broker_write_url", "broker_url", "broker_host"),
    "result_backend": ("result_backend", "CELERY_RESULT_BACKEND"),
    "task_default_exchange": ("task_default_exchange", "task_default_queue"),
    "task_default_routing_key": ("task_default_routing_key", "task_default_queue"),
    "timezone": ("timezone", "TIME_ZONE"),
}


class Settings(MutableMapping[str, Any]):
    """Celery's settings object.

    Layers, the first that has a key wins: what code wrote (``changes``, the constructor's values among them),
    what ``add_defaults`` brought, the configuration object, Celery's defaults.

    Parameters:
        load: called once, on first read; it calls ``use`` and ``add_defaults``.
        changes: values known from the start; their names may be newer or older than those of the configuration.
        loaded: called once that is done, when other threads read already.
    """

    def __init__(
        self,
        load: Callable[[Settings], None] | None = None,
        changes: Mapping[str, Any] | None = None,
        loaded: Callable[[Settings], None] | None = None,
    ) -> None:
        put = object.__setattr__
        put(self, "_load", load)
        put(self, "_then", loaded)
        #: One thread loads; the others wait, so that nobody takes a default for what is about to be read.
        put(self, "_lock", threading.RLock())
        put(self, "_pid", os.getpid())
        put(self, "_loading", False)
        put(self, "_layers", [])
        put(self, "_namespace", "")
        put(self, "_own_defaults", {})
        put(self, "changes", {})
        put(self, "_observers", [])
        #: Names as they were written before the configuration was read: old and new ones must not be mixed.
        put(self, "_spelled", set())
        #: What code had written by then, and what stays when another configuration is read.
        put(self, "_before", {})
        put(self, "deprecated_settings", frozenset())
        #: How often it was written: who keeps what he has read looks again when this has changed.
        put(self, "writes", 0)
        self.update(changes or {})
        self._spelled.clear()

    # -- loading ------------------------------------------------------------------------------------------------
    def use(self, source: Mapping[str, Any], namespace: str | None) -> None:
        """Put the configuration object in place. Raises ImproperlyConfigured if it mixes old and new names."""
        put = object.__setattr__
        self._written()
        put(self, "_namespace", _prefix(namespace))
        if not self._namespace:
            put(self, "deprecated_settings", _check_names({*source, *self._spelled}))
        self._layers.insert(0, source)

    def add_defaults(self, defaults: Mapping[str, Any]) -> None:
        """Values that beat the configuration object (observed on Celery 5.7), but nothing that code wrote."""
        self._written()
        self._layers.insert(0, defaults)

    def finalize(self) -> Settings:
        """Load the configuration now."""
        if self.__dict__["_load"] is not None:
            self._load_once()
        return self

    def _load_once(self) -> None:
        put, nothing = object.__setattr__, None
        if self._pid != os.getpid():  # a thread that was loading when this process was forked is not here to end it
            put(self, "_lock", threading.RLock())
            put(self, "_pid", os.getpid())
            put(self, "_loading", False)
            self._layers.clear()
        with self._lock:
            load = self.__dict__["_load"]
            if load is None or self._loading:  # another thread was first, or what is called to load reads
                return
            put(self, "_loading", True)
            try:
                load(self)
            except BaseException:
                self._layers.clear()
                raise
            finally:
                put(self, "_loading", False)
            put(self, "_before", dict(self.changes))
            put(self, "_load", nothing)
        if self._then is not None:
            self._then(self)

    def reload(self, load: Callable[[Settings], None]) -> None:
        """Forget the configuration object, added defaults, and what code wrote since they were read; the next read loads anew.

        Celery 5.7 does the same: what was written before the first read stays.
        """
        with self._lock:
            self._layers.clear()
            self.changes.clear()
            self.changes.update(self._before)
            self._written()
            object.__setattr__(self, "_load", load)

    @property
    def loaded(self) -> bool:
        """True once the configuration has been read."""
        return self.__dict__["_load"] is None

    # -- mapping ------------------------------------------------------------------------------------------------
    def __getitem__(self, key: str) -> Any:
        self.finalize()
        value = self._find(key)
        if value is _MISSING:
            raise KeyError(key)
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        self._written()
        if self.__dict__["_load"] is not None:
            self._spelled.add(key)
        self.changes[self._canonical(key)] = value

    def __delitem__(self, key: str) -> None:
        self._written()
        del self.changes[self._canonical(key)]

    def __contains__(self, key: object) -> bool:
        if not self.loaded:
            return self._canonical(str(key)) in self.changes
        return self._find(str(key)) is not _MISSING

    def __iter__(self) -> Iterator[str]:
        self.finalize()
        seen: dict[str, None] = dict.fromkeys(self.changes)
        for layer in self._layers:
            seen.update(dict.fromkeys(self._canonical(key) for key in layer if not key.startswith("_")))
        seen.update(dict.fromkeys(DEFAULTS))
        # An object may name what it has not got, as Django's settings do that code has configured.
        return (name for name in seen if self._find(name) is not _MISSING)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __bool__(self) -> bool:
        return True

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if self._load is not None:
            self.finalize()
        if name in _ALTERNATIVES:
            found = (self._find(key) for key in _ALTERNATIVES[name])
            return next((value for value in found if value is not _MISSING and value is not None), None)
        value = self._find(name)
        if value is not _MISSING:
            return value
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def bind_to(self, observer: Callable[[Mapping[str, Any]], object]) -> None:
        """Have it called with what each ``update`` writes, by today's names."""
        self._observers.append(observer)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Write several values, as ``dict.update`` does."""
        given = {str(key): value for key, value in dict(*args, **kwargs).items()}
        for key, value in given.items():
            self[key] = value
        for observer in self._observers:
            observer({self._canonical(key): value for key, value in given.items()})

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Write the value unless the key is known; loads nothing."""
        if key not in self:
            self[key] = default
            return default
        return self[key]

    # -- Celery's further readers ---------------------------------------------------------------------------------
    def first(self, *keys: str) -> Any:
        """The first of these settings that is not None."""
        return next((value for value in (self.get(key) for key in keys) if value is not None), None)

    def value_set_for(self, key: str) -> bool:
        """True if somebody set it: it is not Celery's default."""
        self.finalize()
        return self._find(key, defaults=False) is not _MISSING

    def without_defaults(self) -> dict[str, Any]:
        """Everything that somebody set."""
        return {key: self[key] for key in self if self.value_set_for(key)}

    @property
    def defaults(self) -> list[Mapping[str, Any]]:
        """What is looked into for what no code has written, in this order; Celery's own defaults are the last."""
        return [*self.finalize()._layers, DEFAULTS]

    @property
    def maps(self) -> list[Mapping[str, Any]]:
        """The same with what code wrote before it."""
        return [self.changes, *self.defaults]

    @property
    def prefix(self) -> str | None:
        """The namespace with its underscore; None without."""
        return self.finalize()._namespace or None

    def table(self, with_defaults: bool = False, censored: bool = True) -> dict[str, Any]:
        """The settings as a dict; secrets and passwords in URLs are starred out."""
        self.finalize()
        table = {key: self[key] for key in self if with_defaults or self.value_set_for(key)}
        return without_secrets(table) if censored else table

    def humanize(self, with_defaults: bool = False, censored: bool = True) -> str:
        """The same as lines of text."""
        return "\n".join(f"{key}: {value!r}" for key, value in self.table(with_defaults, censored).items())

    def find_option(self, name: str, namespace: str = "") -> Any:
        """Where a setting lives: ``(first word, rest, option)``. Raises KeyError."""
        from pyqs_celery_compat.app.setting_options import find

        return find(name, namespace)

    def find_value_for_key(self, name: str, namespace: str = "celery") -> Any:
        """The value of a setting given without its first word."""
        return self.get_by_parts(*self.find_option(name, namespace)[:-1])

    def get_by_parts(self, *parts: str) -> Any:
        """``get_by_parts("worker", "concurrency")``."""
        return self["_".join(part for part in parts if part)]

    def copy(self) -> dict[str, Any]:
        """A plain dict of all settings."""
        return dict(self)

    def __repr__(self) -> str:
        if not self.loaded:
            return f"<{type(self).__name__}: not loaded yet>"
        return f"<{type(self).__name__}: {self.table()!r}>"

    def _written(self) -> None:
        object.__setattr__(self, "writes", self.writes + 1)

    # -- names --------------------------------------------------------------------------------------------------
    def _canonical(self, key: str) -> str:
        return _names(key, self._namespace)[0]

    def _find(self, key: str, *, defaults: bool = True) -> Any:
        # A call of a task reads ten settings: values are looked for each time, because layers change, names are not.
        name, spellings = _names(key, self._namespace)
        if name in _ENVIRONMENT and os.environ.get(_ENVIRONMENT[name]):
            return os.environ[_ENVIRONMENT[name]]
        if name in self.changes:
            return self.changes[name]
        for layer in self._layers:
            for spelling in spellings:
                if spelling in layer:
                    return layer[spelling]
        if not defaults or name not in DEFAULTS:
            return _MISSING
        value = DEFAULTS[name]
        if not isinstance(value, dict):
            return value
        if name not in self._own_defaults:  # a copy of our own: code writes into it
            self._own_defaults.setdefault(name, dict(value))
        return self._own_defaults[name]


def without_secrets(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they may be shown: secrets and passwords in URLs are starred out."""
    return {key: censor(str(key), value) for key, value in settings.items()}


def censor(key: str, value: Any) -> Any:
    """A value fit for a log."""
    if value is not None and _HIDDEN.search(key):
        return "********"
    if isinstance(value, Mapping):
        return {inner: censor(str(inner), item) for inner, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(censor("", item) for item in value) if type(value) in (list, tuple) else value
    if isinstance(value, str):
        return _URL_PASSWORD.sub("********@", value)
    return value


@lru_cache(maxsize=4096)
def _names(key: str, prefix: str) -> tuple[str, tuple[str, ...]]:
    """What a setting is called now, and every way to write it in a configuration object whose namespace has this prefix."""
    whole = key if key.upper().startswith(prefix.upper()) else prefix + key
    spellings = [whole.upper() if prefix.isupper() else whole.lower()] if prefix else []
    spellings += [key, *(names[key] for names in (TO_NEW, TO_OLD) if key in names)]
    bare = key[len(prefix) :].lower()
    own = prefix and whole == key and bare in DEFAULTS
    return bare if own else TO_NEW.get(key, key), tuple(spellings)


def _prefix(namespace: str | None) -> str:
    if not namespace:
        return ""
    return namespace if namespace.endswith("_") else namespace + "_"


def _check_names(have: set[str]) -> frozenset[str]:
    """Old names in use; an error when both kinds are, and no key is given under both names."""
    new, old = have & DEFAULTS.keys(), have & TO_NEW.keys()
    rename_to_old = len(old) > len(new)
    convert, left = (TO_OLD, new) if rename_to_old else (TO_NEW, old)
    really = sorted(key for key in left if convert[key] not in have)
    if not (new and old and really):
        return frozenset(old)
    kind, other = ("new", "old") if rename_to_old else ("old", "new")
    renames = "\n".join(f"{key:<36} -> {convert[key]}" for key in really)
    raise ImproperlyConfigured(
        f"the configuration mixes {kind} setting names into {other} ones; rename these, or use a namespace:\n\n{renames}"
    )
