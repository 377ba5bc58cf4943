"""The moments of a worker's processes: their order beside the signals, and what an exception in one of them does."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyqs.config import RuntimeConfig
from pyqs_celery_compat import Celery, lifecycle, signals
from pyqs_celery_compat.lifecycle import Moment
from pyqs_celery_compat.runtime import CeleryRuntime


def test_in_the_order_of_adding_each_once(app: Celery) -> None:
    seen: list[Any] = []
    moment = Moment("tried")

    @moment.add
    def one(given: Celery) -> None:
        seen.append(("one", given))

    moment.add(lambda given: seen.append(("two", given)))
    moment.add(one)
    moment.run(app)
    assert seen == [("one", app), ("two", app)]
    moment.discard(one)
    moment.discard(one)
    moment.run(app)
    assert seen[2:] == [("two", app)]


def test_an_exception_is_logged_and_the_rest_is_called(app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Celery] = []
    moment = Moment("tried")
    moment.add(lambda given: 1 / 0)
    moment.add(seen.append)
    with caplog.at_level(logging.ERROR):
        moment.run(app)
    assert seen == [app]
    assert "failed when the process was tried" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_one_that_is_fatal_is_raised(app: Celery) -> None:
    seen: list[Celery] = []
    moment = Moment("tried", fatal=True)
    moment.add(lambda given: 1 / 0)
    moment.add(seen.append)
    with pytest.raises(ZeroDivisionError):
        moment.run(app)
    assert seen == []


@pytest.fixture
def told() -> Iterator[list[str]]:
    """What happened, in its order: the moments, and the signals beside them."""
    seen: list[str] = []
    moments = (lifecycle.booted, lifecycle.forked, lifecycle.hosted, lifecycle.closing)
    hooks = [(moment, moment.add(lambda app, name=moment.name: seen.append(name))) for moment in moments]

    def sent(signal: Any, **named: Any) -> None:
        seen.append(signal.name)

    for each in (signals.worker_process_init, signals.worker_process_shutdown):
        each.connect(sent, weak=False)
    yield seen
    for moment, hook in hooks:
        moment.discard(hook)
    for each in (signals.worker_process_init, signals.worker_process_shutdown):
        each.disconnect(sent)


def test_where_the_runtime_runs_them(told: list[str], tmp_path: Path) -> None:
    config = RuntimeConfig(runtime="pyqs_celery_compat.runtime:CeleryRuntime", working_directory=str(tmp_path))
    runtime = CeleryRuntime(config)
    runtime.boot()
    assert told == ["booted"]
    runtime.after_fork()
    runtime.close()
    assert told == ["booted", "forked", "worker_process_init", "worker_process_shutdown", "closing"]
    host = CeleryRuntime(config)
    host.boot()
    host.become_host()
    assert told[5:] == ["booted", "hosted"]
