"""``task_annotations``: in each kind the first that says anything; what is for all tasks wins, as in Celery 5.7 (observed)."""

from __future__ import annotations

from typing import Any

import pytest

from pyqs_celery_compat import Celery


class ByTask:
    """Asked like an annotation of Celery's."""

    def annotate_any(self) -> dict[str, Any]:
        return {"bar": 1}

    def annotate(self, task: Any) -> dict[str, Any]:
        return {"baz": task.name}


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ({"*": {"rate_limit": "1/s"}, "x.add": {"rate_limit": "9/s"}}, {"rate_limit": "1/s"}),
        (
            [
                {"*": {"rate_limit": "1/s"}, "x.add": {"time_limit": 5}},
                {"*": {"foo": 1}, "x.add": {"time_limit": 6, "soft_time_limit": 3}},
            ],
            {"rate_limit": "1/s", "time_limit": 5, "soft_time_limit": None},
        ),
        ([ByTask(), {"*": {"bar": 2}}], {"bar": 1, "baz": "x.add"}),
        (f"{__name__}:ByTask", {"bar": 1, "baz": "x.add"}),
        (None, {"rate_limit": None}),
    ],
)
def test_what_a_task_gets(setting: Any, expected: dict[str, Any]) -> None:
    app = Celery("x", set_as_current=False, task_annotations=setting)

    @app.task(name="x.add", shared=False)
    def add() -> None: ...

    assert {name: getattr(add, name) for name in expected} == expected
    assert not hasattr(add, "foo")
