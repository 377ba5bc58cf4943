"""One environment, one project, both workers: Celery's own with ``PYQS_AS_CELERY=0``, ours without. The nox session ``django``
makes the environment."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PYTHON = os.environ.get("PYQS_INTEROP_SHOP", "")
pytestmark = pytest.mark.skipif(
    not PYTHON, reason="PYQS_INTEROP_SHOP names no Python with Celery 5.7 and Django (nox -s django)"
)
PATIENCE = 60.0
GENUINE = {"PYQS_AS_CELERY": "0"}

SETUP = """
import django, json, os
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
django.setup()
"""
PLACE = SETUP + "from django.test import Client\nprint(json.dumps(Client().get('/orders/').json()['order']))\n"
WHOSE = SETUP + "from orders.tasks import pay\nprint(json.dumps(type(pay.app).__init__.__code__.co_filename))\n"
ORDERS = (
    SETUP
    + """
from orders.models import Order
print(json.dumps([list(row) for row in Order.objects.order_by("pk").values_list("paid", "mailed")]))
"""
)


def celery_worker(shop: Any, orders: int) -> None:
    """Run Celery's worker until it has paid and mailed so many."""
    command = [PYTHON, "-m", "celery", "-A", "shop", "worker", "-Q", "shop,mail", "-c", "1", "-l", "info"]
    with open(shop.folder / "celery.log", "w", encoding="utf-8") as log:
        worker = subprocess.Popen(command, cwd=shop.folder, env=shop.env | GENUINE, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + PATIENCE
            while shop.answer(ORDERS) != [[True, True]] * orders:
                assert time.monotonic() < deadline, (shop.folder / "celery.log").read_text()
                time.sleep(0.2)
        finally:
            worker.terminate()
            worker.wait(PATIENCE)


def test_an_image_runs_both_fleets_and_one_variable_decides(example: Callable[..., Any]) -> None:
    shop = example("django_project", "shop", "mail")
    shop.python = PYTHON
    shop.env["PYTHONPATH"] = str(Path(__file__).parents[2])  # pyqs is the checkout's; what it needs is in that environment
    shop.run("manage.py", "migrate", "--verbosity", "0")
    assert "pyqs_celery_compat" in shop.answer(WHOSE)
    assert "pyqs_celery_compat" not in shop.answer(WHOSE, **GENUINE)
    assert shop.answer(PLACE) == 1  # ours calls, Celery runs
    celery_worker(shop, 1)
    assert shop.answer(PLACE, **GENUINE) == 2  # Celery calls, ours runs
    for _ in range(2):
        shop.run("-m", "pyqs", "worker", "-A", "shop", "-Q", "shop,mail", "--burst")
    assert shop.answer(ORDERS) == [[True, True]] * 2
