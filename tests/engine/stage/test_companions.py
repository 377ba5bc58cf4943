"""What looks at a worker beside the probes: CloudWatch's lines, and that a fault there stops nothing."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emf import objections
from pyqs.errors import ConfigError
from pyqs.wire import Run
from pyqs.worker.companion import Companion
from pyqs.worker.emf import COUNTS, GAUGES, QUEUE, WORKER_COUNTS, Emf
from pyqs.worker.health import Health
from pyqs.worker.watched import Watched

#: Longer than any test.
NEVER = 3600.0


class Lines:
    """Standard output, which can be closed."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.closed = False

    def __call__(self, line: bytes) -> None:
        if self.closed:
            raise BrokenPipeError(32, "Broken pipe")
        self.taken.append(line)

    def read(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The worker's lines and the queues'."""
        found = [json.loads(line) for line in self.taken]
        return [one for one in found if QUEUE not in one], [one for one in found if QUEUE in one]


def summed(lines: list[dict[str, Any]], name: str) -> float:
    return sum(line[name] for line in lines)


def test_the_lines_are_valid_and_add_up(start: Any, stage: Any, sqs: Any, send: Callable[..., str], until: Any) -> None:
    lines = Lines()
    health = Health(companions=[Emf("Shop/Workers", lines, period=0.02)])
    health.start()
    sqs.create_queue("jobs", {})
    sqs.create_queue("idle", {})
    running = start("jobs", "idle", health=health)
    actor = stage.next()
    for status in ("succeeded", "failed", "retried"):
        send("jobs")
        run = actor.expect(Run)
        actor.started(run)
        until(lambda: lines.read()[0] and lines.read()[0][-1]["ExecutorsBusy"] == 1)
        actor.done(run, status=status, seconds=0.25)
        until(lambda: lines.read()[0][-1]["ExecutorsBusy"] == 0)
    running.worker.interrupt()
    assert running.exit_code() == 0
    health.end()
    worker, queues = lines.read()
    assert not [said for line in lines.taken for said in objections(line)]
    assert {line[QUEUE] for line in queues} == {"jobs"}, "one on which nothing has happened has no line"
    for found in (worker, queues):
        assert [summed(found, name) for name in ("DeliveriesReceived", "TasksStarted", "DeliveriesEnded")] == [3, 3, 3]
        assert [summed(found, name) for name in ("TasksSucceeded", "TasksFailed", "TaskSeconds")] == [1, 1, 0.75]
    names = {*COUNTS, *WORKER_COUNTS, *GAUGES}
    for line in worker:
        (directive,) = line["_aws"]["CloudWatchMetrics"]
        assert {metric["Name"] for metric in directive["Metrics"]} == names
        assert directive["Dimensions"] == [[]]
    for line in queues:
        (directive,) = line["_aws"]["CloudWatchMetrics"]
        assert {metric["Name"] for metric in directive["Metrics"]} == set(COUNTS)
        assert directive["Dimensions"] == [[QUEUE]]
    assert all(len(line) < 4096 for line in lines.taken), "a pipe takes it in one piece"


def test_the_end_has_what_the_last_minute_has_brought(start: Any, stage: Any, sqs: Any, send: Any, until: Any) -> None:
    lines = Lines()
    health = Health(companions=[Emf("Shop", lines, period=NEVER)])
    stage.auto = True
    sqs.create_queue("jobs", {})
    running = start(health=health)
    send("jobs")
    until(lambda: running.worker.totals.done["succeeded"] == 1)
    assert not lines.taken
    running.worker.interrupt()
    assert running.exit_code() == 0
    health.end()
    (worker,), (queue,) = lines.read()
    assert worker["TasksSucceeded"] == queue["TasksSucceeded"] == 1


def test_what_could_not_be_written_is_in_the_next_line(
    start: Any, stage: Any, sqs: Any, send: Any, until: Any, caplog: pytest.LogCaptureFixture
) -> None:
    lines = Lines()
    lines.closed = True
    health = Health(companions=[Emf("Shop", lines, period=0.02)])
    stage.auto = True
    sqs.create_queue("jobs", {})
    running = start(health=health)
    send("jobs")
    until(lambda: running.worker.totals.done["succeeded"] == 1)
    until(lambda: [one for one in caplog.records if "no line can be written" in one.getMessage()])
    lines.closed = False
    until(lambda: lines.read()[1])
    running.worker.interrupt()
    assert running.exit_code() == 0
    health.end()
    assert len([one for one in caplog.records if "no line can be written" in one.getMessage()]) == 1
    worker, queues = lines.read()
    assert summed(worker, "TasksSucceeded") == summed(queues, "TasksSucceeded") == 1


def test_the_documentation_has_each_metric_with_its_unit_and_dimension() -> None:
    text = (Path(__file__).parents[3] / "docs" / "observability.md").read_text()
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| (\w+) \| (yes|no) \|", text, re.MULTILINE)
    documented = {name: (unit, with_queue == "yes") for names, unit, with_queue in rows for name in re.findall(r"\w+", names)}
    units = COUNTS | dict.fromkeys(WORKER_COUNTS, "Count") | GAUGES
    assert documented == {name: (unit, name in COUNTS) for name, unit in units.items()}
    assert f"{len(units)} for the workers together, six for each queue" in text
    assert len(COUNTS) == 6


@pytest.mark.parametrize("namespace", ["", "AWS/SQS", ":shop", "a shop", "shop\n", "ä", "s" * 256])
def test_a_namespace_that_cloudwatch_does_not_have(namespace: str) -> None:
    with pytest.raises(ConfigError, match=r"--emf: .* is no namespace"):
        Emf(namespace)


class Broken(Companion):
    """Fails at each look, and hangs at its end."""

    def __init__(self) -> None:
        super().__init__("broken", 0.01)
        self.looks = 0
        self.release = threading.Event()

    def look(self, watched: Watched) -> None:
        self.looks += 1
        raise RuntimeError("on purpose")

    def last_look(self, watched: Watched) -> None:
        self.release.wait()


def test_a_fault_or_a_hang_of_a_companion_stops_nothing(
    start: Any, stage: Any, sqs: Any, until: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyqs.worker.companion.LAST_WORDS", 0.05)
    broken = Broken()
    health = Health(companions=[broken])
    sqs.create_queue("jobs", {})
    running = start(health=health)
    until(lambda: broken.looks > 5)
    assert len([one for one in caplog.records if "this is said once" in one.getMessage()]) == 1
    running.worker.interrupt()
    assert running.exit_code() == 0
    health.end()
    assert "left behind" in caplog.text
    broken.release.set()
    assert broken.join(10)
