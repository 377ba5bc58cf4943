"""How much this worker may hold: never more than can be run soon, shared fairly between queues.

Owns: what each queue's tasks take (a moving average), what is held and what is being asked for, and who may ask next.
Fetchers wait in ``acquire``; the pool reports ends. For any thread. Never talks to SQS and never looks at a message.

The unit is an executor's time. A delivery whose queue's tasks take ``d`` seconds weighs ``1 / (1 + 0.1 / d)``, so that an
executor and its share of the buffer hold one delivery while tasks are long, and about 100 ms of work while they are short. One
that turns out to be long weighs a whole executor while it runs.

There may be a thousand queues, and a task may end a thousand times a second: what is held is summed up as it changes, and the
waiting queues are gone through only when there is room for the least demanding of them.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pyqs.clock import boottime
from pyqs.config import MAX_BATCH
from pyqs.queues.queue_options import QueueOptions
from pyqs.worker.quota import Quota
from pyqs.worker.shares import UNKNOWN, Shares

#: Seconds of work that may wait beside what runs (design decision 4).
SOON = 0.1
#: Weight of the newest duration in a queue's average.
ALPHA = 0.2
#: Shortest duration believed in, seconds: what a task costs outside its function.
SHORTEST = 0.0002
#: Seconds that tasks take from which on a receive leaves room for what the open polls of other queues may still bring. With
#: shorter ones full batches are worth more, and what is too much is soon done.
LASTING = 1.0
#: Seconds for which a receive under way counts as if it would bring all it asked for. Older ones wait on an empty queue.
CLAIM = 0.25
#: Deliveries of one queue whose verdicts may wait for SQS before nothing more is received from it.
BACKLOG = 2000
#: Seconds after which is looked again whether those have become fewer: nobody says so.
RECHECK = 0.1
_NEVER = float("inf")
_ROUNDING = 1e-9


@dataclass(eq=False, slots=True)
class Grant:
    """Leave to receive ``count`` messages from a queue."""

    queue: str
    count: int
    at: float
    #: It counts as if it would bring all it asked for.
    fresh: bool = True
    #: Its receive has not answered yet, nor been given up.
    open: bool = True


@dataclass(eq=False, slots=True)
class _Queue:
    name: str
    held: int = 0
    #: Of those: run for long already; cannot start, because an earlier one of their FIFO group runs here; may not start yet.
    long: int = 0
    blocked: int = 0
    kept: int = 0
    #: Messages that fresh grants, and all open grants, may bring.
    claimed: int = 0
    asked: int = 0
    duration: float | None = None
    #: Its last receive has brought nothing.
    empty: bool = False
    #: Failing heads of FIFO groups: message id -> boot-time second until which one message is received at a time.
    narrow: dict[str, float] = field(default_factory=dict)
    #: What it adds to the whole load, as last summed up.
    load: float = 0.0
    waiters: deque[_Waiter] = field(default_factory=deque)

    @property
    def unit(self) -> float:
        """What one delivery weighs."""
        return 1.0 if self.duration is None else 1.0 / (1.0 + SOON / self.duration)


@dataclass(eq=False, slots=True)
class _Waiter:
    queue: _Queue
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
        self,
        *,
        bound: int | None = None,
        quota: Quota | None = None,
        backlog: Callable[[str], int] = lambda _: 0,
        clock: Callable[[], float] = boottime,
    ) -> None:
        self.shares = Shares()
        self._bound = bound
        self._quota = quota or Quota()
        self._backlog = backlog
        self._clock = clock
        self._lock = threading.Lock()
        self._queues: dict[str, _Queue] = {}
        #: Grants that were fresh when last looked at, oldest first.
        self._fresh: deque[Grant] = deque()
        #: All waiters, longest waiting first; the first keeps the time for all.
        self._line: OrderedDict[int, _Waiter] = OrderedDict()
        self._waiting: dict[str, _Queue] = {}
        #: Queues of which a receive is open -> how many.
        self._open: Counter[str] = Counter()
        self._turns = itertools.count()
        self._executors = 0
        self._load = 0.0
        self._held = 0
        #: Of those: run for long already.
        self._long = 0
        self._claimed = 0
        #: With less room than this no waiting queue can be given anything.
        self._least_room = 0.0

    # -- fetchers -------------------------------------------------------------------------------------------------

    def acquire(self, queue: str, *, most: int = MAX_BATCH, timeout: float, stopping: threading.Event) -> Grant | None:
        """Wait for leave to receive up to ``most`` messages; None after ``timeout`` seconds or when stopping."""
        deadline = self._clock() + timeout
        with self._lock:
            state = self._queue(queue)
            waiter = _Waiter(state, most, next(self._turns), threading.Condition(self._lock))
            self._line[waiter.turn] = waiter
            state.waiters.append(waiter)
            self._waiting[queue] = state
            self._hand_out(state)
            while waiter.grant is None:
                now = self._clock()
                if stopping.is_set() or now >= deadline:
                    self._leave(waiter)
                    return None
                waiter.condition.wait(self._next_look(waiter, deadline) - now)
                if waiter.grant is None:
                    self._hand_out(state)
            return waiter.grant

    def received(self, grant: Grant, count: int, *, answered: bool = True) -> None:
        """The receive is over, with ``count`` deliveries that are held from now on; ``answered``: by SQS, not by an error."""
        with self._lock:
            state = self._queue(grant.queue)
            self._stale(grant, state)
            if grant.open:
                grant.open = False
                state.asked -= grant.count
                self._open[state.name] -= 1
                if not self._open[state.name]:
                    del self._open[state.name]
            state.empty = answered and not count
            state.held += count
            self._held += count
            self._weigh(state)
            self._hand_out(state)

    def abandoned(self, grant: Grant) -> None:
        """Its receive may never answer: somebody else may ask instead. If it does, ``received`` tells what it has brought."""
        self.received(grant, 0, answered=False)

    def hungry(self, queue: str) -> bool:
        """Whether one more receive at the same time would be of use: there is room, and nobody who could use it."""
        with self._lock:
            self._expire()
            state = self._queue(queue)
            return not state.waiters and self._available(state) >= self._least(state)

    def crowded(self, queue: str) -> bool:
        """Whether more of it is held than can run at the same time: some waits, and may have to be released."""
        with self._lock:
            return self._queue(queue).held > self._executors

    def polls(self, queue: str) -> bool:
        """Whether a receive of this queue is open: what is released now may come back at once."""
        with self._lock:
            return self._open[queue] > 0

    def wake(self) -> None:
        """Let every waiter look whether it should stop."""
        with self._lock:
            for waiter in self._line.values():
                waiter.condition.notify()

    # -- discovery ------------------------------------------------------------------------------------------------

    def learn(self, options: Mapping[str, QueueOptions]) -> None:
        """These are the queues and their options now."""
        with self._lock:
            self.shares.learn(options)
            self._hand_out(None)

    # -- the pool -------------------------------------------------------------------------------------------------

    def executors(self, count: int) -> None:
        """So many executors are ready now."""
        with self._lock:
            self._executors = count
            self._hand_out(None)

    def ended(self, queue: str, seconds: float | None = None, *, long: bool = False) -> None:
        """One delivery is no longer held; its task ran ``seconds``, None if it did not run to an end.

        ``long``: ``lasts`` was told of it.
        """
        self.all_ended([(queue, seconds, long)])

    def all_ended(self, ends: Sequence[tuple[str, float | None, bool]]) -> None:
        """The same for several, each with the three of ``ended``: who is next is asked once."""
        with self._lock:
            changed = {}
            for queue, seconds, long in ends:
                state = self._queue(queue)
                state.held -= 1
                self._held -= 1
                state.long -= long
                self._long -= long
                if seconds is not None:
                    sample = max(seconds, SHORTEST)
                    state.duration = sample if state.duration is None else state.duration + ALPHA * (sample - state.duration)
                changed[queue] = state
            for state in changed.values():
                self._weigh(state)
                self._look_at(state)
            self._hand_out(state)

    def lasts(self, queue: str) -> None:
        """The task of one delivery, whatever its queue's average says, runs for long: it takes up a whole executor."""
        with self._lock:
            state = self._queue(queue)
            state.long += 1
            self._long += 1
            self._weigh(state)
            self._hand_out(None)  # less is worth a call now, of any queue

    def blocked(self, queue: str, count: int, kept: int) -> None:
        """So many deliveries of this queue wait for earlier ones of their FIFO groups, and so many are ``kept`` for a moment to
        come: they need no executor now. For what is kept others are received."""
        with self._lock:
            state = self._queue(queue)
            if (state.blocked, state.kept) != (count, kept):
                state.blocked, state.kept = count, kept
                self._weigh(state)
                self._hand_out(state)

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
            return self._held

    # -- with the lock held: sums ---------------------------------------------------------------------------------

    def _queue(self, name: str) -> _Queue:
        state = self._queues.get(name)
        if state is None:
            state = self._queues[name] = _Queue(name)
        return state

    def _weigh(self, state: _Queue) -> None:
        """Sum up anew what this queue's deliveries and claims weigh."""
        load = state.long + max(0, state.held - state.long - state.blocked - state.kept + state.claimed) * state.unit
        self._load += load - state.load
        state.load = load
        if not self._held and not self._claimed:
            self._load = 0.0  # what rounding has left

    def _stale(self, grant: Grant, state: _Queue) -> None:
        """It counts as a claim no longer."""
        if grant.fresh:
            grant.fresh = False
            state.claimed -= grant.count
            self._claimed -= grant.count

    def _expire(self) -> None:
        now = self._clock()
        while self._fresh and (not self._fresh[0].fresh or self._fresh[0].at + CLAIM <= now):
            grant = self._fresh.popleft()
            if grant.fresh:
                state = self._queue(grant.queue)
                self._stale(grant, state)
                self._weigh(state)
                self._look_at(state)

    def _available(self, state: _Queue) -> int:
        """How many more deliveries of this queue may be asked for."""
        if self._backlog(state.name) >= BACKLOG:
            return 0
        unit = state.unit
        count = int((self._executors - self._load - state.blocked * unit) / unit + _ROUNDING)
        most = self.shares.options(state.name).max
        if most is not None:
            count = min(count, int(min(most, self._executors) / unit + _ROUNDING) - (state.held - state.kept) - state.asked)
        if self._bound is not None:
            count = min(count, self._bound - self._held - self._claimed)
        if (left := self._quota.left) is not None:  # what runs has counted already, and is held: the last few wait for its end
            count = min(count, left - self._held - sum(self._queues[name].asked for name in self._open))
        if state.narrow:
            now = self._clock()
            state.narrow = {head: until for head, until in state.narrow.items() if until > now}
            count = min(count, 1) if state.narrow else count
        return count

    def _least(self, state: _Queue) -> int:
        """The fewest worth a call: with short tasks a receive waits until it can bring a batch, while others still wait.

        What runs for long, what is blocked behind it and what is kept is not waited for: it does not end soon, nor leaves room
        for a batch.
        """
        if state.held <= state.long + state.blocked + state.kept or state.narrow or self._quota.left is not None:
            return 1
        most = self.shares.options(state.name).max
        executors = self._executors - self._long
        if most is not None:
            executors = min(executors, most - state.long)
        whole = int(executors / state.unit)
        if self._bound is not None:
            whole = min(whole, self._bound - self._long - state.kept)
        return max(1, min(MAX_BATCH, (whole - executors) // 2))

    # -- with the lock held: the waiters --------------------------------------------------------------------------

    def _next_look(self, waiter: _Waiter, deadline: float) -> float:
        """When it looks by itself; the first in line when claims run out, too, and whether a backlog has gone down."""
        if next(iter(self._line.values())) is not waiter:
            return deadline
        self._expire()
        moments = [deadline]
        if self._fresh:
            moments.append(self._fresh[0].at + CLAIM)
        if any(self._backlog(name) >= BACKLOG for name in self._waiting):
            moments.append(self._clock() + RECHECK)
            self._least_room = 0.0
        return min(moments)

    def _leave(self, waiter: _Waiter) -> None:
        """It waits no longer. Who is first in line now keeps the time."""
        del self._line[waiter.turn]
        state = waiter.queue
        state.waiters.remove(waiter)
        if not state.waiters:
            del self._waiting[state.name]
        if self._line:
            next(iter(self._line.values())).condition.notify()

    def _room(self, state: _Queue) -> float:
        """What must be free before this queue can be given anything."""
        return (self._least(state) + state.blocked) * state.unit

    def _look_at(self, state: _Queue) -> None:
        """It may be its turn, as soon as there is room."""
        if state.waiters:
            self._least_room = min(self._least_room, self._room(state))

    def _hand_out(self, changed: _Queue | None) -> None:
        """Give what there is to whoever has had least, then to whoever has waited longest.

        Parameters:
            changed: the one queue of which anything but the whole load is new; None when all may want to be looked at.
        """
        self._expire()
        if changed is None or self._bound is not None or self._quota.left is not None:  # these are common to all
            self._least_room = 0.0
        else:
            self._look_at(changed)
        while self._waiting and self._executors - self._load + _ROUNDING >= self._least_room:
            able = {name: count for name, one in self._waiting.items() if (count := self._available(one)) >= self._least(one)}
            if not able:
                room = self._executors - self._load
                # Where there is room enough, something else is in the way, and its end is reported with the queue's name.
                rooms = {name: self._room(one) for name, one in self._waiting.items()}
                self._least_room = min((need for need in rooms.values() if need > room + _ROUNDING), default=_NEVER)
                if any(self._backlog(name) >= BACKLOG for name, need in rooms.items() if need <= room + _ROUNDING):
                    next(iter(self._line.values())).condition.notify()  # but this one nobody reports: it keeps the time
                return
            state = self._queues[min(able, key=self._place)]
            # Several queues want some: none takes it all.
            rivals = set(able)
            if state.duration is None or state.duration >= LASTING:
                rivals.update(name for name in self._open if not self._queues[name].claimed)
            parts = sum(map(self.shares.weight, rivals)) / self.shares.weight(state.name)
            waiter = state.waiters[0]
            count = max(1, min(waiter.most, -int(-able[state.name] // parts)))
            self._grant(waiter, count)

    def _place(self, name: str) -> tuple[float, int]:
        """Its place among the queues that want some: by what it has had, and will have with what waits for it here."""
        state = self._queues[name]
        ahead = max(0, state.held - self.shares.out(name)) + state.claimed
        cost = UNKNOWN if state.duration is None else state.duration
        return self.shares.clock(name) + ahead * cost / self.shares.weight(name), state.waiters[0].turn

    def _grant(self, waiter: _Waiter, count: int) -> None:
        """A queue that was empty is expected to be so still: its poll keeps nobody else from asking, or of five hundred idle
        queues only a few could be polled at a time."""
        state = waiter.queue
        grant = waiter.grant = Grant(state.name, count, self._clock(), fresh=not state.empty)
        state.asked += count
        self._open[state.name] += 1
        if grant.fresh:
            self._fresh.append(grant)
            state.claimed += count
            self._claimed += count
        self._weigh(state)
        waiter.condition.notify()
        self._leave(waiter)
