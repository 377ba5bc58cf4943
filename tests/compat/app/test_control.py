"""app.control, app.events and what hangs on them: nothing that cannot be heard is claimed to be, nothing raises where Celery
does not (observed on Celery 5.7 with kombu's SQS transport), and nothing waits."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from kombu.exceptions import OperationalError

from pyqs.local.inprocess import InProcessSqs
from pyqs_celery_compat import Celery
from pyqs_celery_compat.app import control
from pyqs_celery_compat.exceptions import InvalidTaskError
from pyqs_celery_compat.uncalled import without_effect

COMMANDS: dict[str, Callable[[control.Control], Any]] = {
    "revoke": lambda it: it.revoke("id"),
    "revoke_by_stamped_headers": lambda it: it.revoke_by_stamped_headers({"a": [1]}),
    "terminate": lambda it: it.terminate("id"),
    "rate_limit": lambda it: it.rate_limit("x.add", "10/m"),
    "time_limit": lambda it: it.time_limit("x.add", soft=1, hard=2),
    "add_consumer": lambda it: it.add_consumer("queue"),
    "cancel_consumer": lambda it: it.cancel_consumer("queue"),
    "enable_events": lambda it: it.enable_events(),
    "disable_events": lambda it: it.disable_events(),
    "pool_grow": lambda it: it.pool_grow(2),
    "pool_shrink": lambda it: it.pool_shrink(2),
    "pool_restart": lambda it: it.pool_restart(),
    "autoscale": lambda it: it.autoscale(10, 3),
    "heartbeat": lambda it: it.heartbeat(),
    "shutdown": lambda it: it.shutdown(),
    "election": lambda it: it.election("id", "topic"),
    "mine": lambda it: it.broadcast("mine", arguments={"a": 1}),
}
QUESTIONS = (
    "active", "active_queues", "clock", "conf", "memdump", "memsample", "objgraph", "ping", "query_task", "registered",
    "registered_tasks", "report", "reserved", "revoked", "scheduled", "stats",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _nothing_said_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_told", False)


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_are_none_and_one_warning_says_what_to_do(app: Celery, name: str, caplog: pytest.LogCaptureFixture) -> None:
    assert COMMANDS[name](app.control) is None
    assert COMMANDS[name](app.control) is None
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"nobody hears {name!r}" in record.message
    assert "pyqs worker" in record.message or "task" in record.message or "call" in record.message or "work" in record.message


def test_replies_are_none_at_once(app: Celery) -> None:
    assert app.control.ping(timeout=3600) == []
    assert app.control.broadcast("mine", reply=True, timeout=3600) == []
    assert app.control.rate_limit("x", 1, reply=True, timeout=3600) == []


@pytest.mark.parametrize("name", QUESTIONS)
def test_what_is_asked_of_workers_has_no_answer(app: Celery, name: str) -> None:
    asked = app.control.inspect(destination=["a@b"], timeout=3600)
    assert asked.app is app
    assert getattr(asked, name)() is None
    assert asked.hello("a@b") is None


def test_purge_deletes_what_the_apps_queues_hold_and_says_how_much(make_app: Any, sqs: InProcessSqs) -> None:
    app = make_app(task_queues={"a": {}, "b": {}})
    for queue in ("a", "a", "b"):
        app.send_task("x.add", (1,), queue=queue)
    assert app.control.purge() == 3
    assert app.control.discard_all.__func__ is type(app.control).purge  # the same by its old name
    assert [sqs.receive(sqs.queue_url(name), wait=0) for name in ("a", "b")] == [[], []]


def test_a_second_purge_within_a_minute_is_sqss_own_error(make_app: Any) -> None:
    app = make_app()
    app.send_task("x.add", (1,))
    app.control.purge()
    with pytest.raises(OperationalError, match="PurgeQueueInProgress"):
        app.control.purge()


def test_a_mailbox_says_that_there_is_none(app: Celery) -> None:
    with pytest.raises(NotImplementedError, match="no mailboxes on SQS"):
        app.control.mailbox  # noqa: B018


def test_a_class_of_ones_own_is_used(make_app: Any) -> None:
    class Mine(control.Control):
        pass

    assert type(make_app(control=Mine).control) is Mine
    assert type(make_app(control="pyqs_celery_compat.app.control:Control").control) is control.Control


def test_events_go_nowhere_and_listening_is_an_error(app: Celery) -> None:
    with app.events.default_dispatcher() as dispatcher:
        dispatcher.send("task-mine", uuid="1")
        assert not dispatcher.enabled
    with pytest.raises(NotImplementedError, match="SQS has no broadcast"):
        app.events.Receiver(None, handlers={"*": print}).capture(limit=None, timeout=None)


def test_commands_of_a_project_are_kept_and_a_worker_says_that_nobody_can_send_them(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyqs_celery_compat.worker.control import Panel, control_command, inspect_command

    monkeypatch.setattr(Panel, "data", {})

    @control_command(args=[("n", int)], signature="[N=1]")
    def increase(state: Any, n: int = 1) -> int:
        return n

    @inspect_command(name="depth")
    def asked(state: Any) -> int:
        return 7

    assert (increase(None, 3), asked(None)) == (3, 7)
    assert "remote control commands (depth, increase): nobody can send them on SQS" in without_effect(app)


def test_a_request_class_of_ones_own_can_be_defined_and_a_worker_says_that_it_is_not_called(app: Celery) -> None:
    from pyqs_celery_compat.worker.request import Request

    class Mine(Request):
        def on_timeout(self, soft: bool, timeout: float) -> None:  # type: ignore[override]
            raise AssertionError

    class Base(app.Task):  # type: ignore[name-defined, misc]
        Request = Mine
        abstract = True

    @app.task(name="x.mine", base=Base)
    def mine() -> None: ...

    @app.task(name="x.plain")
    def plain() -> None: ...

    app.finalize()
    (note,) = without_effect(app)
    assert note.startswith("Request of x.mine: ")
    sent = app.amqp.task_protocols[2]("an-id", "x.mine", (1,), {"a": 2}, chord={"task": "body"}, shadow="as", reply_to="q")
    told = Mine(sent, decoded=True, task=mine, hostname="here")
    assert (told.id, told.type, told.name, told.hostname, told.task) == ("an-id", "x.mine", "as", "here", mine)
    assert (told.args, told.kwargs, told.argsrepr, told.chord, told.reply_to) == ((1,), {"a": 2}, "(1,)", {"task": "body"}, "q")
    assert (told.correlation_id, told.root_id, told.group, told.errbacks, told.stamps) == ("an-id", "an-id", None, None, {})
    assert str(told) == "as[an-id]"
    with pytest.raises(NotImplementedError, match="signals tell of each step"):
        told.execute()


def test_a_message_of_protocol_1_is_put_into_the_form_of_2_as_celery_57_does(app: Celery) -> None:
    from pyqs_celery_compat.worker.request import Request
    from pyqs_celery_compat.worker.strategy import hybrid_to_proto2

    sent = app.amqp.task_protocols[1]("an-id", "x.old", (1,), {"a": 2}, group_id="g", retries=2)
    body, headers, decoded, utc = hybrid_to_proto2(sent, sent.body)
    assert body == ((1,), {"a": 2}, {"callbacks": None, "errbacks": None, "chord": None, "chain": None})
    assert (headers["id"], headers["task"], headers["group"], headers["retries"]) == ("an-id", "x.old", "g", 2)
    assert (headers["timelimit"], headers["argsrepr"], decoded, utc) == ((None, None), None, True, True)
    told = Request(SimpleNamespace(headers=headers, properties=None, body=body), decoded=True)
    assert (told.args, told.kwargs, told.argsrepr, told.group) == ((1,), {"a": 2}, None, "g")
    wins = SimpleNamespace(headers={"id": "of-the-headers", "own": 1})
    assert hybrid_to_proto2(wins, sent.body)[1] | {"own": 1} == {**headers, "id": "of-the-headers", "own": 1}
    with pytest.raises(InvalidTaskError, match="must be a mapping"):
        hybrid_to_proto2(sent, {"kwargs": [1]})
