"""Declaring tasks, where it differs from Celery or where same_tasks.py does not reach."""

from __future__ import annotations

import warnings

from pyqs_celery_compat import Celery
from pyqs_celery_compat.exceptions import DuplicateTaskNameWarning


def test_two_functions_of_one_name_are_told_of_once_with_their_places(app: Celery) -> None:
    def first() -> int:
        return 1

    def second() -> None: ...

    def third() -> None: ...

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for fun in (first, second, third):
            app.task(name="n", lazy=False)(fun)

    (warning,) = caught
    said = str(warning.message)
    assert warning.category is DuplicateTaskNameWarning
    assert app.tasks["n"]() == 1
    for name in (first, second):
        assert f"{name.__module__}." in said
    assert said.count(f"{__file__}:") == 2
    assert "first" in said
    assert "second" in said


def test_a_function_that_is_declared_again_is_no_second_one(app: Celery) -> None:
    def work() -> None: ...

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert app.task(name="n", lazy=False)(work) is app.task(name="n", lazy=False)(work)
