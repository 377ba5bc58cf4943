"""Tasks of Django's, of a project that has them, and what they have done."""

from __future__ import annotations

import asyncio
from typing import Any

from django.tasks import TaskContext, task

ran: list[Any] = []


@task
def add(x: int, y: int = 0) -> int:
    ran.append((x, y))
    return x + y


@task
async def waits(x: int) -> int:
    await asyncio.sleep(0)
    ran.append(("waits", x))
    return x + 1


@task
def fails(text: str) -> None:
    ran.append("fails")
    raise ValueError(text)


@task(takes_context=True)
def asks(context: TaskContext, x: int) -> None:
    ran.append((context.attempt, context.task_result.id, context.task_result.args, x))


@task(queue_name="mail")
def mails() -> None:
    ran.append("mails")


@task
def odd() -> Any:
    return object()


def plain() -> None:
    ran.append("plain")
