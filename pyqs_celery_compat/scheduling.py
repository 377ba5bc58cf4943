"""Celery's scheduler: which entry is due next, and sending it.

Owns: ``Scheduler``, which libraries subclass to keep entries elsewhere. Runs in beat, in one thread. An entry counts as run
when SQS has its message, never before: what could not be sent is tried again, and what was sent and not noted is sent again
under the same id (``ticks``). Never waits: whoever calls ``tick`` does.
"""

from __future__ import annotations

import copy
import heapq
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pyqs.errors import SqsError
from pyqs_celery_compat.naming import belongs_to
from pyqs_celery_compat.schedule_entries import ScheduleEntry, SchedulingError, event_t, made
from pyqs_celery_compat.schedules import crontab, schedule
from pyqs_celery_compat.ticks import ClockWatch, Tick, ran_in_future, tick_of
from pyqs_celery_compat.utils.functional import is_numeric_value
from pyqs_celery_compat.utils.log import get_logger
from pyqs_celery_compat.utils.time import humanize_seconds, maybe_make_aware

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery

logger = get_logger("celery.beat")

#: Most seconds between two looks at the schedule.
DEFAULT_MAX_INTERVAL = 300
#: Seconds until what could not be sent is tried again: the first time, and at most. Each time is twice as long as the last.
FIRST_RETRY, LONGEST_RETRY = 1.0, 30.0
_MOST_COUNTED = 30
#: Of an event; Celery's, as all entries have the same.
_PRIORITY = 5
CLEANUP = "celery.backend_cleanup"


class Scheduler:
    """Keeps entries in memory, and sends what is due.

    Parameters:
        schedule: name -> entry, or a function that answers it.
        max_interval: most seconds between two looks at the schedule; else ``beat_max_loop_interval``, else 300.
        Producer: the class of ``producer``.
        lazy: do not set up the schedule: somebody only wants to look at the scheduler.
        sync_every_tasks: after so many tasks the schedule is written down; else ``beat_sync_every``.
    """

    Entry: Any = ScheduleEntry
    max_interval: Any = DEFAULT_MAX_INTERVAL
    #: Seconds after which the schedule is written down.
    sync_every: float = 3 * 60
    sync_every_tasks: int | None = None
    logger = logger
    _last_sync: float | None = None
    _tasks_since_sync = 0
    _ticking = False

    def __init__(
        self,
        app: Celery,
        schedule: Any = None,
        max_interval: float | None = None,
        Producer: Any = None,  # noqa: N803 - Celery's name
        lazy: bool = False,
        sync_every_tasks: int | None = None,
        **kwargs: Any,
    ) -> None:
        self.app = app
        self.data: Any = {} if schedule is None else schedule() if callable(schedule) else schedule
        self.max_interval = max_interval or app.conf.beat_max_loop_interval or self.max_interval
        self.Producer = Producer or app.amqp.Producer
        self.old_schedulers: Any = None
        self.sync_every_tasks = app.conf.beat_sync_every if sync_every_tasks is None else sync_every_tasks
        self._heap: list[event_t] | None = None
        self._clock = ClockWatch()
        #: How often each entry that could not be sent was tried.
        self._unsent: dict[str, int] = {}
        #: It was said that SQS does not answer, and it has not since.
        self._down = False
        self._said: set[str] = set()
        #: By entry the latest tick that was sent: it and those before are not used again, though the clock be set back.
        self._latest: dict[str, datetime] = {}
        if not lazy:
            self.setup_schedule()

    # -- the schedule ---------------------------------------------------------------------------------------------------
    def get_schedule(self) -> Any:
        """Name -> entry."""
        return self.data

    def set_schedule(self, schedule: Any) -> None:
        """Replace them all."""
        self.data = schedule

    schedule = property(lambda self: self.get_schedule(), lambda self, schedule: self.set_schedule(schedule))

    def setup_schedule(self) -> None:
        """Take over the app's ``beat_schedule``. Called once."""
        wanted = self.app.conf.beat_schedule
        self.merge_inplace({**self.default_entries(wanted), **wanted})
        self.install_default_entries(self.schedule)

    def default_entries(self, data: Any) -> dict[str, Any]:
        """What an app has beside its own entries: ``celery.backend_cleanup``, where results do not expire by themselves."""
        backend = self.app.backend
        if not self.app.conf.result_expires or backend.supports_autoexpire or not getattr(backend, "stores", True):
            return {}
        if CLEANUP in data:
            return {}
        return {CLEANUP: {"task": CLEANUP, "schedule": crontab("0", "4", "*"), "options": {"expires": 12 * 3600}}}

    def install_default_entries(self, data: Any) -> None:
        """Add them; ``data`` are the entries that are there."""
        self.update_from_dict(self.default_entries(data))

    def add(self, **kwargs: Any) -> Any:
        """A new entry; parameters as ``Entry``."""
        entry = self.Entry(app=self.app, **kwargs)
        self.schedule[entry.name] = entry
        return entry

    def update_from_dict(self, dict_: Mapping[str, Any]) -> None:
        """Add entries, or dicts as in ``beat_schedule``."""
        self.schedule.update({name: self._maybe_entry(name, entry) for name, entry in dict_.items()})

    def _maybe_entry(self, name: str, entry: Any) -> Any:
        if isinstance(entry, self.Entry):
            entry.app = self.app
            return entry
        return self.Entry(**{**dict(entry), "name": name, "app": self.app})

    def merge_inplace(self, b: Mapping[str, Any]) -> None:
        """Have these entries and no others; those that are there keep when they ran last."""
        kept = self.schedule
        for name in set(kept) - set(b):
            kept.pop(name, None)
        for name, given in b.items():
            entry = self.Entry(**{**dict(given), "name": name, "app": self.app})
            if kept.get(name):
                kept[name].update(entry)
                kept[name].app = self.app
            else:
                kept[name] = entry

    def schedules_equal(self, old_schedules: Any, new_schedules: Any) -> bool:
        """Whether two schedules have the same entries, whenever these ran."""
        if old_schedules is None or new_schedules is None:
            return old_schedules is new_schedules
        if old_schedules.keys() != new_schedules.keys():
            return False
        return all(new_schedules.get(name) == entry for name, entry in old_schedules.items())

    # -- what is due ----------------------------------------------------------------------------------------------------
    def is_due(self, entry: Any) -> Any:
        """Whether an entry is due, and in how many seconds to ask again."""
        return entry.is_due()

    def adjust(self, n: Any, drift: float = -0.010) -> Any:
        """So many seconds, less what waking up takes."""
        return n + drift if n and n > 0 else n

    def _when(self, entry: Any, next_time_to_run: Any) -> float:
        """The timestamp of a moment in so many seconds."""
        return maybe_make_aware(entry.default_now()).timestamp() + (self.adjust(next_time_to_run) or 0)

    def _asked(self, entry: Any, is_due: Any) -> tuple[bool, Any]:
        """What ``is_due`` says. One entry that cannot tell does not keep the others from being sent."""
        try:
            due, again = is_due()
        except Exception:
            pause = humanize_seconds(self.max_interval)
            logger.exception("beat: when entry %r is due next cannot be told; it is asked again in %s", entry.name, pause)
            return False, self.max_interval
        return due, again

    def populate_heap(self) -> None:
        """Put all entries in the order of their times."""
        self._heap = []
        for entry in self.schedule.values():
            if ran_in_future(entry):
                logger.warning(
                    "beat: entry %r ran last at %s, which is to come: the clock was set back. It counts as run now",
                    entry.name,
                    entry.last_run_at,
                )
                entry.last_run_at = entry.default_now()
            due, again = self._asked(entry, entry.is_due)
            self._heap.append(event_t(self._when(entry, 0 if due else again) or 0, _PRIORITY, entry))
        heapq.heapify(self._heap)

    def tick(self) -> Any:
        """Send what is due, one entry at most; in how many seconds to come again."""
        step = self._clock.step()
        if step:
            self._clock_was_set(step)
        if self._heap is None or step or not self.schedules_equal(self.old_schedulers, self.schedule):
            self.old_schedulers = copy.copy(self.schedule)
            self.populate_heap()
        heap = self._heap
        if not heap:
            return self.max_interval
        first = heap[0]
        entry = first.entry
        now = self._when(entry, 0)
        if first.time > now:
            return min(first.time - now, self.max_interval)
        due, again = self._asked(entry, lambda: self.is_due(entry))
        taken = heapq.heappop(heap)
        if taken is not first:  # asking has changed the order
            heapq.heappush(heap, taken)
            return min(taken.time - self._when(taken.entry, 0), self.max_interval)
        if due:
            heapq.heappush(heap, self._send_due(entry, again))
            return 0
        pause = again if is_numeric_value(again) else self.max_interval
        heapq.heappush(heap, event_t(self._when(entry, pause), _PRIORITY, entry))
        return 0 if heap[0].entry is not entry else min(self.adjust(pause), self.max_interval)

    def _clock_was_set(self, step: float) -> None:
        """By so many seconds: what comes every so often keeps its distance from the last run."""
        logger.warning("beat: the clock was set %s by %.0f s", "forward" if step > 0 else "back", abs(step))
        for entry in self.schedule.values():
            due = getattr(entry, "schedule", None)
            if type(due) is schedule and not due.relative and entry.last_run_at is not None:
                entry.last_run_at += timedelta(seconds=step)

    # -- sending --------------------------------------------------------------------------------------------------------
    def _send_due(self, entry: Any, again: Any) -> event_t:
        """Send a due entry; its event afterwards."""
        began, at = entry.default_now(), self._when(entry, again)  # sending may take its time
        self._ticking = True
        try:
            self.apply_entry(entry, producer=self.producer)
        finally:
            self._ticking = False
        tries = self._unsent.get(entry.name, 0)
        if tries:
            return event_t(self._when(entry, 0) + min(FIRST_RETRY * 2 ** (tries - 1), LONGEST_RETRY), _PRIORITY, entry)
        following = self.reserve(entry)
        if type(following).__next__ is ScheduleEntry.__next__:
            following.last_run_at = min(following.last_run_at, began)
        self._sync_if_time()
        return event_t(at, _PRIORITY, following)

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        """Send an entry's task. What cannot be sent is said once, noted, and tried again by ``tick``."""
        tries = self._unsent.get(entry.name, 0)
        if not tries:
            logger.info("Scheduler: Sending due task %s (%s)", entry.name, entry.task)
        try:
            result = self.apply_async(entry, producer=producer, advance=False)
        except Exception as exc:
            self._not_sent(entry, exc, tries)
            return
        self._down = False
        if self._unsent.pop(entry.name, None):
            logger.info("beat: entry %r is sent, after %d tries that failed", entry.name, tries)
        if result and hasattr(result, "id"):
            logger.debug("%s sent. id->%s", entry.task, result.id)
        else:
            logger.debug("%s sent.", entry.task)

    def _not_sent(self, entry: Any, exc: Exception, tries: int) -> None:
        self._unsent[entry.name] = min(tries + 1, _MOST_COUNTED)
        if _sqs_is_down(exc):
            if not self._down:
                self._down = True
                logger.error(
                    "beat: SQS does not take %r; it and what becomes due are tried again until it does: %s", entry.name, exc
                )
        elif not tries:
            logger.error("beat: entry %r was not sent, and is tried again until it is: %s", entry.name, exc)
        logger.debug("beat: entry %r was not sent", entry.name, exc_info=exc)

    def apply_async(self, entry: Any, producer: Any = None, advance: bool = True, **kwargs: Any) -> Any:
        """Send an entry's task, and count it as run (``advance``).

        Raises:
            SchedulingError: it could not be sent; then it has not run.
        """
        tick = tick_of(self.app, entry)
        if tick is not None and entry.name in self._latest and tick.moment <= self._latest[entry.name]:
            tick = None
        try:
            result = self._send(entry, producer, tick)
        except Exception as exc:
            raise SchedulingError(f"Couldn't apply scheduled task {entry.name}: {exc}") from exc
        self._tasks_since_sync += 1
        if tick is not None:
            self._latest[entry.name] = tick.moment
        if advance:
            self.reserve(entry)
        if not self._ticking:
            self._sync_if_time()
        return result

    def _send(self, entry: Any, producer: Any, tick: Tick | None) -> Any:
        task = self.app.tasks.get(entry.task)
        args = [made(value) for value in entry.args or ()]
        kwargs = {key: made(value) for key, value in (entry.kwargs or {}).items()}
        options = {"retry": False, **(entry.options or {})}  # ``tick`` tries again, and others get their turn in between
        options["headers"] = {**(options.get("headers") or {}), "celery_beat_task": True}
        if tick is not None:
            options["headers"]["beat_tick"] = tick.name
            options.setdefault("task_id", tick.id)
            options.setdefault("MessageDeduplicationId", tick.id)
        producer = producer or self.producer
        if task is not None:
            return task.apply_async(args, kwargs, producer=producer, **options)
        if entry.task not in self._said:
            self._said.add(entry.task)
            logger.warning(
                "beat: this app has no task %r, which entry %r is to send; it is sent by its name all the same",
                entry.task,
                entry.name,
            )
        return self.send_task(entry.task, args, kwargs, producer=producer, **options)

    def send_task(self, *args: Any, **kwargs: Any) -> Any:
        """``app.send_task``."""
        return self.app.send_task(*args, **kwargs)

    def reserve(self, entry: Any) -> Any:
        """Note that an entry was sent; the entry that stands for it from now on."""
        following = self.schedule[entry.name] = next(entry)
        return following

    # -- writing it down ------------------------------------------------------------------------------------------------
    def should_sync(self) -> bool:
        """Whether it is time to write down the schedule."""
        late = not self._last_sync or time.monotonic() - self._last_sync > self.sync_every
        return bool(late or (self.sync_every_tasks and self._tasks_since_sync >= self.sync_every_tasks))

    def _sync_if_time(self) -> None:
        if self.should_sync():
            self._do_sync()

    def rest(self) -> None:
        """Nothing is due for a while: a moment to write."""
        self._sync_if_time()

    def _do_sync(self) -> None:
        try:
            logger.debug("beat: Synchronizing schedule...")
            self.sync()
        finally:
            self._last_sync = time.monotonic()
            self._tasks_since_sync = 0

    def sync(self) -> None:
        """Write down the schedule; for subclasses."""

    def close(self) -> None:
        """Write down the schedule, and let go of the connection. Both are there again when they are needed."""
        synced = False
        try:
            self.sync()
            synced = True
        finally:
            self.__dict__.pop("producer", None)
            connection = self.__dict__.pop("connection", None)
            if connection is not None:
                self._release(connection, quiet=not synced)

    def _release(self, connection: Any, *, quiet: bool) -> None:
        try:
            connection.release()
        except (*connection.connection_errors, *connection.channel_errors):
            pass
        except Exception:
            if not quiet:
                raise
            logger.exception("beat: the connection was not released")

    # -- sending's means ------------------------------------------------------------------------------------------------
    @cached_property
    def connection(self) -> Any:
        """The app's connection to SQS; nothing is asked of it before something is sent."""
        return self.app.connection_for_write()

    @cached_property
    def producer(self) -> Any:
        """What tasks are sent with."""
        return self.Producer(self.connection, auto_declare=False)

    @property
    def info(self) -> str:
        """What beat says of the scheduler when it starts."""
        return ""


def _sqs_is_down(exc: BaseException) -> bool:
    """Whether something failed because SQS does not answer, or not now: then it is no entry's fault."""
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, SqsError):
            return cause.retryable
        cause = cause.__cause__
    return False


belongs_to("celery.beat", Scheduler)
