"""What is missing says so, in the words of somebody who met it; what could hide work is refused."""

from __future__ import annotations

import pytest

from pyqs_celery_compat import Celery
from pyqs_celery_compat.conf import worker_settings


@pytest.fixture
def app() -> Celery:
    return Celery("proj", broker="sqs://", set_as_current=False)


def test_periodic_tasks_are_noted_as_celery_notes_them(app: Celery) -> None:
    # Celery 5.7: {'n': {..., 'args': (1, 2), ...}} and, for add.s(1) with args=(3,), 'args': (3, 1).
    @app.task(name="x.add")
    def add(x: int, y: int) -> None: ...

    assert app.add_periodic_task(10.0, add.s(1, 2), name="n") == "n"
    key = app.add_periodic_task(5.0, add.s(1), args=(3,), queue="q")
    assert key == "x.add(3, 1)"
    assert app.conf.beat_schedule == {
        "n": {"schedule": 10.0, "task": "x.add", "args": (1, 2), "kwargs": {}, "options": {}},
        "x.add(3, 1)": {"schedule": 5.0, "task": "x.add", "args": (3, 1), "kwargs": {}, "options": {"queue": "q"}},
    }
    assert not [note for note in worker_settings(app).notes if "beat_schedule" in note]
