"""``rate_limit`` as Celery 5.7 reads it, where it comes from, and what turns it off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pyqs_celery_compat import Celery
from pyqs_celery_compat.exceptions import ImproperlyConfigured
from pyqs_celery_compat.rate_limits import check_tasks, tokens_per_second


# Right-hand sides: celery.utils.time.rate of Celery 5.7.0, where 0 is no limit.
@pytest.mark.parametrize(
    ("limit", "rate"),
    [
        (None, None), (0, None), ("0", None), ("", None), ("0/m", None), (10, 10.0), ("10", 10.0), ("10/s", 10.0),
        ("10/m", 10 / 60), ("10/h", 10 / 3600), ("0.5/s", 0.5), ("1e3/m", 1000 / 60), (" 10/m", 10 / 60), ("10/", 10.0),
        (1.5, 1.5), ("inf/s", None),
    ],
)  # fmt: skip
def test_it_is_read_as_celery_reads_it(limit: Any, rate: float | None) -> None:
    assert tokens_per_second(limit) == (pytest.approx(rate) if rate is not None else None)


@pytest.mark.parametrize(
    "limit",
    [
        "10 / m", "10/d", "x/m", "abc", "10/S", "10/mm", "10/m/s", "/m", "nan", "-5/m", -1, float("nan"), b"10/m", (1,),
        object(),
    ],
)  # fmt: skip
def test_anything_else_is_refused(limit: Any) -> None:
    with pytest.raises(ValueError, match="is no rate: write a number, or '10/s'"):
        tokens_per_second(limit)


def test_the_task_with_a_broken_limit_is_named(make_app: Callable[..., Celery]) -> None:
    app = make_app()

    @app.task(name="good", rate_limit="1/s")
    def good() -> None: ...

    @app.task(name="bad", rate_limit="often")
    def bad() -> None: ...

    app.finalize()
    with pytest.raises(ImproperlyConfigured, match="rate_limit of task bad: 'often' is no rate"):
        check_tasks(app.tasks.values())


def test_it_comes_from_the_task_an_annotation_or_the_settings(make_app: Callable[..., Celery]) -> None:
    app = make_app(task_default_rate_limit="1/h", task_annotations={"noted": {"rate_limit": "2/s"}})

    @app.task(name="own", rate_limit="3/s")
    def own() -> None: ...

    @app.task(name="noted")
    def noted() -> None: ...

    @app.task(name="plain")
    def plain() -> None: ...

    assert [tokens_per_second(task.rate_limit) for task in (own, noted, plain)] == pytest.approx([3, 2, 1 / 3600])
