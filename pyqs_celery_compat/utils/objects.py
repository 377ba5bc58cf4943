"""Small objects: attributes from keywords, a context that is given or made, a path into a dict as a property.

Owns: ``Bunch``, ``FallbackContext``, ``getitem_property``, ``mro_lookup``. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from types import GenericAlias
from typing import Any, ClassVar

__all__ = ["Bunch", "FallbackContext", "getitem_property", "mro_lookup"]


class Bunch:
    """An object with these attributes."""

    def __init__(self, **kwargs: Any) -> None:
        self.__dict__.update(kwargs)


def mro_lookup(
    cls: type, attr: str, stop: Collection[type] | None = None, monkey_patched: Collection[str] | None = None
) -> type | None:
    """The first class in a class's order of resolution that has this attribute of its own.

    Parameters:
        stop: the search ends at one of these, with None.
        monkey_patched: modules that are not taken for foreign: where the class before which the search ends has the attribute
            from a function of any other module, that class is the answer.
    """
    for node in cls.mro():
        if stop and node in stop:
            try:
                value = node.__dict__[attr]
                module = value.__module__
            except (AttributeError, KeyError):
                return None
            return None if module in (monkey_patched or ()) or module == node.__module__ else node
        if attr in node.__dict__:
            return node
    return None


class FallbackContext:
    """A context manager that gives what was provided, and opens something else where nothing was.

    Parameters:
        provided: the object; it is not closed.
        fallback: makes a context manager, with the arguments that follow.
    """

    __class_getitem__: ClassVar[Callable[[Any], GenericAlias]] = classmethod(GenericAlias)  # type: ignore[assignment]

    def __init__(self, provided: Any, fallback: Callable[..., Any], *fb_args: Any, **fb_kwargs: Any) -> None:
        self.provided = provided
        self.fallback = fallback
        self.fb_args = fb_args
        self.fb_kwargs = fb_kwargs
        self._context: Any = None

    def __enter__(self) -> Any:
        if self.provided is not None:
            return self.provided
        context = self.fallback(*self.fb_args, **self.fb_kwargs)
        value = context.__enter__()
        self._context = context
        return value

    def __exit__(self, *exc_info: Any) -> Any:
        return None if self._context is None else self._context.__exit__(*exc_info)


class getitem_property:  # noqa: N801 - Celery's name
    """A property that reads and writes an item of the object.

    Parameters:
        keypath: the item's key, or ``outer.inner`` for an item of an item.
        doc: its documentation.
    """

    def __init__(self, keypath: str, doc: str | None = None) -> None:
        path, _, self.key = keypath.rpartition(".")
        self.path: Iterable[str] = path.split(".") if path else ()
        self.__doc__ = doc

    def _owner(self, obj: Any) -> Any:
        for key in self.path:
            obj = obj[key]
        return obj

    def __get__(self, obj: Any, type: type | None = None) -> Any:
        return type if obj is None else self._owner(obj).get(self.key)

    def __set__(self, obj: Any, value: Any) -> None:
        self._owner(obj)[self.key] = value
