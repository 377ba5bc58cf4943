from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from celery import Task as T  # expect: import same
from celery.contrib.abortable import AbortableTask  # expect: import same

if TYPE_CHECKING:
    from celery.beat import Scheduler  # types only: nothing runs
    from celery.worker.request import Request as R


class Logged(T):  # expect: task-class same
    abstract = True
    Strategy = "proj.own:Strategy"  # expect: task-class not-supported
    Request = "proj.own:Request"  # expect: task-class not-supported
    serializer = "pickle"  # expect: pickle difference
    reject_on_worker_lost = True  # expect: task difference
    rate_limit = None

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        self.request.delivery_info["redelivered"]  # expect: request difference
        self.request.my_own_header  # expect: request look
        self.retry(exc=exc)  # expect: retry same
        self.retry(countdown=2**self.request.retries)  # expect: eta difference, request same
        self.app.control.shutdown()  # expect: control not-supported


class Aborted(AbortableTask):  # expect: task-class same
    pass


def helper(task: Optional[T], scheduler: "Scheduler", request: R) -> None:
    task.retry(eta=1)  # expect: eta difference
    task.request.retries  # expect: request same


class NoTask:
    """Has a request and a retry of its own."""

    def get(self):
        self.request.delivery_info
        self.retry(countdown=3)
        self.control.shutdown()
