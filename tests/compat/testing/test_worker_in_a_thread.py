"""``celery.contrib.testing.worker`` beyond what its users' suites share: what genuine Celery's does not, or does otherwise."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pyqs_celery_compat import Celery, signals
from pyqs_celery_compat.contrib.testing.app import TestApp, setup_default_app
from pyqs_celery_compat.contrib.testing.manager import Manager
from pyqs_celery_compat.contrib.testing.worker import TestWorkController, _start_worker_process, start_worker
from pyqs_celery_compat.exceptions import ImproperlyConfigured, Reject, SoftTimeLimitExceeded, TimeLimitExceeded
from pyqs_celery_compat.publisher import _in_memory

pytest_plugins = ["pyqs.testing.pytest"]


@pytest.fixture
def app() -> Iterator[Celery]:
    app = TestApp("tests.thread", config={"task_default_queue": f"q{time.monotonic_ns()}"})
    with setup_default_app(app):
        yield app


def until(happened: Any, timeout: float = 20.0) -> None:
    pause, rounds = threading.Event(), int(timeout / 0.01)
    assert any(happened() or pause.wait(0.01) for _ in range(rounds)), f"not within {timeout} s"


def left(app: Celery) -> int:
    """Messages on the app's queue, in any state."""
    client = _in_memory()
    found = client.queue_attributes(client.queue_url(app.conf.task_default_queue))
    return sum(int(found[f"ApproximateNumberOfMessages{kind}"]) for kind in ("", "NotVisible", "Delayed"))


def test_the_signals_of_a_worker_in_a_thread_are_celerys(app: Celery) -> None:
    names = (
        "celeryd_init", "worker_init", "celeryd_after_setup", "worker_process_init", "worker_ready", "worker_shutting_down",
        "worker_process_shutdown", "worker_shutdown", "import_modules", "heartbeat_sent",
    )  # fmt: skip
    told: list[tuple[str, bool]] = []

    def note(sender: Any = None, signal: Any = None, **_: Any) -> None:
        name = next(name for name in names if getattr(signals, name) is signal)
        told.append((name, threading.current_thread() is threading.main_thread()))

    for name in names:
        getattr(signals, name).connect(note)
    try:
        with start_worker(app):
            pass
    finally:
        for name in names:
            getattr(signals, name).disconnect(note)
    assert told == [("import_modules", True), ("worker_init", True), ("worker_process_init", True)]


def test_a_stop_that_takes_too_long_is_an_error_and_the_task_is_given_up(app: Celery) -> None:
    go_on = threading.Event()

    @app.task(acks_late=True)
    def waits() -> None:
        while not go_on.wait(0.01):
            pass

    def works() -> None:
        with start_worker(app, shutdown_timeout=0.3) as worker:
            waits.delay()
            until(lambda: worker._worker.running)

    with pytest.raises(RuntimeError, match=r"not stopped within 0\.3 s, .*waits\[.*shutdown_timeout"):
        works()
    assert left(app) == 1, "its message is not lost"
    go_on.set()


def test_a_soft_limit(app: Celery) -> None:
    @app.task(soft_time_limit=0.2)
    def slow() -> str:
        try:
            while True:
                time.sleep(0.01)
        except SoftTimeLimitExceeded:
            return "cleaned up"

    with start_worker(app):
        assert slow.delay().get(timeout=10) == "cleaned up"


def test_a_hard_limit_ends_a_task_as_far_as_anybody_waits_for_it(app: Celery) -> None:
    ended: list[str] = []
    errors: list[Any] = []

    @app.task(time_limit=0.2)
    def slow() -> None:
        for _ in range(500):
            time.sleep(0.01)
        ended.append("slow")

    @app.task
    def other() -> str:
        return "goes on"

    def note(sender: Any = None, exception: Any = None, **_: Any) -> None:
        errors.append(exception)

    signals.task_failure.connect(note)
    try:
        with start_worker(app):
            with pytest.raises(TimeLimitExceeded):
                slow.delay().get(timeout=10)
            assert other.delay().get(timeout=10) == "goes on"
    finally:
        signals.task_failure.disconnect(note)
    assert [type(error) for error in errors] == [TimeLimitExceeded]
    assert not ended
    assert left(app) == 0


def test_one_that_runs_is_terminated(app: Celery) -> None:
    begun, told = threading.Event(), []

    @app.task
    def endless() -> None:
        begun.set()
        while True:
            time.sleep(0.01)

    def note(sender: Any = None, terminated: Any = None, signum: Any = None, **_: Any) -> None:
        told.append((terminated, int(signum)))

    signals.task_revoked.connect(note)
    try:
        with start_worker(app):
            result = endless.delay()
            assert begun.wait(10)
            result.revoke(terminate=True)
            until(lambda: result.state == "REVOKED")
            until(lambda: told)
    finally:
        signals.task_revoked.disconnect(note)
    assert told == [(True, 15)]


def test_a_task_that_was_revoked_does_not_run(app: Celery) -> None:
    ran: list[int] = []

    @app.task
    def note(number: int) -> int:
        ran.append(number)
        return number

    with start_worker(app):
        note.apply_async((1,), countdown=2).revoke()
        assert note.apply_async((2,), countdown=3).get(timeout=20) == 2
    assert ran == [2]


def test_late_acks(app: Celery) -> None:
    seen: list[int] = []

    @app.task(acks_late=True, bind=True)
    def stays(self: Any) -> None:
        seen.append(left(app))
        raise Reject("not here", requeue=True)

    @app.task
    def goes() -> None:
        seen.append(-1)

    with start_worker(app, perform_ping_check=False):  # whose message would count
        stays.delay()
        until(lambda: seen)
        goes.delay()
        until(lambda: -1 in seen)
    assert seen[0] == 1, "its message is on the queue while it runs"
    assert left(app) == 1, "hidden until it is received again"


@pytest.mark.parametrize("pool", ["prefork", "solo", "threads", "gevent"])
def test_any_pool_is_threads(app: Celery, pool: str) -> None:
    @app.task
    def where() -> bool:
        return threading.current_thread() is not threading.main_thread()

    with start_worker(app, pool=pool) as worker:
        assert where.delay().get(timeout=10) is True
        assert worker.pool_cls == pool
    with pytest.raises(ImproperlyConfigured, match="no pool 'swimming'"), start_worker(app, pool="swimming"):
        pass


def test_what_cannot_be_is_said(app: Celery) -> None:
    with pytest.raises(NotImplementedError, match="call the tasks in the test"), start_worker(app, beat=True):
        pass
    with pytest.raises(NotImplementedError, match="pyqs worker -A"), _start_worker_process(app):
        pass
    with pytest.raises(NotImplementedError, match="look at the results"):
        Manager(app).assert_accepted(["id"])
    amqp = TestApp(config={"broker_url": "amqp://"})
    with pytest.raises(ImproperlyConfigured, match="is not SQS"), start_worker(amqp):
        pass


def test_without_the_ping_task_the_error_says_what_to_import() -> None:
    app = TestApp()
    app.finalize()
    app.tasks.pop("celery.ping", None)
    with (
        setup_default_app(app),
        pytest.raises(AssertionError, match=r"import celery\.contrib\.testing\.tasks"),
        start_worker(app),
    ):
        pass


def test_queues_as_a_worker_is_given_them(app: Celery) -> None:
    @app.task
    def add(x: int, y: int) -> int:
        return x + y

    with start_worker(app, queues="one, two", perform_ping_check=False):
        assert add.apply_async((1, 2), queue="two").get(timeout=10) == 3
        waits = add.apply_async((1, 2), queue=app.conf.task_default_queue)
        assert add.apply_async((2, 2), queue="one").get(timeout=10) == 4
        assert waits.state == "PENDING"


def test_a_step_of_the_app(app: Celery) -> None:
    from pyqs_celery_compat import bootsteps

    told: list[str] = []

    class Step(bootsteps.StartStopStep):
        def start(self, parent: Any) -> None:
            told.append(f"start {type(parent).__name__}")

        def stop(self, parent: Any) -> None:
            told.append("stop")

    app.steps["worker"].add(Step)
    with start_worker(app):
        until(lambda: told)
    until(lambda: len(told) == 2)
    assert told == ["start TestWorkController", "stop"]


def test_two_workers_beside_each_other(app: Celery) -> None:
    go_on, begun = threading.Event(), threading.Event()

    @app.task
    def waits() -> str:
        begun.set()
        return "went on" if go_on.wait(10) else "waited for too long"

    with start_worker(app, hostname="one@test"):
        with start_worker(app, hostname="two@test"):
            pass
        result = waits.delay()
        assert begun.wait(10)
        go_on.set()
        assert result.get(timeout=10) == "went on"


@pytest.mark.parametrize("broker", ["memory://", "sqs://"])
def test_what_is_enqueued_runs_and_what_it_enqueues_is_known(enqueued: Any, broker: str) -> None:
    """With ``enqueued`` an app for production runs here, too: neither its messages nor its worker leave the process."""
    app = TestApp("tests.both", config={"broker_url": broker, "task_default_queue": f"q{time.monotonic_ns()}"})
    with setup_default_app(app):

        @app.task(shared=False)
        def add(x: int, y: int) -> int:
            return x + y

        with start_worker(app):
            result = (add.s(1, 2) | add.s(3)).delay()
            assert result.get(timeout=10) == 6
            assert [one.args for one in enqueued(add)] == [(1, 2), (3, 3)], "the chain's second one, which its worker has sent"
            assert add.apply_async((2, 2), countdown=1).get(timeout=10) == 4
    assert [one.delay for one in enqueued(add) if one.args == (2, 2)][:1] == [1]


def test_a_class_of_ones_own(app: Celery) -> None:
    class Mine(TestWorkController):
        def on_consumer_ready(self, consumer: Any) -> None:
            super().on_consumer_ready(consumer)
            self.ready = consumer.hostname

    with start_worker(app, WorkController=Mine, hostname="mine@test") as worker:
        assert worker.ready == "mine@test"
        assert (repr(worker), str(worker), worker.concurrency) == ("<Worker: mine@test>", "mine@test", 1)
