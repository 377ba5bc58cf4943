"""What shows only when all files are looked at together.

Owns: ``across``: names of tasks that nothing declares, ETAs beside a long visibility timeout, chords without results, tasks
that are acknowledged early and run longer than the platform waits. Pure; adds to the findings.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Collection

from pyqs_celery_compat.checking.collected import Collected, Declared
from pyqs_celery_compat.checking.findings import differs, look, unsupported

#: Seconds from which on a visibility timeout is one because of tasks that are due later.
_LONG = 3600
#: Tasks that every app has.
_BUILT_IN = "celery."


def across(found: Collected, grace: float | None, registered: Collection[str] | None = None) -> None:
    """Add the findings.

    Parameters:
        grace: seconds from SIGTERM to SIGKILL where the workers run; None does not ask.
        registered: names of the tasks of the imported app; None without ``-A``.
    """
    _unknown_tasks(found, registered)
    _visibility(found)
    _chords(found)
    if grace is not None:
        _early(found, grace)


def _unknown_tasks(found: Collected, registered: Collection[str] | None) -> None:
    declared = {task.name for task in found.tasks if task.name} | set(registered or ())
    if not declared:
        return
    for place, name, how in found.named:
        is_pattern = how in ("task_routes", "task_annotations") and any(sign in name for sign in "*?[")
        if name.startswith(_BUILT_IN) or any(_meant(one, name, is_pattern) for one in declared):
            continue
        found.say(
            place,
            "unknown-task",
            name,
            look(f"{how} names a task that nothing declares in what was read"),
        )


def _meant(declared: str, name: str, is_pattern: bool) -> bool:
    """Whether a name is a declared task's, whatever directory of the source is on ``sys.path``."""
    if is_pattern:
        return fnmatch.fnmatch(declared, name) or fnmatch.fnmatch(declared, f"*.{name}")
    return declared == name or declared.endswith("." + name)


def _visibility(found: Collected) -> None:
    if not found.etas:
        return
    for value, place in found.settings.get("visibility_timeout", []):
        if value.known and isinstance(value.value, (int, float)) and value.value >= _LONG:
            found.say(
                place,
                "visibility-timeout",
                "a long visibility_timeout beside ETAs",
                differs("tasks that are due later no longer need it: they hop. Queues that it was set on may have a short one"),
            )


def _chords(found: Collected) -> None:
    backends = found.settings.get("result_backend", [])
    known = [value for value, _ in backends if value.known and value.value in (None, "", "disabled", "disabled://")]
    if found.chords and len(known) == len(backends):
        for place in found.chords:
            found.say(
                place,
                "chord",
                "a chord without a result backend",
                unsupported("a chord needs a result_backend: docs/results.md"),
            )


def _early(found: Collected, grace: float) -> None:
    everywhere = [value for value, _ in found.settings.get("task_acks_late", [])]
    if any(value.known and value.value for value in everywhere):
        return
    limits = [value.value for value, _ in found.settings.get("task_time_limit", []) if value.known]
    limit = max((one for one in limits if isinstance(one, (int, float))), default=None)
    for task in found.tasks:
        seconds = _seconds(task, limit)
        if seconds is not None and seconds > grace and not (task.acks_late and task.acks_late.value):
            found.say(
                task.place,
                "early-ack",
                task.name or "a task",
                differs(
                    f"its message goes when it begins, and it may run for {seconds:g} s: a stop that waits {grace:g} s "
                    "loses it, under Celery, too. Set acks_late, or a longer grace"
                ),
            )


def _seconds(task: Declared, limit: float | None) -> float | None:
    """The longest that a task may run, as far as somebody said so."""
    return task.seconds if task.seconds is not None else limit
