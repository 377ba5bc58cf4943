"""Functions on functions and sequences.

Owns: what ``celery.utils.functional`` has beyond kombu's. Pure. Never runs a function that it only looks at.
"""

from __future__ import annotations

import inspect
import operator
from collections import UserList
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import count, islice, tee, zip_longest
from typing import Any

from kombu.utils.functional import (
    LRUCache,
    dictfilter,
    is_list,
    lazy,
    maybe_evaluate,
    maybe_list,
    memoize,
)

__all__ = [
    "LRUCache",
    "chunks",
    "dictfilter",
    "first",
    "firstmethod",
    "fun_accepts_kwargs",
    "head_from_fun",
    "is_list",
    "lazy",
    "mattrgetter",
    "maybe",
    "maybe_evaluate",
    "maybe_list",
    "memoize",
    "mlazy",
    "noop",
    "padlist",
    "regen",
    "uniq",
]


class mlazy(lazy):  # type: ignore[misc, unused-ignore]  # noqa: N801 - Celery's name
    """A value that is computed once, when it is first asked for."""

    evaluated = False
    _value: Any = None

    def evaluate(self) -> Any:
        """The value."""
        if not self.evaluated:
            self._value = super().evaluate()  # type: ignore[no-untyped-call]
            self.evaluated = True
        return self._value


def noop(*args: Any, **kwargs: Any) -> None:
    """Nothing, whatever the arguments."""


def pass1(arg: Any, *args: Any, **kwargs: Any) -> Any:
    """The first argument."""
    return arg


def evaluate_promises(it: Iterable[Any]) -> Iterator[Any]:
    """The values, those computed that are lazy."""
    return (value() if isinstance(value, mlazy) else value for value in it)


def first(predicate: Callable[[Any], Any] | None, it: Iterable[Any]) -> Any:
    """The first value that fits, or that is not None where there is no predicate; None if there is none."""
    fits = predicate or (lambda value: value is not None)
    return next((value for value in evaluate_promises(it) if fits(value)), None)


def firstmethod(method: str, on_call: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """A function of objects: the first answer of this method of theirs that is not None.

    Parameters:
        on_call: makes the answer of one, ``on_call(object's method, *args, **kwargs)``.
    """

    def matcher(it: Iterable[Any], *args: Any, **kwargs: Any) -> Any:
        for obj in it:
            found = getattr(maybe_evaluate(obj), method, None)  # type: ignore[no-untyped-call, unused-ignore]
            if found is None:
                continue
            answer = on_call(found, *args, **kwargs) if on_call else found(*args, **kwargs)
            if answer is not None:
                return answer
        return None

    return matcher


def chunks(it: Iterator[Any], n: int) -> Iterator[list[Any]]:
    """Lists of ``n`` values each, the last may be shorter."""
    for item in it:
        yield [item, *islice(it, n - 1)]


def padlist(container: Sequence[Any], size: int, default: Any = None) -> list[Any]:
    """The first ``size`` values, filled up with the default."""
    return list(container)[:size] + [default] * (size - len(container))


def mattrgetter(*attrs: str) -> Callable[[Any], dict[str, Any]]:
    """A function of an object: these attributes of it, None for one that it has not."""
    return lambda obj: {attr: getattr(obj, attr, None) for attr in attrs}


def uniq(it: Iterable[Any]) -> Iterator[Any]:
    """Each value once, in the order in which they came."""
    return iter(dict.fromkeys(it))


def lookahead(it: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """Each value with the one after it; the last with None."""
    these, those = tee(it)
    next(those, None)
    return zip_longest(these, those)


def regen(it: Any) -> Any:
    """Something that can be iterated again and indexed, from what can be iterated once; lists and tuples as they are."""
    return it if isinstance(it, (list, tuple)) or it is None else _Regen(it)


class _Regen(UserList):  # type: ignore[type-arg, unused-ignore]
    """Remembers what it has drawn from an iterator, and draws no more than is asked for."""

    def __init__(self, it: Iterable[Any]) -> None:
        self._consumed: list[Any] = []
        self._it = iter(it)
        self._done = False
        self._functions: list[Callable[[Any], Any]] = []

    @property
    def data(self) -> list[Any]:  # type: ignore[override]
        while self._draw():
            pass
        return self._consumed

    def fully_consumed(self) -> bool:
        """Whether the iterator has ended."""
        return self._done

    def map(self, func: Callable[[Any], Any]) -> None:
        """Apply a function to every value, those to come included."""
        self._consumed[:] = [func(value) for value in self._consumed]
        self._functions.append(func)

    def _draw(self) -> bool:
        """Draw one more value; False if there is none."""
        if self._done:
            return False
        try:
            value = next(self._it)
        except StopIteration:
            self._done = True
            return False
        for function in self._functions:
            value = function(value)
        self._consumed.append(value)
        return True

    def __iter__(self) -> Iterator[Any]:
        # By index: others may draw, or iterate, in the meantime.
        for index in count():
            if index >= len(self._consumed) and not self._draw():
                return
            yield self._consumed[index]

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, int) and index >= 0:
            while len(self._consumed) <= index and self._draw():
                pass
            return self._consumed[index]
        return self.data[index]

    def __len__(self) -> int:
        return len(self.data)

    def __length_hint__(self) -> int:
        return operator.length_hint(self._it)

    def __bool__(self) -> bool:
        return bool(self._consumed) or self._draw()

    def __contains__(self, value: object) -> bool:
        return value in self.data

    def __eq__(self, other: object) -> bool:
        return self.data == (other.data if isinstance(other, _Regen) else other)

    __hash__ = None

    def __repr__(self) -> str:
        shown = [*map(repr, self._consumed), *(() if self._done else ("...",))]
        return f"<{type(self).__name__}: [{', '.join(shown)}]>"

    def __reduce__(self) -> Any:
        return list, (self.data,)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Regen:
        from copy import deepcopy

        return _Regen(deepcopy(self.data, memo))


def head_from_fun(fun: Callable[..., Any], bound: bool = False) -> Callable[..., Any]:
    """A function with the same parameters that does nothing but check its arguments.

    Parameters:
        fun: a function, or an object that can be called.
        bound: leave out the first parameter, which is the task.
    """
    name: str = getattr(fun, "__name__", type(fun).__name__)
    function: Any = getattr(fun, "__func__", fun)
    if not isinstance(fun, partial) and not inspect.isroutine(fun):
        function = type(fun).__call__  # with its first parameter, as functions have it
    signature = inspect.signature(function, follow_wrapped=False)
    if bound:
        signature = signature.replace(parameters=list(signature.parameters.values())[1:])

    def head(*args: Any, **kwargs: Any) -> int:
        try:
            signature.bind(*args, **kwargs)
        except TypeError as exc:
            raise TypeError(f"{name}() {exc}") from None
        return 1

    head.__name__ = name
    head.__signature__ = signature  # type: ignore[attr-defined]
    return head


def _parameters(fun: Callable[..., Any]) -> inspect.FullArgSpec:
    return inspect.getfullargspec(fun)


def arity_greater(fun: Callable[..., Any], n: int) -> bool:
    """Whether it takes more than ``n`` positional arguments."""
    spec = _parameters(fun)
    return bool(spec.varargs) or len(spec.args) > n


def fun_takes_argument(name: str, fun: Callable[..., Any], position: int | None = None) -> bool:
    """Whether it takes an argument of this name, or, where a position is given, that many arguments."""
    spec = _parameters(fun)
    return bool(
        spec.varkw or spec.varargs or (len(spec.args) >= position if position else name in (*spec.args, *spec.kwonlyargs))
    )


def fun_accepts_kwargs(fun: Callable[..., Any]) -> bool:
    """Whether it takes any keyword."""
    return any(one.kind is one.VAR_KEYWORD for one in inspect.signature(fun).parameters.values())


def maybe(typ: Callable[[Any], Any], val: Any) -> Any:
    """The value made this type, None as it is."""
    return typ(val) if val is not None else val


def seq_concat_item(seq: Any, item: Any) -> Any:
    """A list or tuple with one more item: a new one, of the same type."""
    return type(seq)([*seq, item])


def seq_concat_seq(a: Any, b: Any) -> Any:
    """Two lists or tuples in one, of the longer one's type."""
    return type(max((a, b), key=len))([*a, *b])


def is_numeric_value(value: Any) -> bool:
    """Whether it is a number; True and False are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


class DummyContext:
    """A context manager that does nothing."""

    def __enter__(self) -> DummyContext:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        pass
