"""What follows a task: its links and the rest of its chain, or its errbacks.

Owns: reading those signatures and publishing them. Runs at the end of a task, in its thread; in a worker the messages
go into the outcome's outbox (see ``publisher``) and are sent before the parent's message is deleted. What cannot be published,
a chord without a result backend among it, is found by ``unsupported`` before the task runs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pyqs_celery_compat import of_task
from pyqs_celery_compat.signatures import Signature, maybe_signature

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery
    from pyqs_celery_compat.app.task import Task
    from pyqs_celery_compat.einfo import ExceptionInfo
    from pyqs_celery_compat.request import Context

#: Values in all signatures of one call. What is shared counts each time, as it is written each time: YAML and pickle can share
#: a few parts so that they are 2**50.
_MAX_PARTS = 1_000_000
#: Kinds of canvases.
_KINDS = frozenset({"task", "chain", "group", "chord", "chunks", "xmap", "xstarmap"})
#: How deep they may lie in one another.
_MAX_DEPTH = 50
#: The parts of a signature and their kinds.
_PARTS: Mapping[str, type | tuple[type, ...]] = {"args": (list, tuple), "kwargs": Mapping, "options": Mapping}

logger = logging.getLogger("celery.app.trace")


def unsupported(callbacks: Any, errbacks: Any, chain: Any, chord: Any, *, counts: bool) -> str | None:
    """Why a call with these parts cannot be run to its end here, or None.

    Parameters:
        counts: there is a result backend, so that a chord's tasks can be counted.
    """
    if not (callbacks or errbacks or chain or chord):
        return None
    if _is_huge([callbacks, errbacks, chain]):
        return f"its links and its chain hold more than {_MAX_PARTS} values"
    if chord and not counts:
        return "it belongs to a chord, and counting a chord's tasks needs a result backend"
    places = {"a link": callbacks, "an errback": errbacks, "its chain": chain, "its chord's body": [chord] if chord else None}
    for place, signatures in places.items():
        for sig in signatures or ():
            problem = _problem(sig, counts)
            if problem:
                return f"{place} of it {problem}"
    for step, sig in enumerate(chain or ()):
        # The list is stored in reverse: whatever stands before a group follows it.
        if _kind(sig) == "group" and step > 0 and not counts:
            return "in its chain something follows a group, which makes it a chord, and that needs a result backend"
    return None


def on_success(app: Celery, request: Context, retval: Any, task_id: str) -> None:
    """Publish the links, then the next task of the chain with the rest of it."""
    inherited: dict[str, Any] = {"parent_id": task_id, "root_id": request.root_id or task_id}
    if app.conf.task_inherit_parent_priority:
        inherited["priority"] = (request.delivery_info or {}).get("priority")
    for sig in request.callbacks or ():
        publish(app, sig, (retval,), **inherited)
    if request.chain:
        publish(app, request.chain[-1], (retval,), chain=list(request.chain[:-1]), **inherited)


def on_failure(app: Celery, name: str, request: Context, exc: BaseException, einfo: ExceptionInfo) -> None:
    """Call the errbacks that take (request, exc, traceback) here, publish the others with the task's id.

    Which is which Celery decides by the registered task's signature: more than one argument, and not bound.
    """
    eager = app.conf.task_always_eager or bool((request.delivery_info or {}).get("is_eager"))
    family: dict[str, Any] = {"parent_id": request.id, "root_id": request.root_id or request.id}
    for sig in request.errbacks or ():
        errback = sig if isinstance(sig, Signature) else Signature(dict(sig), app=app)
        try:
            if _kind(errback) == "task" and errback.task in app.tasks and _takes_the_failure(app.tasks[errback.task], errback):
                errback(request, exc, einfo.traceback)
            elif eager:
                errback.apply((request.id,), **family)
            else:
                publish(app, errback, (request.id,), **family)
        except Exception:
            # The task's own failure is the news; an errback must not hide it.
            logger.exception("Errback %r of task %s[%s] raised an exception", errback.get("task"), name, request.id)


def publish(app: Celery, sig: Mapping[str, Any], args: tuple[Any, ...] = (), **options: Any) -> None:
    """Publish a signature: a task, the first task of a chain, every task of a group."""
    with of_task.into_outbox():
        maybe_signature(dict(sig), app=app).apply_async(args, **options)


def _kind(sig: Any) -> str:
    """ "task", "chain", "group" or what else Celery calls a canvas."""
    if not isinstance(sig, Mapping):
        return "nothing"
    return str(sig.get("subtask_type") or "task")


def _members(sig: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    tasks = (sig.get("kwargs") or {}).get("tasks") or ()
    return [task for task in tasks if isinstance(task, Mapping)]


def _is_huge(value: object) -> bool:
    """Whether there are more values in it than can be published; one that holds itself has no end."""
    todo, count = [value], 0
    while todo:
        item = todo.pop()
        if isinstance(item, Mapping):
            item = item.values()
        elif not isinstance(item, (list, tuple, set, frozenset)):
            continue
        count += len(item)
        if count > _MAX_PARTS:
            return True
        todo.extend(item)
    return False


def _malformed(sig: Mapping[str, Any]) -> str | None:
    """What of a signature is of a kind that nobody can publish."""
    for part, kinds in _PARTS.items():
        value = sig.get(part)
        if value is not None and not isinstance(value, kinds):
            return f"has {part} of type {type(value).__name__}"
    for option in ("queue", "routing_key", "exchange"):
        where = (sig.get("options") or {}).get(option)
        if where is not None and not isinstance(where, str):
            return f"names its {option} by a {type(where).__name__}"
    return None


def _problem(sig: Any, counts: bool, depth: int = 0) -> str | None:
    """What is wrong with a signature that is to be published; of a canvas, with any in it."""
    kind = _kind(sig)
    if depth > _MAX_DEPTH:
        return "is nested too deeply"
    if kind == "nothing":
        return "is not a signature"
    if malformed := _malformed(sig):
        return malformed
    is_chord = kind == "chord" or sig.get("task") == "celery.chord"
    parts = sig.get("kwargs") or {}
    if not counts:
        if is_chord:
            return "is a chord, which needs a result backend"
        if (sig.get("options") or {}).get("chord"):
            return "belongs to a chord, which needs a result backend"
        if kind == "chain" and any(_kind(member) == "group" for member in _signatures(parts.get("tasks"))[:-1]):
            return "holds a group that something follows: a chord, which needs a result backend"
    if kind not in _KINDS:
        return f"is a {kind}, which is not there"
    if is_chord:
        header = parts.get("header")
        if isinstance(header, Mapping):
            header = (header.get("kwargs") or {}).get("tasks")
        members = [*_signatures(header), *_signatures([parts.get("body")])]
    else:
        members = _signatures(parts.get("tasks")) if kind in ("chain", "group") else []
    return next((problem for member in members if (problem := _problem(member, counts, depth + 1))), None)


def _signatures(values: Any) -> list[Mapping[str, Any]]:
    return [value for value in values if isinstance(value, Mapping)] if isinstance(values, (list, tuple)) else []


def _takes_the_failure(task: Task, errback: Signature) -> bool:
    """True if more than one argument is left for the failure to fill, and the task is a function that is not bound.

    Of an immutable signature Celery counts what is stored as left, too: it is called here, with what is stored.
    """
    header = getattr(task, "__header__", None)
    if header is None or header.bound:
        return False
    left: bool = header.more_than_one_left(*(((), {}) if errback.immutable else (errback.args, errback.kwargs)))
    return left
