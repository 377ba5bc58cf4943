"""In the place of ``t/integration/conftest.py``: its fixtures and names, for tests whose worker is a process of its own.

Owns: the apps of the tests, and the manager that some tests ask. Runs in the tests' process; what is wanted of a worker inside
of it (its state, its log) is not there.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from pyqs_celery_compat import install_as_celery

install_as_celery()

from celery import states  # noqa: E402 - the alias comes first
from celery.contrib.pytest import *  # noqa: E402, F403 - Celery's fixtures, as their own conftest has them
from t.integration.tasks import get_redis_connection  # noqa: E402

TEST_BROKER = os.environ["TEST_BROKER"]
TEST_BACKEND = os.environ["TEST_BACKEND"]
#: Of the tests' apps and of the worker's: theirs, and what the broker needs.
SETTINGS = {
    "result_extended": True,
    "broker_transport_options": {"region": "us-east-1", "is_secure": False, "wait_time_seconds": 1},
    "task_create_missing_queues": False,
}


def flaky(function: Any) -> Any:
    """Theirs runs a test again that failed; ours must pass the first time."""
    return pytest.mark.timeout(300)(function)


def get_active_redis_channels() -> Any:
    """Channels that somebody listens to."""
    return get_redis_connection().execute_command("PUBSUB CHANNELS")


def check_for_logs(caplog: Any, message: str, max_wait: float = 1.0, interval: float = 0.1) -> bool:
    """Whether a line is logged in this process, soon."""
    deadline = time.monotonic() + max_wait
    while time.monotonic() < deadline:
        if any(re.search(message, record.getMessage()) for record in caplog.records):
            return True
        time.sleep(interval)
    return False


class Manager:
    """As much of Celery's as these tests use."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def inspect(self, timeout: float = 3.0) -> Any:
        """Remote control."""
        return self.app.control.inspect(timeout=timeout)

    def wait_for(self, fun: Callable[[], Any], catch: Any, **_: Any) -> Any:
        """Try again for twenty seconds while it raises one of ``catch``."""
        deadline = time.monotonic() + 20
        while True:
            try:
                return fun()
            except catch:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.1)

    def join(self, result: Any, propagate: bool = False, timeout: float = 10, **kwargs: Any) -> Any:
        """Wait for results."""
        return result.get(propagate=propagate, timeout=timeout, **kwargs)

    def assert_accepted(self, ids: list[str], **_: Any) -> None:
        """A worker would have to be asked."""
        assert self.inspect().query_task(*ids), "no worker answers"

    def assert_result_tasks_in_progress_or_completed(self, results: list[Any], **_: Any) -> None:
        """By their results."""

        def look() -> None:
            assert all(one.state in (states.STARTED, states.SUCCESS) for one in results)

        self.wait_for(look, AssertionError)


@pytest.fixture(scope="session")
def celery_config() -> dict[str, Any]:
    return {"broker_url": TEST_BROKER, "result_backend": TEST_BACKEND, **SETTINGS}


@pytest.fixture(scope="session")
def celery_class_tasks() -> list[Any]:
    from t.integration.tasks import ClassBasedAutoRetryTask

    return [ClassBasedAutoRetryTask]


@pytest.fixture(scope="session")
def celery_session_worker() -> None:
    """It runs already, outside."""


@pytest.fixture
def app(celery_app: Any) -> Any:
    return celery_app


@pytest.fixture
def manager(app: Any) -> Manager:
    return Manager(app)


@pytest.fixture(autouse=True)
def current_app(app: Any) -> None:
    app.set_current()
    app.set_default()
