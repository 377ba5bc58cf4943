"""Fixtures of pytest that Celery's users have: an app for a test, and what it is made of.

Owns: what ``celery.contrib.pytest`` has: a plugin of pytest, for ``pytest_plugins``. Runs in tests only. A worker in a thread
of the tests is not here: its fixtures say what there is instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from pyqs_celery_compat.contrib.testing.app import TestApp, setup_default_app

if TYPE_CHECKING:
    from pyqs_celery_compat.app import Celery

NO_WORKER = (
    "celery_worker and celery_session_worker are not here: no worker runs in a thread of the tests. Run tasks with "
    "task_always_eager or task.apply(), or start `pyqs worker` on `pyqs local` for a whole run"
)


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark ``celery`` known."""
    config.addinivalue_line("markers", "celery(**overrides): settings of this test's celery_app")


@contextmanager
def _app(parameters: Mapping[str, Any], config: Mapping[str, Any], *, logging: bool, trap: bool) -> Iterator[Celery]:
    app = TestApp(set_as_current=False, enable_logging=logging, config=config, **parameters)
    with setup_default_app(app, use_trap=trap):
        yield app


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
    celery_config: dict[str, Any],
    celery_parameters: dict[str, Any],
    celery_class_tasks: list[Any],
    celery_enable_logging: bool,
    use_celery_app_trap: bool,
) -> Iterator[Celery]:
    """One app for all tests."""
    with _app(celery_parameters, celery_config, logging=celery_enable_logging, trap=use_celery_app_trap) as app:
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
    mark = request.node.get_closest_marker("celery")
    config = {**celery_config, **(mark.kwargs if mark else {})}
    with _app(celery_parameters, config, logging=celery_enable_logging, trap=use_celery_app_trap) as app:
        yield app


@pytest.fixture
def depends_on_current_app(celery_app: Celery) -> None:
    """The test's app is the current one."""
    celery_app.set_current()


@pytest.fixture(scope="session")
def celery_session_worker() -> NoReturn:
    """Not here; says what there is instead."""
    raise NotImplementedError(NO_WORKER)


@pytest.fixture
def celery_worker() -> NoReturn:
    """Not here; says what there is instead."""
    raise NotImplementedError(NO_WORKER)
