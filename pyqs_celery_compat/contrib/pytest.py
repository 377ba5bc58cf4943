"""Fixtures of pytest that Celery's users have: an app for a test, what it is made of, and a worker for it in a thread.

Owns: what ``celery.contrib.pytest`` has: a plugin of pytest, for ``pytest_plugins``. Runs in tests only. Never loads a worker
before a test asks for one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from pyqs_celery_compat.contrib.testing.app import TestApp, setup_default_app

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery

#: In Celery, too: where it is set, tests that need a worker do not run.
NO_WORKER = os.environ.get("NO_WORKER")


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark ``celery`` known."""
    config.addinivalue_line("markers", "celery(**overrides): settings of this test's celery_app")


@contextmanager
def _app(parameters: Mapping[str, Any], config: Mapping[str, Any], *, logging: bool, trap: bool) -> Iterator[Celery]:
    app = TestApp(set_as_current=False, enable_logging=logging, config=config, **parameters)
    with setup_default_app(app, use_trap=trap):
        yield app


def _with_mark(request: pytest.FixtureRequest, config: Mapping[str, Any]) -> dict[str, Any]:
    mark = request.node.get_closest_marker("celery")
    return {**config, **(mark.kwargs if mark else {})}


@contextmanager
def _worker(app: Celery, includes: Sequence[str], pool: Any, parameters: Mapping[str, Any]) -> Iterator[Any]:
    if NO_WORKER:
        pytest.skip("NO_WORKER is set in the environment")
    from pyqs_celery_compat.contrib.testing.worker import start_worker

    for module in includes:
        app.loader.import_task_module(module)
    with start_worker(app, pool=pool, **parameters) as worker:
        yield worker


@pytest.fixture(scope="session")
def use_celery_app_trap() -> bool:
    """Override it to have the current app raise when it is used."""
    return False


@pytest.fixture(scope="session")
def celery_enable_logging() -> bool:
    """Override it to have logging as a worker would set it up."""
    return False


@pytest.fixture(scope="session")
def celery_includes() -> Sequence[str]:
    """Override it to name modules with tasks that a worker imports."""
    return ()


@pytest.fixture(scope="session")
def celery_worker_pool() -> str:
    """Override it to choose the pool of a worker."""
    return "solo"


@pytest.fixture(scope="session")
def celery_config() -> dict[str, Any]:
    """Override it with settings for the apps of the tests."""
    return {}


@pytest.fixture(scope="session")
def celery_parameters() -> dict[str, Any]:
    """Override it with further arguments for ``Celery(...)``."""
    return {}


@pytest.fixture(scope="session")
def celery_worker_parameters() -> dict[str, Any]:
    """Override it with further arguments for a worker."""
    return {}


@pytest.fixture(scope="session")
def celery_class_tasks() -> list[Any]:
    """Override it with task classes that the session's app registers."""
    return []


@pytest.fixture(scope="session")
def celery_session_app(
    request: pytest.FixtureRequest,
    celery_config: dict[str, Any],
    celery_parameters: dict[str, Any],
    celery_class_tasks: list[Any],
    celery_enable_logging: bool,
    use_celery_app_trap: bool,
) -> Iterator[Celery]:
    """One app for all tests; it is the current one where there is no trap."""
    config = _with_mark(request, celery_config)
    with _app(celery_parameters, config, logging=celery_enable_logging, trap=use_celery_app_trap) as app:
        if not use_celery_app_trap:
            app.set_default()
            app.set_current()
        for task in celery_class_tasks:
            app.register_task(task)
        yield app


@pytest.fixture
def celery_app(
    request: pytest.FixtureRequest,
    celery_config: dict[str, Any],
    celery_parameters: dict[str, Any],
    celery_enable_logging: bool,
    use_celery_app_trap: bool,
) -> Iterator[Celery]:
    """An app for this test alone; ``@pytest.mark.celery(setting=value)`` overrides its settings."""
    config = _with_mark(request, celery_config)
    with _app(celery_parameters, config, logging=celery_enable_logging, trap=use_celery_app_trap) as app:
        yield app


@pytest.fixture
def depends_on_current_app(celery_app: Celery) -> None:
    """The test's app is the current one."""
    celery_app.set_current()


@pytest.fixture(scope="session")
def celery_session_worker(
    celery_session_app: Celery,
    celery_includes: Sequence[str],
    celery_worker_pool: Any,
    celery_worker_parameters: dict[str, Any],
) -> Iterator[Any]:
    """A worker in a thread, for all tests that use it and ``celery_session_app``."""
    with _worker(celery_session_app, celery_includes, celery_worker_pool, celery_worker_parameters) as worker:
        yield worker


@pytest.fixture
def celery_worker(
    celery_app: Celery, celery_includes: Sequence[str], celery_worker_pool: Any, celery_worker_parameters: dict[str, Any]
) -> Iterator[Any]:
    """A worker in a thread, for this test and its ``celery_app``."""
    with _worker(celery_app, celery_includes, celery_worker_pool, celery_worker_parameters) as worker:
        yield worker
