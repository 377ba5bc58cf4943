"""Chords on every store: a body is sent once all of its header have ended, once if nothing dies, never not at all."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import pytest

from one_worker import World
from pyqs.errors import SqsError
from pyqs.message import Death, Delete
from pyqs_celery_compat import chord, chord_parts
from pyqs_celery_compat.backends import redis_chords
from pyqs_celery_compat.chord_parts import ChordParts

Store = tuple[str, dict[str, Any]]


def started(world: World, *parts: Any) -> Any:
    members = parts or (world.part.s(1), world.part.s(2), world.part.s(3))
    return chord(list(members), world.body.s().on_error(world.heard.s())).apply_async()


def _claims_are_short(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real time, while messages come by the clock of the test: Redis knows whole seconds only."""
    seconds = 1.0 if type(world.app.backend).__name__ == "RedisBackend" else 0.0
    for module in (chord_parts, redis_chords):
        monkeypatch.setattr(module, "CLAIM", seconds)


def test_the_body_gets_what_the_header_returned_in_its_order(world: World) -> None:
    result = started(world)
    world.drain()
    assert world.bodies == [[1, 2, 3]]
    assert result.get(timeout=5) == 6


def test_tasks_that_come_twice_count_once_and_the_body_is_sent_once(world: World) -> None:
    if type(world.app.backend).__name__ == "S3Backend" and version("boto3") < "1.36":
        pytest.skip("this boto3 has no conditional writes, so that nobody can claim a body on S3")
    result = started(world)
    world.drain(copies=3)
    assert result.get(timeout=5) == 6
    assert {tuple(values) for values in world.bodies} == {(1, 2, 3)}
    assert len(world.bodies) == 3, "the body's one message, three times"


def test_a_copy_that_comes_when_all_is_over_changes_nothing(world: World) -> None:
    result = started(world)
    deliveries = world.take()
    for delivery in deliveries:
        world.settle(delivery, world.run(delivery))
    world.drain()
    assert result.get(timeout=5) == 6
    for delivery in deliveries:
        world.run(delivery)
    world.drain()
    assert world.bodies == [[1, 2, 3]]
    assert (result.state, world.ran["errback"]) == ("SUCCESS", 0)


@pytest.mark.parametrize("moment", ["before the body is sent", "after the body is sent"])
def test_who_dies_before_it_is_over_is_followed_by_another_that_sends_the_same_body(
    world: World, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    class Killed(BaseException):
        """As from outside: nothing of ours sees it."""

    result = started(world)
    send = ChordParts.send_chord_body

    def die(self: Any, *args: Any, **kwargs: Any) -> None:
        if moment.startswith("after"):
            send(self, *args, **kwargs)
        raise Killed

    _claims_are_short(world, monkeypatch)
    killed = 0
    with monkeypatch.context() as dying:
        dying.setattr(ChordParts, "send_chord_body", die)
        dying.setattr(world.runtime, "pid", -1)  # what is raised is nobody's to handle
        for _ in range(3):
            for delivery in world.take():
                try:
                    world.settle(delivery, world.run(delivery))
                except Killed:
                    killed += 1  # its message is not settled, and comes again
            world.now += 2
    assert killed
    world.now += 1900  # the visibility timeout of kombu's queues
    world.drain()
    assert result.get(timeout=5) == 6
    assert {tuple(values) for values in world.bodies} == {(1, 2, 3)}
    assert len(world.bodies) == (1 if moment.startswith("before") else killed + 1), "once more for each that was killed"


def test_a_header_that_fails_fails_the_body_with_its_reason_and_calls_its_errback(world: World) -> None:
    result = started(world, world.part.s(1), world.fails.s())
    world.drain()
    assert world.bodies == []
    assert result.state == "FAILURE"
    assert type(result.result).__name__ == "ChordError"
    assert "ValueError('no')" in str(result.result)
    assert world.ran["errback"] == 1


def test_a_killed_task_fails_the_chord(world: World) -> None:
    result = started(world, world.part.s(1), world.part.s(2))
    killed, *others = world.take()
    world.runtime.become_host()
    world.settle(killed, world.runtime.killed(killed, Death("died (SIGKILL)")))
    world.runtime.after_fork()
    for delivery in others:
        world.settle(delivery, world.run(delivery))
    world.drain()
    assert result.state == "FAILURE"
    assert "WorkerLostError" in str(result.result)


def test_an_inner_chord_that_fails_fails_the_outer_one(world: World) -> None:
    """Under Celery 5.7 the outer one waits for ever (seen)."""
    inner = chord([world.fails.s(), world.part.s(1)], world.body.s())
    result = chord([inner, world.part.s(2)], world.body.s()).apply_async()
    world.drain()
    assert result.state == "FAILURE"
    assert world.bodies == []


def test_a_body_that_cannot_be_sent_now_is_sent_when_the_last_task_comes_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = started(world)
    _claims_are_short(world, monkeypatch)
    world.app.conf.task_publish_retry = False

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise SqsError("down", code="ServiceUnavailable", retryable=True)

    with monkeypatch.context() as away:
        away.setattr(world.sqs, "send", refuse)
        for delivery in world.take():
            outcome = world.run(delivery)
            if isinstance(outcome.verdict, Delete) and not outcome.follow_ups:
                world.settle(delivery, outcome)
    assert (result.state, world.bodies) == ("PENDING", [])
    world.now += 1900  # the visibility timeout of kombu's queues
    world.drain()
    assert world.bodies == [[1, 2, 3]]
