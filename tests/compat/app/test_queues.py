"""``app.amqp.Queues`` and routing, as Celery 5.7 was seen to do it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from kombu import Exchange, Queue, binding

from pyqs.local.inprocess import InProcessSqs
from pyqs_celery_compat import Celery
from pyqs_celery_compat.app.amqp import AMQP, Queues
from pyqs_celery_compat.app.routes import MapRoute, expand_router_string, prepare
from pyqs_celery_compat.conf import worker_settings
from pyqs_celery_compat.exceptions import ImproperlyConfigured, QueueNotFound

MakeApp = Callable[..., Celery]


def test_every_way_to_declare_queues(make_app: MakeApp) -> None:
    described = {"d": {"exchange": "ex", "exchange_type": "topic", "binding_key": "bk"}, "e": {}, "f": {"routing_key": "rr"}}
    queues = make_app(task_queues=described).amqp.queues
    assert {name: (queue.exchange.name, queue.exchange.type, queue.routing_key) for name, queue in queues.items()} == {
        "d": ("ex", "topic", "bk"),
        "e": ("celery", "direct", "e"),
        "f": ("celery", "direct", "rr"),
    }
    assert list(make_app(task_queues=["a", "b"]).amqp.queues) == ["a", "b"]  # names alone are an AttributeError in Celery
    own = Queue("a")
    assert make_app(task_queues=(own,)).amqp.queues["a"] is own
    with pytest.raises(ImproperlyConfigured, match="neither a Queue"):
        make_app(task_queues=[7]).amqp.queues  # noqa: B018 - read to have it raise


def test_a_queue_without_exchange_has_the_apps(make_app: MakeApp) -> None:
    app = make_app(task_queues=[Queue("a")], task_default_exchange="ex", task_default_routing_key="rk")
    queue = app.amqp.queues["a"]
    assert (queue.exchange.name, queue.routing_key) == ("ex", "rk")


def test_what_a_call_names_is_routed_to_and_not_consumed(make_app: MakeApp) -> None:
    app = make_app(task_queues=[Queue("a", alias="short"), Queue("b")])
    queues = app.amqp.queues
    assert queues["short"] is queues["a"]
    assert queues["missing"].exchange == Exchange("missing")
    queues.add("added")
    assert list(queues.consume_from) == ["a", "b"]
    assert worker_settings(app).queues == ("a", "b")
    queues.select_add("more")
    queues.deselect(["short", "unknown"])
    assert list(queues.consume_from) == ["b", "more"]
    app.select_queues(["c", "d"])
    assert worker_settings(app).queues == ("c", "d")
    assert queues.format().splitlines()[0] == ".> c                exchange=c(direct) key=c"


def test_without_missing_queues_a_name_is_an_error(make_app: MakeApp) -> None:
    app = make_app(task_create_missing_queues=False, task_queues=[Queue("a")], task_default_queue="a")
    with pytest.raises(QueueNotFound, match="'b'"):
        app.send_task("t", queue="b")
    assert list(app.amqp.queues) == ["a"]


def test_routes_are_asked_in_their_order() -> None:
    route = MapRoute({"a.*": "q1", "b": {"queue": "q2"}, re.compile("c.+"): "q3"})
    assert [route(name) for name in ("a.b", "b", "cc", "c")] == [{"queue": "q1"}, {"queue": "q2"}, {"queue": "q3"}, None]
    assert prepare(None) == ()
    assert [type(each) for each in prepare([[("a", "b")], {"c": "d"}])] == [MapRoute, MapRoute]


class ByName:
    """A router of a class."""

    def route_for_task(self, task: str, args: Any = None, kwargs: Any = None) -> Any:
        return {"queue": "by-name"} if task == "mine" else None


def by_function(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **more: Any) -> Any:
    return "by-function" if name == "yours" else None


def test_dotted_routers_are_imported_when_the_first_call_is_routed(make_app: MakeApp) -> None:
    app = make_app(task_routes=[f"{__name__}.ByName", f"{__name__}:by_function", "no.such.module.router"])
    routed = app.amqp.router.route({}, "mine")
    assert routed["queue"].name == "by-name"
    assert app.amqp.router.route({}, "yours")["queue"].name == "by-function"
    with pytest.raises(ImportError):
        app.amqp.router.route({}, "other")
    assert isinstance(expand_router_string(f"{__name__}.ByName"), ByName)


def test_a_calls_own_options_beat_its_route(make_app: MakeApp) -> None:
    app = make_app(task_routes={"t": {"queue": "routed", "priority": 7, "routing_key": "k"}})
    routed = app.amqp.router.route({"queue": "own", "priority": None}, "t")
    assert (routed["queue"].name, routed["priority"], routed["routing_key"]) == ("own", 7, "k")


def test_new_routes_count_from_the_update_on(make_app: MakeApp, take: Callable[..., list[Any]]) -> None:
    app = make_app()
    app.send_task("t")
    app.conf.update(task_routes={"t": "elsewhere"})
    app.send_task("t")
    assert (len(take("celery")), len(take("elsewhere"))) == (1, 1)


# -- exchanges ------------------------------------------------------------------------------------------------------------


def test_a_direct_exchange_leads_to_the_queue_bound_to_it(make_app: MakeApp, envelope: Callable[..., dict[str, Any]]) -> None:
    exchange = Exchange("ex")
    app = make_app(
        task_queues=[Queue("a", exchange, "one"), Queue("b", [binding(exchange, "two"), binding(exchange, "three")])]
    )
    app.send_task("t", exchange="ex", routing_key="one")
    app.send_task("t", exchange=exchange, routing_key="three")
    assert envelope("a")["properties"]["delivery_info"] == {"exchange": "ex", "routing_key": "one"}
    assert envelope("b")["properties"]["delivery_info"] == {"exchange": "ex", "routing_key": "three"}


def test_what_no_queue_is_bound_to_is_an_error_and_not_a_lost_message(make_app: MakeApp, sqs: InProcessSqs) -> None:
    app = make_app(task_queues=[Queue("a", Exchange("ex"), "one")], task_default_queue="a")
    with pytest.raises(ImproperlyConfigured, match="routing key 'two'"):
        app.send_task("t", exchange="ex", routing_key="two")
    assert list(sqs.list_queues()) == []


@pytest.mark.parametrize("kind", ["topic", "fanout", "headers"])
def test_other_exchanges_are_declared_and_refused_when_something_is_sent(
    make_app: MakeApp, sqs: InProcessSqs, kind: str
) -> None:
    app = make_app(task_queues=[Queue("a", Exchange("ex", type=kind), "key")], task_default_queue="a")
    assert worker_settings(app).queues == ("a",)
    for options in ({}, {"queue": "a"}, {"exchange": "ex", "routing_key": "key"}):
        with pytest.raises(ImproperlyConfigured, match=f"'ex' is a {kind} exchange"):
            app.send_task("t", **options)
    assert list(sqs.list_queues()) == []


# -- messages and producers -------------------------------------------------------------------------------------------------


class Noting:
    """A producer of somebody's own."""

    def __init__(self) -> None:
        self.published: list[tuple[Any, dict[str, Any]]] = []

    def publish(self, body: Any, **options: Any) -> None:
        self.published.append((body, options))


def test_a_producer_of_ones_own_publishes(make_app: MakeApp, sqs: InProcessSqs) -> None:
    app, producer = make_app(), Noting()

    @app.task(name="t")
    def task(number: int) -> None: ...

    task.apply_async((1,), producer=producer, queue="q", MessageGroupId="g")
    ((body, options),) = producer.published
    assert body[:2] == ((1,), {})
    assert (options["exchange"], options["routing_key"], options["MessageGroupId"]) == ("", "q", "g")
    assert options["headers"]["task"] == "t"
    assert list(sqs.list_queues()) == []


def test_messages_can_be_made_differently(make_app: MakeApp, envelope: Callable[..., dict[str, Any]]) -> None:
    class Signed(AMQP):
        def as_task_v2(self, task_id: str, name: str, *args: Any, **fields: Any) -> Any:
            message = super().as_task_v2(task_id, name, *args, **fields)
            message.headers["made-by"] = "me"
            return message

    app = make_app()
    app.amqp_cls = Signed
    app.send_task("t")
    assert envelope()["headers"]["made-by"] == "me"


def test_the_texts_of_arguments_are_as_long_as_the_app_says(make_app: MakeApp, envelope: Callable[..., dict[str, Any]]) -> None:
    nested = [[[[["deep"]]]]]
    app = make_app(task_repr_maxlevels=0)
    app.send_task("t", (nested,))
    assert envelope()["headers"]["argsrepr"] == "([[[[['deep']]]]],)"
    app = make_app()
    app.amqp.argsrepr_maxsize = 10
    app.send_task("t", ("x" * 50,), queue="short")
    assert len(envelope("short")["headers"]["argsrepr"]) < 20


def test_an_event_dispatcher_is_told_of_a_call(make_app: MakeApp) -> None:
    told: list[tuple[Any, ...]] = []

    class Dispatcher:
        def publish(self, kind: str, event: dict[str, Any], producer: Any, **policy: Any) -> None:
            told.append((kind, event["name"], event["queue"], event["args"]))

    app = make_app()
    for asked in (True, False):
        message = app.amqp.as_task_v2("i", "t", (1,), create_sent_event=asked)
        app.amqp.send_task_message(app.amqp.producer, "t", message, queue="q", event_dispatcher=Dispatcher())
    assert told == [("task-sent", "t", "q", "(1,)")]


def test_a_message_is_a_tuple_that_shows_no_arguments(make_app: MakeApp) -> None:
    message = make_app().amqp.as_task_v2("i", "t", ("secret",))
    headers, properties, body, sent_event = message
    assert (headers["id"], properties["correlation_id"], body[0], sent_event) == ("i", "i", ("secret",), None)
    assert "secret" not in repr(message)


def test_queues_of_another_class(make_app: MakeApp) -> None:
    class Loud(Queues):
        def new_missing(self, name: str) -> Any:
            return super().new_missing(name.upper())

    app = make_app()
    app.amqp.queues_cls = Loud
    assert app.amqp.queues["quiet"].name == "QUIET"
