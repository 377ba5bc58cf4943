"""A pickled app is made again with its settings, and takes nobody's place; a task is found again by its name."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from pyqs_celery_compat import Celery, current_app
from pyqs_celery_compat.exceptions import InvalidTaskError


def again(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))  # noqa: S301 - our own


def test_an_app_comes_back_with_its_settings(app: Celery) -> None:
    made = Celery("other", broker="memory://", set_as_current=False, autofinalize=False)
    made.conf.task_default_queue = "q7"
    made.conf.update(foo=3)
    copy = again(made)
    assert copy is not made
    assert (copy.main, copy.autofinalize) == ("other", False)
    assert (copy.conf.task_default_queue, copy.conf.foo, copy.conf.broker_url) == ("q7", 3, "memory://")
    assert current_app._get_current_object() is app


def test_the_configuration_goes_with_it() -> None:
    made = Celery("other", set_as_current=False)
    made.config_from_object({"CELERY_TASK_DEFAULT_QUEUE": "zz"}, namespace="CELERY")
    assert again(made).conf.task_default_queue == "zz"
    assert made.conf.task_default_queue == "zz"
    assert again(made).conf.task_default_queue == "zz"


def test_a_task_is_found_by_its_name(app: Celery) -> None:
    @app.task(name="found.again")
    def found() -> None: ...

    assert again(app.tasks["found.again"]) is app.tasks["found.again"]


def test_a_task_without_a_name_is_refused(app: Celery) -> None:
    class Nameless(app.Task):  # type: ignore[misc, name-defined]
        name = None

    with pytest.raises(InvalidTaskError, match=r"'Nameless' must specify \.name"):
        app.tasks.register(Nameless)


def test_the_timezone_is_read_once_and_can_be_set() -> None:
    made = Celery("other", set_as_current=False, timezone="Europe/Rome")
    assert str(made.timezone) == "Europe/Rome"
    made.conf.timezone = "UTC"
    assert str(made.timezone) == "Europe/Rome"
    del made.timezone
    assert str(made.timezone) == "UTC"
    made.timezone = made.timezone
