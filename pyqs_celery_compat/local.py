"""Stand-ins for objects that exist later: the current app, and tasks whose app is not finalized yet.

Owns: ``Proxy`` (looks its object up on every use), ``PromiseProxy`` (makes it once, on first use),
``maybe_evaluate``, ``try_import`` and ``class_property``. Pure. A proxy answers ``isinstance`` and ``==`` as its object does.
"""

from __future__ import annotations

import copy
import importlib
import operator
from collections.abc import Callable
from types import GenericAlias
from typing import Any

_UNARY: dict[str, Callable[[Any], Any]] = {
    "__str__": str,
    "__repr__": repr,
    "__bytes__": bytes,
    "__hash__": hash,
    "__bool__": bool,
    "__len__": len,
    "__iter__": iter,
    "__next__": next,
    "__reversed__": reversed,
    "__neg__": operator.neg,
    "__pos__": operator.pos,
    "__abs__": abs,
    "__invert__": operator.invert,
    "__int__": int,
    "__float__": float,
    "__complex__": complex,
    "__index__": operator.index,
    "__enter__": lambda thing: thing.__enter__(),
    "__copy__": copy.copy,
}
_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "truediv": operator.truediv,
    "floordiv": operator.floordiv,
    "mod": operator.mod,
    "divmod": divmod,
    "pow": operator.pow,
    "lshift": operator.lshift,
    "rshift": operator.rshift,
    "and": operator.and_,
    "xor": operator.xor,
    "or": operator.or_,
}
_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "__lt__": operator.lt,
    "__le__": operator.le,
    "__gt__": operator.gt,
    "__ge__": operator.ge,
    "__eq__": operator.eq,
    "__ne__": operator.ne,
    "__getitem__": operator.getitem,
    "__delitem__": operator.delitem,
    "__contains__": operator.contains,
    "__deepcopy__": copy.deepcopy,
    **{f"__{name}__": operation for name, operation in _ARITHMETIC.items()},
}


class _OnInstances(str):
    """Text that the class has of its own (``__module__``, ``__doc__``), and an instance takes from what it stands for."""

    __slots__ = ("attribute",)
    attribute: str

    def __get__(self, instance: Proxy | None, owner: type[Proxy]) -> Any:
        return self if instance is None else getattr(instance._get_current_object(), self.attribute)


def _on_instances(attribute: str, own: str | None) -> Any:
    text = _OnInstances(own or "")
    text.attribute = attribute
    return text


class Proxy:
    """Forwards everything to what ``local(*args, **kwargs)`` answers, each time anew.

    Parameters:
        local: makes or finds the object.
        name: shown as ``__name__``. __doc__: shown as that; without them it is the object's.
    """

    # With a __dict__ of its own, under the object's: a __doc__ of its own lies there, and what libraries put past it.
    __slots__ = ("__dict__", "__weakref__", "_proxy_args", "_proxy_kwargs", "_proxy_local", "_proxy_name")

    def __init__(
        self,
        local: Callable[..., Any],
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        name: str | None = None,
        __doc__: str | None = None,
    ) -> None:
        put = object.__setattr__
        put(self, "_proxy_local", local)
        put(self, "_proxy_args", args or ())
        put(self, "_proxy_kwargs", kwargs or {})
        put(self, "_proxy_name", name)
        if __doc__ is not None:
            put(self, "__doc__", __doc__)

    def _get_current_object(self) -> Any:
        """The object itself, for code that must not keep the stand-in."""
        get = object.__getattribute__
        return get(self, "_proxy_local")(*get(self, "_proxy_args"), **get(self, "_proxy_kwargs"))

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return self._get_current_object().__class__  # type: ignore[no-any-return]

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        try:
            return self._get_current_object().__dict__  # type: ignore[no-any-return]
        except RuntimeError:
            raise AttributeError("__dict__") from None

    @property
    def __members__(self) -> list[str]:
        return self.__dir__()

    def __dir__(self) -> list[str]:
        try:
            return dir(self._get_current_object())
        except RuntimeError:
            return []

    def __getattr__(self, name: str) -> Any:
        if name in ("__name__", "__qualname__"):
            given = object.__getattribute__(self, "_proxy_name")
            if given:
                return given
        return getattr(self._get_current_object(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._get_current_object(), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._get_current_object(), name)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._get_current_object()[key] = value

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._get_current_object()(*args, **kwargs)

    def __exit__(self, *exc_info: Any) -> Any:
        return self._get_current_object().__exit__(*exc_info)

    def __reduce__(self) -> Any:
        return self._get_current_object().__reduce__()


def _unary(name: str, operation: Callable[[Any], Any]) -> Callable[[Proxy], Any]:
    def forward(self: Proxy) -> Any:
        return operation(self._get_current_object())

    forward.__name__ = name
    return forward


def _binary(name: str, operation: Callable[[Any, Any], Any]) -> Callable[[Proxy, Any], Any]:
    def forward(self: Proxy, other: Any) -> Any:
        return operation(self._get_current_object(), other)

    forward.__name__ = name
    return forward


def _reflected(name: str, operation: Callable[[Any, Any], Any]) -> Callable[[Proxy, Any], Any]:
    def forward(self: Proxy, other: Any) -> Any:
        return operation(other, self._get_current_object())

    forward.__name__ = name
    return forward


def _repr(self: Proxy) -> str:
    try:
        return repr(self._get_current_object())
    except RuntimeError:  # an app that refuses to finalize by itself
        return f"<{type(self).__name__} unbound>"


for _name, _operation in _UNARY.items():
    setattr(Proxy, _name, _unary(_name, _operation))
for _name, _operator in _BINARY.items():
    setattr(Proxy, _name, _binary(_name, _operator))
for _name, _operator in _ARITHMETIC.items():
    setattr(Proxy, f"__r{_name}__", _reflected(f"__r{_name}__", _operator))
Proxy.__module__ = _on_instances("__module__", "celery.local")
Proxy.__doc__ = _on_instances("__doc__", Proxy.__doc__)
Proxy.__repr__ = _repr  # type: ignore[method-assign, assignment]


class PromiseProxy(Proxy):
    """A proxy whose object is made once, on first use, and kept."""

    __slots__ = ("__pending__", "_promise_thing")

    def _get_current_object(self) -> Any:
        try:
            return object.__getattribute__(self, "_promise_thing")
        except AttributeError:
            return self.__evaluate__()

    def __then__(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call ``fun`` when the object has been made (at once if it has)."""
        if self.__evaluated__():
            return fun(*args, **kwargs)
        try:
            pending = object.__getattribute__(self, "__pending__")
        except AttributeError:
            pending = []
            object.__setattr__(self, "__pending__", pending)
        pending.append((fun, args, kwargs))
        return None

    def __evaluated__(self) -> bool:
        try:
            object.__getattribute__(self, "_promise_thing")
        except AttributeError:
            return False
        return True

    def __maybe_evaluate__(self) -> Any:
        return self._get_current_object()

    def __evaluate__(self) -> Any:
        thing = Proxy._get_current_object(self)
        object.__setattr__(self, "_promise_thing", thing)
        try:
            pending = object.__getattribute__(self, "__pending__")
        except AttributeError:
            return thing
        try:
            while pending:
                fun, args, kwargs = pending.pop(0)
                fun(*args, **kwargs)
        finally:
            if not pending:
                object.__delattr__(self, "__pending__")
        return thing


def maybe_evaluate(value: Any) -> Any:
    """The object behind a promise; anything else as it is."""
    try:
        return value.__maybe_evaluate__()
    except AttributeError:
        return value


def unwrap(value: Any) -> Any:
    """The object behind any proxy; anything else as it is."""
    return value._get_current_object() if issubclass(type(value), Proxy) else value


def try_import(module: str, default: Any = None) -> Any:
    """The module, or the default where it cannot be imported."""
    try:
        return importlib.import_module(module)
    except ImportError:
        return default


class class_property:  # noqa: N801 - Celery's name
    """A property of a class, which its instances have, too.

    Parameters:
        getter, setter: called with the class.
    """

    __class_getitem__: Any = classmethod(GenericAlias)

    def __init__(self, getter: Callable[[Any], Any] | None = None, setter: Callable[[Any, Any], Any] | None = None) -> None:
        self._get = _of_class(getter)
        self._set = _of_class(setter)
        self.__doc__ = getattr(getter, "__doc__", None)

    def __get__(self, obj: Any, type: type | None = None) -> Any:
        owner = obj.__class__ if type is None else type
        return self if self._get is None else self._get(owner)

    def __set__(self, obj: Any, value: Any) -> None:
        if self._set is None:
            raise AttributeError("this property of the class cannot be set")
        self._set(obj.__class__, value)

    def setter(self, setter: Callable[[Any, Any], Any]) -> class_property:
        """The same property that can be set: a decorator."""
        return type(self)(self._get, setter)


def _of_class(function: Any) -> Any:
    """The function itself, of a class method."""
    return getattr(function, "__func__", function)


def reclassmethod(method: Any) -> classmethod[Any, Any, Any]:
    """A class method from the function of one."""
    return classmethod(getattr(method, "__func__", method))
