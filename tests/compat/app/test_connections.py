"""``app.connection()`` and what users and libraries do with it: health checks, producers, the broker of tests."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from kombu.exceptions import OperationalError

from pyqs.errors import AccessDenied, QueueNotFound, Unreachable, Unsupported
from pyqs.local.inprocess import InProcessSqs
from pyqs_celery_compat import Celery
from pyqs_celery_compat.exceptions import ImproperlyConfigured

MakeApp = Callable[..., Celery]


def test_a_popular_health_check(app: Celery) -> None:
    app.send_task("t", queue="a.b")
    with app.connection_or_acquire() as connection:
        declared = connection.default_channel.queue_declare(queue="a.b", passive=True)
    assert (declared.queue, declared.message_count, declared.consumer_count) == ("a.b", 1, 0)


def test_a_missing_queue_has_no_messages_and_is_not_created(app: Celery, sqs: InProcessSqs) -> None:
    channel = app.connection().default_channel
    assert channel.queue_declare(queue="x", passive=True).message_count == 0
    assert list(sqs.list_queues()) == []
    assert channel.queue_declare(queue="x").message_count == 0
    assert len(list(sqs.list_queues())) == 1


def test_a_queue_is_purged_and_deleted(app: Celery, sqs: InProcessSqs) -> None:
    app.send_task("t")
    channel = app.connection().channel()
    channel.queue_delete("celery", if_empty=True)
    assert channel.queue_purge("celery") == 1
    assert channel.queue_declare("celery", passive=True).message_count == 0
    channel.queue_delete("celery", if_empty=True)
    assert list(sqs.list_queues()) == []


def test_predefined_queues_are_looked_at_by_their_url(make_app: MakeApp, sqs: InProcessSqs) -> None:
    url = sqs.create_queue("real")
    app = make_app(broker_transport_options={"predefined_queues": {"mine": {"url": url}}})
    with app.connection() as connection:
        assert connection.ensure_connection() is connection
        assert connection.default_channel.queue_declare("mine", passive=True).message_count == 0
        with pytest.raises(connection.channel_errors):
            connection.default_channel.queue_declare("other", passive=True)


# -- is it there ------------------------------------------------------------------------------------------------------------


class Failing:
    """Fails a number of times, then answers."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)

    def list_queues(self, prefix: str = "") -> Any:
        if self.failures:
            raise self.failures.pop(0)
        return iter(())

    def close(self) -> None: ...


def over(app: Celery, *failures: Exception) -> Any:
    client = Failing(*failures)
    app.publisher.connector = lambda connection: client  # type: ignore[assignment, return-value]
    return client


def test_a_connection_is_tried_again(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    told: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    over(app, *[Unreachable("down")] * 3)
    connection = app.connection_for_write()
    assert connection.ensure_connection(errback=lambda exc, pause: told.append(pause), interval_start=1).connected
    assert slept == told == [1, 3, 5]
    client = over(make_fresh(app), *[Unreachable("down")] * 5)
    with pytest.raises(OperationalError, match="down"):
        app.connection().ensure_connection(max_retries=1)
    assert len(client.failures) == 3
    with pytest.raises(OperationalError, match="down"):
        app.connection().ensure_connection(timeout=0.5)
    assert len(client.failures) == 2


def make_fresh(app: Celery) -> Celery:
    app.publisher.close()
    return app


def test_who_may_not_ask_is_connected_and_what_does_not_pass_is_not_tried_again(app: Celery) -> None:
    over(app, AccessDenied("no"))
    assert app.connection().ensure_connection(max_retries=0).connected


def test_what_does_not_pass_is_raised_at_once(app: Celery) -> None:
    over(app, QueueNotFound("what?"))
    with pytest.raises(OperationalError, match="what"):
        app.connection().ensure_connection()


def test_a_port_where_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    app = Celery("p", broker=f"sqs://key:s3cret@127.0.0.1:{port}", broker_transport_options={"region": "eu-west-1"})
    connection = app.connection()
    with pytest.raises(connection.connection_errors) as caught:
        connection.ensure_connection(max_retries=0)
    assert "s3cret" not in str(caught.value)


# -- what it says of itself ---------------------------------------------------------------------------------------------------


def test_it_says_where_it_leads_without_the_secret() -> None:
    app = Celery("p", broker="sqs://AKIA:s3cret@localhost:4566", broker_transport_options={"region": "eu-west-1"})
    connection = app.connection()
    assert connection.as_uri() == "sqs://AKIA:**@localhost:4566//"  # as kombu 5.7 writes it
    assert (connection.hostname, connection.port, connection.userid) == ("localhost", 4566, "AKIA")
    assert connection.transport.driver_type == connection.transport.driver_name == "sqs"
    assert connection.transport.implements["exchange_type"] == {"direct"}
    assert "s3cret" not in f"{connection!r} {connection.info()} {connection.as_uri(include_password=True)} {app.pool!r}"
    assert Celery("p", broker="sqs://").connection().as_uri() == "sqs://:**@localhost//"


def test_a_connection_to_another_broker(make_app: MakeApp) -> None:
    app = make_app(broker_read_url="sqs://r:x@reader:1", broker_write_url="sqs://w:x@writer:2")
    assert app.connection_for_read().hostname == "reader"
    assert app.connection_for_write().hostname == app.connection().hostname == "writer"
    assert app.connection("sqs://o:x@other:3").as_uri() == "sqs://o:**@other:3//"
    assert app.connection("other", userid="o", password="x/y", port=3).as_uri() == "sqs://o:**@other:3//"
    with pytest.raises(ImproperlyConfigured, match="redis") as caught:
        app.connection("redis://:pw@h").ensure_connection()
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("name", ["SimpleQueue", "drain_events", "Consumer"])
def test_what_would_receive_says_who_does(app: Celery, name: str) -> None:
    connection = app.connection()
    assert not hasattr(connection, name)
    with pytest.raises(AttributeError, match="pyqs worker"):
        getattr(connection, name)
    with pytest.raises(AttributeError, match="no exchanges"):
        connection.default_channel.exchange_delete  # noqa: B018
    with pytest.raises(Unsupported, match="pyqs worker"):
        app.amqp.TaskConsumer(connection)


def test_what_is_bound_by_hand_is_found(app: Celery, take: Callable[..., list[Any]]) -> None:
    from kombu import Exchange, Queue

    channel = app.connection().channel()
    channel.exchange_declare("ex", "direct", durable=True)
    channel.queue_declare("a", durable=True)
    channel.queue_bind("a", "ex", "key")
    Queue("b", Exchange("ex"), "other")(channel).declare()
    app.send_task("t", exchange="ex", routing_key="key")
    app.send_task("t", exchange="ex", routing_key="other")
    assert (len(take("a")), len(take("b"))) == (1, 1)
    with pytest.raises(Unsupported, match="fanout"):
        channel.exchange_declare("all", "fanout")


# -- pools and producers ------------------------------------------------------------------------------------------------------


def test_producers_are_borrowed(make_app: MakeApp, take: Callable[..., list[Any]]) -> None:
    app = make_app(broker_pool_limit=1)

    @app.task(name="t")
    def task() -> None: ...

    with app.producer_pool.acquire(block=True) as producer:
        with pytest.raises(producer_limit(app)):
            app.producer_pool.acquire()
        task.apply_async(producer=producer)
        producer.publish({"raw": 1}, routing_key="celery", serializer="json")
    with app.producer_or_acquire() as producer, app.producer_or_acquire(producer) as same:
        assert same is producer
    task.apply_async(connection=app.connection())
    assert len(take()) == 3


def test_who_waits_for_a_connection_does_not_wait_for_ever(make_app: MakeApp) -> None:
    app = make_app(broker_pool_limit=1, broker_pool_acquire_timeout=0.01)
    with app.connection_or_acquire():
        with pytest.raises(OperationalError, match="broker_pool_limit"), app.connection_or_acquire():
            pass
        with app.connection_or_acquire(pool=False) as another:
            assert another.connect()


def producer_limit(app: Celery) -> Any:
    return app.producer_pool.LimitExceeded


def test_a_producer_needs_to_know_where(app: Celery) -> None:
    with pytest.raises(ImproperlyConfigured, match="name the queue"):
        app.amqp.Producer(app.connection()).publish({})


def test_after_a_batch_the_signal_comes_when_sqs_has_the_message(app: Celery) -> None:
    from pyqs_celery_compat import signals

    seen: list[str] = []

    def published(sender: str, **about: Any) -> None:
        seen.append(sender)

    signals.after_task_publish.connect(published)
    try:
        with app.batch():
            app.send_task("t")
            assert seen == []
        assert seen == ["t"]
    finally:
        signals.after_task_publish.disconnect(published)


# -- memory:// -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def in_memory() -> Celery:
    from pyqs_celery_compat import publisher

    publisher._store.cache_clear()
    return Celery("tested", broker="memory://")


def waiting(app: Celery, queue: str = "celery") -> int:
    with app.connection_for_read() as connection:
        return int(connection.default_channel.queue_declare(queue, passive=True).message_count)


def test_the_broker_of_tests_is_in_this_process(in_memory: Celery) -> None:
    in_memory.send_task("t")
    other = Celery("other", broker="memory://")
    assert waiting(other) == 1
    in_memory.close()
    assert waiting(other) == 1
    assert other.connection().as_uri() == "memory://:**@localhost//"
    assert other.connection().transport.driver_type == "memory"


def test_a_child_has_a_copy_of_it(in_memory: Celery) -> None:
    in_memory.send_task("t")
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            before = waiting(in_memory)
            in_memory.send_task("t")
            os.write(writer, f"{before} {waiting(in_memory)}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    assert os.read(reader, 100) == b"1 2"
    os.waitpid(pid, 0)
    os.close(reader)
    assert waiting(in_memory) == 1
