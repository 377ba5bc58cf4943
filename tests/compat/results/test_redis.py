"""Results in a real Redis: keys, bytes, waiting, and what happens while it is away."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from one_worker import World
from pyqs_celery_compat import Celery, chord, group
from pyqs_celery_compat.backends import redis as redis_backend
from pyqs_celery_compat.backends import redis_waiting
from pyqs_celery_compat.exceptions import ImproperlyConfigured, TimeoutError
from pyqs_celery_compat.result import AsyncResult
from pyqs_celery_compat.result_sets import GroupResult
from real_redis import RealRedis

MakeApp = Callable[..., Celery]


def test_a_result_is_under_celerys_key_in_celerys_form_and_goes_by_itself(make_app: MakeApp) -> None:
    backend: Any = make_app(result_expires=3600).backend
    backend.store_result("one", {"a": 1}, "SUCCESS")
    kept = json.loads(backend.client.get("celery-task-meta-one"))
    assert list(kept) == ["status", "result", "traceback", "children", "date_done", "task_id"]  # seen with Celery 5.7
    assert (kept["status"], kept["result"], kept["task_id"], kept["children"]) == ("SUCCESS", {"a": 1}, "one", None)
    assert 3590 < backend.client.ttl("celery-task-meta-one") <= 3600


def test_a_success_is_never_written_over_by_a_later_run(make_app: MakeApp) -> None:
    backend: Any = make_app().backend
    backend.store_result("one", 1, "SUCCESS")
    backend.store_result("one", ValueError("late"), "FAILURE")
    assert backend.get_state("one") == "SUCCESS"


def test_a_prefix_is_before_every_key(make_app: MakeApp) -> None:
    backend: Any = make_app(result_backend_transport_options={"global_keyprefix": "shop"}).backend
    backend.store_result("one", 1, "SUCCESS")
    assert backend.client.keys() == [b"shop_celery-task-meta-one"]


def test_a_group_is_kept_and_found_again(make_app: MakeApp) -> None:
    app = make_app()
    group = GroupResult("g", [AsyncResult("one", app=app)], app=app)
    group.save()
    assert GroupResult.restore("g", app=app) == group
    group.delete()
    assert GroupResult.restore("g", app=app) is None


def test_who_waits_is_woken_and_does_not_poll(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_waiting, "LOOK_AGAIN", 60.0)
    app, teller = make_app(), make_app()
    subscribed, found = threading.Event(), []
    subscribe = redis_waiting.Subscription._try_to_subscribe

    def noted(self: Any, keys: tuple[str, ...]) -> None:
        subscribe(self, keys)
        subscribed.set()

    monkeypatch.setattr(redis_waiting.Subscription, "_try_to_subscribe", noted)
    waiting = threading.Thread(target=lambda: found.append(app.AsyncResult("one").get(timeout=20)))
    waiting.start()
    assert subscribed.wait(20)
    teller.backend.store_result("one", None, "STARTED")  # it is told, and is no end
    teller.backend.store_result("one", "here", "SUCCESS")
    waiting.join(20)
    assert found == ["here"]


def test_a_thousand_results_are_awaited_on_two_connections(make_app: MakeApp) -> None:
    app, teller = make_app(), make_app()
    ids = [f"id-{number}" for number in range(1000)]
    telling = threading.Thread(target=lambda: [teller.backend.store_result(id_, id_, "SUCCESS") for id_ in ids])
    telling.start()
    backend: Any = app.backend
    group = GroupResult("g", [AsyncResult(id_, app=app) for id_ in ids], app=app)
    found = dict(backend.iter_native(group, timeout=60))
    telling.join()
    assert {id_: meta["result"] for id_, meta in found.items()} == {id_: id_ for id_ in ids}
    assert len(backend.client.connection_pool._available_connections) <= 2


def test_a_wait_that_comes_to_no_end_says_so_in_time(make_app: MakeApp) -> None:
    turns: list[int] = []
    with pytest.raises(TimeoutError, match="timed out"):
        make_app().AsyncResult("nobody").get(timeout=0.05, on_interval=lambda: turns.append(1))
    assert turns


def test_a_wait_outlives_a_redis_that_went_away(make_app: MakeApp, redis_server: RealRedis) -> None:
    app, found = make_app(), []
    waiting = threading.Thread(target=lambda: found.append(app.AsyncResult("one").get(timeout=60)))
    waiting.start()
    redis_server.stop()
    redis_server.start()
    make_app().backend.store_result("one", "here", "SUCCESS")
    waiting.join(60)
    assert found == ["here"]


def test_a_redis_that_is_away_is_tried_again_as_the_policy_says(make_app: MakeApp, redis_server: RealRedis) -> None:
    policy = {"max_retries": 2, "interval_start": 0, "interval_step": 0, "interval_max": 0}
    backend: Any = make_app(result_backend_transport_options={"retry_policy": policy}).backend
    redis_server.stop()
    calls: list[int] = []
    with pytest.raises(redis_backend.redis.exceptions.ConnectionError):
        backend.ensure(lambda: (calls.append(1), backend.client.ping()))
    assert len(calls) == 3


def test_waiting_for_a_redis_that_is_away_ends_with_the_timeout(
    make_app: MakeApp, redis_server: RealRedis, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app()
    redis_server.stop()
    with pytest.raises(redis_backend.redis.exceptions.ConnectionError):
        app.AsyncResult("one").get(timeout=0.5)
    assert len(caplog.records) < 5  # of the 20 tries of the policy, a second apart


@pytest.mark.parametrize("store", ["redis"], indirect=True)
def test_a_header_with_a_group_in_it_does_without_the_results_that_are_counted(world: World) -> None:
    """Celery's worker writes RETRY after it has sent the next run, and sometimes over its SUCCESS."""
    retried = world.part.s(1).set(task_id="retried")
    chord([retried, world.part.si(10) | group(world.part.si(2), world.part.si(3))], world.body.s()).apply_async()
    backend: Any = world.app.backend
    key = backend.get_key_for_task("retried")
    for delivery in world.take():
        world.settle(delivery, world.run(delivery))
        if kept := backend.client.get(key):
            backend.client.set(key, json.dumps({**json.loads(kept), "status": "RETRY", "result": None}))
    world.drain()
    assert world.bodies == [[1, [2, 3]]]


def test_what_cannot_be_written_is_kombus_error(make_app: MakeApp) -> None:
    from kombu.exceptions import EncodeError

    with pytest.raises(EncodeError, match="json"):
        make_app().backend.store_result("one", object(), "SUCCESS")


@pytest.mark.parametrize(
    ("url", "settings", "expected"),
    [
        ("redis://", {}, {"host": "localhost", "port": 6379, "db": 0}),
        ("redis://h:7/3", {}, {"host": "h", "port": 7, "db": 3}),
        ("redis://:pw@h", {"redis_password": "other"}, {"host": "h", "password": "pw"}),
        ("redis://u:p%40ss@h", {}, {"username": "u", "password": "p@ss"}),
        ("redis://h", {"redis_socket_timeout": 3}, {"socket_timeout": 3.0}),
        ("redis://h?socket_timeout=7", {}, {"socket_timeout": 7.0}),
        ("redis+socket:///tmp/r.sock?virtual_host=4", {}, {"path": "/tmp/r.sock", "db": 4}),
        ("rediss://h?ssl_cert_reqs=CERT_REQUIRED", {}, {"ssl_cert_reqs": "required"}),
        ("rediss://h?ssl_cert_reqs=none", {}, {"ssl_cert_reqs": "none"}),
    ],
)
def test_where_it_is(url: str, settings: dict[str, Any], expected: dict[str, Any]) -> None:
    backend: Any = Celery("where", broker="memory://", backend=url, set_as_current=False, **settings).backend
    found = backend.client.connection_pool.connection_kwargs
    assert {key: found[key] for key in expected} == expected


def test_a_certificate_is_checked_or_somebody_says_that_it_is_not() -> None:
    with pytest.raises(ValueError, match=r"ssl_cert_reqs=required"):
        Celery("tls", broker="memory://", backend="rediss://h", set_as_current=False).backend  # noqa: B018


def test_a_password_is_shown_to_nobody() -> None:
    backend: Any = Celery("hush", broker="memory://", backend="redis://u:geheim@h/0", set_as_current=False).backend
    assert "geheim" not in backend.as_uri()
    assert "geheim" in backend.as_uri(include_password=True)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_backend, "redis", None)
    with pytest.raises(ImproperlyConfigured, match=r"pip install 'pyqs\[redis\]'"):
        Celery("bare", broker="memory://", backend="redis://h", set_as_current=False).backend  # noqa: B018
