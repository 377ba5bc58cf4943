"""As in Celery's documentation: the plugin, and fixtures that a project overrides."""

from __future__ import annotations

from typing import Any

import pytest

pytest_plugins = ("celery.contrib.pytest",)


@pytest.fixture(scope="session")
def celery_config() -> dict[str, Any]:
    return {
        "broker_url": "memory://",
        "result_backend": "cache+memory://",
        "task_routes": {"shop.tasks.quiet": {"queue": "mail"}},
        "broker_transport_options": {"polling_interval": 0.01},
    }


@pytest.fixture(scope="session")
def celery_includes() -> list[str]:
    return ["shop.tasks"]


@pytest.fixture(scope="session")
def celery_worker_parameters() -> dict[str, Any]:
    return {"queues": ("celery", "mail"), "shutdown_timeout": 30}


@pytest.fixture(scope="session")
def celery_class_tasks() -> list[Any]:
    from shop.tasks import Greeter

    return [Greeter]


@pytest.fixture(autouse=True)
def seen() -> list[Any]:
    from shop import tasks

    tasks.seen.clear()
    tasks.go_on.clear()
    return tasks.seen
