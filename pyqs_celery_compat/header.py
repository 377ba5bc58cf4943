"""The call signature of a task's function, checked where the task is called rather than where it runs.

Owns: ``Header``. Pure.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_COLLECTING = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class Header:
    """Called with arguments, raises TypeError if the function does not take them.

    Parameters:
        fun: the function.
        bound: True if its first parameter is the task itself (``bind=True``).
    """

    def __init__(self, fun: Callable[..., Any], *, bound: bool) -> None:
        self.bound = bound
        self.name = getattr(fun, "__name__", repr(fun))
        self.signature: inspect.Signature | None
        #: How many positional arguments are certain to fit when nothing else is given.
        self._counts = range(0)
        #: Where every parameter may be given by name and there is no ``**kwargs``: the names, of which the first must be given.
        self._names: tuple[str, ...] = ()
        self._required = 0
        try:
            signature = inspect.signature(fun)
        except (TypeError, ValueError):  # a callable without a readable signature takes anything
            self.signature = None
        else:
            parameters = list(signature.parameters.values())
            if bound and parameters and parameters[0].kind in _POSITIONAL:
                parameters = parameters[1:]
            self.signature = signature.replace(parameters=parameters)
            self._note(parameters)

    def _note(self, parameters: Sequence[inspect.Parameter]) -> None:
        """What tells that arguments fit without ``inspect``, whose ``bind`` makes objects of them all."""
        kinds = {p.kind for p in parameters}
        needed = [p for p in parameters if p.default is p.empty and p.kind not in _COLLECTING]
        self._required = len(needed)
        if not any(p.kind is inspect.Parameter.KEYWORD_ONLY for p in needed):
            most = sys.maxsize if inspect.Parameter.VAR_POSITIONAL in kinds else sum(p.kind in _POSITIONAL for p in parameters)
            self._counts = range(self._required, most + 1)
        if kinds == {inspect.Parameter.POSITIONAL_OR_KEYWORD}:
            self._names = tuple(p.name for p in parameters)

    def _fits(self, count: int, kwargs: Mapping[str, Any]) -> bool:
        """True only if so many positional arguments and these others are certain to fit."""
        if not kwargs:
            return count in self._counts
        missing = self._names[count : self._required]
        return {*missing} <= kwargs.keys() <= {*self._names[count:]}

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        if self.signature is None or self._fits(len(args), kwargs):
            return
        try:
            self.signature.bind(*args, **kwargs)
        except TypeError as exc:
            from pyqs_celery_compat.argument_errors import reason

            said = reason(tuple(self.signature.parameters.values()), args, kwargs)
            raise TypeError(f"{self.name}() {said or exc}") from None

    def more_than_one_left(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        """True if, after these stored arguments, more than one positional parameter is open."""
        if self.signature is None:
            return False
        parameters = list(self.signature.parameters.values())
        if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters):
            return True
        positional = [p for p in parameters if p.kind in _POSITIONAL and p.name not in kwargs]
        return len(positional) - len(args) > 1
