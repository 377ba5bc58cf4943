"""What every store of results does, each for real: Redis, SQLite, files; DynamoDB and S3 as ministack has them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from pyqs_celery_compat import Celery
from pyqs_celery_compat.exceptions import TimeoutError
from pyqs_celery_compat.result import AsyncResult
from pyqs_celery_compat.result_sets import GroupResult

Make = Callable[..., Celery]
Store = tuple[str, dict[str, Any]]


@pytest.fixture
def make(store: Store) -> Make:
    """Makes apps on one store: each is another process's, as far as the store can tell."""
    url, settings = store
    return lambda **more: Celery("store", broker="memory://", backend=url, set_as_current=False, **settings, **more)


def test_what_one_stores_another_reads(make: Make) -> None:
    one, other = make(), make()
    one.backend.store_result("a", {"n": [1, None, "é"]}, "SUCCESS")
    one.backend.store_result("b", ValueError("no", 2), "FAILURE", traceback="line")
    one.backend.store_result("c", {"done": 3}, "PROGRESS")
    found = {name: other.AsyncResult(name) for name in "abc"}
    assert (found["a"].state, found["a"].get(timeout=5)) == ("SUCCESS", {"n": [1, None, "é"]})
    assert repr(found["b"].result) == "ValueError('no', 2)"
    assert found["b"].traceback == "line"
    assert (found["c"].state, found["c"].info) == ("PROGRESS", {"done": 3})
    assert other.AsyncResult("nobody").state == "PENDING"


def test_a_success_is_kept_whatever_comes_later(make: Make) -> None:
    app = make()
    app.backend.store_result("a", 1, "SUCCESS")
    app.backend.store_result("a", ValueError(), "FAILURE")
    app.backend.store_result("b", ValueError(), "FAILURE")
    app.backend.store_result("b", 2, "SUCCESS")
    assert [app.AsyncResult(name).state for name in "ab"] == ["SUCCESS", "SUCCESS"]


def test_what_is_forgotten_was_never_there(make: Make) -> None:
    app = make()
    app.backend.store_result("a", 1, "SUCCESS")
    app.AsyncResult("a").forget()
    assert app.AsyncResult("a").state == "PENDING"
    app.AsyncResult("nobody").forget()


def test_a_group_is_saved_and_restored_with_its_parent(make: Make) -> None:
    one, other = make(), make()
    members = [AsyncResult(name, app=one) for name in "ab"]
    GroupResult("g", members, parent=AsyncResult("p", app=one), app=one).save()
    GroupResult("g", members[:1], parent=AsyncResult("p", app=one), app=one).save()
    found = GroupResult.restore("g", app=other)
    assert (found.id, [result.id for result in found.results], found.parent.id) == ("g", ["a"], "p")
    found.delete()
    assert GroupResult.restore("g", app=other) is None


def test_who_waits_gets_it_when_it_is_there(make: Make) -> None:
    one, other = make(), make()
    waiting, found = threading.Event(), []
    wait = threading.Thread(
        target=lambda: found.append(other.AsyncResult("a").get(timeout=30, interval=0.05, on_interval=waiting.set))
    )
    wait.start()
    assert waiting.wait(30)
    one.backend.store_result("a", "here", "SUCCESS")
    wait.join(30)
    assert found == ["here"]


def test_a_wait_has_an_end(make: Make) -> None:
    with pytest.raises(TimeoutError):
        make().AsyncResult("nobody").get(timeout=0.05)


def test_extended_results_say_what_was_called(make: Make) -> None:
    from pyqs_celery_compat.request import Context

    request = Context(id="a", task="t", args=[1], kwargs={"k": 2}, hostname="h", retries=3, delivery_info={"routing_key": "q"})
    make(result_extended=True).backend.store_result("a", 1, "SUCCESS", request=request)
    found = make(result_extended=True).AsyncResult("a")
    assert (found.name, found.args, found.kwargs) == ("t", [1], {"k": 2})
    assert (found.worker, found.retries, found.queue) == ("h", 3, "q")


def test_a_backend_made_before_a_fork_serves_both_sides(make: Make) -> None:
    app = make()
    app.backend.store_result("parent", 1, "SUCCESS")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            app.backend.store_result("child", app.AsyncResult("parent").result + 1, "SUCCESS")
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert app.AsyncResult("child").get(timeout=10) == 2
    assert app.AsyncResult("parent").state == "SUCCESS"


@pytest.mark.parametrize("url", ["redis://u:geheim@h/1", "dynamodb://key:geheim@us-east-1/t"])
def test_no_password_is_shown(url: str) -> None:
    assert "geheim" not in Celery("hush", broker="memory://", backend=url, set_as_current=False).backend.as_uri()
