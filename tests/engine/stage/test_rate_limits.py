"""What the worker answers executors that ask whether they may start, played by the test."""

from __future__ import annotations

from typing import Any

from pyqs.message import Resend
from pyqs.wire import Admitted, MayStart, Postponed, Run


def test_an_executor_asks_waits_and_is_sent_away(start: Any, stage: Any, sqs: Any, send: Any, counts: Any, until: Any) -> None:
    sqs.create_queue("jobs")
    running = start(concurrency=3)
    for _ in range(3):
        send("jobs")
    actors = [stage.next() for _ in range(3)]
    runs = [actor.expect(Run) for actor in actors]
    answers = []
    for actor, run in zip(actors, runs, strict=True):
        actor.say(MayStart(run.delivery.id, "tasks.a", 1.25))
        answers.append(actor.frames.get(timeout=10))
    assert answers[0] == Admitted(runs[0].delivery.id, 0.0)
    assert isinstance(answers[1], Admitted)
    assert 0 < answers[1].wait <= 0.8
    assert answers[2] == Postponed(runs[2].delivery.id, 1)
    actors[2].done(runs[2], Resend(1), status="postponed")
    until(lambda: sum(counts("jobs")) == 3 and running.worker.held == 2)
    assert running.worker.totals.started == 0, "nobody has started: no limit runs, nothing is acked"


def test_a_question_about_what_it_does_not_hold_is_not_answered(start: Any, stage: Any, sqs: Any, send: Any) -> None:
    sqs.create_queue("jobs")
    start()
    actor = stage.next()
    actor.say(MayStart(99, "tasks.a", 1.0))
    send("jobs")
    run = actor.expect(Run)
    actor.say(MayStart(run.delivery.id, "tasks.a", 1.0))
    assert actor.expect(Admitted).wait == 0.0
