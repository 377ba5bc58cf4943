"""Mappings and sets: attributes as items and the other way round, layers, a set that forgets.

Owns: what libraries use of ``celery.utils.collections``. Pure; none of them locks anything.
"""

from __future__ import annotations

import time
from collections import OrderedDict as _OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any

__all__ = [
    "AttributeDict",
    "AttributeDictMixin",
    "ChainMap",
    "ConfigurationView",
    "DictAttribute",
    "LimitedSet",
    "OrderedDict",
    "force_mapping",
    "lpmerge",
]


def force_mapping(m: Any) -> Any:
    """A mapping as it is, any other object as the mapping of its attributes."""
    while type(m).__name__ in ("LazyObject", "LazySettings"):  # Django's
        m = m._wrapped
    return m if isinstance(m, Mapping) else DictAttribute(m)


def lpmerge(L: dict[Any, Any], R: Mapping[Any, Any]) -> dict[Any, Any]:  # noqa: N803 - Celery's names
    """Put into the first mapping what the second has that is not None; answers the first."""
    L.update({key: value for key, value in R.items() if value is not None})
    return L


class OrderedDict(_OrderedDict[Any, Any]):
    """An ordered dict that knows its oldest key."""

    def _LRUkey(self) -> Any:  # noqa: N802 - Celery's name
        return next(iter(self))


class AttributeDictMixin:
    """Items as attributes, too."""

    def __getattr__(self, key: str) -> Any:
        try:
            return self[key]  # type: ignore[index, unused-ignore]
        except KeyError:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {key!r}") from None

    def __setattr__(self, key: str, value: Any) -> None:
        self[key] = value  # type: ignore[index, unused-ignore]


class AttributeDict(dict[Any, Any], AttributeDictMixin):
    """A dict whose items are attributes, too."""


class DictAttribute:
    """An object's attributes as items, too.

    Parameters:
        obj: the object; what is set here is set there.
    """

    obj: Any = None

    def __init__(self, obj: Any) -> None:
        object.__setattr__(self, "obj", obj)

    def __getattr__(self, key: str) -> Any:
        return getattr(self.obj, key)

    def __setattr__(self, key: str, value: Any) -> None:
        setattr(self.obj, key, value)

    def get(self, key: str, default: Any = None) -> Any:
        """The attribute, or the default."""
        return getattr(self.obj, key, default)

    def setdefault(self, key: str, default: Any = None) -> None:
        """Set the attribute if there is none."""
        if key not in self:
            self[key] = default

    def __getitem__(self, key: str) -> Any:
        try:
            return getattr(self.obj, key)
        except AttributeError:
            raise KeyError(key) from None

    def __setitem__(self, key: str, value: Any) -> None:
        setattr(self.obj, key, value)

    def __contains__(self, key: str) -> bool:
        return hasattr(self.obj, key)

    def __iter__(self) -> Iterator[str]:
        return iter(dir(self.obj))

    def keys(self) -> Iterator[str]:
        """The names of all attributes."""
        return iter(self)

    def items(self) -> Iterator[tuple[str, Any]]:
        """Names and attributes."""
        return ((key, getattr(self.obj, key)) for key in dir(self.obj))

    def values(self) -> Iterator[Any]:
        """The attributes."""
        return (getattr(self.obj, key) for key in dir(self.obj))

    iterkeys, iteritems, itervalues = keys, items, values


MutableMapping.register(DictAttribute)


class ChainMap(MutableMapping[Any, Any]):
    """Layers of mappings: the first that has a key answers, and all changes go to the first.

    Parameters:
        maps: the layers. key_t: applied to every key.
    """

    key_t: Callable[[Any], Any] | None = None
    changes: Any
    defaults: list[Any]
    maps: list[Any]
    _observers: list[Callable[..., Any]]

    def __init__(self, *maps: Any, **kwargs: Any) -> None:
        layers = list(maps or ({},))
        self.__dict__.update(key_t=kwargs.get("key_t"), maps=layers, changes=layers[0], defaults=layers[1:], _observers=[])

    def add_defaults(self, d: Any) -> None:
        """One more layer, directly below the changes."""
        d = force_mapping(d)
        self.defaults.insert(0, d)
        self.maps.insert(1, d)

    def _key(self, key: Any) -> Any:
        return self.key_t(key) if self.key_t is not None else key

    def __getitem__(self, key: Any) -> Any:
        wanted = self._key(key)
        for mapping in self.maps:
            try:
                return mapping[wanted]
            except KeyError:
                continue
        return self.__missing__(key)

    def __missing__(self, key: Any) -> Any:
        raise KeyError(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.changes[self._key(key)] = value

    def __delitem__(self, key: Any) -> None:
        try:
            del self.changes[self._key(key)]
        except KeyError:
            raise KeyError(f"Key not found in the first mapping: {key!r}") from None

    def pop(self, key: Any, *default: Any) -> Any:
        """Take a key out of the changes."""
        try:
            return self.changes.pop(key, *default)
        except KeyError:
            raise KeyError(f"Key not found in the first mapping: {key!r}") from None

    def clear(self) -> None:
        """Forget the changes."""
        self.changes.clear()

    def get(self, key: Any, default: Any = None) -> Any:
        """The value, or the default."""
        try:
            return self[self._key(key)]
        except KeyError:
            return default

    def __len__(self) -> int:
        return len(set().union(*self.maps))

    def __contains__(self, key: object) -> bool:
        wanted = self._key(key)
        return any(wanted in mapping for mapping in self.maps)

    def __bool__(self) -> bool:
        return any(self.maps)

    def __iter__(self) -> Iterator[Any]:
        return iter(dict.fromkeys(key for mapping in reversed(self.maps) for key in mapping))

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """Set the key in the changes, unless some layer has it."""
        wanted = self._key(key)
        if wanted not in self:
            self[wanted] = default
        return default

    def update(self, *args: Any, **kwargs: Any) -> Any:
        """Change several; who is bound here is told."""
        answer = self.changes.update(*args, **kwargs)
        for observer in self._observers:
            observer(*args, **kwargs)
        return answer

    def bind_to(self, callback: Callable[..., Any]) -> None:
        """Have this called with the arguments of every ``update``."""
        self._observers.append(callback)

    @classmethod
    def fromkeys(cls, iterable: Iterable[Any], *args: Any) -> ChainMap:
        """One layer of these keys."""
        return cls(dict.fromkeys(iterable, *args))

    def copy(self) -> ChainMap:
        """With changes of its own, above the same layers."""
        return type(self)(dict(self.maps[0]), *self.maps[1:])

    __copy__ = copy

    def iterkeys(self) -> Iterator[Any]:
        """The keys."""
        return iter(self)

    def iteritems(self) -> Iterator[tuple[Any, Any]]:
        """Keys and values."""
        return ((key, self[key]) for key in self)

    def itervalues(self) -> Iterator[Any]:
        """The values."""
        return (self[key] for key in self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.maps))})"


class ConfigurationView(ChainMap, AttributeDictMixin):
    """Layers of configuration, whose keys have several spellings.

    Parameters:
        changes: what was set. defaults: the layers below. keys: functions that make other spellings. prefix: put before keys.
    """

    def __init__(
        self,
        changes: Any,
        defaults: Sequence[Any] | None = None,
        keys: Sequence[Callable[[str], str]] | None = None,
        prefix: str | None = None,
    ) -> None:
        super().__init__(changes, *(defaults or ()))
        self.__dict__.update(prefix=f"{prefix.rstrip('_')}_" if prefix else "", _keys=tuple(keys or ()))

    def _to_keys(self, key: str) -> tuple[str, ...]:
        named = key if key.startswith(self.prefix) else self.prefix + key
        return (named, *(spell(named) for spell in self._keys))

    def __getitem__(self, key: str) -> Any:
        spellings = self._to_keys(key)
        for mapping in self.maps:
            for spelling in dict.fromkeys((*spellings, key)):
                try:
                    return mapping[spelling]
                except KeyError:
                    continue
        raise KeyError(spellings[0] if len(spellings) == 1 else key)

    def __setitem__(self, key: str, value: Any) -> None:
        self.changes[self._key(key)] = value

    def first(self, *keys: str) -> Any:
        """The first of these that is there and not None."""
        return next((value for value in (self.get(key) for key in keys) if value is not None), None)

    def get(self, key: str, default: Any = None) -> Any:
        """The value, or the default."""
        try:
            return self[key]
        except KeyError:
            return default

    def __contains__(self, key: object) -> bool:
        spellings = self._to_keys(str(key))
        return any(spelling in mapping for mapping in self.maps for spelling in spellings)

    def swap_with(self, other: ConfigurationView) -> None:
        """Become what the other one is."""
        taken = ("changes", "defaults", "maps", "key_t", "prefix", "_keys")
        self.__dict__.update({name: other.__dict__[name] for name in taken})


class LimitedSet:
    """A set that forgets its oldest members.

    Parameters:
        maxlen: most members; 0 for no limit. expires: seconds after which a member is forgotten, 0 for never.
        data: members, or a mapping of members and the moments (of the monotonic clock) at which they were added.
        minlen: so many members are kept, expired or not.
    """

    def __init__(self, maxlen: int = 0, expires: float = 0, data: Any = None, minlen: int = 0) -> None:
        self.maxlen = int(maxlen or 0)
        self.minlen = int(minlen or 0)
        self.expires = expires or 0
        if not 0 <= self.minlen <= (self.maxlen or self.minlen):
            raise ValueError("minlen must be a positive number, less or equal to maxlen.")
        if self.expires < 0:
            raise ValueError("expires cannot be negative!")
        self._data: dict[Any, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, Any]] = []
        self._order = count()
        if data:
            self.update(data)

    def add(self, item: Any, now: float | None = None) -> None:
        """Add a member, or renew it."""
        moment = float(time.monotonic() if now is None else now)
        entry = (moment, next(self._order))
        self._data[item] = entry
        heappush(self._heap, (*entry, item))
        if len(self._heap) > 2 * len(self._data) + 15:
            self._heap = [(*known, one) for one, known in self._data.items()]
            heapify(self._heap)
        if self.maxlen and len(self._data) > self.maxlen:
            self.purge()

    def update(self, other: Any) -> None:
        """Add what another one, a mapping of members and moments, or an iterable has.

        Raises:
            ValueError: a moment that is no float.
        """
        if isinstance(other, LimitedSet):
            other = other.as_dict()
        if isinstance(other, Mapping):
            for item, moment in other.items():
                if not isinstance(moment, float):
                    raise ValueError(f"Expecting float timestamp, got type {type(moment)!r} with value: {moment!r}")
                self.add(item, moment)
        else:
            for item in other:
                self.add(item)
        self.purge()

    def discard(self, item: Any) -> None:
        """Take a member out, if it is one."""
        self._data.pop(item, None)

    pop_value = discard

    def clear(self) -> None:
        """Forget all."""
        self._data.clear()
        self._heap.clear()

    def purge(self, now: float | None = None) -> None:
        """Forget what is too much or too old; ``now`` is in seconds of the monotonic clock."""
        moment = time.monotonic() if now is None else float(now)
        while self.maxlen and len(self._data) > self.maxlen:
            self.pop()
        while self.expires and len(self._data) > self.minlen:
            oldest = self._oldest()
            if oldest is None or oldest[0] + self.expires > moment:
                break
            self.pop()

    def pop(self, default: Any = None) -> Any:
        """Take the oldest member out and answer it; the default if there is none."""
        oldest = self._oldest()
        if oldest is None:
            return default
        heappop(self._heap)
        del self._data[oldest[2]]
        return oldest[2]

    def _oldest(self) -> tuple[float, int, Any] | None:
        while self._heap:
            first = self._heap[0]
            if self._data.get(first[2]) == first[:2]:
                return first
            heappop(self._heap)  # renewed or gone since
        return None

    def as_dict(self) -> dict[Any, float]:
        """Members and the moments at which they were added."""
        return {item: entry[0] for item, entry in self._data.items()}

    def __iter__(self) -> Iterator[Any]:
        return iter(sorted(self._data, key=lambda item: self._data[item]))

    def __len__(self) -> int:
        return len(self._data)

    def __bool__(self) -> bool:
        return bool(self._data)

    def __contains__(self, item: object) -> bool:
        return item in self._data

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LimitedSet) and self.as_dict() == other.as_dict()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<LimitedSet({len(self)}): maxlen={self.maxlen}, expires={self.expires}, minlen={self.minlen}>"

    def __reduce__(self) -> Any:
        return type(self), (self.maxlen, self.expires, self.as_dict(), self.minlen)
