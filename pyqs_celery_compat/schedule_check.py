"""Whether an app's ``beat_schedule`` is one, before beat begins.

Owns: ``check_schedule``. Pure; runs in beat, and where a worker with ``-B`` starts. Never asks whether a task exists: beat
sends by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyqs_celery_compat.exceptions import ImproperlyConfigured
from pyqs_celery_compat.schedules import maybe_schedule

#: What an entry may have.
_FIELDS = {"task", "schedule", "args", "kwargs", "options", "relative", "last_run_at", "total_run_count", "name", "app"}


def check_schedule(entries: Any) -> None:
    """See whether ``beat_schedule`` is one.

    Raises:
        ImproperlyConfigured: names the entry and what is wrong with it.
    """
    if not isinstance(entries, Mapping):
        raise ImproperlyConfigured(f"beat_schedule is a dict of entries by name, not a {type(entries).__name__}")
    for name, entry in entries.items():
        try:
            fields = dict(entry)
        except (TypeError, ValueError):
            raise ImproperlyConfigured(f"beat_schedule[{name!r}] is a dict with task and schedule, not {entry!r}") from None
        problem = _problem(fields)
        if problem:
            raise ImproperlyConfigured(f"beat_schedule[{name!r}]: {problem}")


def _problem(fields: Mapping[str, Any]) -> str:
    if unknown := [repr(field) for field in fields if field not in _FIELDS]:
        return f"there is no {', '.join(unknown)} in an entry; call options such as queue go into 'options'"
    if not isinstance(fields.get("task"), str) or not fields["task"]:
        return f"'task' is the name of one, not {fields.get('task')!r}"
    if fields.get("schedule") is None:
        return "it has no 'schedule'"
    try:
        due = maybe_schedule(fields["schedule"])
    except TypeError as exc:
        return str(exc)
    if not callable(getattr(due, "is_due", None)):
        return f"'schedule' is a number of seconds, a timedelta or an object such as crontab(), not {fields['schedule']!r}"
    for field, kinds, what in (
        ("args", (list, tuple), "a tuple or list"),
        ("kwargs", Mapping, "a dict"),
        ("options", Mapping, "a dict"),
    ):
        if fields.get(field) is not None and not isinstance(fields[field], kinds):
            return f"{field!r} is {what}, not {fields[field]!r}"
    return ""
