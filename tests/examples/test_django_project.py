"""A Django project as Celery's documentation lays one out: a page, two apps with tasks, real worker processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("django")

PLACE = """
import django, json, os
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
django.setup()
from django.test import Client
client = Client()
print(json.dumps([client.get("/orders/?item=tea").status_code, client.get("/orders/?item=gin&fail").status_code]))
"""
ORDERS = """
import django, json, os
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
django.setup()
from orders.models import Order
print(json.dumps(list(Order.objects.order_by("pk").values_list("item", "paid", "mailed"))))
"""


@pytest.fixture
def shop(example: Callable[..., Any]) -> Any:
    shop = example("django_project", "shop", "mail")
    shop.run("manage.py", "migrate", "--verbosity", "0")
    return shop


def test_an_order_is_paid_and_mailed_by_workers_after_its_commit(shop: Any) -> None:
    assert shop.answer(PLACE) == [200, 402]
    assert shop.answer(ORDERS) == [["tea", False, False]]
    shop.run("manage.py", "pyqs", "worker", "-A", "shop", "-Q", "shop", "--burst")
    assert shop.answer(ORDERS) == [["tea", True, False]]
    shop.run("-m", "pyqs", "worker", "-A", "shop", "-Q", "mail", "--burst")
    assert shop.answer(ORDERS) == [["tea", True, True]]


def test_the_project_is_imported_from_where_manage_py_is(shop: Any) -> None:
    assert shop.answer(PLACE)[0] == 200
    manage = str(shop.folder / "manage.py")
    shop.folder = shop.folder.parent
    shop.run(manage, "pyqs", "worker", "-A", "shop", "-Q", "shop,mail", "--burst", "--settings=shop.settings")
    shop.run(manage, "pyqs", "worker", "-A", "shop", "-Q", "shop,mail", "--burst")
    assert shop.answer(ORDERS, PYTHONPATH=f"{manage[:-10]}:{shop.env['PYTHONPATH']}") == [["tea", True, True]]
