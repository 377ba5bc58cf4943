"""What a user's type checker sees of Celery's face. Checked by mypy --strict, never run.

A comment that ignores an error is a test, too: without the error, mypy finds it unused.
"""

from __future__ import annotations

from pyqs_celery_compat import Celery, Task, shared_task
from pyqs_celery_compat.result import AsyncResult

app = Celery("proj")


class Base(Task):
    """A project's own base class."""


@shared_task
def bare(number: int) -> str:
    return str(number)


@shared_task()
def called(number: int, *, loud: bool = False) -> str:
    return str(number)


@shared_task(bind=True, autoretry_for=(OSError,), retry_backoff=True, max_retries=3)
def bound(self: Task, number: int) -> str:
    if self.request.retries > 3:
        raise self.retry(countdown=5)
    return str(number)


@app.task
def of_app(number: int) -> list[int]:
    return [number]


@app.task(bind=True, base=Base, queue="email")
def of_app_bound(self: Base, number: int, name: str = "") -> None: ...


@shared_task(bind=True)
async def awaited(self: Task, number: int) -> str:
    return str(number)


async def caller() -> None:
    said: str = await awaited(1)
    print(said)


result_of_async: AsyncResult = awaited.delay(1)
awaited.delay("one")  # type: ignore[arg-type]
text: str = bare(1)
text = called(1, loud=True)
text = bound(1)
numbers: list[int] = of_app(1)
result: AsyncResult = bare.delay(1)
result = bound.delay(number=1)
result = of_app_bound.delay(1, name="x")
bare.apply_async((1,), countdown=5, queue="email")
bound.s(1).apply_async()
of_app.si(1)

bare.delay("one")  # type: ignore[arg-type]
called.delay(1, quiet=True)  # type: ignore[call-arg]
bound.delay()  # type: ignore[call-arg]
of_app_bound.delay("x")  # type: ignore[arg-type]
of_app(None)  # type: ignore[arg-type]
text = of_app(1)  # type: ignore[assignment]
