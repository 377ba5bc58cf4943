"""A call that says nothing but its arguments takes a short way to the same text, wherever nobody would notice."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pyqs.local.inprocess import InProcessSqs
from pyqs_celery_compat import Celery, envelope, forms, outgoing, signals
from pyqs_celery_compat.app import amqp
from pyqs_celery_compat.app.amqp import AMQP

Take = Callable[..., list[Any]]


@pytest.fixture
def long_ways(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of tasks whose call took the long way."""
    seen: list[str] = []
    for make in ("as_task_v1", "as_task_v2"):
        real = getattr(outgoing, make)

        def spy(task_id: str, name: str, *args: Any, _real: Any = real, **options: Any) -> Any:
            seen.append(name)
            return _real(task_id, name, *args, **options)

        monkeypatch.setattr(outgoing, make, spy)
    return seen


@pytest.fixture
def one_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every message has the same delivery tag."""
    for module in (envelope, forms):
        monkeypatch.setattr(module, "uuid", lambda: "the-tag")


@pytest.fixture
def receiver() -> Iterator[Callable[..., None]]:
    """Before it is called nobody listens to publishing."""

    def listen(**_: Any) -> None: ...

    def connect(signal: Any = signals.before_task_publish) -> None:
        signal.connect(listen)

    yield connect
    signals.before_task_publish.disconnect(listen)
    signals.after_task_publish.disconnect(listen)


CALLS: list[tuple[Any, Any]] = [
    ((), {}),
    (None, None),
    ([1, 2.5, None], {}),
    (("é\n'\"\\ %s %(x)s\0" + "0" * 3,), {"key": [1, {"b": "c"}]}),
    ((b"bytes",), {}),
    (("\0" + "1", "\\u00001"), {"long": "x" * 3000}),
]


@pytest.mark.parametrize(("args", "kwargs"), CALLS)
@pytest.mark.parametrize("settings", [
    {},
    {"task_default_priority": 3, "task_default_queue": "mail.out", "task_default_delivery_mode": 1},
    {"task_ignore_result": True, "task_time_limit": 9, "task_soft_time_limit": 8},
    {"broker_transport_options": {"sqs_base64_encoding": False}},
])  # fmt: skip
@pytest.mark.usefixtures("one_tag")
def test_both_ways_write_the_same(
    make_app: Callable[..., Celery], take: Take, long_ways: list[str], receiver: Any, args: Any, kwargs: Any, settings: Any
) -> None:
    app = make_app(**settings)

    @app.task(name='odd %d "name"', typing=False)
    def odd() -> None: ...

    options = {"task_id": 'an "id" of 100%', "root_id": "the-root", "parent_id": "the-parent"}
    odd.apply_async(args, kwargs, task_id="id-1")
    odd.apply_async(args, kwargs, **options)
    assert not long_ways
    receiver()
    odd.apply_async(args, kwargs, task_id="id-1")
    odd.apply_async(args, kwargs, **options)
    assert len(long_ways) == 2
    bodies = [message.body for message in take(settings.get("task_default_queue", "celery").replace(".", "-"))]
    assert len(bodies) == 4
    assert sorted(bodies[:2]) == sorted(bodies[2:])


@pytest.mark.parametrize("options", [
    {"countdown": 0}, {"expires": 60}, {"headers": {}}, {"retries": 1}, {"shadow": "x"}, {"chain": []}, {"group_index": 0},
    {"reply_to": "x"}, {"serializer": "yaml"}, {"compression": "zlib"}, {"delivery_mode": 1}, {"routing_key": "x"},
    {"priority": "4"}, {"time_limit": 2.0}, {"ignore_result": "no"}, {"task_id": 7}, {"delay_seconds": 1}, {"app_id": "x"},
    {"message_attributes": {}}, {"MessageGroupId": "g"}, {"stamped_headers": []},
])  # fmt: skip
def test_a_call_that_says_more_takes_the_long_way(app: Celery, long_ways: list[str], options: dict[str, Any]) -> None:
    app.send_task("t", (1,), **options)
    assert long_ways == ["t"]


class Arguments(list[int]):
    pass


@pytest.mark.parametrize(("args", "kwargs"), [(Arguments([1]), {}), ((), type("Own", (dict,), {})(a=1))])
def test_arguments_of_other_classes_take_the_long_way(app: Celery, long_ways: list[str], args: Any, kwargs: Any) -> None:
    app.send_task("t", args, kwargs)
    assert long_ways == ["t"]


@pytest.mark.parametrize("setting", [
    {"task_protocol": 1}, {"task_serializer": "yaml"}, {"task_compression": "zlib"},
])  # fmt: skip
def test_a_setting_that_is_written_later_counts(app: Celery, long_ways: list[str], setting: dict[str, Any]) -> None:
    app.send_task("t")
    assert not long_ways
    app.conf.update(setting)
    app.send_task("t")
    assert long_ways == ["t"]
    for name in setting:
        del app.conf[name]
    app.send_task("t")
    assert long_ways == ["t"]


@pytest.mark.usefixtures("one_tag")
def test_a_form_is_of_one_configuration(app: Celery, take: Take) -> None:
    app.send_task("t", task_id="x")
    app.conf.task_default_delivery_mode = 1
    app.send_task("t", task_id="x")
    app.conf.add_defaults({"task_default_delivery_mode": 2})
    app.send_task("t", task_id="x")
    del app.conf["task_default_delivery_mode"]
    app.send_task("t", task_id="x")
    first, second, third, fourth = (message.body for message in take())
    assert first == fourth != second == third


@pytest.mark.parametrize("signal", [signals.before_task_publish, signals.after_task_publish], ids=lambda signal: signal.name)
def test_whoever_listens_gets_the_message(app: Celery, long_ways: list[str], receiver: Any, signal: Any) -> None:
    receiver(signal)
    app.send_task("t")
    assert long_ways == ["t"]


def test_a_sending_side_of_ones_own_is_asked(
    app: Celery, make_app: Callable[..., Celery], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    class Own(AMQP):
        def send_task_message(self, producer: Any, name: str, message: Any, **options: Any) -> None:
            seen.append(name)

    other = make_app()
    other.amqp_cls = Own
    other.send_task("subclass")
    app.amqp.send_task_message = lambda producer, name, message, **options: seen.append(name)  # type: ignore[method-assign]
    app.send_task("instance")
    monkeypatch.setattr(AMQP, "send_task_message", lambda self, producer, name, message, **options: seen.append(name))
    make_app().send_task("class")
    assert seen == ["subclass", "instance", "class"]


def test_another_process_has_forms_of_its_own(app: Celery, take: Take, monkeypatch: pytest.MonkeyPatch) -> None:
    app.send_task("t")
    monkeypatch.setattr(os, "getpid", lambda: 4711)
    app.send_task("t")
    origins = {outgoing_origin(message.body) for message in take()}
    assert len(origins) == 2
    assert any(origin.startswith("gen4711@") for origin in origins)


def outgoing_origin(body: str) -> str:
    opened = envelope.open_envelope(body)
    assert isinstance(opened, envelope.Envelope)
    return str(opened.headers["origin"])


def test_equal_values_of_other_types_are_not_mixed_up(app: Celery, take: Take) -> None:
    app.send_task("t", priority=1, ignore_result=True, time_limit=1)
    app.send_task("t", priority=1, ignore_result=1, time_limit=True)
    found = {repr(opened.headers["ignore_result"]) for opened in map(envelope.open_envelope, (m.body for m in take()))}  # type: ignore[union-attr]
    assert found == {"True", "1"}


def test_forms_do_not_pile_up(app: Celery, sqs: InProcessSqs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amqp, "_MOST_FORMS", 3)
    for number in range(10):
        app.send_task(f"t-{number}")
    assert len(app.amqp._forms) <= 3
