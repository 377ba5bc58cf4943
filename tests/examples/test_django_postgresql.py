"""The Django project on a PostgreSQL of its own, whose server ends a session between two tasks.

The nox session ``django`` runs it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import real_postgresql

pytest.importorskip("django")
pytest.importorskip("psycopg")

pytestmark = pytest.mark.skipif(
    not os.environ.get("PYQS_TEST_POSTGRESQL"), reason="the nox session django sets PYQS_TEST_POSTGRESQL"
)
PATIENCE = 60.0

SETUP = """
import django, json, os
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
django.setup()
"""
PLACE = SETUP + "from django.test import Client\nprint(json.dumps(Client().get('/orders/').json()['order']))\n"
#: Ends every session but its own; says how many.
CUT = """
from django.db import connection
with connection.cursor() as cursor:
    cursor.execute(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    print(json.dumps(cursor.fetchone()[0]))
"""
PAID = (
    SETUP
    + """
from orders.models import Order
print(json.dumps([list(row) for row in Order.objects.filter(paid=True).order_by("pk").values_list("pk", "session")]))
"""
)


@pytest.fixture(scope="module")
def postgresql() -> Iterator[dict[str, str]]:
    """A running server: what the project is told of it."""
    with real_postgresql.running() as server:
        yield {"SHOP_POSTGRES_PORT": str(server.port), "SHOP_POSTGRES_USER": real_postgresql.USER}


@pytest.fixture
def shop(example: Callable[..., Any], postgresql: dict[str, str]) -> Any:
    shop = example("django_project", "shop", "mail")
    shop.env |= postgresql
    shop.run("manage.py", "migrate", "--verbosity", "0")
    return shop


def paid(shop: Any, count: int) -> list[list[int]]:
    """The orders that were paid and the session of each, once there are so many."""
    deadline = time.monotonic() + PATIENCE
    while len(found := shop.answer(PAID)) < count:
        assert time.monotonic() < deadline, f"only {found} within {PATIENCE} s"
        time.sleep(0.2)
    return list(found)


def test_a_session_that_the_server_ends_between_two_tasks_harms_nobody(shop: Any) -> None:
    program = [sys.executable, "manage.py", "pyqs", "worker", "-A", "shop", "-Q", "shop", "--concurrency", "1"]
    with open(shop.folder / "worker.log", "w", encoding="utf-8") as log:
        worker = subprocess.Popen(program, cwd=shop.folder, env=shop.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            first = shop.answer(PLACE)
            ((order, session),) = paid(shop, 1)
            assert (order, session > 0) == (first, True)
            shop.answer(SETUP + CUT)
            second = shop.answer(PLACE)
            orders = paid(shop, 2)
            assert [pk for pk, _ in orders] == [first, second]
            assert orders[0][1] != orders[1][1]
        finally:
            worker.terminate()
            worker.wait(PATIENCE)
    assert "OperationalError" not in (shop.folder / "worker.log").read_text()
