"""``pydantic=True``: arguments and results of a task that are pydantic models.

Owns: ``Models``: models out of what a message says, where the task runs, and plain data out of models, where it is called and
where it returns. Imported only for such a task, because pydantic takes long to load. Never changes an argument whose annotation
is no model.
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from pyqs_celery_compat.exceptions import ImproperlyConfigured

_COLLECTING = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class Models:
    """What a function's annotations say of models.

    Parameters:
        fun: the function. bound: its first parameter is the task.
        strict, context: as for pydantic's ``model_validate``. dump: keywords for ``model_dump``, on top of ``mode="json"``.

    Raises:
        ImproperlyConfigured: pydantic is not installed.
    """

    def __init__(
        self, fun: Callable[..., Any], *, bound: bool, strict: bool, context: Any, dump: Mapping[str, Any] | None
    ) -> None:
        try:
            from pydantic import BaseModel
        except ImportError:
            name = getattr(fun, "__name__", repr(fun))
            raise ImproperlyConfigured(f"task {name} has pydantic=True, and pydantic is not installed") from None
        self._base = BaseModel
        self._fun = fun
        self._signature = inspect.signature(fun)
        self._bound = bound
        self._how = {"strict": strict, "context": context}
        self._dump = {"mode": "json", **(dump or {})}

    @functools.cached_property
    def _annotated(self) -> dict[str, type[Any]]:
        """Parameter, or "return", -> model. Read at the first call: an annotation may name a class that comes later."""
        try:
            hints = typing.get_type_hints(self._fun)
        except (NameError, TypeError):
            hints = getattr(self._fun, "__annotations__", {})
        found = {name: _without_none(hint) for name, hint in hints.items()}
        collecting = {p.name for p in self._signature.parameters.values() if p.kind in _COLLECTING}
        return {
            name: hint
            for name, hint in found.items()
            if isinstance(hint, type) and issubclass(hint, self._base) and name not in collecting
        }

    def running(self) -> Callable[..., Any]:
        """The function, which gets models and answers plain data."""

        @functools.wraps(self._fun)
        def run(*args: Any, **kwargs: Any) -> Any:
            given = self._signature.bind(*args, **kwargs)
            for name, model in self._of(given):
                if given.arguments[name] is not None:
                    given.arguments[name] = model.model_validate(given.arguments[name], **self._how)
            returned = self._fun(*given.args, **given.kwargs)
            return self._data_of_awaited(returned) if isinstance(returned, Coroutine) else self._data_of(returned)

        return run

    def _data_of(self, returned: Any) -> Any:
        model = self._annotated.get("return")
        return returned.model_dump(**self._dump) if model is not None and isinstance(returned, model) else returned

    async def _data_of_awaited(self, body: Coroutine[Any, Any, Any]) -> Any:
        return self._data_of(await body)

    def dumped(self, args: Any, kwargs: Mapping[str, Any] | None) -> tuple[Any, Any]:
        """The arguments of a call with plain data for those models that come out of it equal; the others stay, and so do
        arguments that do not fit."""
        task = (None,) if self._bound else ()
        try:
            given = self._signature.bind(*task, *(args or ()), **(kwargs or {}))
        except TypeError:
            return args, kwargs
        changed: dict[int, Any] = {}
        for name, model in self._of(given):
            value = given.arguments[name]
            if isinstance(value, model) and (data := self._plain(model, value)) is not None:
                changed[id(value)] = data
        if not changed:
            return args, kwargs
        return (
            [changed.get(id(value), value) for value in args or ()],
            {name: changed.get(id(value), value) for name, value in (kwargs or {}).items()},
        )

    def _of(self, given: inspect.BoundArguments) -> list[tuple[str, Any]]:
        return [(name, self._annotated[name]) for name in given.arguments if name in self._annotated]

    def _plain(self, model: Any, value: Any) -> Any:
        try:
            data = value.model_dump(**self._dump)
            return data if model.model_validate(data, **self._how) == value else None
        except Exception:  # a model's own validators and serializers may raise anything; then it is not plain data
            return None


def _without_none(hint: Any) -> Any:
    """``X`` of ``Optional[X]``; anything else as it is."""
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return hint
    left = [one for one in typing.get_args(hint) if one is not type(None)]
    return left[0] if len(left) == 1 else hint
