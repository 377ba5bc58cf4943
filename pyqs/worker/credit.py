"""How much this worker may hold: never more than can be run soon, shared fairly between queues.

Owns: what each queue's tasks take (a moving average), what is held and what is being asked for, and who may ask next.
Fetchers wait in ``acquire``; the pool reports ends. For any thread. Never talks to SQS and never looks at a message.

The unit is an executor's time. A delivery whose queue's tasks take ``d`` seconds weighs ``1 / (1 + 0.1 / d)``, so that an
executor and its share of the buffer hold one delivery while tasks are long, and about 100 ms of work while they are short.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from pyqs.clock import boottime
from pyqs.config import MAX_BATCH

#: Seconds of work that may wait beside what runs (design decision 4).
SOON = 0.1
#: Weight of the newest duration in a queue's average.
ALPHA = 0.2
#: Shortest duration believed in, seconds: what a task costs outside its function.
SHORTEST = 0.001
#: Seconds for which a receive under way counts as if it would bring all it asked for. Older ones wait on an empty queue.
CLAIM = 0.25
#: Deliveries of one queue whose verdicts may wait for SQS before nothing more is received from it.
BACKLOG = 2000


@dataclass(eq=False, slots=True)
class Grant:
    """Leave to receive ``count`` messages from a queue."""

    queue: str
    count: int
    at: float


@dataclass(eq=False, slots=True)
class _Queue:
    held: int = 0
    duration: float | None = None
    #: Failing heads of FIFO groups: message id -> boot-time second until which one message is received at a time.
    narrow: dict[str, float] = field(default_factory=dict)

    @property
    def weight(self) -> float:
        return 1.0 if self.duration is None else 1.0 / (1.0 + SOON / self.duration)


@dataclass(eq=False, slots=True)
class _Waiter:
    queue: str
    most: int
    turn: int
    condition: threading.Condition
    grant: Grant | None = None


class Credit:
    """Who may receive how much.

    Parameters:
        bound: most deliveries held at once, None for no bound beyond what can be run soon.
        backlog: how many verdicts on a queue's deliveries wait for SQS.
    """

    def __init__(
        self, *, bound: int | None = None, backlog: Callable[[str], int] = lambda _: 0, clock: Callable[[], float] = boottime
    ) -> None:
        self._bound = bound
        self._backlog = backlog
        self._clock = clock
        self._lock = threading.Lock()
        self._queues: dict[str, _Queue] = {}
        self._grants: set[Grant] = set()
        self._waiters: list[_Waiter] = []
        self._turns = itertools.count()
        self._executors = 0

    # -- fetchers -------------------------------------------------------------------------------------------------

    def acquire(self, queue: str, *, most: int = MAX_BATCH, timeout: float, stopping: threading.Event) -> Grant | None:
        """Wait for leave to receive up to ``most`` messages; None after ``timeout`` seconds or when stopping."""
        deadline = self._clock() + timeout
        with self._lock:
            waiter = _Waiter(queue, most, next(self._turns), threading.Condition(self._lock))
            self._waiters.append(waiter)
            self._hand_out()
            while waiter.grant is None:
                now = self._clock()
                if stopping.is_set() or now >= deadline:
                    self._waiters.remove(waiter)
                    return None
                claims = [grant.at + CLAIM for grant in self._grants if grant.at + CLAIM > now]
                waiter.condition.wait(min([deadline, *claims]) - now)
                if waiter.grant is None:
                    self._hand_out()
            return waiter.grant

    def received(self, grant: Grant, count: int) -> None:
        """The receive has answered, with ``count`` deliveries that are held from now on."""
        with self._lock:
            self._grants.discard(grant)
            self._queue(grant.queue).held += count
            self._hand_out()

    def hungry(self, queue: str) -> bool:
        """Whether one more receive at the same time would be of use."""
        with self._lock:
            return self._available(queue) >= self._least(queue)

    def wake(self) -> None:
        """Let every waiter look whether it should stop."""
        with self._lock:
            for waiter in self._waiters:
                waiter.condition.notify()

    # -- the pool -------------------------------------------------------------------------------------------------

    def executors(self, count: int) -> None:
        """So many executors are ready now."""
        with self._lock:
            self._executors = count
            self._hand_out()

    def ended(self, queue: str, seconds: float | None = None) -> None:
        """One delivery is no longer held; its task ran ``seconds``, None if it did not run to an end."""
        with self._lock:
            state = self._queue(queue)
            state.held -= 1
            if seconds is not None:
                sample = max(seconds, SHORTEST)
                state.duration = sample if state.duration is None else state.duration + ALPHA * (sample - state.duration)
            self._hand_out()

    def duration(self, queue: str) -> float | None:
        """Seconds that this queue's tasks take, None while nothing was measured."""
        state = self._queues.get(queue)
        return None if state is None else state.duration

    def narrow(self, queue: str, message_id: str, until: float) -> None:
        """Receive one message at a time from this FIFO queue until the failing head is gone, or ``until``."""
        with self._lock:
            self._queue(queue).narrow[message_id] = until

    def widen(self, queue: str, message_id: str) -> None:
        """This message is gone from its queue."""
        with self._lock:
            self._queue(queue).narrow.pop(message_id, None)

    @property
    def held(self) -> int:
        """Deliveries held in all."""
        with self._lock:
            return sum(state.held for state in self._queues.values())

    # -- with the lock held ---------------------------------------------------------------------------------------

    def _queue(self, name: str) -> _Queue:
        return self._queues.setdefault(name, _Queue())

    def _claimed(self) -> dict[str, int]:
        now = self._clock()
        claimed: dict[str, int] = {}
        for grant in self._grants:
            if now - grant.at < CLAIM:
                claimed[grant.queue] = claimed.get(grant.queue, 0) + grant.count
        return claimed

    def _available(self, queue: str) -> int:
        """How many more deliveries of this queue may be asked for."""
        if self._backlog(queue) >= BACKLOG:
            return 0
        claimed = self._claimed()
        load = sum(state.held * state.weight for state in self._queues.values() if state.held)
        load += sum(count * self._queue(name).weight for name, count in claimed.items())
        state = self._queue(queue)
        count = int((self._executors - load) / state.weight + 1e-9)
        if self._bound is not None:
            held = sum(one.held for one in self._queues.values()) + sum(claimed.values())
            count = min(count, self._bound - held)
        if state.narrow:
            now = self._clock()
            state.narrow = {head: until for head, until in state.narrow.items() if until > now}
            count = min(count, 1) if state.narrow else count
        return count

    def _least(self, queue: str) -> int:
        """The fewest worth a call: with short tasks a receive waits until it can bring a batch, while others still wait."""
        state = self._queue(queue)
        whole = int(self._executors / state.weight)
        if self._bound is not None:
            whole = min(whole, self._bound)
        waiting = whole - self._executors
        return max(1, min(MAX_BATCH, waiting // 2)) if state.held and not state.narrow else 1

    def _hand_out(self) -> None:
        """Give what there is to whoever holds least, then to whoever has waited longest."""
        while self._waiters:
            queues = {waiter.queue for waiter in self._waiters}
            able = {queue: count for queue in queues if (count := self._available(queue)) >= self._least(queue)}
            if not able:
                return
            # Several queues want some: none takes it all.
            share = len(able)
            candidates = [waiter for waiter in self._waiters if waiter.queue in able]
            waiter = min(candidates, key=lambda one: (self._queue(one.queue).held, one.turn))
            count = max(1, min(waiter.most, -(-able[waiter.queue] // share)))
            waiter.grant = Grant(waiter.queue, count, self._clock())
            self._grants.add(waiter.grant)
            self._waiters.remove(waiter)
            waiter.condition.notify()
