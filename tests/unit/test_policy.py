"""What the operator's choice makes of an executor's verdict, and what it leaves alone."""

from __future__ import annotations

import pytest

from pyqs.config import Policy, WorkerConfig
from pyqs.errors import ConfigError
from pyqs.message import DeadLetter, Delete, FollowUp, Hide, Leave, OutgoingMessage, Verdict
from pyqs.runtime import STATUSES
from pyqs.wire import Done
from pyqs.worker.policy import applied

KINDS = ("undecodable", "unknown", "refused")


def config(policy: Policy) -> WorkerConfig:
    return WorkerConfig(("email",), on_undecodable=policy, on_unknown=policy, on_refused=policy)


@pytest.mark.parametrize("status", KINDS)
def test_each_choice(status: str) -> None:
    frame = Done(1, Hide(30), status=status, reason="why")
    assert applied(config("leave"), frame) is frame
    assert applied(config("delete"), frame).verdict == Delete()
    assert applied(config("dlq"), frame).verdict == DeadLetter(f"{status}: why", otherwise=30)


@pytest.mark.parametrize("policy", ["dlq", "delete"])
@pytest.mark.parametrize("status", [status for status in STATUSES if status not in KINDS])
def test_nothing_else_is_touched(policy: Policy, status: str) -> None:
    frame = Done(1, Hide(30), status=status)
    assert applied(config(policy), frame) is frame


def test_one_choice_is_not_the_others() -> None:
    own = WorkerConfig(("email",), on_unknown="delete")
    for status in KINDS:
        verdict = applied(own, Done(1, Hide(30), status=status)).verdict
        assert verdict == (Delete() if status == "unknown" else Hide(30))


@pytest.mark.parametrize("verdict", [Leave(), Delete(), DeadLetter("x", 1)])
def test_only_a_hide_is_replaced(verdict: Verdict) -> None:
    assert applied(config("delete"), Done(1, verdict, status="unknown")).verdict == verdict


def test_what_brings_something_about_is_not_deleted() -> None:
    frame = Done(1, Hide(30), (FollowUp("q", OutgoingMessage("b")),), status="unknown")
    assert applied(config("delete"), frame) is frame


def test_the_reason_is_text_that_sqs_takes() -> None:
    verdict = applied(config("dlq"), Done(1, Hide(30), status="unknown", reason="unknown task 'é\ud800'")).verdict
    assert isinstance(verdict, DeadLetter)
    assert verdict.reason == r"unknown: unknown task '\xe9\ud800'"


def test_another_word_is_refused() -> None:
    with pytest.raises(ConfigError, match="--on-unknown is one of leave, dlq, delete, not 'drop'"):
        WorkerConfig(("email",), on_unknown="drop")  # type: ignore[arg-type]
