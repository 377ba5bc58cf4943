"""``pyqs dlq``: what a real worker and SQS put into a dead-letter queue, seen, sent back, moved back; and killed in between."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from processes import PATIENCE, wait_until
from pyqs.message import MessageAttribute, OutgoingMessage

DEAD = "jobs-dlq"


def arn(sqs: Any, queue: str) -> str:
    return str(sqs.store.queue_attributes(queue)["QueueArn"])


def with_dead_letters(sqs: Any, queue: str = "jobs", dead: str = DEAD, receives: int = 5) -> None:
    sqs.create(dead)
    sqs.create(queue, RedrivePolicy=json.dumps({"deadLetterTargetArn": arn(sqs, dead), "maxReceiveCount": receives}))


def bury(sqs: Any, queue: str, count: int) -> None:
    """Have SQS move what is on the queue to its dead-letter queue."""
    policy = json.loads(sqs.store.queue_attributes(queue)["RedrivePolicy"])
    sqs.store.set_queue_attributes(queue, {"RedrivePolicy": json.dumps({**policy, "maxReceiveCount": 1})})
    for _ in range(2):
        for _ in range(count):
            for message in sqs.store.receive(queue, max_messages=10, wait=0, visibility=30):
                sqs.store.change_visibility_batch(queue, [(message.receipt_handle, 0)])
    sqs.store.set_queue_attributes(queue, {"RedrivePolicy": json.dumps(policy)})
    assert sqs.counts(queue).total == 0


@pytest.fixture
def run(project: Any) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pyqs", *args], cwd=project.folder, env=project.env, capture_output=True, text=True,
            timeout=PATIENCE, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip

    return run


def bodies(sqs: Any, queue: str) -> list[str]:
    """Everything on the queue, now or when the clock is moved on."""
    sqs.advance(3600)
    found = []
    while batch := sqs.store.receive(queue, max_messages=10, wait=0, visibility=43_000):
        found += [message.body for message in batch]
    return found


# -- list and show ------------------------------------------------------------------------------------------------


def test_what_a_worker_buries_is_listed_shown_and_runs_when_it_is_sent_back(
    sqs: Any, project: Any, start_worker: Any, run: Any
) -> None:
    with_dead_letters(sqs)
    sqs.native("jobs", "not_there", 1)
    sqs.native("jobs", "not_there", 2)
    sqs.send("jobs", "unreadable")
    worker = start_worker("-Q", "jobs", "-c", "1", "--on-unknown", "dlq", "--on-undecodable", "dlq")
    sqs.wait_counts(DEAD, visible=3)
    worker.terminate(end_polls=sqs.store.end_polls)
    done = run("dlq", "list", DEAD, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["messages"], found["looked_at"], found["sources"]) == (3, 3, ["jobs"])
    unknown, unreadable = found["groups"]
    assert (unknown["count"], unknown["task"], unknown["source"]) == (2, "tasks.not_there", "jobs")
    assert unknown["reason"].startswith("unknown: ")
    assert (unreadable["count"], unreadable["task"]) == (1, None)
    assert unreadable["reason"].startswith("undecodable: ")
    assert sqs.counts(DEAD).visible == 3
    by_source = run("dlq", "list", "jobs")
    assert "tasks.not_there" in by_source.stdout
    assert "this is about its dead-letter queue jobs-dlq" in by_source.stderr
    one = json.loads(run("dlq", "show", DEAD, unreadable["message_ids"][0], "--json").stdout)
    assert (one["body"], one["source"], one["reason"]) == ("unreadable", "jobs", unreadable["reason"])
    missing = run("dlq", "show", DEAD, "no-such-id")
    assert missing.returncode == 2
    assert "no message no-such-id is visible" in missing.stderr

    tasks = project.folder / "tasks.py"
    tasks.write_text(tasks.read_text() + '\n@task\ndef not_there(n):\n    ran(f"there {n}")\n')
    done = run("dlq", "retry", DEAD, "--task", "tasks.not_*", "-f")
    assert done.returncode == 0, done.stderr
    assert "2 sent back (2 to jobs); 1 other left" in done.stdout
    assert (sqs.counts("jobs").visible, sqs.counts(DEAD).visible) == (2, 1)
    worker = start_worker("-Q", "jobs", "-c", "1")
    assert sorted(worker.wait_ran("there", 2)) == ["there 1", "there 2"]
    sqs.wait_counts("jobs")


def test_what_sqs_has_moved_says_so(sqs: Any, run: Any) -> None:
    with_dead_letters(sqs)
    sqs.native("jobs", "noop", 1)
    bury(sqs, "jobs", 1)
    (group,) = json.loads(run("dlq", "list", DEAD, "--json").stdout)["groups"]
    assert (group["task"], group["reason"], group["source"]) == ("tasks.noop", "received too often", "jobs")


def test_a_listing_sees_more_than_one_batch_and_no_more_than_it_is_told(sqs: Any, run: Any) -> None:
    with_dead_letters(sqs)
    sqs.many(DEAD, range(35))
    assert json.loads(run("dlq", "list", DEAD, "--json").stdout)["looked_at"] == 35
    done = run("dlq", "list", DEAD, "-n", "12")
    assert "12 messages of about 35 looked at" in done.stdout
    assert sqs.counts(DEAD).visible == 35


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_whoever_is_told_to_stop_gives_back_first(sqs: Any, project: Any, number: int) -> None:
    with_dead_letters(sqs)
    sqs.many(DEAD, range(15))
    sqs.store.faults.add("latency=2:action=ReceiveMessage")
    process = subprocess.Popen(
        [sys.executable, "-m", "pyqs", "dlq", "list", DEAD], cwd=project.folder, env=project.env, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_until(lambda: sqs.counts(DEAD).hidden >= 10)
    process.send_signal(number)
    assert process.wait(PATIENCE) == 130
    assert sqs.counts(DEAD).hidden == 0


# -- retry --------------------------------------------------------------------------------------------------------


def test_the_copy_is_the_message_as_its_queue_had_it(sqs: Any, run: Any) -> None:
    with_dead_letters(sqs)
    attributes = {
        "pyqs.reason": MessageAttribute("String", "exhausted"),
        "pyqs.queue": MessageAttribute("String", "jobs"),
        "own": MessageAttribute("Binary.gzip", None, b"\0\1"),
    }
    sent = sqs.store.send(DEAD, OutgoingMessage("body", message_attributes=attributes, group_id="g", trace_header="Root=1-2"))
    done = run("dlq", "retry", DEAD, sent.message_id)
    assert done.returncode == 0, done.stderr
    (message,) = sqs.receive("jobs")
    assert (message.body, message.message_attributes) == ("body", {"own": attributes["own"]})
    assert (message.attributes["MessageGroupId"], message.attributes["AWSTraceHeader"]) == ("g", "Root=1-2")
    assert sqs.counts(DEAD).total == 0


def test_a_fifo_queue_gets_its_groups_back_in_order_even_within_its_five_minutes(sqs: Any, run: Any) -> None:
    with_dead_letters(sqs, "jobs.fifo", "dead.fifo")
    for number in range(4):
        message = OutgoingMessage(str(number), group_id=f"g{number % 2}", dedup_id=f"d{number}")
        sqs.store.send("jobs.fifo", message)
    bury(sqs, "jobs.fifo", 8)
    assert sqs.counts("dead.fifo").visible == 4
    done = run("dlq", "retry", "dead.fifo", "--all", "-f", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["retried"] == 4
    found = sqs.receive("jobs.fifo")
    assert Counter(message.attributes["MessageGroupId"] for message in found) == {"g0": 2, "g1": 2}
    for group, wanted in (("g0", ["0", "2"]), ("g1", ["1", "3"])):
        assert [one.body for one in found if one.attributes["MessageGroupId"] == group] == wanted
    assert sqs.counts("dead.fifo").total == 0


def test_what_fails_at_once_is_not_sent_back_without_end(sqs: Any, start_worker: Any, run: Any) -> None:
    with_dead_letters(sqs)
    for number in range(3):
        sqs.native(DEAD, "not_there", number)
    start_worker("-Q", "jobs", "-c", "1", "--on-unknown", "dlq")
    done = run("dlq", "retry", DEAD, "--all", "-f", "--json", "--rate", "2")
    assert json.loads(done.stdout)["retried"] == 3
    sqs.wait_counts(DEAD, visible=3)


def test_a_message_cannot_choose_a_queue_that_is_not_its_own(sqs: Any, run: Any) -> None:
    with_dead_letters(sqs)
    sqs.create("payments")
    forged = {"pyqs.queue": MessageAttribute("String", "payments")}
    sqs.store.send(DEAD, OutgoingMessage("forged", message_attributes=forged))
    done = run("dlq", "retry", DEAD, "--all", "-f")
    assert done.returncode == 2
    assert "where it came from is not certain (payments); --to QUEUE" in done.stderr
    assert (sqs.counts("payments").total, sqs.counts(DEAD).visible) == (0, 1)
    assert run("dlq", "retry", DEAD, "--all", "-f", "--to", "payments").returncode == 0
    assert sqs.counts("payments").visible == 1


def test_many_are_sent_back_only_after_a_question(sqs: Any, run: Any) -> None:
    with_dead_letters(sqs)
    sqs.many(DEAD, range(3))
    done = run("dlq", "retry", DEAD, "--all")
    assert done.returncode == 2
    assert "-f/--force" in done.stderr
    for words in ((), ("--all", "--task", "x"), ("an-id", "--all")):
        done = run("dlq", "retry", DEAD, *words, "-f")
        assert done.returncode == 2
        assert "which messages?" in done.stderr
    assert sqs.counts(DEAD).visible == 3


def test_what_cannot_be_sent_stays_and_is_said(sqs: Any, run: Any) -> None:
    with_dead_letters(sqs)
    sqs.many(DEAD, range(3))
    sqs.store.faults.add("access-denied:action=SendMessageBatch")
    done = run("dlq", "retry", DEAD, "--all", "-f")
    assert done.returncode == 2
    assert "not sent to jobs" in done.stderr
    assert (sqs.counts("jobs").total, sqs.counts(DEAD).visible) == (0, 3)


@pytest.mark.parametrize("moment", ["SendMessageBatch", "DeleteMessageBatch"])
def test_a_retry_that_is_killed_loses_nothing(sqs: Any, project: Any, run: Any, moment: str) -> None:
    """Killed while a call is under way: before the send it is as if nothing had been; after it a message is there twice."""
    with_dead_letters(sqs)
    sqs.many(DEAD, range(30))
    wanted = Counter(json.dumps({"task": "tasks.noop", "args": [n], "kwargs": {}}) for n in range(30))
    called = sqs.server.actions.seen
    for kill in range(1, 4):
        sqs.store.faults.add(f"stall:action={moment}:times=1")
        before = called[moment]
        process = subprocess.Popen(
            [sys.executable, "-m", "pyqs", "dlq", "retry", DEAD, "--all", "-f"], cwd=project.folder, env=project.env,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wait_until(lambda before=before: called[moment] > before)
        process.kill()
        process.wait()
        sqs.store.faults.clear()
        sent = sqs.counts("jobs").total
        assert sent == (10 * kill if moment == "DeleteMessageBatch" else 0)
        assert sqs.counts(DEAD).total == 30
        sqs.advance(61)
    done = run("dlq", "retry", DEAD, "--all", "-f", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["retried"] == 30
    assert sqs.counts(DEAD).total == 0
    found = Counter(bodies(sqs, "jobs"))
    assert found.keys() == wanted.keys()
    doubled = found - wanted
    assert doubled.total() == (30 if moment == "DeleteMessageBatch" else 0)


def test_a_retry_that_is_told_to_stop_ends_between_two_batches(sqs: Any, project: Any) -> None:
    with_dead_letters(sqs)
    sqs.many(DEAD, range(30))
    sqs.store.faults.add("latency=2:action=DeleteMessageBatch")
    called = sqs.server.actions.seen
    process = subprocess.Popen(
        [sys.executable, "-m", "pyqs", "dlq", "retry", DEAD, "--all", "-f"], cwd=project.folder, env=project.env,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_until(lambda: called["DeleteMessageBatch"])
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "stopped; 10 messages had been sent back by then" in err
    assert (sqs.counts("jobs").visible, sqs.counts(DEAD).visible, sqs.counts(DEAD).hidden) == (10, 20, 0)


# -- redrive ------------------------------------------------------------------------------------------------------


def test_sqs_moves_them_back_itself(sqs: Any, run: Any) -> None:
    with_dead_letters(sqs)
    sqs.many("jobs", range(12))
    bury(sqs, "jobs", 2)
    done = run("dlq", "redrive", DEAD, "-f")
    assert done.returncode == 0, done.stderr
    assert "completed: 12 of 12 moved to where they came from" in done.stdout
    assert sqs.counts("jobs").visible == 12
    (task,) = json.loads(run("dlq", "redrive", DEAD, "--status", "--json").stdout)["tasks"]
    assert (task["status"], task["moved"]) == ("COMPLETED", 12)


def test_a_redrive_that_sqs_cannot_do_names_the_way_out(sqs: Any, run: Any) -> None:
    with_dead_letters(sqs)
    sqs.many(DEAD, range(2))
    done = run("dlq", "redrive", DEAD, "-f")
    assert done.returncode == 2
    assert "CouldNotDetermineMessageSource" in done.stderr
    assert "pyqs dlq retry" in done.stderr
    assert run("dlq", "redrive", DEAD, "-f", "--to", "jobs").returncode == 0
    assert sqs.counts("jobs").visible == 2


def test_a_redrive_goes_on_alone_and_can_be_stopped(sqs: Any, run: Any) -> None:
    with_dead_letters(sqs)
    sqs.many(DEAD, range(100))
    done = run("dlq", "redrive", DEAD, "-f", "--to", "jobs", "--rate", "1", "--no-wait", "--json")
    assert json.loads(done.stdout)["tasks"][0]["status"] == "RUNNING"
    again = run("dlq", "redrive", DEAD, "-f", "--to", "jobs")
    assert again.returncode == 2
    assert "already a task running" in again.stderr
    stopped = json.loads(run("dlq", "redrive", DEAD, "--cancel", "--json").stdout)
    assert stopped["cancelled"]
    wait_until(lambda: sqs.store.list_moves(arn(sqs, DEAD))[0].status == "CANCELLED")
    assert sqs.counts(DEAD).total + sqs.counts("jobs").total == 100
    assert "no move task runs" in run("dlq", "redrive", DEAD, "--cancel").stderr
