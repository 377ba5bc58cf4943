"""What follows in the worker from a call that was called off: executors are told, and what runs is killed if that was asked.

Owns: the pool's view of the calls that were called off, and whether deliveries wait until it is known which those are. Used by
the pool thread only. Never settles a delivery: a killed executor's estate is settled as any, and an executor that does not
start one says so itself.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from pyqs.called_off import CalledOffCalls
from pyqs.clock import boottime
from pyqs.message import CalledOff
from pyqs.wire import CallOff, Ready
from pyqs.worker.slot import Slot

log = logging.getLogger(__name__)

#: Seconds in which the host should have said what was called off before; then tasks start without.
PATIENCE = 30.0
#: So many calls go into one frame.
IN_A_FRAME = 1000


class CallsOff:
    """The calls that were called off."""

    def __init__(self) -> None:
        self._calls = CalledOffCalls()
        self._heard = False
        self._awaited_until: float | None = None

    @property
    def awaited(self) -> bool:
        """Whether nothing may start yet: what was called off before this worker was there is still unknown."""
        if self._awaited_until is None:
            return False
        if boottime() >= self._awaited_until:
            self._awaited_until = None
            log.warning("the host does not say which calls were called off; tasks start without knowing")
        return self._awaited_until is not None

    def welcome(self, slot: Slot, ready: Ready) -> None:
        """A new executor hears of what was called off so far."""
        if ready.watches and not self._heard and self._awaited_until is None:
            self._awaited_until = boottime() + PATIENCE
        self._tell(slot, tuple(self._calls.by_id.values()))

    def add(self, calls: Sequence[CalledOff], slots: Iterable[Slot]) -> None:
        """The host's word. What has begun and is not known to have is killed when that is noticed."""
        self._heard, self._awaited_until = True, None
        news = self._calls.add(calls)
        for slot in slots:
            if slot.ready:
                self._tell(slot, news)
                self.look_at(slot)

    def look_at(self, slot: Slot) -> None:
        """Kill what runs in it, if that was asked for it and somebody can say what becomes of it."""
        if self._calls.by_id:
            for one in slot.running.values():
                call = self._calls.by_id.get(one.frame.call_id) if one.frame.tells else None
                if call is not None and call.signal:
                    slot.call_off(one, call.signal)

    def _tell(self, slot: Slot, calls: Sequence[CalledOff]) -> None:
        for at in range(0, len(calls), IN_A_FRAME):
            slot.send(CallOff(tuple(calls[at : at + IN_A_FRAME])))
