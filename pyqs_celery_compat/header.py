"""The call signature of a task's function, checked where the task is called rather than where it runs.

Owns: ``Header``. Pure.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


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
        try:
            signature = inspect.signature(fun)
        except (TypeError, ValueError):  # a callable without a readable signature takes anything
            self.signature = None
        else:
            parameters = list(signature.parameters.values())
            if bound and parameters and parameters[0].kind in _POSITIONAL:
                parameters = parameters[1:]
            self.signature = signature.replace(parameters=parameters)

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        if self.signature is None:
            return
        try:
            self.signature.bind(*args, **kwargs)
        except TypeError as exc:
            raise TypeError(f"{self.name}() {exc}") from None

    def more_than_one_left(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        """True if, after these stored arguments, more than one positional parameter is open."""
        if self.signature is None:
            return False
        parameters = list(self.signature.parameters.values())
        if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters):
            return True
        positional = [p for p in parameters if p.kind in _POSITIONAL and p.name not in kwargs]
        return len(positional) - len(args) > 1
