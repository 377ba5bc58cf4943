"""A Django of 6.0 or newer with our backend, on an SQS in memory; each file is skipped with an older one."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pyqs import coroutines
from pyqs.clock import boottime
from pyqs.config import ConnectionConfig, RuntimeConfig
from pyqs.local.inprocess import InProcessSqs
from pyqs.local.store import Store
from pyqs.message import Delivery
from pyqs.native import NativeRuntime
from pyqs.producer import Producer
from pyqs.registry import registry
from pyqs.runtime import Outcome

HERE = Path(__file__).parent
BACKEND = "pyqs.django.SqsBackend"


@dataclass
class World:
    """The queue, and a worker that runs what is on it."""

    sqs: InProcessSqs
    jobs: Any
    clock: list[float]

    def take(self, queue: str = "default") -> Delivery:
        """The one message that is visible, received."""
        url = self.sqs.queue_url(queue)
        (message,) = self.sqs.receive(url, wait=0, max_messages=10)
        return Delivery(1, queue, url, message, boottime(), time.time(), 120)

    def empty(self, queue: str = "default") -> bool:
        return not self.sqs.receive(self.sqs.queue_url(queue), wait=0)

    def run(self, delivery: Delivery | None = None, **settings: Any) -> Outcome:
        """As an executor does it."""
        config = RuntimeConfig(**{"include": (), "working_directory": str(HERE), **settings})
        prepared = NativeRuntime(config).prepare(delivery or self.take())
        return prepared if isinstance(prepared, Outcome) else prepared.run()


@pytest.fixture(autouse=True)
def _project(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import django
    from django.conf import settings

    if not settings.configured:
        settings.configure(
            INSTALLED_APPS=["django.contrib.contenttypes"],
            DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
            USE_TZ=True,
        )
    django.setup()
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setattr(registry, "_tasks", {})
    monkeypatch.setattr(registry, "_options", {})
    monkeypatch.setattr(registry, "_finders", [])
    monkeypatch.setattr("pyqs.django._options", {})
    yield
    sys.modules.pop("django_jobs", None)
    coroutines.close()


@pytest.fixture
def tasks_setting() -> Iterator[Callable[..., None]]:
    """Sets TASKS, until the test's end."""
    from django.test import override_settings

    active: list[Any] = []

    def set_tasks(**backends: dict[str, Any]) -> None:
        made = override_settings(TASKS={alias: {"BACKEND": BACKEND, **given} for alias, given in backends.items()})
        made.enable()
        active.append(made)

    yield set_tasks
    for one in reversed(active):
        one.disable()


@pytest.fixture
def world(tasks_setting: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> World:
    clock = [time.time()]
    sqs = InProcessSqs(Store(clock=lambda: clock[0]))
    producer = Producer(ConnectionConfig(), connector=lambda connection: sqs)
    monkeypatch.setattr("pyqs.django.default_producer", lambda: producer)
    tasks_setting(default={"QUEUES": ["default", "mail"]})
    jobs = importlib.import_module("django_jobs")
    jobs.ran.clear()
    return World(sqs, jobs, clock)
