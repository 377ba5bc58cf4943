"""``send_task``: everything between a call and its message.

Owns: merging options, routing, the family (root and parent ids). Runs in whatever thread calls a task.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pyqs_celery_compat import _state as state
from pyqs_celery_compat.exceptions import AlwaysEagerIgnored
from pyqs_celery_compat.uuids import uuid

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery
    from pyqs_celery_compat.result import AsyncResult

_OMITTED: Any = object()
#: Of countdown, eta, expires, link, link_error, group_id, group_index, chord, chain, shadow and reply_to.
_NOTHING_SAID = (None,) * 11


def send_task(
    app: Celery,
    name: str,
    args: Any = None,
    kwargs: Mapping[str, Any] | None = None,
    countdown: float | None = None,
    eta: Any = None,
    task_id: str | None = None,
    producer: Any = None,
    connection: Any = None,
    router: Any = None,
    result_cls: Any = None,
    expires: Any = _OMITTED,
    publisher: Any = None,
    link: Any = None,
    link_error: Any = None,
    add_to_parent: bool = True,
    group_id: str | None = None,
    group_index: int | None = None,
    retries: int = 0,
    chord: Any = None,
    reply_to: str | None = None,
    time_limit: Any = _OMITTED,
    soft_time_limit: Any = _OMITTED,
    root_id: str | None = None,
    parent_id: str | None = None,
    route_name: str | None = None,
    shadow: str | None = None,
    chain: Any = None,
    task_type: Any = None,
    replaced_task_nesting: int = 0,
    **options: Any,
) -> AsyncResult:
    """Publish a call; see ``Celery.send_task``."""
    task_id = task_id or uuid()
    app.backend  # noqa: B018 - one that cannot be made is an error before anything is sent, not after
    if task_type is None and app.conf.task_always_eager:  # with one it comes from apply_async, which has looked
        warnings.warn(AlwaysEagerIgnored("task_always_eager has no effect on send_task"), stacklevel=3)
    if task_type is None and dict.get(app._tasks, name) is not None:
        task_type = app._tasks[name]
        options = {**task_type._get_exec_options(), **options}
    limits = {"time_limit": time_limit, "soft_time_limit": soft_time_limit, "expires": expires}
    for key, given in limits.items():
        stored = options.pop(key, None)
        limits[key] = stored if given is _OMITTED else given
    ignore_result = options.pop("ignore_result", None)
    options = (router or app.amqp.router).route(options, route_name or name, args, kwargs, task_type)
    if not root_id or not parent_id:
        root_id, parent_id = _family(app, root_id, parent_id, options)
    producer = producer or publisher or (connection and app.amqp.Producer(connection, auto_declare=False))
    said = (countdown, eta, limits["expires"], link, link_error, group_id, group_index, chord, chain, shadow, reply_to)
    if said != _NOTHING_SAID or producer or retries or replaced_task_nesting or not app.amqp.send_plain_call(
        task_id, name, args, kwargs, options, root_id, parent_id,
        ignore_result=ignore_result, time_limit=limits["time_limit"], soft_time_limit=limits["soft_time_limit"],
    ):  # fmt: skip
        message = app.amqp.create_task_message(
            task_id, name, args, kwargs, countdown=countdown, eta=eta, group_id=group_id, group_index=group_index,
            retries=retries, chord=chord, callbacks=_listed(link), errbacks=_listed(link_error),
            reply_to=reply_to or app.thread_oid, root_id=root_id, parent_id=parent_id, shadow=shadow, chain=chain,
            ignore_result=ignore_result, replaced_task_nesting=replaced_task_nesting, **limits, **options,
        )  # fmt: skip
        app.amqp.send_task_message(producer or app.amqp.producer, name, message, **options)
    result: AsyncResult = (result_cls or app.AsyncResult)(task_id)
    result.ignored = ignore_result
    if add_to_parent:
        parent = state.get_current_worker_task()
        if parent is not None:
            parent.add_trail(result)
    return result


def _family(app: Celery, root_id: str | None, parent_id: str | None, options: dict[str, Any]) -> tuple[str | None, str | None]:
    """The ids of the first task of all and of the calling one; its priority, where the app says so, goes into the options."""
    parent = app.current_worker_task
    if parent is None:
        return root_id, parent_id
    if app.conf.task_inherit_parent_priority:
        options.setdefault("priority", (parent.request.delivery_info or {}).get("priority"))
    return root_id or parent.request.root_id or parent.request.id, parent_id or parent.request.id


def _listed(value: Any) -> list[Any] | None:
    if not value:
        return None
    return list(value) if isinstance(value, (list, tuple)) else [value]
