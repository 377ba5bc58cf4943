"""What probes are told of a worker whose executors are played by the test; figures are read back with Prometheus's parser."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

import pyqs
from pyqs.errors import Unreachable
from pyqs.message import Delete, Hide, Resend
from pyqs.wire import Run
from pyqs.worker import in_flight
from pyqs.worker.health import Health


@pytest.fixture
def health() -> Iterator[Health]:
    """Not started: the tests ask it themselves."""
    health = Health(("127.0.0.1", 0))
    yield health
    health.end()


def figures(health: Health) -> dict[tuple[str, ...], float]:
    """(name, label values by label name ...) -> value, as a scraper reads them."""
    page = health.metrics()
    assert page.content_type == "text/plain; version=0.0.4; charset=utf-8"
    found: dict[tuple[str, ...], float] = {}
    for family in text_string_to_metric_families(page.text.decode()):
        assert family.name.startswith("pyqs_"), family.name
        assert family.documentation
        assert family.type in ("gauge", "counter", "histogram"), family
        for sample in family.samples:
            key = (sample.name, *(value for _, value in sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    return found


def text(page: Any) -> tuple[int, str]:
    return page.status, page.text.decode().strip()


def test_before_there_is_a_worker(health: Health) -> None:
    assert text(health.healthz()) == (200, "alive")
    assert text(health.readyz()) == (503, "starting: the settings are read")
    found = figures(health)
    assert {name for name, *_ in found} == {"pyqs_build_info", "pyqs_start_time_seconds"}
    assert [key for key in found if pyqs.__version__ in key]


def test_from_the_start_to_the_end(
    health: Health, start: Any, stage: Any, sqs: Any, send: Callable[..., str], until: Any
) -> None:
    sqs.create_queue("jobs")
    stage.make_ready = False
    running = start(health=health, wait_ready=False)
    actor = stage.next()
    until(lambda: health.not_ready() == "0 of 1 executors are ready")
    assert text(health.healthz()) == (200, "alive"), "an import may take long"
    actor.ready()
    until(lambda: health.not_ready() is None)
    assert text(health.readyz()) == (200, "ready")
    assert figures(health)["pyqs_queue_up", "jobs"] == 1
    send("jobs")
    run = actor.expect(Run)
    actor.started(run)
    until(lambda: figures(health).get(("pyqs_tasks_started_total", "jobs")) == 1)
    assert figures(health)["pyqs_executors", "busy"] == 1
    running.worker.drain()
    until(lambda: health.not_ready() == "stopping: nothing more is received")
    assert text(health.readyz())[0] == 503
    assert text(health.healthz()) == (200, "alive")
    assert figures(health)["pyqs_stopping",] == 1
    actor.done(run)
    assert running.exit_code() == 0
    assert text(health.healthz()) == (200, "alive")


def test_no_queue_yet_is_ready(health: Health, start: Any, stage: Any, until: Any) -> None:
    start("nothing.*", health=health)
    until(lambda: text(health.readyz()) == (200, "ready: there is no queue to consume yet"))


def test_a_queue_that_never_answers_is_not_ready(
    health: Health, start: Any, stage: Any, sqs: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqs.create_queue("jobs")
    receive = sqs.receive

    def down(*args: Any, **options: Any) -> Any:
        raise Unreachable("nobody there")

    monkeypatch.setattr(sqs, "receive", down)
    start(health=health)
    until(lambda: health.not_ready() == "no receive was answered yet by: jobs")
    until(lambda: figures(health)["pyqs_calls_failing", "receive"] == 1)
    assert figures(health)["pyqs_queue_up", "jobs"] == 0
    assert ("pyqs_queue_last_answer_seconds", "jobs") not in figures(health)
    assert text(health.healthz()) == (200, "alive")
    monkeypatch.setattr(sqs, "receive", receive)
    until(lambda: health.not_ready() is None)
    assert figures(health)["pyqs_queue_up", "jobs"] == 1


def test_a_queue_found_while_every_executor_is_busy_does_not_count(
    health: Health, start: Any, stage: Any, sqs: Any, send: Any, until: Any
) -> None:
    sqs.create_queue("jobs-a")
    running = start("jobs-*", health=health, refresh=0.2)
    until(lambda: health.not_ready() is None)
    send("jobs-a")
    actor = stage.next()
    actor.started(actor.expect(Run))
    sqs.create_queue("jobs-b")
    until(lambda: len(running.worker._fetchers.states) == 2)
    assert [state.answered_at is None for state in running.worker._fetchers.states] == [False, True]
    assert health.not_ready() is None


def test_a_queue_at_its_in_flight_limit(
    health: Health, start: Any, stage: Any, sqs: Any, send: Any, until: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(in_flight, "LIMIT", 5)
    monkeypatch.setattr(in_flight, "EVERY", 0.5)
    sqs.store._messages._limit = 5
    sqs.create_queue("jobs")
    for _ in range(7):
        send("jobs")
    url = sqs.queue_url("jobs")
    others = [one for _ in range(5) for one in sqs.receive(url, max_messages=1, wait=0, visibility=600)]
    assert len(others) == 5
    start(health=health)
    until(lambda: health.not_ready() == "at their limit of messages in flight: jobs", 15)
    assert figures(health)["pyqs_queue_at_in_flight_limit", "jobs"] == 1
    assert text(health.healthz()) == (200, "alive")
    assert caplog.text.count("queue jobs: at its limit of messages in flight") == 1
    stage.next()
    sqs.delete_batch(url, [one.receipt_handle for one in others])
    until(lambda: health.not_ready() is None, 15)
    assert figures(health)["pyqs_queue_at_in_flight_limit", "jobs"] == 0


def test_figures_of_tasks(health: Health, start: Any, stage: Any, sqs: Any, send: Any, until: Any) -> None:
    sqs.create_queue("jobs")
    start(health=health)
    actor = stage.next()
    for seconds, verdict, status in (
        (0.005, Delete(), "succeeded"),
        (0.2, Hide(3600), "failed"),
        (0.3, Delete(), "succeeded"),
        (9999.0, Delete(), "succeeded"),
    ):
        send("jobs")
        run = actor.expect(Run)
        actor.started(run)
        actor.done(run, verdict, status=status, seconds=seconds)
    send("jobs")
    run = actor.expect(Run)
    actor.done(run, Resend(900), status="not due")  # nothing was started
    until(lambda: figures(health).get(("pyqs_hops_total",)) == 1)
    until(lambda: figures(health)["pyqs_verdicts_pending",] == 0)
    found = figures(health)
    assert found["pyqs_deliveries_received_total", "jobs"] == 5
    assert found["pyqs_tasks_started_total", "jobs"] == 4
    assert found["pyqs_tasks_ended_total", "jobs", "succeeded"] == 3
    assert found["pyqs_tasks_ended_total", "jobs", "failed"] == 1
    assert found["pyqs_tasks_ended_total", "jobs", "not due"] == 1
    assert found["pyqs_task_duration_seconds_count", "jobs"] == 4
    assert found["pyqs_task_duration_seconds_sum", "jobs"] == pytest.approx(9999.505)
    bucket = "pyqs_task_duration_seconds_bucket"
    bounds = {key[1]: value for key, value in found.items() if key[0] == bucket}
    assert bounds["0.01"] == bounds["0.1"] == 1
    assert bounds["0.5"] == bounds["1800.0"] == 3
    assert bounds["+Inf"] == 4
    assert found["pyqs_executors_wanted",] == 1
    assert found["pyqs_deliveries_held",] == 0


def test_an_executor_that_dies_is_counted(health: Health, start: Any, stage: Any, sqs: Any, send: Any, until: Any) -> None:
    sqs.create_queue("jobs")
    start(health=health)
    send("jobs")
    actor = stage.next()
    actor.started(actor.expect(Run))
    actor.die()
    stage.next()
    until(lambda: figures(health)["pyqs_executors", "idle"] == 1)
    found = figures(health)
    assert found["pyqs_executor_restarts_total",] == 1
    assert found["pyqs_deliveries_lost_total",] == 1
    assert text(health.healthz()) == (200, "alive")


def test_a_crash_is_told_until_the_end(
    health: Health, start: Any, stage: Any, sqs: Any, send: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqs.create_queue("jobs")
    running = start(health=health)
    send("jobs")
    actor = stage.next()
    run = actor.expect(Run)
    actor.started(run)

    def broken() -> None:
        raise RuntimeError("on purpose")

    monkeypatch.setattr(running.worker._leases, "take_due", broken)
    until(lambda: text(health.healthz())[0] == 503)
    assert text(health.healthz())[1] in ("heartbeat-0 crashed", "heartbeat-1 crashed")
    assert running.thread.is_alive()
    actor.done(run)
    assert running.exit_code() == 1
    assert text(health.healthz())[0] == 503


def test_a_hung_pool_is_no_longer_alive(
    health: Health, start: Any, stage: Any, sqs: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqs.create_queue("jobs")
    running = start(health=health)
    pool, go_on = running.worker._pool, threading.Event()
    monkeypatch.setattr(pool.pulse, "tolerance", 5.0)
    assert text(health.healthz()) == (200, "alive")
    pool._note(lambda: go_on.wait(30))
    until(lambda: text(health.healthz())[1].startswith("pool: no round for "))
    go_on.set()
    until(lambda: text(health.healthz()) == (200, "alive"))


def test_a_figure_that_cannot_be_made_stops_nobody(health: Health, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    def broken() -> Any:
        raise RuntimeError("on purpose")

    page = health._guarded(broken)
    assert text(page()) == text(page()) == (500, "internal error")
    assert caplog.text.count("Traceback") == 1


def test_queue_labels_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    from pyqs.worker import report

    monkeypatch.setattr(report, "MOST_QUEUES", 3)
    totals = report.Totals()
    for number in range(10):
        totals.count_received(f"q{number}", 1)
        totals.count_ended(f"q{number}", "succeeded", 0.1)
    assert [name for name, _ in totals.queues()] == ["q0", "q1", "q2", report.OTHERS]
    assert totals.queues()[-1][1].received == 7
    assert totals.received == 10


def test_prometheus_is_loaded_for_probes_only() -> None:
    root = Path(pyqs.__file__).parents[1]
    code = "import sys, pyqs.worker.worker, pyqs.commands.worker; sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
