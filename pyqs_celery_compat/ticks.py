"""Names for the times at which periodic tasks are due, and what a clock that is set means for them.

Owns: ``Tick`` and ``tick_of``, ``ClockWatch``, ``ran_in_future``. Pure but for reading clocks; runs in beat. Never sends
anything.

A tick is an entry and the time for which it is sent: ``report@2026-11-23T18:00:00Z``. Two beats that send the same entry of
the same app for the same time, and one that was killed before it could note that it had sent, give it the same name and so the
same task id. No two runs of one beat have the same: where that is not certain, as with a schedule that has an ``is_due`` of its
own, there is no tick and the id is a random one.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from pyqs.clock import boottime
from pyqs_celery_compat.schedules import crontab, schedule
from pyqs_celery_compat.utils.time import maybe_make_aware

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery

#: Seconds by which clocks may differ before one counts as set.
CLOCK_SET = 1.0
_NAMESPACE = uuid.UUID("3b6a0d0e-6c9c-5c8e-9a51-0f4f3f6f1c5e")
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MOMENT = timedelta(microseconds=1)
#: Seconds that the search for the last due time goes back at first; each further step is twice as long.
_FIRST_STEP = 60
#: It ends when it is as near to the due time as that.
_NEAR = timedelta(seconds=1)


class Tick(NamedTuple):
    """An entry at a time (UTC): a name for people, and the task id, a UUID made of it, of the app's name and queue prefix."""

    moment: datetime
    name: str
    id: str


def tick_of(app: Celery, entry: Any) -> Tick | None:
    """The tick for which a due entry is sent; None where nothing says which one it is."""
    try:
        moment = _moment(entry)
    except Exception:  # a schedule of somebody else's, who may have no such thing
        return None
    if moment is None:
        return None
    text = moment.replace(tzinfo=None).isoformat(timespec="auto")
    name = f"{entry.name}@{text}Z"
    prefix = str((app.conf.broker_transport_options or {}).get("queue_name_prefix") or "")
    return Tick(moment, name, str(uuid.uuid5(_NAMESPACE, "\0".join((app.main or "", prefix, name)))))


def _moment(entry: Any) -> datetime | None:
    """The time, in UTC, for which the entry is sent."""
    due = entry.schedule
    last, now = _utc(entry.last_run_at), _utc(entry.default_now())
    if isinstance(due, schedule) and not due.relative:
        return _turn(due, last, now) if type(due).is_due is schedule.is_due else None
    found = _last_due(due, last, now)
    return found if last < found <= _utc(entry.default_now()) else None


def _turn(due: schedule, last: datetime, now: datetime) -> datetime | None:
    """Of "every so often", which keeps no time of the clock: the beginning of the turn that it is, counted from 1970.

    A beat sends once in a turn, as it waits for at least so long.
    """
    length = due.run_every // _MOMENT
    if length <= 0:
        return None
    turn = ((now - _EPOCH) // _MOMENT) // length
    return None if turn == ((last - _EPOCH) // _MOMENT) // length else _EPOCH + turn * length * _MOMENT


def _last_due(due: Any, last: datetime, now: datetime) -> datetime:
    """The last time until now at which it was due, after the last run."""
    step = timedelta(seconds=_FIRST_STEP)
    early, late = now - step, now
    while early > last and _due_after(due, early) > now:
        step *= 2
        early, late = now - step, early
    early = max(early, last)
    while late - early > _NEAR:  # it was due after the one and until now, but not after the other
        middle = early + (late - early) / 2
        early, late = (early, middle) if _due_after(due, middle) > now else (middle, late)
    return _due_after(due, early)


def _due_after(due: Any, moment: datetime) -> datetime:
    """When it is due next after this moment, in UTC: of a crontab the minute, of others the second."""
    left: timedelta = due.remaining_estimate(moment)
    found = _utc(due.now()) + left  # a little late, as the estimate was made by an earlier look at the clock
    if isinstance(due, crontab):
        return (found + timedelta(seconds=10)).replace(second=0, microsecond=0)
    return found.replace(microsecond=0)


def _utc(moment: datetime) -> datetime:
    return maybe_make_aware(moment).astimezone(timezone.utc)


class ClockWatch:
    """Tells when the wall clock was set, by a clock that never is.

    Parameters:
        wall, steady: answer seconds; ``steady`` counts while the machine is suspended.
    """

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = boottime) -> None:
        self._wall = wall
        self._steady = steady
        self._apart = wall() - steady()

    def step(self) -> float:
        """By how many seconds it was set since the last look: forward is positive, 0.0 if it was not."""
        apart = self._wall() - self._steady()
        step, self._apart = apart - self._apart, apart
        return step if abs(step) > CLOCK_SET else 0.0


def ran_in_future(entry: Any) -> bool:
    """Whether the entry ran last so far in the future that waiting for it would leave out runs: the clock was set back.

    One that would come twice within less than about half of its period is waited for: a daily task is not sent again because
    the clock went back by an hour, one of each minute is not silent for that hour.
    """
    try:
        due, last, now = entry.schedule, _utc(entry.last_run_at), _utc(entry.default_now())
        if last <= now + timedelta(seconds=CLOCK_SET):
            return False
        first = now + due.remaining_estimate(now)
        period = now + due.remaining_estimate(first) - first
        return bool(due.remaining_estimate(last) > 1.5 * period)
    except Exception:  # a schedule of somebody else's; or one that is never due again
        return False
