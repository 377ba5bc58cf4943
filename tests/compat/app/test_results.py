"""Result backends: the one in memory, and what is said of those that are not there."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from pyqs.local.inprocess import InProcessSqs
from pyqs_celery_compat import Celery, states
from pyqs_celery_compat.backends.base import DisabledBackend, KeyValueStoreBackend
from pyqs_celery_compat.backends.cache import CacheBackend
from pyqs_celery_compat.exceptions import ImproperlyConfigured, SecurityError, TimeoutError
from pyqs_celery_compat.result import allow_join_result, denied_join_result


class Shelf(KeyValueStoreBackend):
    """A user's own."""

    kept: dict[str, bytes]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.kept = {}

    def get(self, key: str) -> bytes | None:
        return self.kept.get(key)

    def set(self, key: str, value: bytes) -> None:
        self.kept[key] = value

    def delete(self, key: str) -> None:
        self.kept.pop(key, None)


@pytest.mark.parametrize("url", ["nosuch://x", "no.such.module:Class", "cache+nosuch://x", "json:loads"])
def test_an_unknown_backend_is_an_error_that_names_what_there_is_before_anything_is_sent(
    make_app: Callable[..., Celery], sqs: InProcessSqs, url: str
) -> None:
    app = make_app(backend=url)
    with pytest.raises(ImproperlyConfigured, match=r"cache\+memory://"):
        app.send_task("t")
    assert sqs.receive(sqs.create_queue("celery"), wait=0) == []


def test_a_backend_that_comes_later_lets_publish_and_says_so_to_who_asks(make_app: Callable[..., Celery]) -> None:
    result = make_app(backend="mongodb://:geheim@host/0").send_task("t")
    with pytest.raises(NotImplementedError, match=r"'mongodb'.*does not have yet.*cache\+memory") as caught:
        result.get()
    assert "geheim" not in str(caught.value)
    assert isinstance(result.backend, DisabledBackend)


def test_a_class_of_ones_own_is_a_backend(make_app: Callable[..., Celery]) -> None:
    app = make_app(backend=f"{__name__}:Shelf", task_store_eager_result=True)

    @app.task
    def work() -> int:
        return 3

    result = work.apply()
    assert app.AsyncResult(result.id).get() == 3
    kept = json.loads(app.backend.kept[f"celery-task-meta-{result.id}"])
    assert set(kept) == {"status", "result", "traceback", "children", "date_done", "task_id"}


@pytest.mark.parametrize("named", [("os", "system"), ("builtins", "eval"), ("subprocess", "Popen"), ("json", "JSONDecoder")])
def test_what_a_stored_failure_names_is_never_called_unless_it_is_an_exception(
    make_app: Callable[..., Celery], named: tuple[str, str]
) -> None:
    app = make_app(backend="cache+memory://")
    module, name = named
    data = {"exc_type": name, "exc_module": module, "exc_message": ["echo"]}
    app.backend.set("celery-task-meta-evil", app.backend.encode({"status": "FAILURE", "result": data, "traceback": None}))
    with pytest.raises(SecurityError, match=f"{module}.{name}"):
        app.AsyncResult("evil").result  # noqa: B018


def test_what_a_stored_failure_names_is_never_imported(make_app: Callable[..., Celery]) -> None:
    app = make_app(backend="cache+memory://")
    data = {"exc_type": "Odd.Inner", "exc_module": "this.was.never.imported", "exc_message": ["a", 1]}
    app.backend.set("celery-task-meta-odd", app.backend.encode({"status": "FAILURE", "result": data, "traceback": None}))
    found = app.AsyncResult("odd").result
    assert (type(found).__name__, type(found).__module__, found.args) == ("Odd.Inner", "this.was.never.imported", ("a", 1))


def test_a_result_that_cannot_be_written_makes_its_task_a_failed_one(make_app: Callable[..., Celery]) -> None:
    from kombu.exceptions import EncodeError

    app = make_app(backend="cache+memory://", task_store_eager_result=True)

    @app.task
    def work() -> object:
        return object()

    result = work.apply()
    assert result.state == states.FAILURE
    assert isinstance(result.result, EncodeError)
    assert "a result cannot be written as json" in str(result.result)
    assert app.AsyncResult(result.id).state == states.FAILURE


def test_waiting_ends(make_app: Callable[..., Celery]) -> None:
    app = make_app(backend="cache+memory://")
    with pytest.raises(TimeoutError):
        app.AsyncResult("never").get(timeout=0.02, interval=0.01)
    with denied_join_result(), pytest.raises(RuntimeError, match="within a task"):
        app.AsyncResult("never").get(timeout=0.02)
    with denied_join_result(), allow_join_result(), pytest.raises(TimeoutError):
        app.AsyncResult("never").get(timeout=0.02, interval=0.01)


def test_the_memory_does_not_grow_for_ever(make_app: Callable[..., Celery], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyqs_celery_compat.backends.cache.MOST_KEPT", 3)
    app = make_app(backend="cache+memory://")
    assert isinstance(app.backend, CacheBackend)
    for number in range(5):
        app.backend.mark_as_done(f"many-{number}", number)
    assert [app.AsyncResult(f"many-{number}").state for number in (0, 1, 4)] == ["PENDING", "PENDING", "SUCCESS"]
