"""What beat sends, and when it ran last: entries of a schedule.

Owns: ``ScheduleEntry``, ``BeatLazyFunc``, ``SchedulingError`` and ``event_t``, which are Celery's. Runs in beat; entries are
pickled into the schedule file under Celery's names. Never sends anything and never asks the clock but for "now".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import total_ordering
from typing import Any, NamedTuple

from pyqs_celery_compat.argument_repr import argument_repr
from pyqs_celery_compat.naming import belongs_to
from pyqs_celery_compat.schedules import maybe_schedule

#: What makes two entries the same, and what a new configuration changes in one that is kept.
EDITABLE = ("task", "schedule", "args", "kwargs", "options")


class SchedulingError(Exception):
    """A periodic task could not be sent."""


class event_t(NamedTuple):  # noqa: N801 - Celery's public name
    """An entry in the order of its time, a UTC timestamp."""

    time: float
    priority: int
    entry: Any


class BeatLazyFunc:
    """An argument of a periodic task that is made each time when the task is sent.

    Parameters:
        func: what makes it. args, kwargs: its arguments.
    """

    def __init__(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self._func = func
        self._func_params = {"args": args, "kwargs": kwargs}

    def __call__(self) -> Any:
        return self.delay()

    def delay(self) -> Any:
        """The argument."""
        given: dict[str, Any] = self._func_params
        return self._func(*given["args"], **given["kwargs"])


@total_ordering
class ScheduleEntry:
    """A periodic task: what to send, when, and when that was last.

    Parameters:
        name: of the entry. task: name of the task.
        last_run_at: when it was sent last; now if None, so that it is first sent when its schedule is due next.
        total_run_count: how often it was sent.
        schedule: when it is due, as ``maybe_schedule`` takes it. relative: as ``schedules.schedule`` has it.
        args, kwargs, options: of the call; options as ``apply_async`` takes them.
        app: whose clock and zone count.
    """

    name: Any = None
    schedule: Any = None
    args: Any = None
    kwargs: Any = None
    options: Any = None
    last_run_at: Any = None
    total_run_count = 0

    def __init__(
        self,
        name: str | None = None,
        task: str | None = None,
        last_run_at: datetime | None = None,
        total_run_count: int | None = None,
        schedule: Any = None,
        args: Any = (),
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        relative: bool = False,
        app: Any = None,
    ) -> None:
        self.app = app
        self.name = name
        self.task = task
        self.args = args
        self.kwargs = kwargs or {}
        self.options = options or {}
        self.schedule = maybe_schedule(schedule, relative, app=app)
        self.last_run_at = last_run_at or self.default_now()
        self.total_run_count = total_run_count or 0

    def default_now(self) -> datetime:
        """The time by the schedule's clock, or the app's."""
        now: datetime = (self.schedule or self.app).now()
        return now

    _default_now = default_now

    def _next_instance(self, last_run_at: datetime | None = None) -> Any:
        """The entry after it was sent, now or at this moment."""
        ran = {"last_run_at": last_run_at or self.default_now(), "total_run_count": self.total_run_count + 1}
        return type(self)(**{**dict(self), **ran})

    __next__ = next = _next_instance

    def update(self, other: Any) -> None:
        """Take over what another entry is to send, and when; not when it ran."""
        for field in EDITABLE:
            setattr(self, field, getattr(other, field))

    def is_due(self) -> Any:
        """Whether it is due, and in how many seconds to ask again."""
        return self.schedule.is_due(self.last_run_at)

    def editable_fields_equal(self, other: Any) -> bool:
        """Whether another entry sends the same at the same times."""
        return all(getattr(self, field) == getattr(other, field) for field in EDITABLE)

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter(vars(self).items())

    def __eq__(self, other: object) -> bool:
        return self.editable_fields_equal(other) if isinstance(other, ScheduleEntry) else NotImplemented

    def __lt__(self, other: object) -> bool:
        # Of entries with the same time any may come first; the heap must have an answer.
        return id(self) < id(other) if isinstance(other, ScheduleEntry) else NotImplemented

    def __repr__(self) -> str:
        kwargs = ", ".join(f"{key}={argument_repr(value)}" for key, value in dict(self.kwargs or {}).items())
        arguments = ", ".join(filter(None, [*map(argument_repr, self.args or ()), kwargs]))
        return f"<{type(self).__name__}: {self.name} {self.task}({arguments}) {self.schedule}>"

    def __reduce__(self) -> tuple[Any, ...]:
        ran = self.last_run_at, self.total_run_count
        return type(self), (self.name, self.task, *ran, self.schedule, self.args, self.kwargs, self.options)


def made(value: Any) -> Any:
    """An argument as it is sent."""
    return value() if isinstance(value, BeatLazyFunc) else value


belongs_to("celery.beat", SchedulingError, ScheduleEntry, BeatLazyFunc, event_t)
