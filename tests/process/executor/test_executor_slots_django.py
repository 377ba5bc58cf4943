"""``--async-slots`` in a Django project: connections of each task are its own, and closed with it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pyqs.wire import Done, Started
from pyqs_celery_compat.outgoing import as_task_v2, seal_task

pytest.importorskip("django")

SETTINGS = """
    from pathlib import Path
    SECRET_KEY = "none"
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": Path(__file__).parent / "db"}}
    CELERY_DB_REUSE_MAX = %s
"""
APP = """
    import asyncio, threading, time
    from pathlib import Path
    from asgiref.sync import sync_to_async
    from django.db import connection, connections
    from pyqs_celery_compat import Celery

    HERE = Path(__file__).parent
    app = Celery("slots", broker="sqs://", backend=f"file://{HERE / 'results'}")
    app.config_from_object("django.conf:settings")
    closed = []

    def query():
        with connection.cursor() as cursor:
            cursor.execute("select 1")
        if not hasattr(connection, "watched"):
            connections["default"].watched = True
            real = connections["default"].close
            def close():
                if connections["default"].connection is not None:
                    closed.append(threading.get_ident())
                real()
            connections["default"].close = close
        return threading.get_ident()

    def used():
        return connections["default"].connection is not None

    def holds(name):
        with connection.cursor() as cursor:
            cursor.execute("select 1")
            (HERE / f"{name} holds").touch()
            while not (HERE / name).exists(): time.sleep(0.005)
            return used() and cursor.execute("select 2").fetchone()[0]

    @app.task
    async def asks(): return await sync_to_async(query)()

    @app.task
    def plainly_asks(): return query()

    @app.task
    async def long(name): return await sync_to_async(holds)(name)

    @app.task
    def plainly_long(name): return holds(name)

    @app.task
    async def still_used(): return await sync_to_async(used)()

    @app.task
    async def how_often(): return [*closed]
"""


@pytest.fixture
def start(parent: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    def start(reuse: int | None = None) -> Any:
        parent.write("shop_settings.py", SETTINGS % reuse)
        parent.write("shop.py", APP)
        (parent.folder / "results").mkdir()
        monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "shop_settings")
        runtime = "pyqs_celery_compat.runtime:CeleryRuntime"
        return parent.start(preloading=False, include=(), app="shop", runtime=runtime, async_slots=4)

    return start


def send(child: Any, task: str, *args: Any, id: str = "") -> str:
    id = id or f"{task}-{child.last_id}"
    child.run("", body=seal_task(as_task_v2(id, f"shop.{task}", args, {}), routing_key="email"))
    return id


def ends(child: Any, number: int) -> None:
    while number:
        frame = child.next()
        assert isinstance(frame, Started | Done), frame
        if isinstance(frame, Done):
            assert frame.status == "succeeded", frame
            number -= 1


def result(parent: Any, id: str) -> Any:
    return json.loads((parent.folder / "results" / f"celery-task-meta-{id}").read_text())["result"]


def ran(parent: Any, child: Any, task: str) -> Any:
    id = send(child, task)
    ends(child, 1)
    return result(parent, id)


@pytest.mark.parametrize("task", ["long", "plainly_long"])
def test_the_end_of_one_does_not_cut_the_connection_of_another(parent: Any, start: Any, until: Any, task: str) -> None:
    child = start()
    first = send(child, task, "first")
    second = send(child, task, "second")
    for name in ("first", "second"):
        until(lambda name=name: (parent.folder / f"{name} holds").exists())
    ran(parent, child, "asks")
    ran(parent, child, "plainly_asks")
    for name in ("first", "second"):
        (parent.folder / name).touch()
        ends(child, 1)
    assert [result(parent, first), result(parent, second)] == [2, 2]


def test_each_connection_is_closed_with_its_task(parent: Any, start: Any) -> None:
    child = start()
    threads = [ran(parent, child, "asks"), ran(parent, child, "plainly_asks"), ran(parent, child, "asks")]
    assert threads[0] == threads[2] != threads[1]
    assert not ran(parent, child, "still_used")
    assert ran(parent, child, "how_often") == threads


def test_reuse_is_counted_for_each_thread(parent: Any, start: Any) -> None:
    child = start(2)
    ran(parent, child, "asks")
    assert ran(parent, child, "how_often") == []
    assert len(ran(parent, child, "how_often")) == 1
