"""Task loggers and the log lines of tasks."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from pyqs_celery_compat import Celery
from pyqs_celery_compat.app.log import TaskFormatter
from pyqs_celery_compat.utils.log import get_logger, get_task_logger


def test_task_loggers_are_below_celery_task() -> None:
    found = get_task_logger("job_module.tasks")
    assert found.name == "job_module.tasks"
    assert found.parent is logging.getLogger("celery.task")
    assert get_task_logger("job_module.tasks") is found
    assert get_logger("job_other").parent is logging.getLogger("celery")
    with pytest.raises(RuntimeError, match="reserved"):
        get_task_logger("celery.task")


def test_records_know_their_task(app: Celery) -> None:
    formatter = TaskFormatter("%(task_name)s %(task_id)s %(message)s", use_color=False)
    texts: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            texts.append(formatter.format(record))

    logger = get_task_logger("job_module.formatted")
    handler = Keep()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)

    @app.task(name="n")
    def work() -> None:
        logger.info("inside")

    logger.info("outside")
    work.apply(task_id="i")
    logger.removeHandler(handler)
    assert texts == ["??? ??? outside", "n i inside"]


def test_a_success_is_one_line_as_celerys(app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    @app.task(name="n", bind=True)
    def work(self: Any) -> str:
        return "r" * 2000

    with caplog.at_level(logging.INFO, "celery.app.trace"):
        work.apply(task_id="i")
    (record,) = caplog.records
    assert record.getMessage().startswith("Task n[i] succeeded in ")
    assert len(record.getMessage()) < 1200
