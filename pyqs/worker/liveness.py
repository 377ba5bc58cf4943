"""Whether the worker is alive: what a restart could mend, and nothing else.

Owns: the judgement over every pulse. For any thread; one must ask every second or so, or a pause is not noticed. Never fails
because SQS does not answer, because an import takes long, or because the worker stops in order.
"""

from __future__ import annotations

from collections.abc import Callable

from pyqs.clock import boottime
from pyqs.worker.service import Pulse

#: Seconds between two looks after which this whole process has been stopped, or its machine suspended: no thread hung.
PAUSE = 10.0


class Liveness:
    """Judges pulses. Their age is counted from the end of the last pause of the process, if that is later."""

    def __init__(self, clock: Callable[[], float] = boottime) -> None:
        self._clock = clock
        self._pulses: tuple[Pulse, ...] = ()
        self._looked_at = clock()
        self._awake_since = float("-inf")
        self._failure: str | None = None

    def watch(self, *pulses: Pulse | None) -> None:
        """Judge these, too."""
        self._pulses += tuple(pulse for pulse in pulses if pulse is not None)

    def fail(self, why: str) -> None:
        """Something has happened that only a restart mends; the first reason stays."""
        self._failure = self._failure or why

    def failure(self) -> str | None:
        """What is wrong, in one line; None while the worker is alive."""
        now = self._clock()
        if now - self._looked_at > PAUSE:
            self._awake_since = now
        self._looked_at = now
        if self._failure is not None:
            return self._failure
        for pulse in self._pulses:
            beaten_at = pulse.beaten_at
            if beaten_at is not None:
                age = now - max(beaten_at, self._awake_since)
                if age > pulse.tolerance:
                    return f"{pulse.name}: {pulse.lacking} for {age:.0f} s"
        return None
