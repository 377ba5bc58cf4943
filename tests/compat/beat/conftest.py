"""Beat on an SQS within the process, with a clock that a test moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from beat_world import MoodySqs, World
from pyqs.local.store import Store
from pyqs_celery_compat import Celery


@pytest.fixture
def make_world() -> Callable[..., World]:
    def make(zone: str = "UTC", **settings: Any) -> World:
        sqs = MoodySqs(Store())
        app = Celery("proj", broker="sqs://", set_as_current=False, timezone=zone, task_create_missing_queues=True, **settings)
        world = World(app, sqs)
        app.now = lambda: world.wall.astimezone(ZoneInfo(zone))  # type: ignore[method-assign]

        app.publisher.connector = lambda _: sqs
        sqs.create_queue("celery", {}, None)
        return world

    return make


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()
