"""What django-celery-results' documentation shows: results in Django's database, with what was called."""

from __future__ import annotations

import os
from typing import Any

import django
from celery import Celery, chord
from django.conf import settings

if not settings.configured:
    settings.configure(
        SECRET_KEY="none",
        INSTALLED_APPS=["django_celery_results"],
        DATABASES={
            "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["EXAMPLE_DB"], "OPTIONS": {"timeout": 30}}
        },
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
        CELERY_BROKER_URL="sqs://",
        CELERY_RESULT_BACKEND="django-db",
        CELERY_RESULT_EXTENDED=True,
        CELERY_TASK_TRACK_STARTED=True,
        CELERY_TASK_DEFAULT_QUEUE="kept",
        CELERY_BROKER_TRANSPORT_OPTIONS={"wait_time_seconds": 1, "polling_interval": 0.1},
    )
    django.setup()

app = Celery("kept")
app.config_from_object("django.conf:settings", namespace="CELERY")


@app.task
def add(x: int, y: int, *, note: str = "") -> int:
    return x + y


@app.task
def fails(reason: str) -> None:
    raise ValueError(reason)


@app.task(bind=True, max_retries=2)
def tries(self: Any) -> int:
    if self.request.retries < 2:
        raise self.retry(countdown=0)
    return int(self.request.retries)


@app.task
def total(numbers: list[int]) -> int:
    return sum(numbers)


def summed(*numbers: int) -> Any:
    return chord([add.s(number, number) for number in numbers])(total.s())
