"""The tasks that a message may name, and what runs each of them.

Owns: the search through a process's apps and one tracer for each task. Runs in the main thread of an executor, or of the host,
which asks for no tracer. Never imports anything: the import policy does, and asks here again.
"""

from __future__ import annotations

from typing import Any

from pyqs_celery_compat import _state as state
from pyqs_celery_compat.app import Celery, trace
from pyqs_celery_compat.app.task import Task


class KnownTasks:
    """The app's tasks, then those of any other app in the process.

    Parameters:
        hostname: the node's name, for the requests.
    """

    def __init__(self, app: Celery, hostname: str) -> None:
        self._app = app
        self._hostname = hostname
        #: Task name -> what runs it, the task that is meant, and the function that made it.
        self._tracers: dict[str, tuple[trace.Tracer, Task, Any]] = {}

    def get(self, name: str) -> Task | None:
        """The task of this name, or None."""
        task: Task | None = dict.get(self._app._tasks, name) if self._app.finalized else _task_of(self._app, name)
        if task is not None:
            return task
        others = (app for app in state.active_apps() if app is not self._app)
        return next((found for app in others if (found := _task_of(app, name)) is not None), None)

    def tracer(self, task: Task) -> trace.Tracer:
        """What runs this task. Made once for each, as in Celery; ``build_tracer`` is looked up each time, because tracing
        libraries put their own in its place."""
        build = trace.build_tracer
        made = self._tracers.get(task.name)
        if made is None or made[1] is not task or made[2] is not build:
            tracer = build(task.name, task, hostname=self._hostname, app=task.app)
            made = self._tracers[task.name] = (tracer, task, build)
        return made[0]


def _task_of(app: Celery, name: str) -> Task | None:
    if not (app.finalized or app.autofinalize):
        return None
    tasks = app._tasks if app.finalized else app.tasks
    task: Task | None = dict.get(tasks, name)
    return task
