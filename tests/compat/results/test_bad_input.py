"""What canvases and results are not given: one clear error each, and nothing is lost by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis
from kombu.exceptions import EncodeError

import real_redis
from one_worker import World
from pyqs.local.inprocess import InProcessSqs
from pyqs.local.store import Store as Queues
from pyqs_celery_compat import Celery, chain, chord, publisher, signature, states
from pyqs_celery_compat.result_backend import ResultTooLarge


@pytest.fixture
def queues(monkeypatch: pytest.MonkeyPatch) -> InProcessSqs:
    monkeypatch.setattr(publisher, "_worker", None)
    return InProcessSqs(Queues())


@pytest.fixture
def make(queues: InProcessSqs) -> Callable[..., Celery]:
    def make(**settings: Any) -> Celery:
        app = Celery("bad", broker="sqs://", set_as_current=False, **settings)
        app.publisher.connector = lambda connection: queues
        app.task(name="add", shared=False)(lambda x, y: x + y)
        return app

    return make


def sent(queues: InProcessSqs) -> int:
    """How many messages there are on any queue."""
    return sum(int(queues.queue_attributes(url)["ApproximateNumberOfMessages"]) for url in queues.list_queues())


def test_a_chord_without_a_backend_is_an_error_where_it_is_called(make: Callable[..., Celery], queues: InProcessSqs) -> None:
    add = make().tasks["add"]
    with pytest.raises(NotImplementedError, match="result backend"):
        chord([add.s(1, 1), add.s(2, 2)], add.s(1)).apply_async()
    assert sent(queues) == 0


def test_a_chord_whose_backend_is_down_sends_nothing(
    make: Callable[..., Celery], queues: InProcessSqs, redis_server: real_redis.RealRedis
) -> None:
    policy = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}
    app = make(backend=redis_server.url, result_backend_transport_options={"retry_policy": policy})
    add = app.tasks["add"]
    redis_server.stop()
    with pytest.raises(redis.exceptions.ConnectionError):  # redis-py's own, as under Celery
        chord([add.s(1, 1), add.s(2, 2)], add.s(1)).apply_async()
    assert sent(queues) == 0
    redis_server.start()
    chord([add.s(1, 1), add.s(2, 2)], add.s(1)).apply_async()
    assert sent(queues) == 2


@pytest.mark.parametrize("shape", ["link to itself", "a circle of links", "a chain in itself"])
def test_a_signature_that_contains_itself_is_an_error_and_nothing_is_sent(
    make: Callable[..., Celery], queues: InProcessSqs, shape: str
) -> None:
    add = make().tasks["add"]
    first, second = add.s(1, 1), add.s(1)
    if shape == "link to itself":
        first.options["link"] = [first]
    elif shape == "a circle of links":
        first.options["link"], second.options["link"] = [second], [first]
    else:
        first = chain(first, second)
        second.kwargs["of"] = first
        first.tasks[1].kwargs["of"] = first
    with pytest.raises((EncodeError, ValueError, RecursionError)) as failed:
        first.apply_async()
    assert "ircular" in str(failed.value) or "recursion" in str(failed.value)
    assert sent(queues) == 0


def test_an_unknown_task_in_a_chain_stops_it_and_its_state_says_why(world: World) -> None:
    """Under Celery 5.7 its message is deleted and its state is a FAILURE; here it may run yet, in a worker that knows it."""
    result = chain(world.part.s(1), signature("nobody.knows", app=world.app), world.part.si(2)).apply_async()
    (first,) = world.take()
    world.settle(first, world.run(first))
    (unknown,) = world.take()
    outcome = world.run(unknown)
    world.settle(unknown, outcome)
    assert outcome.status == "unknown"
    assert world.ran["part"] == 1
    middle = result.parent
    assert middle.state == states.REJECTED
    assert "nobody.knows" in middle.result
    assert "nobody.knows" in middle.info
    assert not middle.ready()
    assert result.state == states.PENDING
    world.now += 3600
    (again,) = world.take()
    assert again.message.message_id == unknown.message.message_id, "it is still there"

    @world.app.task(name="nobody.knows", shared=False)
    def known(value: int) -> int:
        return value

    world.runtime.boot()  # a worker of the next deployment
    world.settle(again, world.run(again))
    world.drain()
    assert middle.state == states.SUCCESS
    assert result.get(timeout=1) == 2


@pytest.mark.parametrize("store", ["dynamodb"], indirect=True)
def test_a_result_that_is_too_large_for_dynamodb_fails_its_task(world: World) -> None:
    @world.app.task(name="large", shared=False, acks_late=True)
    def large() -> str:
        return "x" * 450_000

    result = large.delay()
    world.drain()
    assert world.left() == 0, "no later try would have it stored either"
    assert result.state == states.FAILURE
    with pytest.raises(ResultTooLarge, match="409,600"):
        result.get(timeout=1)


def test_what_no_serializer_takes_fails_its_task(world: World) -> None:
    @world.app.task(name="odd", shared=False, acks_late=True)
    def odd() -> Any:
        return object()

    result = odd.delay()
    world.drain()
    assert result.state == states.FAILURE
    with pytest.raises(EncodeError, match="JSON"):
        result.get(timeout=1)
