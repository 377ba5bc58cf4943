"""``pydantic=True``: what goes into the message, and what is said where it cannot work. The rest is in same_tasks.py."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from pyqs_celery_compat import Celery
from pyqs_celery_compat.exceptions import ImproperlyConfigured

pydantic = pytest.importorskip("pydantic")


class Order(pydantic.BaseModel):  # type: ignore[misc,name-defined]
    number: int
    notes: set[str] = pydantic.Field(default={"a"})


class Larger(Order):
    more: int = 1


told: list[dict[str, Any]] = []


class Asking(pydantic.BaseModel):  # type: ignore[misc,name-defined]
    """Its validator writes down what it is told."""

    number: int

    @pydantic.field_validator("number")
    @classmethod
    def ask(cls, value: int, info: Any) -> int:
        told.append(info.context)
        return value


def test_models_are_written_as_plain_data(app: Celery, envelope: Callable[..., dict[str, Any]]) -> None:
    @app.task(pydantic=True, bind=True)
    def ship(self: Any, order: Order, again: Order | None = None) -> None: ...

    ship.delay(Order(number=1), again=Order(number=2))
    found = envelope()
    assert found["payload"][:2] == [[{"number": 1, "notes": ["a"]}], {"again": {"number": 2, "notes": ["a"]}}]


@pytest.mark.parametrize("options", [{}, {"pydantic_dump_kwargs": {"exclude": {"number"}}}, {"pydantic_strict": True}])
def test_a_model_that_would_not_come_out_equal_is_not_written(app: Celery, options: Any) -> None:
    """As in Celery 5.7: a subclass, one that is written in part, one that JSON's types do not fit strictly."""
    from kombu.exceptions import EncodeError

    @app.task(pydantic=True, **options)
    def ship(order: Order) -> None: ...

    with pytest.raises(EncodeError, match="positional argument 1"):
        ship.delay(Larger(number=1) if not options else Order(number=1))


def test_an_annotation_may_name_a_class_that_comes_later(app: Celery) -> None:
    namespace: dict[str, Any] = {"pydantic": pydantic}
    source = "def work(later: 'Later'): return later.x\nclass Later(pydantic.BaseModel):\n    x: int\n"
    exec(source, namespace)  # noqa: S102 - a module of its own
    task: Any = app.task(name="later", pydantic=True)(namespace["work"])
    assert task.apply(({"x": "7"},)).get() == 7


def test_pydantic_must_be_there(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic", None)
    with pytest.raises(ImproperlyConfigured, match="work has pydantic=True, and pydantic is not installed"):

        @app.task(pydantic=True, lazy=False)
        def work() -> None: ...


def test_validators_are_told_the_app_and_the_task(app: Celery) -> None:
    """As in Celery 5.7, beside what ``pydantic_context`` says."""

    @app.task(name="ship", pydantic=True, pydantic_context={"mine": 1})
    def ship(order: Asking) -> int:
        return order.number  # type: ignore[no-any-return]

    told.clear()
    assert ship.apply(({"number": 3},)).get() == 3
    assert told == [{"mine": 1, "celery_app": app, "celery_task_name": "ship"}]
