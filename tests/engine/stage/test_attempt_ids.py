"""What a FIFO poll says so that SQS can repeat an answer that never arrived (ReceiveRequestAttemptId)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pyqs.errors import SqsError, Unreachable


@pytest.fixture
def polls(sqs: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str | None]]:
    """The attempt ids of all receives from now on, of which some fail: number -> error."""

    def polls(failures: dict[int, SqsError]) -> list[str | None]:
        asked: list[str | None] = []
        receive = sqs.receive

        def watched(*args: Any, **options: Any) -> Any:
            asked.append(options["attempt_id"])
            if len(asked) in failures:
                raise failures[len(asked)]
            return receive(*args, **options)

        monkeypatch.setattr(sqs, "receive", watched)
        return asked

    return polls


def test_a_fifo_poll_without_an_answer_is_repeated_with_its_id(start: Any, sqs: Any, until: Any, polls: Any) -> None:
    sqs.create_queue("jobs.fifo", {"FifoQueue": "true"})
    asked = polls({2: Unreachable("no answer"), 3: Unreachable("no answer")})
    start("jobs.fifo", wait=1)
    until(lambda: len(asked) >= 5, 60)
    assert None not in asked
    assert asked[1] == asked[2] == asked[3], "SQS repeats its answer to the same id"
    assert len({asked[0], asked[1], asked[4]}) == 3, "what was answered is a new attempt"


def test_a_fifo_poll_that_was_refused_is_a_new_attempt(start: Any, sqs: Any, until: Any, polls: Any) -> None:
    sqs.create_queue("jobs.fifo", {"FifoQueue": "true"})
    asked = polls({2: SqsError("refused")})
    start("jobs.fifo", wait=1)
    until(lambda: len(asked) >= 3, 60)
    assert asked[1] != asked[2]


def test_a_standard_queue_knows_no_attempts(start: Any, sqs: Any, until: Any, polls: Any) -> None:
    sqs.create_queue("jobs")
    asked = polls({1: Unreachable("no answer")})
    start("jobs", wait=1, wait_ready=False)
    until(lambda: len(asked) >= 3, 60)
    assert set(asked) == {None}
