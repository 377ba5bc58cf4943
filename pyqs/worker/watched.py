"""The worker as its health, its figures and its companions look at it.

Owns: nothing but that view; everything in it belongs to others. Read by their threads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pyqs.config import WorkerConfig
from pyqs.worker.acker import Acker
from pyqs.worker.credit import Credit
from pyqs.worker.fetchers import Fetchers
from pyqs.worker.in_flight import InFlight
from pyqs.worker.leases import Leases
from pyqs.worker.pool import Pool
from pyqs.worker.report import Totals
from pyqs.worker.service import OnCrash, Pulse


@dataclass(frozen=True, slots=True)
class Watched:
    """The worker as it is looked at, from the moment in which it is composed."""

    config: WorkerConfig
    totals: Totals
    pool: Pool
    fetchers: Fetchers
    acker: Acker
    credit: Credit
    leases: Leases
    in_flight: InFlight
    #: What loops, beside the pool.
    pulses: tuple[Pulse | None, ...]
    #: Whether queues were looked for once; whether the worker stops.
    found: Callable[[], bool]
    stopping: Callable[[], bool]
    on_crash: OnCrash

    def executors(self) -> dict[str, int]:
        """How many executors do what now."""
        states = {"starting": 0, "idle": 0, "busy": 0, "leaving": 0}
        for slot in self.pool.slots:
            states["leaving" if slot.stopping else "starting" if not slot.ready else "busy" if slot.held else "idle"] += 1
        return states

    def slots_busy(self) -> int:
        """How many tasks executors have in hand, of as many as they run at a time."""
        return sum(min(len(slot.held), slot.lanes) for slot in self.pool.slots)

    def oldest(self) -> float:
        """For how many seconds the oldest running task has run; 0 without one."""
        return max((slot.since_started() for slot in self.pool.slots), default=0.0)
