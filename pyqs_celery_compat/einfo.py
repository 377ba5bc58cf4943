"""An exception with its traceback as text, as handlers and signals get it.

Owns: ``ExceptionInfo`` and ``ExceptionWithTraceback``, with the attributes of billiard's. Live in the process that ran the
task; both can be pickled, because billiard's pools, which may be there for other things, send them.
"""

from __future__ import annotations

import sys
import traceback as traceback_module
from types import TracebackType
from typing import Any


class ExceptionInfo:
    """What went wrong.

    Parameters:
        exc_info: as ``sys.exc_info()`` has it; None takes the exception being handled.
        internal: True for Ignore and Reject, which are no errors.

    Attributes:
        type, tb: of the exception. traceback: as text.
    """

    #: Made when somebody asks.
    _wrapped: BaseException | None = None

    def __init__(
        self,
        exc_info: tuple[type[BaseException] | None, BaseException | None, TracebackType | None] | None = None,
        internal: bool = False,
    ) -> None:
        self.type, self._exc, self.tb = exc_info or sys.exc_info()
        self.traceback = "".join(traceback_module.format_exception(self.type, self._exc, self.tb))
        self.internal = internal

    @classmethod
    def of(cls, exc: BaseException, *, internal: bool = False) -> ExceptionInfo:
        """The same from an exception that carries its traceback."""
        return cls((type(exc), exc, exc.__traceback__), internal)

    @property
    def exception(self) -> BaseException | None:
        """The exception as billiard wraps it, what was raised being its ``exc``; in another process than its own, itself."""
        if self._wrapped is None and self._exc is not None:
            self._wrapped = ExceptionWithTraceback(self._exc, self.traceback)
        return self._wrapped

    @property
    def exc_info(self) -> tuple[type[BaseException] | None, BaseException | None, TracebackType | None]:
        """As ``sys.exc_info()`` has it, but for the wrapper."""
        return self.type, self.exception, self.tb

    @property
    def raised(self) -> BaseException | None:
        """What was raised, or what stands for it, without its wrapper."""
        return self._exc

    @raised.setter
    def raised(self, exc: BaseException) -> None:
        self._exc, self._wrapped = exc, None

    def __str__(self) -> str:
        return self.traceback

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.exception!r}>"

    def __getstate__(self) -> dict[str, Any]:
        wrapped = self.exception  # which is the exception again where it arrives
        return {**self.__dict__, "tb": None, "_exc": wrapped, "_wrapped": wrapped}


class ExceptionWithTraceback(Exception):
    """An exception on its way to another process, where it is the exception again, with the traceback's text as its cause.

    Parameters:
        exc: the exception. tb: its traceback, or the text of it.
    """

    def __init__(self, exc: BaseException, tb: TracebackType | str | None) -> None:
        super().__init__()
        self.exc = exc
        self.tb = tb if isinstance(tb, str) else "".join(traceback_module.format_exception(type(exc), exc, tb))

    def __str__(self) -> str:
        return self.tb

    def __reduce__(self) -> tuple[Any, ...]:
        return _with_cause, (self.exc, self.tb)


class _RemoteTraceback(Exception):
    """The traceback of another process, as text."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


def _with_cause(exc: BaseException, tb: str) -> BaseException:
    exc.__cause__ = _RemoteTraceback(tb)
    return exc
