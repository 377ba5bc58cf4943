"""An app in a Django project: what it does when it is made, when a worker loads it, and around each task."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

django = pytest.importorskip("django")

from django.conf import settings  # noqa: E402

from pyqs import coroutines  # noqa: E402
from pyqs_celery_compat import Celery, lifecycle, signals  # noqa: E402
from pyqs_celery_compat import _state as state  # noqa: E402
from pyqs_celery_compat.exceptions import FixupWarning, ImproperlyConfigured  # noqa: E402
from pyqs_celery_compat.fixups.django import DjangoFixup, fixup  # noqa: E402
from pyqs_celery_compat.utils import imports  # noqa: E402

if not settings.configured:
    settings.configure(
        INSTALLED_APPS=["django.contrib.contenttypes"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        USE_TZ=True,
    )


NUMBERS = count()


@pytest.fixture
def make(monkeypatch: Any) -> Iterator[Any]:
    """Makes apps of a Django project; nothing of them is left."""
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "shop.settings")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(state, "default_app", None)
    monkeypatch.setattr(signals.task_prerun, "receivers", [])
    monkeypatch.setattr(signals.task_postrun, "receivers", [])
    made: list[Celery] = []

    def one(*args: Any, **kwargs: Any) -> Celery:
        made.append(Celery(*args, set_as_current=False, **kwargs))
        return made[-1]

    yield one
    for app in made:
        app.close()


@pytest.fixture
def connection() -> Any:
    from django.db import connections

    connections["default"].close()
    return connections["default"]


def run(app: Celery, body: Any) -> Any:
    """Run a task of this body as a worker does."""
    from pyqs_celery_compat.app.trace import build_tracer

    task = app.task(body, name=f"body-{next(NUMBERS)}", shared=False)
    return build_tracer(task.name, app.tasks[task.name], app=app)("id", (), {}, {"is_eager": False})


def test_the_first_app_is_the_default_one(make: Any) -> None:
    first, _ = make("first"), make("second")
    assert state.default_app is first


def test_the_working_directory_comes_first(make: Any) -> None:
    make("app")
    assert sys.path[0] == os.getcwd()


def test_tasks_are_djangos(make: Any) -> None:
    from pyqs_celery_compat.contrib.django.task import DjangoTask

    assert issubclass(make("app").Task, DjangoTask)


def test_a_class_of_the_users_own_stays(make: Any) -> None:
    from pyqs_celery_compat import Task

    class Mine(Task):
        abstract = True

    class App(Celery):
        task_cls = Mine

    assert not hasattr(make("app", task_cls=Mine).Task, "delay_on_commit")
    assert not hasattr(App("app", set_as_current=False).Task, "delay_on_commit")


def test_without_settings_nothing_is_done(make: Any, monkeypatch: Any) -> None:
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE")
    app = make("app")
    assert app._fixups == [None]
    assert not hasattr(app.Task, "delay_on_commit")


def test_fixups_can_be_left_out(make: Any) -> None:
    assert make("app", fixups=[])._fixups == []


def test_django_that_is_asked_for_and_not_there_is_a_warning(make: Any, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "django", None)
    with pytest.warns(FixupWarning, match="not installed"):
        app = make("app")
    assert app._fixups == [None]


def test_an_old_django_is_refused(make: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(django, "VERSION", (1, 10, 0, "final", 0))
    with pytest.raises(ImproperlyConfigured, match="too old"):
        fixup(make("app", fixups=[]))


def test_a_worker_sets_django_up_and_checks_the_project(make: Any, monkeypatch: Any, connection: Any) -> None:
    from django.apps import apps
    from django.core import checks

    ran: list[Any] = []
    monkeypatch.setattr(checks, "run_checks", lambda **options: ran.append(options))
    app = make("app")
    imports.import_task_modules(app)
    assert apps.ready
    assert ran == [{}]
    monkeypatch.setenv("CELERY_SKIP_CHECKS", "1")
    imports.import_task_modules(app)
    assert ran == [{}]


def test_checks_open_no_connection(make: Any, connection: Any, monkeypatch: Any) -> None:
    opened: list[bool] = []
    monkeypatch.setattr(connection, "connect", lambda: opened.append(True))
    imports.import_task_modules(make("app"))
    assert not opened


def test_what_loading_opened_is_closed_before_anything_forks(make: Any, connection: Any) -> None:
    app = make("app")
    imports.import_task_modules(app)
    closed: list[bool] = []
    connection.close = lambda: closed.append(True)
    try:
        lifecycle.booted.run(app)
    finally:
        del connection.close
    assert closed == [True]


def test_connections_are_closed_before_and_after_a_task(make: Any, connection: Any, monkeypatch: Any) -> None:
    app = make("app")
    lifecycle.booted.run(app)
    seen: list[str] = []
    monkeypatch.setattr(connection, "close", lambda: seen.append("close"))
    assert run(app, lambda: seen.append("task")).info is None
    assert seen == ["close", "task", "close"]


def test_connections_of_the_thread_in_which_an_async_task_uses_the_orm_are_closed(
    make: Any, connection: Any, monkeypatch: Any
) -> None:
    """Django runs what is awaited of its ORM in a thread of asgiref's, which has connections of its own."""
    from asgiref.sync import sync_to_async
    from django.db import connections

    app = make("app")
    lifecycle.booted.run(app)
    main = threading.get_ident()
    seen: list[str] = []
    monkeypatch.setattr(
        type(connection), "close", lambda self: seen.append("here" if threading.get_ident() == main else "there")
    )

    def used() -> None:
        assert threading.get_ident() != main
        connections["default"].ensure_connection()
        seen.append("used")

    async def body() -> None:
        await sync_to_async(used)()
        await sync_to_async(used)()

    try:
        for _ in range(2):
            assert run(app, body).info is None
    finally:
        coroutines.close()
    first = ["here", "used", "used", "here", "there"]
    assert seen == [*first, "here", "there", "used", "used", "here", "there"]


def test_caches_are_closed_after_a_task(make: Any, monkeypatch: Any) -> None:
    from django.core import cache

    app = make("app")
    lifecycle.booted.run(app)
    seen: list[str] = []
    monkeypatch.setattr(cache, "close_caches", lambda: seen.append("close"))
    run(app, lambda: seen.append("task"))
    assert seen == ["task", "close"]


def test_an_eager_task_keeps_its_callers_connection(make: Any, connection: Any, monkeypatch: Any) -> None:
    app = make("app")
    lifecycle.booted.run(app)
    seen: list[str] = []
    monkeypatch.setattr(connection, "close", lambda: seen.append("close"))
    app.task(lambda: seen.append("task"), name="eager", shared=False).apply()
    assert seen == ["task"]


@pytest.mark.parametrize("given", [{"changes": {"CELERY_DB_REUSE_MAX": 2}}, {"namespace": "CELERY"}])
def test_db_reuse_max_closes_after_so_many_tasks(make: Any, connection: Any, monkeypatch: Any, given: Any) -> None:
    app = make("app", config_source={"CELERY_DB_REUSE_MAX": 2}, **given)
    lifecycle.booted.run(app)
    seen: list[str] = []
    monkeypatch.setattr(connection, "close", lambda: seen.append("close"))
    for _ in range(5):
        run(app, lambda: seen.append("task"))
    assert seen == ["task", "task", "close", "task", "task", "close", "task"]


@pytest.mark.parametrize("text", ["the connection is closed", "not connected"])
def test_a_connection_that_the_server_has_closed_is_no_error(make: Any, connection: Any, monkeypatch: Any, text: str) -> None:
    from django.db import DatabaseError, InterfaceError

    def close(error: type[Exception], text: str) -> Any:
        def close() -> None:
            raise error(text)

        return close

    (made,) = make("app")._fixups
    assert isinstance(made, DjangoFixup)
    monkeypatch.setattr(connection, "close", close(DatabaseError, text))
    made.close_database()
    monkeypatch.setattr(connection, "close", close(InterfaceError, "whatever"))
    made.close_database()
    monkeypatch.setattr(connection, "close", close(DatabaseError, "disk full"))
    with pytest.raises(DatabaseError, match="disk full"):
        made.close_database()


def test_a_new_executor_ends_no_session_of_its_parent(make: Any, connection: Any, monkeypatch: Any) -> None:
    """The descriptor is closed before Django closes its connection, which then has nobody to talk to."""
    app = make("app")
    there, here = os.pipe()
    seen: list[str] = []

    class Session:
        def fileno(self) -> int:
            return here

    monkeypatch.setattr(connection, "connection", Session())
    monkeypatch.setattr(connection, "close", lambda: seen.append("gone" if os.read(there, 1) == b"" else "open"))
    lifecycle.forked.run(app)
    os.close(there)
    assert seen == ["gone"]


def test_a_pool_is_one_processs(make: Any, connection: Any, monkeypatch: Any) -> None:
    seen: list[str] = []
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", {"pool": True})
    monkeypatch.setattr(connection, "close_pool", lambda: seen.append("pool"), raising=False)
    (made,) = make("app")._fixups
    made.close_database()
    assert seen == ["pool"]
