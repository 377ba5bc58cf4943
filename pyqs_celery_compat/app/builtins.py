"""Celery's own tasks, those that canvases send by name.

Owns: ``celery.map`` and ``celery.starmap``. They run the inner task in place, in an executor. The others
come with canvas and results; a message that names one of them is left on its queue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyqs_celery_compat import _state as state
from pyqs_celery_compat.canvas import maybe_signature

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery

#: Celery's tasks that this version cannot run.
NOT_YET = frozenset({
    "celery.accumulate", "celery.backend_cleanup", "celery.chain", "celery.chord", "celery.chord_unlock", "celery.chunks",
    "celery.group",
})  # fmt: skip


def register() -> None:
    """Have every app from now on get these tasks when it is finalized. Called once, when the app module is imported."""
    state.connect_on_app_finalize(_add_map_tasks)


def _add_map_tasks(app: Celery) -> None:
    def inner(task: Any) -> Any:
        found = maybe_signature(task, app=app)
        assert found is not None
        return found.type

    @app.task(name="celery.map", shared=False, lazy=False)
    def xmap(task: Any, it: Any) -> list[Any]:
        run = inner(task)
        return [run(item) for item in it]

    @app.task(name="celery.starmap", shared=False, lazy=False)
    def xstarmap(task: Any, it: Any) -> list[Any]:
        run = inner(task)
        return [run(*items) for items in it]
