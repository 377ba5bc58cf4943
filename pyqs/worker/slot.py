"""The worker's view of one executor: its pipe, what it holds, when it must be killed.

Owns: the parent's end of the pipe, the deliveries that the executor holds, in order, and the tasks that run there. Used by the
pool thread only. Never decides: the pool asks and acts.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from pyqs.clock import boottime
from pyqs.executor.inbox import SHORT_WAIT
from pyqs.message import Delivery
from pyqs.start_note import StartNote
from pyqs.wire import Admitted, Frame, Postponed, Run, Started
from pyqs.worker.channel import Channel
from pyqs.worker.running import Running

log = logging.getLogger(__name__)

#: Seconds that an executor with nothing left to run has for its own goodbye.
GOODBYE = 5.0
#: Seconds beyond its ``start_before`` in which an executor hands a delivery back.
OVERDUE = 2.0
#: Why an executor that begins nothing is killed: its first delivery is to blame.
HANGS = "it does not get ready to run what it was given (a body or an import that hangs?)"
#: Seconds after its SIGKILL in which an executor has ended, unless the kernel holds it (a device, a frozen control group).
UNKILLABLE = 5.0
#: Why one that does not get ready is killed.
LOADS = "it does not get ready (an import or a handler that hangs?)"
#: Seconds without a word after which it is looked up what it runs: of a shorter task nobody needs to know that it has started.
LOOK_AFTER = 0.02
#: Seconds beyond a limit, or after a call off, in which an executor that runs several may end one task without the others.
ALONE = 5.0
#: Seconds in which a dead process's exit code usually arrives by way of the forkserver.
_EXIT_CODE_PATIENCE = 0.05


@dataclass(eq=False)
class Slot:
    """One executor.

    Parameters:
        number: its place, 0 and up; a replacement takes the same.
        channel: the parent's end of the pipe.
        pid: of the executor; None for one that is no process of its own (tests).
        process: the multiprocessing object, for its exit code.
        lifeline: the write end that only the worker holds; closing it ends the executor.
        name: in log lines; "executor" and its number if empty.
        note: what it is about to run, as it has noted it; none in one that runs several at a time.
        lanes: how many it runs at a time.
    """

    number: int
    channel: socket.socket
    pid: int | None = None
    process: BaseProcess | None = None
    lifeline: Connection | None = None
    name: str = ""
    note: StartNote | None = None
    lanes: int = 1
    ready: bool = False
    stopping: bool = False
    #: Boot-time second at which it was made; whether it was said that it takes long until it is ready.
    made_at: float = field(default_factory=boottime)
    loads_long: bool = False
    #: It has started a task.
    served: bool = False
    #: What it holds, in the order in which it was sent; with one lane the first is running or will be the next to run.
    held: dict[int, Delivery] = field(default_factory=dict)
    #: The tasks of those that have started, by the delivery's id, in the order in which they began.
    running: dict[int, Running] = field(default_factory=dict)
    #: Boot-time second at which it is killed, for its own sake or for that of what runs: ``_reckon`` knows.
    kill_at: float | None = None
    #: Why we have killed it, "" if we have not; ``dismissed``: because the worker stops.
    killed: str = ""
    #: When it was sent a SIGKILL for the first time.
    killed_at: float | None = None
    dismissed: bool = False
    #: The kill has not ended it: what runs in it may go on one day.
    undead: bool = False
    #: The delivery for whose task's sake it was killed, and all whose tasks ran then, as far as was known.
    killed_for: int | None = None
    killed_with: frozenset[int] = frozenset()
    #: It has served long enough and hands back what it holds; its replacement is on its way.
    leaving: bool = False
    #: How many more tasks it will start, None for no end.
    tasks_left: int | None = None
    #: It has handed back what waited behind a long task, which still runs.
    slow: bool = False
    #: It is being filled up with short tasks; once full, it is left alone until half of them are done.
    filling: bool = True
    #: It did not hand back what it should have: frozen, or C code holds its GIL. It gets nothing more until it speaks.
    silent: bool = False
    #: Bytes wait until its pipe takes more.
    clogged: bool = False
    pidfd: int | None = None

    def __post_init__(self) -> None:
        self._frames = Channel(self.channel)
        self._costs: dict[int, float] = {}
        self._start_before: dict[int, float] = {}
        self._revoked: set[int] = set()
        self.load = 0.0
        #: When it is killed for its own sake, and why.
        self._give_up: tuple[float, str] | None = None
        #: Boot-time second since which the first of what it holds could have been begun.
        self._first_since = 0.0
        self._looked_at = 0.0
        if self.pid is not None and hasattr(os, "pidfd_open"):
            try:
                self.pidfd = os.pidfd_open(self.pid)
            except OSError:
                pass  # gone already (its pipe says so, too), or a kernel before 5.3

    def __str__(self) -> str:
        return f"{self.name or f'executor {self.number}'} (pid {self.pid})"

    # -- what it holds --------------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Ready, and a lane has nothing to do."""
        return self.ready and self._free_lanes > 0 and not (self.stopping or self.silent or self.clogged) and self._has_room

    @property
    def _free_lanes(self) -> int:
        if self.lanes == 1:
            return 0 if self.held else 1
        return self.lanes - len(self.held) - len(self._revoked)  # what hangs before its start has its lane still

    @property
    def takes_more(self) -> bool:
        """Whether short tasks may be put behind what it holds. Several lanes have no need of that."""
        return (
            self.lanes == 1
            and self.ready
            and not (self.stopping or self.slow or self.silent or self.clogged)
            and self._has_room
        )

    @property
    def _has_room(self) -> bool:
        return self.tasks_left is None or self.unstarted < self.tasks_left

    def hangs_on(self, delivery: Delivery) -> bool:
        """Whether it was given this before, and has neither begun it nor handed it back when it should have."""
        return delivery.id in self._revoked

    def runs(self, delivery: Delivery) -> bool:
        """Whether the task of this one has started."""
        return delivery.id in self.running

    @property
    def unstarted(self) -> int:
        """How many of those it holds have not started."""
        return len(self.held) - len(self.running)

    @property
    def acked_early(self) -> bool:
        """Whether the message of something that runs is deleted because its task has started."""
        return any(one.acked_early for one in self.running.values())

    def give(self, delivery: Delivery, start_before: float, cost: float) -> None:
        """Send a delivery to run; ``cost`` is the seconds that it is likely to take, summed up in ``load``."""
        if not self.held:
            self._first_since = boottime()
        self.held[delivery.id] = delivery
        self._costs[delivery.id] = cost
        self._start_before[delivery.id] = start_before
        self.load += cost
        self._frames.queue(Run(delivery, start_before), delivery.id)

    def take_back(self) -> list[Delivery]:
        """The deliveries of which no byte was written: they never left."""
        taken = [self.ended(number) for number in self._frames.take_back()]
        return [delivery for delivery in taken if delivery is not None]

    def overdue(self, now: float) -> list[Delivery]:
        """Take back what it has not started and, by its own promise, will not start any more."""
        late = [number for number, limit in self._start_before.items() if limit + OVERDUE <= now]
        back = [delivery for number in late if number not in self.running and (delivery := self.ended(number))]
        self._revoked.update(one.id for one in back)
        self.silent = self.silent or bool(back)
        return back

    def is_stuck(self, now: float, limit: float) -> bool:
        """Whether it has begun nothing for so many seconds, or not even handed back what it may not begin any more."""
        if self.running or not (self.held or (self.lanes > 1 and self._revoked)):
            return False
        until = [self._start_before[next(iter(self.held))] + OVERDUE] if self.held and self.lanes == 1 else []
        return now >= min([self._first_since + limit, *until])

    @property
    def look_at(self) -> float | None:
        """Boot-time second from which on something may run that should be known; None while nothing can."""
        if self.running or not self.held or self.note is None:
            return None
        return max(self._first_since, self._looked_at) + LOOK_AFTER

    def noted(self) -> Started | None:
        """What it has noted, if that is about something that it holds and was not known to have started."""
        self._looked_at = boottime()
        frame = None if self.note is None or not self.held else self.note.read()
        if frame is None or frame.delivery_id not in self.held or self.has_begun(frame.delivery_id):
            return None
        return frame

    def has_begun(self, delivery_id: int) -> bool:
        """Whether it is known to run the task of this delivery."""
        return delivery_id in self.running

    def speaks(self) -> None:
        """It has written something: it is not stuck."""
        self.silent = False
        if self._give_up is not None and self._give_up[1] in (HANGS, LOADS) and not self.killed:
            self.give_up(None)

    def handed_back(self, delivery_id: int) -> Delivery | None:
        """It says that it will not start this one; None if that is the late word on one that was taken back before, which
        it may have been given again since."""
        if delivery_id in self._revoked:
            self._revoked.discard(delivery_id)
            return None
        return self.ended(delivery_id)

    def begins(self, frame: Started) -> None:
        """The task of something that it holds has started."""
        fifo = self.held[frame.delivery_id].is_fifo
        self.running[frame.delivery_id] = Running.begun(
            frame, boottime(), fifo=fifo, killed=bool(self.killed), grace=self._grace
        )
        self.serves()
        if frame.time_limit is not None:
            self._reckon()

    def call_off(self, one: Running, number: int) -> None:
        """This was called off, by this signal: kill it soon, if that is not under way for another reason."""
        if not (self.killed or one.called_off):
            one.call_off(number, boottime() + self._grace)
            self._reckon()

    @property
    def _grace(self) -> float:
        return ALONE if self.lanes > 1 else 0.0

    def give_up(self, at: float | None, reason: str = "") -> None:
        """Kill it then for its own sake; None: not any more."""
        self._give_up = None if at is None else (at, reason)
        self._reckon()

    def _reckon(self) -> None:
        """When it is to be killed."""
        moments = [one.kill_at for one in self.running.values() if one.kill_at is not None]
        if self._give_up is not None:
            moments.append(self._give_up[0])
        self.kill_at = min(moments, default=None)

    def serves(self) -> None:
        """It has started one more task."""
        self.served = True
        if self.tasks_left is not None:
            self.tasks_left -= 1

    def ended(self, delivery_id: int) -> Delivery | None:
        """It holds this delivery no longer; None if it never did."""
        if self.running.pop(delivery_id, None) is not None:
            self._reckon()
        self._first_since = boottime()
        self.load -= self._costs.pop(delivery_id, 0.0)
        self._start_before.pop(delivery_id, None)
        return self.held.pop(delivery_id, None)

    # -- its pipe -------------------------------------------------------------------------------------------------

    def answer(self, frame: Admitted | Postponed) -> None:
        """Its question about a rate limit; nothing is put behind a delivery that waits for its token."""
        self.slow = self.slow or (isinstance(frame, Admitted) and frame.wait > SHORT_WAIT)
        self.send(frame)

    def send(self, frame: Frame) -> None:
        """Queue a frame that is about no delivery."""
        self._frames.queue(frame, None)

    def flush(self) -> bool:
        """Write what the pipe takes now; ``clogged`` says that it did not take all, and the answer whether that has changed. A
        broken pipe is seen when it is read."""
        before = self.clogged
        self.clogged = not self._frames.write()
        return self.clogged is not before

    def read(self, *, everything: bool = False) -> Iterator[Frame]:
        """What has come (``Channel.read``)."""
        return self._frames.read(self, everything=everything)

    # -- its end --------------------------------------------------------------------------------------------------

    def expect_goodbye(self) -> None:
        """It was told to leave: once it has nothing left to run, it has a little time for that."""
        if not self.held:
            self.give_up(boottime() + GOODBYE, "it has nothing left to run and does not leave")

    def is_due(self, now: float) -> bool:
        """Whether it is to be killed by now."""
        return self.kill_at is not None and now >= self.kill_at

    def kill_due(self) -> None:
        """Kill it for the reason whose time has come first. What it was is done with; a second kill needs another."""
        for number, one in self.running.items():
            if one.kill_at is not None and one.kill_at == self.kill_at:
                reason, one.kill_at = one.kill_reason, None
                self.killed_for = self.killed_for if self.killed else number
                break
        else:
            assert self._give_up is not None
            reason, self._give_up = self._give_up[1], None
        self._reckon()
        log.warning("%s is killed: %s", self, reason)
        self.kill(reason)

    def kill(self, reason: str, *, dismissed: bool = False) -> None:
        """SIGKILL the executor and all that its task has started in its process group."""
        if self.killed_at is None:
            self.killed_at = boottime()
        if not self.killed:
            self.killed = reason
            self.killed_with = frozenset(self.running)
        self.dismissed = self.dismissed or dismissed
        self._sigkill()

    def _sigkill(self) -> None:
        if self.pid is None:
            self.channel.shutdown(socket.SHUT_RDWR)
        elif not self.kill_group():  # it has no group of its own yet, or is gone
            try:
                if self.pidfd is not None:
                    signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
                else:
                    os.kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def resists(self, now: float) -> bool:
        """Whether it was killed a while ago, and is not known to have ended."""
        return self.killed_at is not None and now >= self.killed_at + UNKILLABLE

    def kill_group(self) -> bool:
        """SIGKILL whatever is in its process group, a dead executor's children too; False when there is no such group."""
        if self.pid is None:
            return False
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        except PermissionError as exc:
            log.error("%s cannot be killed: %s", self, exc)
        return True

    def describe_end(self) -> str:
        """How it ended, as far as that can be known."""
        if self.undead:
            return "does not end although it was killed"
        if self.process is None:
            return "died"
        self.process.join(_EXIT_CODE_PATIENCE)
        code = self.process.exitcode
        if code is None or code == 255:  # 255: the forkserver has died, its answers are worth nothing
            return "died"
        if code < 0:
            try:
                return f"died ({signal.Signals(-code).name})"
            except ValueError:
                return f"died (signal {-code})"
        return f"died (exit code {code})"

    def close(self) -> None:
        """Give back every descriptor."""
        self.channel.close()
        if self.note is not None:
            self.note.close()
            self.note = None
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None
        if self.lifeline is not None:
            self.lifeline.close()
        if self.process is not None:
            try:
                self.process.close()
            except ValueError:
                pass  # not reaped yet; multiprocessing does it with the next start

    def since_started(self) -> float:
        """Seconds that the oldest running task has run; 0 when none runs."""
        oldest = next(iter(self.running.values()), None)  # other threads ask, too
        return 0.0 if oldest is None else boottime() - oldest.at
