"""An exception with its traceback as text, as handlers and signals get it.

Owns: ``ExceptionInfo``, with the attributes of billiard's. Lives in the process that ran the task.
"""

from __future__ import annotations

import sys
import traceback as traceback_module
from types import TracebackType


class ExceptionInfo:
    """What went wrong.

    Parameters:
        exc_info: as ``sys.exc_info()`` has it; None takes the exception being handled.
        internal: True for Ignore and Reject, which are no errors.

    Attributes:
        type, exception, tb: the three parts. traceback: as text.
    """

    def __init__(
        self,
        exc_info: tuple[type[BaseException] | None, BaseException | None, TracebackType | None] | None = None,
        internal: bool = False,
    ) -> None:
        self.type, self.exception, self.tb = exc_info or sys.exc_info()
        self.traceback = "".join(traceback_module.format_exception(self.type, self.exception, self.tb))
        self.internal = internal

    @classmethod
    def of(cls, exc: BaseException, *, internal: bool = False) -> ExceptionInfo:
        """The same from an exception that carries its traceback."""
        return cls((type(exc), exc, exc.__traceback__), internal)

    @property
    def exc_info(self) -> tuple[type[BaseException] | None, BaseException | None, TracebackType | None]:
        """As ``sys.exc_info()`` has it."""
        return self.type, self.exception, self.tb

    def __str__(self) -> str:
        return self.traceback

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.exception!r}>"
