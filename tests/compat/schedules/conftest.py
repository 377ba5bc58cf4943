"""An app whose clock stands still, in any zone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pyqs_celery_compat import Celery

MakeApp = Callable[..., Any]


@pytest.fixture(scope="session")
def make_app() -> MakeApp:
    """``make_app("Europe/Paris", now, beat_cron_starting_deadline=60)``: what a schedule asks its app for."""

    def make(zone: str = "UTC", now: datetime | None = None, **settings: Any) -> Celery:
        app = Celery("schedules", set_as_current=False, timezone=zone, **settings)
        if now is not None:
            app.now = lambda: now.astimezone(ZoneInfo(zone))  # type: ignore[method-assign]
        return app

    return make
