"""Whose turn it is: the executors' time that each queue has had, and what its options entitle it to.

Owns: the queues' options, and for each queue a clock that runs with the executors' time it takes, slower the greater its
weight (fair queueing by start time). The queue whose clock is behind is next. The pool thread runs the clocks, discovery brings
options, fetchers read through ``Credit``. Never holds a delivery and never looks at a message.

A queue without work saves nothing up: when it has some again, its clock is set to that of the last one that was served.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping

from pyqs.message import Delivery
from pyqs.queues.queue_options import PLAIN, QueueOptions

#: Executor-seconds (by weight) that a queue may be ahead of or behind the others; more is forgotten, so that a queue whose
#: tasks have turned out to take hours is not made to wait for hours.
LONGEST = 60.0
#: Seconds that a task is thought to take while nothing of its queue was measured.
UNKNOWN = 1.0


class Shares:
    """The clocks. Times are seconds of one executor."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._options: Mapping[str, QueueOptions] = {}
        self._clocks: dict[str, float] = {}
        #: The greatest clock at which something was begun.
        self._now = 0.0
        #: Delivery id -> what it has been charged beforehand, and for the time it has run so far.
        self._charged: dict[int, tuple[float, float]] = {}
        self._out: Counter[str] = Counter()

    # -- options --------------------------------------------------------------------------------------------------

    def learn(self, options: Mapping[str, QueueOptions]) -> None:
        """These are the queues and their options now."""
        with self._lock:
            self._options = dict(options)
            for name in [name for name in self._clocks if name not in options and not self._out[name]]:
                del self._clocks[name]

    def options(self, queue: str) -> QueueOptions:
        """What was said of this queue."""
        return self._options.get(queue, PLAIN)

    def weight(self, queue: str) -> float:
        """Its share, beside the weights of others."""
        return self.options(queue).weight

    def may_start(self, queue: str) -> bool:
        """Whether one more of its deliveries may go to an executor."""
        most = self.options(queue).max
        return most is None or self._out[queue] < most

    # -- the clocks -----------------------------------------------------------------------------------------------

    def out(self, queue: str) -> int:
        """How many of its deliveries are in executors."""
        return self._out[queue]

    def clock(self, queue: str) -> float:
        """What it has had; the queue for which this is least is next."""
        with self._lock:
            return self._bounded(queue)

    def join(self, queue: str) -> None:
        """It has work again, after it had none."""
        with self._lock:
            self._clocks[queue] = max(self._bounded(queue), self._now)

    def begin(self, delivery: Delivery, seconds: float | None) -> None:
        """It goes to an executor, where it is thought to take so long."""
        queue = delivery.queue
        with self._lock:
            self._now = max(self._now, self._bounded(queue))
            self._out[queue] += 1
            ahead = min(UNKNOWN if seconds is None else seconds, LONGEST)
            self._charged[delivery.id] = ahead, 0.0
            self._clocks[queue] += ahead / self.weight(queue)

    def runs(self, delivery: Delivery, seconds: float) -> None:
        """It has run for so long already. What it was charged beforehand is kept until its end."""
        with self._lock:
            charged = self._charged.get(delivery.id)
            if charged is not None and seconds > charged[1]:
                self._charged[delivery.id] = charged[0], seconds
                self._clocks[delivery.queue] += (seconds - charged[1]) / self.weight(delivery.queue)

    def end(self, delivery: Delivery, seconds: float | None) -> None:
        """No executor holds it any more; it took so long, None if that was not measured."""
        queue = delivery.queue
        with self._lock:
            self._out[queue] -= 1
            if not self._out[queue]:
                del self._out[queue]
            ahead, so_far = self._charged.pop(delivery.id, (0.0, 0.0))
            took = (so_far or ahead) if seconds is None else seconds
            self._clocks[queue] = self._clocks.get(queue, self._now) + (took - ahead - so_far) / self.weight(queue)

    def _bounded(self, queue: str) -> float:
        """Its clock, at most ``LONGEST`` from the others'. With the lock held."""
        leeway = LONGEST / self.weight(queue)
        clock = min(max(self._clocks.get(queue, self._now), self._now - leeway), self._now + leeway)
        self._clocks[queue] = clock
        return clock
