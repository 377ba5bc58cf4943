"""The values that travel: what they derive from SQS's attributes, and what they never show."""

from __future__ import annotations

import dataclasses

import pytest

from pyqs.message import Call, Delete, Delivery, Hide, MessageAttribute, OutgoingMessage, ReceivedMessage


def delivery(queue: str = "email", **attributes: str) -> Delivery:
    message = ReceivedMessage("m-1", "the-handle", "the-body", attributes)
    return Delivery(7, queue, f"http://sqs/1/{queue}", message, 10.0, 20.0, 120)


@pytest.mark.parametrize(("text", "count"), [("1", 1), ("17", 17), ("0", 1), ("-3", 1), ("", 1), ("many", 1)])
def test_the_receive_count_is_at_least_one(text: str, count: int) -> None:
    assert delivery(ApproximateReceiveCount=text).receive_count == count


def test_a_missing_receive_count_is_one() -> None:
    assert delivery().receive_count == 1


def test_fifo_goes_by_the_name_and_the_group_by_its_attribute() -> None:
    assert delivery("orders.fifo").is_fifo
    assert not delivery("orders-fifo").is_fifo
    assert delivery(MessageGroupId="g").group_id == "g"
    assert delivery().group_id is None


def test_a_delivery_is_named_without_body_and_handle() -> None:
    one = delivery()
    assert str(one) == "delivery 7 (email m-1)"
    for text in (repr(one), str(one), repr(one.message), repr(OutgoingMessage("the-body")), repr(Call("t", ("the-body",)))):
        assert "the-body" not in text
        assert "the-handle" not in text


@pytest.mark.parametrize("value", [Delete(), Hide(3.0), MessageAttribute("String", "b")])
def test_values_do_not_change(value: object) -> None:
    field = next((f.name for f in dataclasses.fields(value)), None)  # type: ignore[arg-type]
    with pytest.raises((dataclasses.FrozenInstanceError, AttributeError, TypeError)):
        setattr(value, field or "anything", 1)
