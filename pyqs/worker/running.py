"""A task that runs in an executor, as the worker knows it.

Owns: since when it runs, when its executor is killed for its sake, and why. Pure; made and changed by a ``Slot``, in the pool
thread. Never kills anything.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyqs.wire import Started


@dataclass(eq=False, slots=True)
class Running:
    """One task.

    Parameters:
        frame: what its executor has said of it.
        at: boot-time second at which it has begun.
        acked_early: its message is deleted because it has started.
        kill_at: boot-time second at which its executor is killed, None for never; ``kill_reason``: why.
        called_off: the signal by which it was called off, 0 if it was not.
    """

    frame: Started
    at: float
    acked_early: bool = False
    kill_at: float | None = None
    kill_reason: str = ""
    called_off: int = 0

    def __str__(self) -> str:
        return f"{self.frame.task}[{self.frame.call_id}]"

    @classmethod
    def begun(cls, frame: Started, now: float, *, fifo: bool, killed: bool, grace: float) -> Running:
        """From now on its hard limit runs. If our kill was on its way by then, it is not acked any more.

        Parameters:
            grace: seconds beyond its limit, in which its executor may end it alone.
        """
        one = cls(frame, min(frame.at or now, now), frame.ack_early and not (fifo or killed))
        if frame.time_limit is not None:
            one.kill_at = one.at + frame.time_limit + grace
            one.kill_reason = f"task {one} passed its time limit of {frame.time_limit:g} s"
        return one

    def call_off(self, number: int, at: float) -> None:
        """It was called off, by this signal: its executor is killed then."""
        self.called_off, self.kill_at = number, at
        self.kill_reason = f"task {self} was called off"
