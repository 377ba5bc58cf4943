"""Steps that a project adds to its worker: made, started and stopped in Celery's order, in the host; consumer steps refused."""

from __future__ import annotations

import gc
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from pyqs_celery_compat import Celery, bootsteps, signals
from pyqs_celery_compat.conf import check_worker_settings
from pyqs_celery_compat.exceptions import ImproperlyConfigured
from pyqs_celery_compat.utils.timer2 import Timer
from pyqs_celery_compat.worker_events import WorkerEvents, make_steps


def noting(heard: list[str], label: str, **attributes: Any) -> Any:
    """A step that notes what is called."""

    def note(what: str) -> Any:
        return lambda self, parent: heard.append(f"{label} {what}")

    methods = {name: note(name) for name in ("create", "start", "close", "stop", "terminate")}
    return bootsteps.StepType(label, (bootsteps.StartStopStep,), {**methods, "__module__": __name__, **attributes})


def run(app: Celery, how: str = "Warm") -> None:
    events = WorkerEvents(app, "pyqs@host")
    events.happened("starting", {"concurrency": 2, "pid": 7})
    events.happened("ready", {})
    events.happened("stopping", {"sig": "SIGTERM", "how": how})
    events.happened("stopped", {})


def test_what_is_needed_comes_first_and_the_last_last_and_all_stop_in_reverse(app: Celery) -> None:
    # The order of calls was observed on Celery 5.7.
    heard: list[str] = []
    first = noting(heard, "A-first")
    second = noting(heard, "B-second", requires=(first,))
    last = noting(heard, "A-last", last=True)
    app.steps["worker"] |= {last, second, first}
    run(app)
    names = ["A-first", "B-second", "A-last"]
    assert heard == [
        *(f"{name} create" for name in names),
        *(f"{name} start" for name in names),
        *(f"{name} close" for name in names),
        *(f"{name} stop" for name in reversed(names)),
    ]


def test_a_cold_shutdown_terminates_them(app: Celery) -> None:
    heard: list[str] = []
    app.steps["worker"].add(noting(heard, "A"))
    run(app, how="Cold")
    assert heard == ["A create", "A start", "A close", "A terminate"]


def test_an_object_that_a_step_makes_is_started_and_stopped(app: Celery) -> None:
    heard: list[str] = []

    class Makes(bootsteps.StartStopStep):
        def create(self, parent: Any) -> Any:
            assert (parent.app, parent.hostname, parent.concurrency) == (app, "pyqs@host", 2)
            return SimpleNamespace(start=lambda: heard.append("start"), stop=lambda: heard.append("stop"))

    app.steps["worker"].add(Makes)
    run(app)
    assert heard == ["start", "stop"]


def test_what_a_step_does_when_it_is_made_is_there_where_tasks_run(app: Celery) -> None:
    # As under Celery 5.7, which makes steps before it forks; django-structlog's step connects receivers so, and they are weak.
    heard: list[str] = []

    class Connects(bootsteps.StartStopStep):
        def __init__(self, parent: Any, **kwargs: Any) -> None:
            super().__init__(parent, **kwargs)
            assert parent.app is app
            heard.append("made")
            signals.task_prerun.connect(self.prerun)

        def prerun(self, task_id: str, **_: Any) -> None:
            heard.append(f"prerun {task_id}")

        def create(self, parent: Any) -> None:
            heard.append("created")

    app.steps["worker"].add(Connects)
    kept = make_steps(app, "pyqs@host")
    gc.collect()
    signals.task_prerun.send(sender=None, task_id="a")
    assert heard == ["made", "prerun a"]
    del kept


def test_a_step_that_cannot_be_made_in_an_executor_is_told_and_tasks_run(app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(bootsteps.Step):
        def __init__(self, parent: Any, **kwargs: Any) -> None:
            raise OSError("the port is taken")

    assert make_steps(app, "pyqs@host") is None
    app.steps["worker"].add(Broken)
    make_steps(app, "pyqs@host")
    assert "the port is taken" in caplog.text


def test_one_that_is_not_included_does_nothing(app: Celery) -> None:
    heard: list[str] = []
    app.steps["worker"].add(noting(heard, "A", include_if=lambda self, parent: False))
    app.steps["worker"].add(noting(heard, "B", enabled=False))
    run(app)
    assert heard == []


def test_what_raises_at_the_end_does_not_keep_the_others_from_it(app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[str] = []

    def fails(self: Any, parent: Any) -> None:
        raise RuntimeError("no")

    bad = noting(heard, "A-bad", stop=fails)
    app.steps["worker"] |= {bad, noting(heard, "B", requires=(bad,)), noting(heard, "Z", last=True)}
    run(app)
    assert heard[-2:] == ["Z stop", "B stop"]
    assert "'stop' of A-bad failed" in caplog.text


def test_those_that_were_started_are_stopped_when_the_next_does_not_start(app: Celery) -> None:
    heard: list[str] = []

    def fails(self: Any, parent: Any) -> None:
        raise RuntimeError("no")

    first = noting(heard, "A")
    app.steps["worker"] |= {first, noting(heard, "B", requires=(first,), start=fails)}
    events = WorkerEvents(app, "pyqs@host")
    with pytest.raises(RuntimeError):
        events.happened("starting", {})
    events.happened("stopping", {"how": "Warm"})
    assert heard == ["A create", "B create", "A start", "A close", "A stop"]


def test_steps_are_named_by_celerys_path_and_have_the_workers_timer(app: Celery) -> None:
    """The step that most projects have: a file that is touched as long as the worker lives."""
    beaten = threading.Event()
    ended: list[bool] = []

    class Liveness(bootsteps.StartStopStep):
        requires = {"celery.worker.components:Timer"}  # noqa: RUF012 - as users write it

        def start(self, worker: Any) -> None:
            self.entry = worker.timer.call_repeatedly(0.001, self.beat, (worker,), priority=10)

        def beat(self, worker: Any) -> None:
            beaten.set()

        def stop(self, worker: Any) -> None:
            assert beaten.wait(10)
            ended.append(self.entry.cancelled)

    app.steps["worker"].add(Liveness)
    run(app)
    assert ended == [False]


def test_a_circle_is_an_error_that_shows_it(app: Celery) -> None:
    one = noting([], "One")
    other = noting([], "Other", requires=(one,))
    one.requires = (other,)
    with pytest.raises(ImproperlyConfigured, match=r"circle: .*One -> .*Other|circle: .*Other -> .*One"):
        bootsteps.in_order([one, other])


def test_consumer_steps_stop_a_worker_before_it_starts(app: Celery) -> None:
    class Taps(bootsteps.ConsumerStep):
        pass

    app.steps["consumer"].add(Taps)
    with pytest.raises(ImproperlyConfigured, match=r"Taps: the worker.s receiving side takes no steps.*task_received"):
        check_worker_settings(app)
    del app.steps["consumer"]
    app.steps["worker"].add(Taps)
    with pytest.raises(ImproperlyConfigured, match="Taps"):
        check_worker_settings(app)


def test_a_timer_goes_on_after_what_raises_and_forgets_what_is_cancelled() -> None:
    timer = Timer()
    calls: list[str] = []
    done = threading.Event()

    def fails() -> None:
        calls.append("fails")
        if calls.count("fails") == 2:
            done.set()
        raise RuntimeError("no")

    cancelled = timer.call_after(0.0005, calls.append, ("cancelled",))
    timer.cancel(cancelled)
    timer.call_repeatedly(0.001, fails)
    assert done.wait(10)
    timer.stop()
    assert "cancelled" not in calls
    assert timer.call_after(0, calls.append, ("after the end",)).canceled is False
