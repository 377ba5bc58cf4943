"""Which signal asks the worker for what, and who hears of it.

Owns: that table, and the handlers of the process from the first moment of ``pyqs worker`` to its end. In the main thread only.
A handler takes a note and rings; before there is a worker to tell, it ends what is being done, however long that would take.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Mapping
from types import FrameType

log = logging.getLogger(__name__)

#: Celery's variable: with the value "SIGQUIT", the one it knows, SIGTERM means what SIGQUIT means.
REMAP_SIGTERM = "REMAP_SIGTERM"


def orders(environ: Mapping[str, str] | None = None) -> dict[int, str]:
    """Signal -> "drain" (in order), "interrupt" (without waiting for open polls) or "stop" (at once)."""
    table: dict[int, str] = {signal.SIGTERM: "drain", signal.SIGINT: "interrupt", signal.SIGQUIT: "stop"}
    remapped = (os.environ if environ is None else environ).get(REMAP_SIGTERM, "")
    if remapped == "SIGQUIT":
        table[signal.SIGTERM] = table[signal.SIGQUIT]
    elif remapped:
        log.warning("%s=%r is ignored, it can only be SIGQUIT: SIGTERM stops the worker in order", REMAP_SIGTERM, remapped)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # nohup ignores it, a terminal that closes sends it
        table[signal.SIGHUP] = "drain"
    return table


class ToldToStop(BaseException):
    """A signal came before there was a worker; its text is the signal's name."""


class Signals:
    """Takes the signals of this process, and passes orders on."""

    def __init__(self) -> None:
        self._table: dict[int, str] = {}
        self._previous: dict[int, signal._HANDLER] = {}
        self._listener: Callable[[str], None] | None = None
        self._told: str | None = None

    def take(self) -> bool:
        """Put our handlers in place; False when they are there, or this is not the main thread."""
        if self._previous or threading.current_thread() is not threading.main_thread():
            return False
        self._table = orders()
        for number in self._table:
            self._previous[number] = signal.signal(number, self._note)
        return True

    def give_back(self) -> None:
        """Put back the handlers that were there before."""
        for number, handler in self._previous.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self._previous.clear()

    def tell(self, listener: Callable[[str], None]) -> None:
        """From now on orders are for this one, which must only take a note."""
        self._listener = listener
        if self._told is not None:  # what was to end has gone on nevertheless
            listener(self._told)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self._listener is not None:
            self._listener(self._table[number])
        elif self._told is None:
            self._told = self._table[number]
            raise ToldToStop(signal.Signals(number).name)
