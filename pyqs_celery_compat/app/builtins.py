"""Celery's own tasks, those that canvases send by name.

Owns: the nine of them, under the names of Celery's functions that add them. They run in an executor, or in eager mode in the
caller's process. Messages of those that need a result backend are left on their queue where there is none (``NEED_RESULTS``).
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, NoReturn

from pyqs import coroutines
from pyqs_celery_compat import _state as state
from pyqs_celery_compat.signatures import signature

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery
    from pyqs_celery_compat.app.task import Task

#: Only a name: no message has it that anybody could run.
NAMES_ONLY = frozenset({"celery.chain"})
#: Those that count or look for results: where there are none, their messages stay for who has them.
NEED_RESULTS = frozenset({"celery.chord", "celery.chord_unlock"})


def register() -> None:
    """Have every app from now on get these tasks when it is finalized. Called once, when the app module is imported."""
    for add in _ALL:
        state.connect_on_app_finalize(add)


def add_backend_cleanup_task(app: Celery) -> Task:
    """``celery.backend_cleanup``: the result backend deletes what has expired; beat sends it once a day."""

    @app.task(name="celery.backend_cleanup", shared=False, lazy=False)
    def backend_cleanup() -> None:
        app.backend.cleanup()

    return backend_cleanup


def add_accumulate_task(app: Celery) -> Task:
    """``celery.accumulate``: what it was given, or the item with this index."""

    @app.task(bind=True, name="celery.accumulate", shared=False, lazy=False)
    def accumulate(self: Task, *args: Any, **kwargs: Any) -> Any:
        index = kwargs.get("index")
        return args[index] if index is not None else args

    return accumulate


def add_unlock_chord_task(app: Celery) -> Task:
    """``celery.chord_unlock``: comes again until a chord's header has ended, then sends the body. Its message is deleted when
    the next one is sent, or the body."""

    @app.task(
        bind=True, name="celery.chord_unlock", max_retries=None, shared=False, ignore_result=True, lazy=False, acks_late=True,
        default_retry_delay=app.conf.result_chord_retry_interval,
    )  # fmt: skip
    def unlock_chord(
        self: Task, /, group_id: str, callback: Any, interval: float | None = None, max_retries: int | None = None,
        result: Any = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        from pyqs_celery_compat import chord_unlocking

        chord_unlocking.unlock(self, app, group_id, callback, interval, max_retries, result, **kwargs)

    return unlock_chord


def _ended(answer: Any, name: str) -> Any:
    """What a task has answered; one that is an ``async def`` is run to its end."""
    if not isinstance(answer, Coroutine):
        return answer
    running = state.get_current_task()
    return coroutines.run(answer, name, keep=running is not None and not running.request.is_eager)


def add_map_task(app: Celery) -> Task:
    """``celery.map``: one task with each item, here."""

    @app.task(name="celery.map", shared=False, lazy=False)
    def xmap(task: Any, it: Any) -> list[Any]:
        run = signature(task, app=app).type
        return [_ended(run(item), run.name) for item in it]

    return xmap


def add_starmap_task(app: Celery) -> Task:
    """``celery.starmap``: one task with each item's arguments, here."""

    @app.task(name="celery.starmap", shared=False, lazy=False)
    def xstarmap(task: Any, it: Any) -> list[Any]:
        run = signature(task, app=app).type
        return [_ended(run(*items), run.name) for items in it]

    return xstarmap


def add_chunk_task(app: Celery) -> Task:
    """``celery.chunks``: publishes the parts."""

    @app.task(name="celery.chunks", shared=False, lazy=False)
    def chunks(task: Any, it: Any, n: int) -> Any:
        from pyqs_celery_compat.canvas import chunks

        return chunks.apply_chunks(signature(task, app=app), it, n, app=app)

    return chunks


def add_group_task(app: Celery) -> Task:
    """``celery.group``: publishes its members, whose ids are fixed."""

    @app.task(name="celery.group", bind=True, shared=False, lazy=False)
    def group(self: Task, tasks: Any, result: Any, group_id: str, partial_args: Any, add_to_parent: bool = True) -> Any:
        from pyqs_celery_compat.result import result_from_tuple

        found = result_from_tuple(result, app)
        for member in tasks:
            signature(member, app=app).apply_async(partial_args, group_id=group_id, add_to_parent=False)
        parent = app.current_worker_task
        if add_to_parent and parent is not None:
            parent.add_trail(found)
        return found

    return group


def add_chain_task(app: Celery) -> Task:
    """``celery.chain``: only a name; its tasks are published one after another."""

    @app.task(name="celery.chain", shared=False, lazy=False)
    def chain(*args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError("chain is not a real task")

    return chain


def add_chord_task(app: Celery) -> Task:
    """``celery.chord``: publishes the header, and has the backend count it."""

    @app.task(name="celery.chord", bind=True, ignore_result=False, shared=False, lazy=False)
    def chord(
        self: Task, /, header: Any, body: Any, partial_args: Any = (), interval: Any = None, countdown: Any = None,
        max_retries: int | None = None, eager: bool = False, **kwargs: Any,
    ) -> Any:  # fmt: skip
        from pyqs_celery_compat.canvas import chord as chords
        from pyqs_celery_compat.canvas import group

        members = header.tasks if isinstance(header, group) else header
        made = chords(list(members), body, app=app)
        return made.run(
            made._header(), made.body, partial_args, app=app, interval=interval, countdown=countdown,
            max_retries=max_retries, **kwargs,
        )  # fmt: skip

    return chord


_ALL = (
    add_backend_cleanup_task,
    add_accumulate_task,
    add_unlock_chord_task,
    add_map_task,
    add_starmap_task,
    add_chunk_task,
    add_group_task,
    add_chain_task,
    add_chord_task,
)
