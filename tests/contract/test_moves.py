"""Message move tasks: a dead-letter queue's messages go back, in the background, once at a time."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from pyqs.errors import SqsError
from pyqs.message import MessageAttribute, MoveTask

#: Seconds in which a task must be over.
PATIENCE = 60.0


def pair(backend: Any, *, fifo: bool = False) -> tuple[str, str]:
    """A queue and its dead-letter queue, where the second receive of a message takes it."""
    make = backend.fifo if fifo else backend.queue
    dead = make()
    return make(RedrivePolicy=json.dumps({"deadLetterTargetArn": backend.arn(dead), "maxReceiveCount": "1"})), dead


def bury(backend: Any, url: str, dead: str, *bodies: str, **options: Any) -> None:
    """Let these messages go to the dead-letter queue, one after the other."""
    for number, body in enumerate(bodies, 1):
        backend.send(url, body, **options)
        backend.hide(url, backend.one(url, visibility=600), 0)
        assert backend.nothing(url)
        wait(lambda number=number: visible(backend, dead) >= number)


def visible(backend: Any, url: str) -> int:
    return int(backend.sqs.queue_attributes(url, ("ApproximateNumberOfMessages",))["ApproximateNumberOfMessages"])


def wait(happened: Any) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (found := happened()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def over(backend: Any, arn: str) -> MoveTask:
    """The latest task, once it is over."""
    return wait(lambda: (task := backend.sqs.list_moves(arn)[0]).status not in ("RUNNING", "CANCELLING") and task)


def test_messages_go_back_to_where_they_came_from_as_new_ones(backend: Any) -> None:
    url, dead = pair(backend)
    bury(backend, url, dead, "poison", message_attributes={"kind": MessageAttribute("String", "odd")})
    handle = backend.sqs.start_move(backend.arn(dead))
    assert handle
    task = over(backend, backend.arn(dead))
    assert (task.status, task.moved, task.destination_arn, task.handle) == ("COMPLETED", 1, None, None)
    assert task.source_arn == backend.arn(dead)
    again = backend.one(url)
    assert again.body == "poison"
    assert again.attributes["ApproximateReceiveCount"] == "1"
    assert "DeadLetterQueueSourceArn" not in again.attributes
    assert again.message_attributes["kind"].string_value == "odd"
    assert backend.nothing(dead)


def test_they_go_to_another_queue_if_that_is_named(backend: Any) -> None:
    (url, dead), other = pair(backend), backend.queue()
    bury(backend, url, dead, "poison")
    backend.send(dead, "sent here by hand")
    wait(lambda: visible(backend, dead) == 2)
    backend.sqs.start_move(backend.arn(dead), backend.arn(other), 100)
    task = over(backend, backend.arn(dead))
    assert (task.status, task.moved, task.rate, task.destination_arn) == ("COMPLETED", 2, 100, backend.arn(other))
    assert sorted(message.body for message in backend.take(other, 2)) == ["poison", "sent here by hand"]


def test_what_was_sent_there_by_hand_does_not_know_its_way(backend: Any) -> None:
    _, dead = pair(backend)
    backend.send(dead, "by hand")
    wait(lambda: visible(backend, dead) == 1)
    backend.sqs.start_move(backend.arn(dead))
    task = over(backend, backend.arn(dead))
    assert (task.status, task.reason, task.moved) == ("FAILED", "CouldNotDetermineMessageSource", 0)
    assert backend.one(dead).body == "by hand"


def test_a_group_keeps_its_order(backend: Any) -> None:
    url, dead = pair(backend, fifo=True)
    for number in range(3):
        bury_one = {"group_id": "g", "dedup_id": f"d{number}"}
        backend.send(url, str(number), **bury_one)
        backend.hide(url, backend.one(url, visibility=600), 0)
        assert backend.nothing(url)
    wait(lambda: visible(backend, dead) == 3)
    backend.sqs.start_move(backend.arn(dead))
    assert over(backend, backend.arn(dead)).moved == 3
    assert [message.body for message in backend.take(url, 3)] == ["0", "1", "2"]


def test_one_at_a_time_and_it_can_be_cancelled(backend: Any) -> None:
    (url, dead), other = pair(backend), backend.queue()
    assert url
    for _ in range(3):
        backend.send(dead, *"abcdefghij")
    wait(lambda: visible(backend, dead) == 30)
    handle = backend.sqs.start_move(backend.arn(dead), backend.arn(other), 1)
    with pytest.raises(SqsError) as refused:
        backend.sqs.start_move(backend.arn(dead), backend.arn(other))
    assert refused.value.code in ("InvalidParameterValue", "AWS.SimpleQueueService.UnsupportedOperation")
    wait(lambda: backend.sqs.list_moves(backend.arn(dead))[0].status == "RUNNING")
    moved = backend.sqs.cancel_move(handle)
    task = over(backend, backend.arn(dead))
    assert task.status == "CANCELLED"
    assert moved <= task.moved < 30
    if backend.exact:
        assert visible(backend, dead) == 30 - task.moved
    backend.sqs.start_move(backend.arn(dead), backend.arn(other))
    assert over(backend, backend.arn(dead)).status == "COMPLETED"
    assert [task.status for task in backend.sqs.list_moves(backend.arn(dead))] == ["COMPLETED", "CANCELLED"]


def test_only_a_dead_letter_queue_is_emptied_so(backend: Any) -> None:
    with pytest.raises(SqsError) as refused:
        backend.sqs.start_move(backend.arn(backend.queue()))
    assert not refused.value.retryable


@pytest.mark.parametrize("rate", [0, 501])
def test_a_rate_out_of_range(backend: Any, rate: int) -> None:
    _, dead = pair(backend)
    with pytest.raises(SqsError):
        backend.sqs.start_move(backend.arn(dead), None, rate)


def test_queues_that_are_not_there(backend: Any) -> None:
    _, dead = pair(backend)
    arn = backend.arn(dead)
    for source, target in ((arn + "x", None), (arn, arn + "x")):
        with pytest.raises(SqsError) as refused:
            backend.sqs.start_move(source, target)
        assert refused.value.code == "ResourceNotFoundException"


def test_a_handle_that_is_none(backend: Any) -> None:
    with pytest.raises(SqsError):
        backend.sqs.cancel_move("no handle")
