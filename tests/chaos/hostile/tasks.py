"""The harmless tasks that the hostile bodies may name; what they are called with is kept."""

from __future__ import annotations

import os  # a module inside a task module, which a name may try to reach through it
from typing import Any

import pyqs
from hostile.names import CELERY
from pyqs_celery_compat import shared_task

RAN: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []


def plain(*args: Any, **kwargs: Any) -> None:
    """No task."""
    raise AssertionError(f"a plain function of {os.getpid()} was called")


@pyqs.task
def native(*args: Any, **kwargs: Any) -> None:
    RAN.append(("hostile.tasks.native", args, kwargs))


@pyqs.task(custom_function_path="email_tasks.send_email")
def send_email(*args: Any, **kwargs: Any) -> None:
    RAN.append(("email_tasks.send_email", args, kwargs))


@pyqs.task(custom_function_path="my.custom.path")
def custom(*args: Any, **kwargs: Any) -> None:
    RAN.append(("my.custom.path", args, kwargs))


def _celery(name: str, **options: Any) -> None:
    def keep(self: Any, *args: Any, **kwargs: Any) -> None:
        RAN.append((name, args, kwargs))

    shared_task(name=name, bind=True, **options)(keep)


for _number, _name in enumerate(CELERY):
    _celery(_name, acks_late=_number % 2 == 0)
