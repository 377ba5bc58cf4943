"""A task that has another one take its place: ``self.replace``, ``self.add_to_chord``.

Owns: what the other one inherits. Runs inside the task. In a worker what replaces it leaves through the outcome's outbox: it is
sent before the message of the replaced one is deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyqs_celery_compat import of_task
from pyqs_celery_compat.canvas import Signature, _chain, group, signature
from pyqs_celery_compat.exceptions import Ignore, ImproperlyConfigured
from pyqs_celery_compat.signatures import as_list

if TYPE_CHECKING:
    from pyqs_celery_compat.app.task import Task


def replace(task: Task, sig: Any) -> Any:
    """What ``Task.replace`` does; see there."""
    request = task.request
    if "chord" in sig.options:
        raise ImproperlyConfigured("A signature replacing a task must not be part of a chord")
    if isinstance(sig, _chain) and not sig.tasks:
        raise ImproperlyConfigured("Cannot replace with an empty chain")
    sig = _with_one_result(task, sig)
    for callback in as_list(request.callbacks):
        sig.link(callback)
    for errback in as_list(request.errbacks):
        sig.link_error(errback)
    if request.chain:
        # Its id first: the steps that are left have theirs, by which somebody waits for them.
        sig.freeze(request.id)
        for step in reversed(list(request.chain.tasks if isinstance(request.chain, _chain) else request.chain)):
            sig |= signature(step, app=task.app)
    sig.set(
        chord=request.chord,
        group_id=request.group,
        group_index=request.group_index,
        root_id=request.root_id,
        replaced_task_nesting=request.replaced_task_nesting + 1,
    )
    if not request.chain:
        sig.freeze(request.id)
    return task.on_replace(sig)


def on_replace(task: Task, sig: Any) -> Any:
    """What ``Task.on_replace`` does: in eager mode run it and answer its value, else publish it and raise Ignore."""
    if task.request.is_eager:
        return sig.apply().get()
    with of_task.into_outbox():
        sig.delay()
    raise Ignore("Replaced by new task")


def add_to_chord(task: Task, sig: Any, lazy: bool) -> Any:
    """What ``Task.add_to_chord`` does; see there."""
    request = task.request
    if not request.chord:
        raise ValueError("Current task is not member of any chord")
    sig.set(group_id=request.group, group_index=request.group_index, chord=request.chord, root_id=request.root_id)
    result = sig.freeze()
    task.backend.add_to_chord(request.group, result)
    if lazy:
        return sig
    with of_task.into_outbox():
        return sig.delay()


def _with_one_result(task: Task, sig: Any) -> Any:
    """What ends in a group ends in a chord then, whose body hands the list of results on: that is something to link to."""
    if isinstance(sig, group):
        return sig | _accumulate(task)
    if isinstance(sig, _chain) and isinstance(sig.tasks[-1], group):
        sig.tasks = [*sig.tasks[:-1], sig.tasks[-1] | _accumulate(task)]
    return sig


def _accumulate(task: Task) -> Signature:
    made: Signature = task.app.tasks["celery.accumulate"].s(index=0)
    return made
