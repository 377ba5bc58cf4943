"""A Django project whose tests have a worker in a thread, as its users write them: nothing of ours stands in it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("django")

PROJECT = {
    "proj/__init__.py": """
from .celery import app as celery_app
__all__ = ("celery_app",)
""",
    "proj/celery.py": """
import os
from celery import Celery
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proj.settings")
app = Celery("proj")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
""",
    "proj/settings.py": """
SECRET_KEY = "x"
INSTALLED_APPS = ["shop"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db", "TEST": {"NAME": "tested.sqlite3"}}}
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
CELERY_BROKER_URL = "memory://"
CELERY_RESULT_BACKEND = "cache+memory://"
""",
    "shop/models.py": """
from django.db import models
class Order(models.Model):
    name = models.CharField(max_length=20)
""",
    "shop/tasks.py": """
from celery import shared_task
from shop.models import Order
@shared_task
def make_order(name):
    return Order.objects.create(name=name).pk
""",
    "shop/tests.py": """
import time

from celery.contrib.testing.worker import start_worker
from django.db import transaction
from django.test import TransactionTestCase
from proj.celery import app
from shop.models import Order
from shop.tasks import make_order

class OrderTests(TransactionTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.worker = start_worker(app, perform_ping_check=False)
        cls.worker.__enter__()
    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.worker.__exit__(None, None, None)
    def test_a_task_writes(self):
        make_order.delay("one").get(timeout=10)
        self.assertEqual(Order.objects.get().name, "one")
    def test_after_the_commit(self):
        with transaction.atomic():
            Order.objects.create(name="mine")
            make_order.delay_on_commit("two")
        deadline = time.monotonic() + 20
        while Order.objects.count() < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertEqual(sorted(Order.objects.values_list("name", flat=True)), ["mine", "two"])
""",
}


def test_tasks_and_tests_see_one_database(tmp_path: Path) -> None:
    for name, text in PROJECT.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "shop" / "__init__.py").touch()
    path = os.pathsep.join((str(Path(__file__).parents[3]), str(tmp_path)))
    env = {**os.environ, "PYQS_AS_CELERY": "1", "PYTHONPATH": path}
    command = [sys.executable, "-m", "django", "test", "--settings", "proj.settings"]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Ran 2 tests" in done.stderr, done.stdout + done.stderr
    assert done.returncode == 0, done.stdout + done.stderr
