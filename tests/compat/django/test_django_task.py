"""Calling a task when the transaction is committed, and not if it is not."""

from __future__ import annotations

import sys
from typing import Any

import pytest

pytest.importorskip("django")

from django.conf import settings

from pyqs_celery_compat import Celery

if not settings.configured:
    settings.configure(
        INSTALLED_APPS=["django.contrib.contenttypes"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        USE_TZ=True,
    )


@pytest.fixture
def task(monkeypatch: Any) -> Any:
    """A task of a Django project that notes how it is published."""
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "shop.settings")
    monkeypatch.setattr(sys, "path", list(sys.path))
    app = Celery("shop", set_as_current=False)
    made = app.task(lambda order: None, name="pay", shared=False)
    sent: list[Any] = []
    monkeypatch.setattr(type(made._get_current_object()), "apply_async", lambda self, *args, **opts: sent.append((args, opts)))
    made.sent = sent
    return made


def test_it_is_called_after_the_commit(task: Any) -> None:
    from django.db import transaction

    with transaction.atomic():
        assert task.delay_on_commit(7) is None
        assert task.apply_async_on_commit((8,), countdown=5) is None
        assert task.sent == []
    assert task.sent == [(((7,), {}), {}), (((8,),), {"countdown": 5})]


def test_it_is_not_called_after_a_rollback(task: Any) -> None:
    from django.db import transaction

    with transaction.atomic():
        task.delay_on_commit(7)
        transaction.set_rollback(True)
    assert task.sent == []


def test_outside_of_a_transaction_it_is_called_at_once(task: Any) -> None:
    task.delay_on_commit(7)
    assert task.sent == [(((7,), {}), {})]
