"""The fixtures of ``pyqs.testing.pytest``, used as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pyqs.testing.recording import name_of
from pyqs_celery_compat import Celery

pytest_plugins = ["pyqs.testing.pytest"]


def test_what_was_enqueued_of_a_task(tasks, enqueued):
    tasks.note.delay(1, 2)
    tasks.mail.delay("a@example.com", copy_to="b@example.com", _delay_seconds=60)
    (sent,) = enqueued(tasks.mail)
    assert (sent.task, sent.args, sent.kwargs) == ("tasks_of_tests.mail", ("a@example.com",), {"copy_to": "b@example.com"})
    assert (sent.queue, sent.delay) == ("mail", 60)
    assert [one.task for one in enqueued()] == ["tasks_of_tests.note", "tasks_of_tests.mail"]
    assert enqueued("tasks_of_tests.note") == enqueued(queue="jobs")
    enqueued.clear()
    assert enqueued() == []


def test_many_at_once_and_a_fifo_queue(tasks, enqueued):
    tasks.note.send_many([(n,) for n in range(25)])
    tasks.in_order.delay("a", 1)
    assert sorted(one.args[0] for one in enqueued(tasks.note)) == list(range(25))
    assert enqueued(tasks.in_order)[0].message.group_id == "a"


def test_an_assertion_that_holds_answers_the_call(tasks, assert_enqueued):
    tasks.mail.delay("a@example.com")
    tasks.mail.delay("b@example.com")
    assert assert_enqueued(tasks.mail).args == ("b@example.com",)
    assert_enqueued(tasks.mail, "a@example.com", queue="mail", delay=5, count=1)
    assert_enqueued(tasks.mail, count=2)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"args": ["c@example.com"]}, r"tasks_of_tests.mail\('c@example.com'\) on any queue was not enqueued; enqueued were"),
        ({"count": 2}, "tasks_of_tests.mail on any queue was enqueued 1 times, not 2"),
        ({"queue": "other"}, "tasks_of_tests.mail on other was not enqueued"),
        ({"delay": 9}, "tasks_of_tests.mail on any queue in 9 s was not enqueued"),
    ],
)
def test_one_that_does_not_says_what_was_enqueued(tasks, assert_enqueued, asked, said):
    tasks.mail.delay("a@example.com")
    args = asked.pop("args", [])
    with pytest.raises(AssertionError, match=said) as caught:
        assert_enqueued(tasks.mail, *args, **asked)
    assert "tasks_of_tests.mail('a@example.com') on mail in 5 s" in str(caught.value)


def test_nothing_was_enqueued(tasks, enqueued):
    enqueued.assert_nothing()
    tasks.note.delay(1)
    enqueued.assert_nothing(tasks.mail)
    with pytest.raises(AssertionError, match=r"1 calls were enqueued: tasks_of_tests.note\(1\) on jobs"):
        enqueued.assert_nothing()
    with pytest.raises(ValueError, match="assert_nothing"):
        enqueued.assert_enqueued(tasks.note, count=0)
    with pytest.raises(TypeError, match="is no task"):
        enqueued(len)


def celery_app(broker: str) -> Any:
    app = Celery("shop", broker=broker, set_as_current=False)
    app.conf.task_routes = {"shop.pay": {"queue": "payments"}}

    @app.task(name="shop.pay", shared=False)
    def pay(order: int, card: str = "") -> None: ...

    return pay


@pytest.mark.parametrize("broker", ["sqs://", "memory://"])
def test_celery_tasks(enqueued, assert_enqueued, broker):
    pay = celery_app(broker)
    result = pay.apply_async((7,), {"card": "visa"}, countdown=30, headers={"tenant": "x"})
    sent = assert_enqueued(pay, 7, card="visa", queue="payments", delay=30)
    assert (sent.id, sent.call.headers["tenant"], name_of(pay)) == (result.id, "x", "shop.pay")
    (pay.s(1) | pay.si(2)).delay()
    assert enqueued(pay)[-1].call.chain[0]["args"] == [2] or enqueued(pay)[-1].call.chain[0]["args"] == (2,)


def test_a_long_countdown_of_a_celery_task_is_its_eta(enqueued):
    pay = celery_app("sqs://")
    pay.apply_async((1,), countdown=86400)
    assert (enqueued(pay)[0].delay, enqueued(pay)[0].message.delay) == (86400, 900)


def test_after_the_test_all_is_as_before(tasks, tmp_path):
    (tmp_path / "test_it.py").write_text(
        "pytest_plugins = ['pyqs.testing.pytest']\n"
        "from pyqs import producer\n"
        "def test_one(enqueued): assert producer.elsewhere() is not None\n"
        "def test_two(): assert producer.elsewhere() is None\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(tmp_path)]
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, check=False)
    assert "2 passed" in done.stdout, done.stdout


def test_draining_runs_what_was_enqueued_and_what_that_enqueues(tasks, pyqs_drain, enqueued):
    tasks.calls_another.delay(2)
    assert pyqs_drain() == {"succeeded": 3}
    assert tasks.seen == [2, 1, 0]
    assert len(enqueued(tasks.calls_another)) == 3
    assert pyqs_drain() == {}


def test_draining_leaves_what_is_delayed_and_other_queues(tasks, pyqs_drain, pyqs_sqs):
    tasks.mail.delay("later@example.com")
    tasks.note.delay(1)
    assert pyqs_drain("jobs", "there is none") == {"succeeded": 1}
    assert pyqs_drain() == {}
    assert pyqs_sqs.left() == {"mail": 1}


def test_a_task_that_fails_while_draining_fails_the_test(tasks, pyqs_drain):
    tasks.fails.delay()
    with pytest.raises(AssertionError, match=r"(?s)1 failed.*tasks_of_tests.fails.*ValueError: what is wrong"):
        pyqs_drain()
    tasks.fails.delay()
    assert pyqs_drain(check=False) == {"failed": 1}


def test_draining_has_an_end(tasks, pyqs_drain):
    tasks.waits.delay()
    with pytest.raises(TimeoutError, match=r"queues jobs are not drained after 0\.3 s; tasks that run: tasks_of_tests.waits"):
        pyqs_drain(timeout=0.3)


@pytest.mark.timeout(120)
def test_a_worker_as_in_production(tasks, pyqs_worker, tmp_path):
    path = tmp_path / "pid"
    tasks.write.delay(str(path))
    worker = pyqs_worker("-Q", "files", "--include", "tasks_of_tests", "-c", "1", directory=str(Path(__file__).parent))
    worker.wait_drained()
    assert int(path.read_text()) not in (os.getpid(), worker.pid)
    worker.stop()
    assert "stopped: " in worker.output


@pytest.mark.timeout(120)
def test_a_worker_that_does_not_start_shows_why(pyqs_worker):
    with pytest.raises(RuntimeError, match=r"(?s)pyqs worker ended with 2; it wrote:.*no_such_module"):
        pyqs_worker("-Q", "files", "--include", "no_such_module")
