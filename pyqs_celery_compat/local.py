"""Stand-ins for objects that exist later: the current app, and tasks whose app is not finalized yet.

Owns: ``Proxy`` (looks its object up on every use), ``PromiseProxy`` (makes it once, on first use) and
``maybe_evaluate``. Pure. A proxy answers ``isinstance`` and ``==`` as its object does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_UNARY = (
    "__str__", "__repr__", "__bytes__", "__hash__", "__bool__", "__len__", "__iter__", "__next__", "__reversed__",
    "__neg__", "__pos__", "__abs__", "__invert__", "__int__", "__float__", "__complex__", "__index__", "__enter__",
    "__copy__", "__dir__",
)  # fmt: skip
_BINARY = (
    "__lt__", "__le__", "__gt__", "__ge__", "__eq__", "__ne__", "__add__", "__sub__", "__mul__", "__floordiv__",
    "__truediv__", "__mod__", "__divmod__", "__pow__", "__lshift__", "__rshift__", "__and__", "__xor__", "__or__",
    "__radd__", "__rsub__", "__rmul__", "__ror__", "__rand__", "__getitem__", "__delitem__", "__contains__",
    "__deepcopy__",
)  # fmt: skip
_OPERATORS: dict[str, Callable[..., Any]] = {
    "__str__": str,
    "__repr__": repr,
    "__bytes__": bytes,
    "__hash__": hash,
    "__bool__": bool,
    "__len__": len,
    "__iter__": iter,
    "__next__": next,
    "__int__": int,
    "__float__": float,
    "__complex__": complex,
    "__abs__": abs,
    "__dir__": dir,
    "__reversed__": reversed,
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
        name: shown as ``__name__``.
    """

    __slots__ = ("__weakref__", "_proxy_args", "_proxy_kwargs", "_proxy_local", "_proxy_name")

    def __init__(
        self,
        local: Callable[..., Any],
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        name: str | None = None,
    ) -> None:
        put = object.__setattr__
        put(self, "_proxy_local", local)
        put(self, "_proxy_args", args or ())
        put(self, "_proxy_kwargs", kwargs or {})
        put(self, "_proxy_name", name)

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


def _unary(name: str) -> Callable[[Proxy], Any]:
    operation = _OPERATORS.get(name)
    if operation is not None:

        def forward(self: Proxy) -> Any:
            return operation(self._get_current_object())
    else:

        def forward(self: Proxy) -> Any:
            return getattr(self._get_current_object(), name)()

    forward.__name__ = name
    return forward


def _binary(name: str) -> Callable[[Proxy, Any], Any]:
    def forward(self: Proxy, other: Any) -> Any:
        return getattr(self._get_current_object(), name)(other)

    forward.__name__ = name
    return forward


def _repr(self: Proxy) -> str:
    try:
        return repr(self._get_current_object())
    except RuntimeError:  # an app that refuses to finalize by itself
        return f"<{type(self).__name__} unbound>"


for _method in _UNARY:
    setattr(Proxy, _method, _unary(_method))
for _method in _BINARY:
    setattr(Proxy, _method, _binary(_method))
Proxy.__module__ = _on_instances("__module__", __name__)
Proxy.__doc__ = _on_instances("__doc__", Proxy.__doc__)
Proxy.__repr__ = _repr  # type: ignore[method-assign, assignment]


class PromiseProxy(Proxy):
    """A proxy whose object is made once, on first use, and kept."""

    __slots__ = ("_promise_pending", "_promise_thing")

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
            pending = object.__getattribute__(self, "_promise_pending")
        except AttributeError:
            pending = []
            object.__setattr__(self, "_promise_pending", pending)
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
            pending = object.__getattribute__(self, "_promise_pending")
        except AttributeError:
            return thing
        while pending:
            fun, args, kwargs = pending.pop(0)
            fun(*args, **kwargs)
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
