"""Who has asked for the end: a worker that stops by its own decision takes the first signal as the first one."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from pyqs.config import RuntimeConfig
from pyqs.wire import Event, Run


@pytest.fixture
def stopping(start: Any, stage: Any, sqs: Any, send: Any, counts: Any, until: Any, monkeypatch: Any, caplog: Any) -> Any:
    """A worker that drains because a service has crashed, while a task runs that was acked when it started."""
    caplog.set_level(logging.INFO)
    sqs.create_queue("jobs")
    send("jobs")
    running = start(shutdown_timeout=60.0, runtime=RuntimeConfig(app="proj"))
    actor, host = stage.next(), stage.next_host()
    run = actor.expect(Run)
    actor.started(run, ack_early=True)
    until(lambda: counts("jobs") == (0, 0, 0))
    monkeypatch.setattr(running.worker._leases, "take_due", lambda: 1 / 0)
    until(lambda: "stopping (a service crashed)" in caplog.text)
    return running, actor, host, run


def heard(host: Any) -> Event:
    """The first word on a signal; what came before is about the start."""
    while (event := host.expect(Event)).name != "stopping":
        pass
    return event  # type: ignore[no-any-return]


@pytest.mark.parametrize(("order", "sig"), [("drain", "SIGTERM"), ("interrupt", "SIGINT")])
def test_the_first_signal_after_a_crash_kills_nothing(stopping: Any, until: Any, caplog: Any, order: str, sig: str) -> None:
    running, actor, host, run = stopping
    getattr(running.worker, order)()
    until(lambda: f"told to stop ({sig}): it stops already" in caplog.text)
    assert heard(host).details == {"sig": sig, "how": "Warm", "exitcode": 0}
    if order == "interrupt":
        until(lambda: running.worker._shutdown._polls_dropped)
    assert not running.worker._shutdown.hurried
    actor.done(run)
    host.die()
    assert running.exit_code() == 1
    assert "is lost" not in caplog.text
    assert running.worker.totals.done == {"succeeded": 1}


def test_the_second_signal_after_a_crash_hurries(stopping: Any, until: Any, caplog: Any) -> None:
    running, actor, host, _ = stopping
    running.worker.drain()
    running.worker.drain()
    until(lambda: "tasks.a[call] is lost" in caplog.text)
    assert actor.gone.wait(10)
    host.die()
    assert running.exit_code() == 1
