"""What django-structlog's documentation shows: a step of the worker that logs each task, with what the caller had bound."""

from __future__ import annotations

import logging.config
import os
from typing import Any

import django
import structlog
from celery import Celery
from celery.signals import setup_logging
from django.conf import settings

if not settings.configured:
    settings.configure(
        SECRET_KEY="none", INSTALLED_APPS=["django_structlog"], DJANGO_STRUCTLOG_CELERY_ENABLED=True, USE_TZ=True
    )  # fmt: skip
    django.setup()

from django_structlog.celery.steps import DjangoStructLogInitStep

app = Celery("structured", broker="sqs://", backend=os.environ["EXAMPLE_REDIS"])
app.conf.update(
    task_default_queue="structured", broker_transport_options={"wait_time_seconds": 1, "polling_interval": 0.1},
)  # fmt: skip
app.steps["worker"].add(DjangoStructLogInitStep)


def to_file(path: str) -> None:
    """JSON lines of the library's own logger, and of the tasks'."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "json": {"()": structlog.stdlib.ProcessorFormatter, "processor": structlog.processors.JSONRenderer()}
            },
            "handlers": {"file": {"class": "logging.FileHandler", "filename": path, "formatter": "json"}},
            "loggers": {name: {"handlers": ["file"], "level": "INFO"} for name in ("django_structlog", "structured")},
        }
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_log_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


@setup_logging.connect
def receiver_setup_logging(**_: Any) -> None:
    to_file(os.environ["EXAMPLE_LOG"])


@app.task
def works(number: int) -> int:
    structlog.get_logger("structured").info("from_the_task", number=number)
    return number


@app.task
def calls(number: int) -> str:
    return str(works.delay(number).id)


@app.task
def fails(reason: str) -> None:
    raise ValueError(reason)


@app.task(bind=True)
def tries(self: Any) -> str:
    if self.request.retries == 0:
        raise self.retry(countdown=0, exc=ValueError("again"))
    return "done"
