"""``@task`` and ``.delay()``: what is sent where, and what is refused before anything is sent."""

from __future__ import annotations

import asyncio
import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyqs import task, tasks
from pyqs.config import ConnectionConfig, process_defaults
from pyqs.errors import BadMessageOption, ConfigError, NotSerializable, TooLarge
from pyqs.message import OutgoingMessage, SentMessage
from pyqs.producer import Producer
from pyqs.registry import registry

PATH = f"{__name__}.{{}}"


class FakeSqs:
    def __init__(self) -> None:
        self.sent: list[tuple[str, OutgoingMessage]] = []

    def queue_url(self, name: str) -> str:
        return f"http://sqs/1/{name}"

    def send(self, url: str, message: OutgoingMessage) -> SentMessage:
        self.sent.append((url.rpartition("/")[2], message))
        return SentMessage("m-1")

    def send_batch(self, url: str, messages: list[OutgoingMessage]) -> list[SentMessage]:
        self.sent += [(url.rpartition("/")[2], message) for message in messages]
        return [SentMessage(f"id of {json.loads(message.body)['args']}") for message in messages]


@pytest.fixture
def sqs(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSqs]:
    sqs = FakeSqs()
    producer = Producer(ConnectionConfig(), connector=lambda _: sqs)  # type: ignore[arg-type,return-value]
    monkeypatch.setattr("pyqs.producer.default_producer", lambda: producer)
    return sqs


def body(sqs: FakeSqs) -> Any:
    return json.loads(sqs.sent[-1][1].body)


def test_bare_and_called_decorators_give_the_function_itself(sqs: FakeSqs) -> None:
    def add(a: int, b: int = 2) -> int:
        """Adds."""
        return a + b

    for decorated in (task(add), task()(add), task(queue="q")(add), task("q")(add)):
        assert decorated is add
    assert add(1) == 3
    assert add.__doc__ == "Adds."
    assert str(inspect.signature(add)) == "(a: 'int', b: 'int' = 2) -> 'int'"


def test_a_call_is_pyqs_message_on_the_queue_of_its_path(sqs: FakeSqs) -> None:
    @task
    def send(*args: Any, **kwargs: Any) -> None: ...

    assert send.delay(1, "ü", to=["a"]) is None  # type: ignore[func-returns-value]
    name = PATH.format("send")
    assert body(sqs) == {"task": name, "args": [1, "ü"], "kwargs": {"to": ["a"]}}
    assert sqs.sent[-1][0] == name.replace(".", "-")
    assert sqs.sent[-1][1].delay == 0
    assert registry.get(name) is send


@pytest.mark.parametrize(("queue", "name"), [("email", "email"), ("email.send", "email-send"), ("a/b", "a_b")])
def test_a_queue_of_its_own(sqs: FakeSqs, queue: str, name: str) -> None:
    @task(queue=queue)
    def send() -> None: ...

    send.delay()
    assert sqs.sent[-1][0] == name


def test_a_path_of_its_own_is_name_and_queue(sqs: FakeSqs) -> None:
    @task(custom_function_path="shop.tasks.send")
    def differently() -> None: ...

    differently.delay()
    assert body(sqs)["task"] == "shop.tasks.send"
    assert sqs.sent[-1][0] == "shop-tasks-send"
    assert registry.get("shop.tasks.send") is differently


def test_delays(sqs: FakeSqs) -> None:
    @task(queue="q", delay_seconds=30)
    def send(**kwargs: Any) -> None: ...

    send.delay()
    send.delay(_delay_seconds=900)
    send.delay(_delay_seconds=0)
    send.delay(_delay_seconds=None)  # PyQS: says "none", whatever the decorator says
    send.delay(_delay_seconds=1.2)
    assert [message.delay for _, message in sqs.sent] == [30, 900, 0, 0, 2]
    assert body(sqs)["kwargs"] == {}


@pytest.mark.parametrize("delay", [-1, 901, -0.5 - 1, "soon", float("nan"), float("inf"), True, [], "5"])
def test_impossible_delays_are_named(sqs: FakeSqs, delay: Any) -> None:
    @task(queue="email")
    def send() -> None: ...

    with pytest.raises(BadMessageOption, match="a delay is") as caught:
        send.delay(_delay_seconds=delay)
    assert str(delay)[:3].rstrip(".") in str(caught.value)
    with pytest.raises(BadMessageOption):
        task(queue="email", delay_seconds=delay)(send)
    assert sqs.sent == []


def test_a_fifo_queue_takes_no_delay(sqs: FakeSqs) -> None:
    @task(queue="orders.fifo")
    def send() -> None: ...

    with pytest.raises(BadMessageOption, match="FIFO"):
        send.delay(_delay_seconds=5)
    send.delay()
    send.delay(_delay_seconds=0)
    assert [message.delay for _, message in sqs.sent] == [None, None]


@pytest.mark.parametrize("queue", ["two words", "x" * 81, "é"])
def test_impossible_queue_names_are_told_at_the_call(sqs: FakeSqs, queue: str) -> None:
    @task(queue=queue)
    def send() -> None: ...

    with pytest.raises(BadMessageOption):
        send.delay()
    assert sqs.sent == []


def test_a_path_too_long_for_a_queue_is_told_at_the_call(sqs: FakeSqs) -> None:
    @task(custom_function_path="shop." + "x" * 80)
    def send() -> None: ...

    with pytest.raises(ConfigError, match="queue="):
        send.delay()


def test_what_cannot_be_written_is_told_and_not_sent(sqs: FakeSqs) -> None:
    @task(queue="q")
    def send(*args: Any, **kwargs: Any) -> None: ...

    with pytest.raises(NotSerializable, match="send"):
        send.delay(object())
    with pytest.raises(NotSerializable, match="'when'"):
        send.delay(when={1, 2})
    with pytest.raises(TooLarge, match="send"):
        send.delay("x" * 1_100_000)
    assert sqs.sent == []


def test_async_generators_are_refused_when_they_are_decorated() -> None:
    async def generator() -> Any:
        yield 1

    with pytest.raises(ConfigError, match="an async generator cannot be a task"):
        task(generator)
    with pytest.raises(ConfigError, match="async"):
        task(queue="q")(generator)


def test_an_async_function_called_answers_its_coroutine() -> None:
    @task
    async def double(number: int) -> int:
        await asyncio.sleep(0)
        return 2 * number

    assert asyncio.run(double(4)) == 8


@pytest.mark.parametrize("thing", [5, object(), len, [].append])
def test_what_is_no_function_is_refused(thing: Any) -> None:
    with pytest.raises(ConfigError, match="@task is for"):
        task()(thing)


def test_the_producer_is_the_process_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task in an executor sends over the worker's connection: whatever ``process_defaults`` says when it sends."""
    seen: list[ConnectionConfig] = []
    monkeypatch.setattr(
        "pyqs.producer.Producer.send", lambda self, queue, message, task: seen.append(self.connection) or SentMessage("m")
    )
    monkeypatch.setattr(process_defaults, "_connection", ConnectionConfig(region="one"))
    monkeypatch.setattr(process_defaults, "generation", process_defaults.generation + 1)

    @task(queue="q")
    def send() -> None: ...

    send.delay()
    process_defaults.configure(ConnectionConfig(region="two"))
    send.delay()
    assert [connection.region for connection in seen] == ["one", "two"]


@pytest.mark.parametrize("how", ["script", "module"])
def test_a_task_of_the_program_itself_has_the_name_that_a_worker_can_import(tmp_path: Path, how: str) -> None:
    (tmp_path / "jobs.py").write_text(
        "from pyqs import task\nfrom pyqs.registry import registry\n@task\ndef send(): ...\nprint(registry.names())"
    )
    command = ["jobs.py"] if how == "script" else ["-m", "jobs"]
    root = str(Path(tasks.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, env={"PYTHONPATH": root}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "('jobs.send',)"


def test_the_import_is_light() -> None:
    code = "import sys, pyqs; print(*sorted({m.partition('.')[0] for m in sys.modules}), pyqs.__version__)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"boto3", "botocore", "kombu", "multiprocessing", "click", "rich", "asyncio"} & set(out.split())


def test_groups_and_deduplication_come_from_the_task_or_the_call(sqs: FakeSqs, caplog: pytest.LogCaptureFixture) -> None:
    @task(queue="orders.fifo", group_id=lambda order, **_: order, dedup_id=lambda order, step=0: f"{order}-{step}")
    def ship(order: int, step: int = 0) -> None: ...

    ship.delay(7, step=2)
    assert (sqs.sent[-1][1].group_id, sqs.sent[-1][1].dedup_id) == ("7", "7-2")
    ship.delay(7, _group_id="g", _dedup_id="d")
    assert (sqs.sent[-1][1].group_id, sqs.sent[-1][1].dedup_id) == ("g", "d")

    @task(queue="fair", group_id="tenant")
    def fair() -> None: ...

    fair.delay()
    assert sqs.sent[-1][1].group_id == "tenant", "a standard queue shares out fairly between groups"
    assert not caplog.messages

    @task(queue="plain.fifo")
    def plain() -> None: ...

    plain.delay()
    plain.delay()
    assert sqs.sent[-1][1].group_id == "default"
    assert len([line for line in caplog.messages if "one group" in line]) == 1


@pytest.mark.parametrize("bad", ["", "with space", "x" * 129, "\n", "ü"])
def test_a_group_that_sqs_would_refuse_is_refused_before(sqs: FakeSqs, bad: str) -> None:
    @task(queue="orders.fifo", group_id=lambda: bad)
    def ship() -> None: ...

    with pytest.raises(BadMessageOption, match="group_id is 1 to 128"):
        ship.delay()
    assert not sqs.sent


def test_deduplication_is_for_fifo_queues() -> None:
    with pytest.raises(ConfigError, match="dedup_id is for FIFO queues"):

        @task(queue="orders", dedup_id="x")
        def ship() -> None: ...


# -- many at once ----------------------------------------------------------------------------------------------------


def test_many_calls_in_one_go(sqs: FakeSqs) -> None:
    @task(queue="jobs", delay_seconds=3, custom_function_path="t.add")
    def add(a: int, b: int = 0) -> int:
        return a + b

    ids = add.send_many((n, n) for n in range(25))
    assert ids == [f"id of [{n}, {n}]" for n in range(25)], "in the calls' order, however they went"
    assert {queue for queue, _ in sqs.sent} == {"jobs"}
    assert {message.delay for _, message in sqs.sent} == {3}
    add.send_many([{"a": 1, "b": 2}], _delay_seconds=60)
    assert json.loads(sqs.sent[-1][1].body) == {"task": "t.add", "args": [], "kwargs": {"a": 1, "b": 2}}
    assert sqs.sent[-1][1].delay == 60
    assert add.send_many([]) == []


def test_each_of_many_has_its_own_group(sqs: FakeSqs) -> None:
    @task(queue="orders.fifo", group_id=lambda order: order)
    def ship(order: str) -> None: ...

    ship.send_many([("a",), {"order": "b"}])
    assert [message.group_id for _, message in sqs.sent] == ["a", "b"]


@pytest.mark.parametrize("call", ["text", ["a", "list"], 5, None])
def test_arguments_of_a_wrong_kind_are_told_and_nothing_is_sent(sqs: FakeSqs, call: Any) -> None:
    @task(queue="jobs")
    def send(address: str) -> None: ...

    with pytest.raises(BadMessageOption, match="a tuple of positional arguments or a dict"):
        send.send_many([("fine",), call])
    assert not sqs.sent
