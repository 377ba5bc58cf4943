"""Apps on the in-process SQS, each test with a world of its own."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pyqs import registry
from pyqs.local.inprocess import InProcessSqs
from pyqs.local.store import Store
from pyqs.message import ReceivedMessage
from pyqs_celery_compat import Celery
from pyqs_celery_compat import _state as state


@pytest.fixture(autouse=True)
def _own_world(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No shared task, current app or environment of another test."""
    finalizers = list(state._on_app_finalizers)
    for name in ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "PYQS_ENDPOINT_URL", "PYQS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(state._tls, "current_app", None, raising=False)
    monkeypatch.setattr(state, "default_app", None)
    for app in state.active_apps():
        state.deregister_app(app)
    monkeypatch.setattr(registry.registry, "_tasks", {})
    yield
    state._on_app_finalizers[:] = finalizers


@pytest.fixture
def sqs() -> InProcessSqs:
    return InProcessSqs(Store())


@pytest.fixture
def make_app(sqs: InProcessSqs) -> Callable[..., Celery]:
    def make(main: str = "proj", **settings: Any) -> Celery:
        settings.setdefault("broker", "sqs://")
        app = Celery(main, **settings)
        app.publisher.connector = lambda connection: sqs
        return app

    return make


@pytest.fixture
def app(make_app: Callable[..., Celery]) -> Celery:
    return make_app()


@pytest.fixture
def take(sqs: InProcessSqs) -> Callable[..., list[ReceivedMessage]]:
    """Everything visible on a queue (by its SQS name)."""

    def receive(queue: str = "celery") -> list[ReceivedMessage]:
        return sqs.receive(sqs.queue_url(queue), wait=0, max_messages=10)

    return receive


@pytest.fixture
def envelope(take: Callable[..., list[ReceivedMessage]]) -> Callable[..., dict[str, Any]]:
    """The one message of a queue as kombu's envelope, its payload read as JSON where it is JSON."""

    def read(queue: str = "celery") -> dict[str, Any]:
        (message,) = take(queue)
        text = message.body if message.body.startswith("{") else base64.b64decode(message.body)
        found: dict[str, Any] = json.loads(text)
        payload = base64.b64decode(found["body"])
        found["payload"] = (
            json.loads(payload)
            if found["content-type"] == "application/json" and "compression" not in found["headers"]
            else payload
        )
        found["sqs"] = message
        return found

    return read
