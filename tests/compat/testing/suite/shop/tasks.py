"""Its tasks, as such modules look: shared, bound, retried, routed by the app."""

from __future__ import annotations

import threading
import time
from typing import Any

from celery import Task, shared_task
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded

#: What the tasks have done: the suite and its worker are one process.
seen: list[Any] = []
go_on = threading.Event()


@shared_task
def add(x: int, y: int) -> int:
    return x + y


@shared_task
def total(numbers: list[int]) -> int:
    return sum(numbers)


@shared_task
def refuse(text: str) -> None:
    raise ValueError(text)


@shared_task(bind=True, max_retries=3)
def flaky(self: Any, until: int) -> int:
    seen.append(self.request.retries)
    if self.request.retries < until:
        raise self.retry(countdown=0, exc=KeyError("not yet"))
    return self.request.retries


@shared_task(autoretry_for=(OSError,), retry_backoff=False, retry_kwargs={"max_retries": 2, "countdown": 0})
def unplugged() -> None:
    seen.append("tried")
    raise OSError("no cable")


@shared_task(bind=True)
def who(self: Any) -> dict[str, Any]:
    info = self.request
    return {"id": info.id, "eager": info.is_eager, "queue": info.delivery_info["routing_key"]}


@shared_task
def ignored() -> None:
    raise Ignore


@shared_task(acks_late=True)
def rejected() -> None:
    seen.append("rejected")
    raise Reject("no", requeue=False)


@shared_task
def remember(*args: Any, **kwargs: Any) -> None:
    seen.append((args, kwargs))


@shared_task(ignore_result=True)
def quiet(text: str) -> str:
    seen.append(text)
    return text


@shared_task
def waits() -> str:
    return "went on" if go_on.wait(10) else "waited for too long"


@shared_task
def sleeps(seconds: float) -> str:
    time.sleep(seconds)
    return "slept"


@shared_task(soft_time_limit=60)
def patient() -> str:
    try:
        return "done"
    except SoftTimeLimitExceeded:
        return "interrupted"


@shared_task
def calls_another(x: int) -> str:
    return str(add.delay(x, x).id)


class Greeter(Task):
    """A task as a class."""

    name = "shop.greet"
    greeting = "Hello"

    def run(self, name: str) -> str:
        return f"{self.greeting} {name}"

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        seen.append(("on_success", retval))
