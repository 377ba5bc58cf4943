"""A task that runs for SQS's twelve hours: said in time, with its id, and then what the operator has chosen."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from pyqs.config import WorkerConfig
from pyqs.errors import ConfigError
from pyqs.wire import Run


@pytest.fixture
def aged(start: Any, stage: Any, sqs: Any, send: Any, until: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> Any:
    """A worker on whose task eleven and a half hours have passed in a moment, then twelve."""
    caplog.set_level(logging.INFO)

    def aged(policy: str, queue: str = "jobs") -> Any:
        sqs.create_queue(queue, {"FifoQueue": "true"} if queue.endswith(".fifo") else {})
        send(queue, **({"group_id": "a", "dedup_id": "1"} if queue.endswith(".fifo") else {}))
        running = start(queue, on_ceiling=policy)
        actor = stage.next()
        run = actor.expect(Run)
        actor.started(run, ack_early=False)
        until(lambda: running.worker.totals.started == 1)
        leases = running.worker.leases
        leases.on_ceiling(run.delivery, False)
        until(lambda: "11 h 30" in caplog.text)
        assert "task tasks.a[call]" in caplog.text
        leases.on_ceiling(run.delivery, True)
        until(lambda: "twelve hours: " in caplog.text or "SQS's limit: it goes on" in caplog.text)
        return running, actor, run

    return aged


def test_keep_lets_it_run_on(aged: Any, counts: Any, until: Any, caplog: Any) -> None:
    running, actor, run = aged("keep")
    assert counts("jobs") == (0, 1, 0)
    actor.done(run)
    until(lambda: counts("jobs") == (0, 0, 0))
    assert running.worker.totals.done == {"succeeded": 1}


def test_delete_deletes_it_while_it_runs(aged: Any, counts: Any, until: Any, caplog: Any) -> None:
    running, actor, run = aged("delete")
    until(lambda: counts("jobs") == (0, 0, 0))
    assert running.worker.held == 1
    actor.die()
    until(lambda: running.worker.held == 0)
    assert "is lost" in caplog.text, "at-most-once from the delete on, and said"
    assert not running.worker.leases.holds(run.delivery)


def test_delete_never_lets_the_next_of_a_group_start_beside_it(aged: Any, counts: Any, until: Any) -> None:
    _, actor, run = aged("delete", "jobs.fifo")
    assert counts("jobs.fifo") == (0, 1, 0)
    actor.done(run)
    until(lambda: counts("jobs.fifo") == (0, 0, 0))


def test_kill_releases_it(aged: Any, stage: Any, until: Any, caplog: Any) -> None:
    running, actor, run = aged("kill")
    assert actor.gone.wait(10)
    again = stage.next().expect(Run)
    assert again.delivery.message.message_id == run.delivery.message.message_id
    assert not running.worker.leases.holds(run.delivery)


def test_another_policy_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigError, match="--on-ceiling"):
        WorkerConfig(("jobs",), on_ceiling="shrug")
