"""What crosses on an executor's pipe: words that come late, and a kill that comes when the task has ended."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from pyqs.config import ConnectionConfig
from pyqs.errors import ConfigError, CredentialsError
from pyqs.message import Delivery
from pyqs.sqs.boto import BotoSqs
from pyqs.worker.slot import OVERDUE, Slot


@pytest.fixture
def slot() -> Iterator[Slot]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Slot(0, ours, ready=True)


def test_the_late_word_on_what_was_taken_back_does_not_end_the_second_try(
    slot: Slot, make_delivery: Callable[..., Delivery]
) -> None:
    delivery = make_delivery()
    slot.give(delivery, 100.0, 0.1)
    assert slot.overdue(100.0 + OVERDUE) == [delivery]
    slot.give(delivery, 200.0, 0.1)
    assert slot.handed_back(delivery.id) is None
    assert slot.held == {delivery.id: delivery}
    assert slot.handed_back(delivery.id) is delivery
    assert not slot.held


def test_settings_that_break_while_credentials_are_renewed_are_a_passing_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    sqs = BotoSqs(ConnectionConfig(region="us-east-1", access_key_id="a", secret_access_key="b"))
    sqs._renew(sqs._client(poll=True))

    def broken() -> None:
        raise ConfigError("unable to parse a file")

    monkeypatch.setattr(sqs, "_make_session", broken)
    with pytest.raises(CredentialsError) as caught:
        sqs.receive("https://sqs.us-east-1.amazonaws.com/1/jobs")
    assert caught.value.retryable
