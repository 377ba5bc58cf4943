"""``pyqs queues``, ``peek``, ``send`` and ``purge`` as a user types them, over HTTP, against the embedded SQS."""

from __future__ import annotations

import base64
import json
import os
import pickle
import pty
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pyqs.local.server import LocalServer
from pyqs.local.store import Store
from pyqs.message import OutgoingMessage
from pyqs_celery_compat.outgoing import as_task_v2, seal_task

SPECIMENS = Path(__file__).parents[1] / "compat" / "specimens"


def with_dead_letters(queues: Any, name: str = "email-send", receives: int = 5, **attributes: str) -> None:
    """A queue and its dead-letter queue, name + "-dlq"."""
    dead = queues.create(f"{name}-dlq")
    arn = queues.sqs.queue_attributes(dead, ("QueueArn",))["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": receives})
    queues.create(name, RedrivePolicy=policy, **attributes)


def envelope(payload: bytes, content_type: str, **headers: Any) -> str:
    """Celery's envelope around any payload."""
    message = {
        "body": base64.b64encode(payload).decode(),
        "content-type": content_type,
        "content-encoding": "binary",
        "headers": headers,
        "properties": {"body_encoding": "base64", "delivery_info": {}, "delivery_tag": "t"},
    }
    return base64.b64encode(json.dumps(message).encode()).decode()


class Gadget:
    """What a pickle of it does when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.mark}",)


# -- queues -------------------------------------------------------------------------------------------------------


def test_queues_tells_what_they_hold_and_warns(project: Any, queues: Any) -> None:
    with_dead_letters(queues, receives=1)
    queues.create("email-read", VisibilityTimeout="120")
    queues.send("email-send", "a", "b")
    queues.send("email-send-dlq", "dead")
    queues.sqs.receive(queues.sqs.queue_url("email-send"), max_messages=1, wait=0, visibility=60)
    done = project.run("queues", "-Q", "email-*", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found["left_alone"]) == {"email-send-dlq"}
    read, send = found["queues"]
    assert (read["name"], read["warnings"][0].split(":")[0]) == ("email-read", "no RedrivePolicy")
    assert len(read["warnings"]) == 1
    assert (send["visible"], send["in_flight"], send["delayed"], send["max_receive_count"]) == (1, 1, 0, 1)
    assert send["dead_letter_queue"]["name"] == "email-send-dlq"
    assert send["dead_letter_queue"]["messages"] == 1
    assert send["oldest_age"] is None
    said = "\n".join(send["warnings"])
    for words in ("30 s", "maxReceiveCount is 1", "holds 1 message:", "keeps messages for 4 days, this queue for 4 days"):
        assert words in said


def test_queues_has_a_table_where_it_is_wanted(project: Any, queues: Any) -> None:
    with_dead_letters(queues)
    done = project.run("queues", "-Q", "email-[a-z]*", "--table")
    heading, row, *warnings = done.stdout.splitlines()
    assert heading.split()[:4] == ["queue", "matched", "by", "visible"]
    assert row.split() == ["email-send", "email-[a-z]*", "0", "0", "0", "30", "s", "4", "days", "5", "email-send-dlq", "0"]
    assert all(line.startswith("email-send: ") for line in warnings)


def test_queues_says_what_may_not_be_read(project: Any, queues: Any, store: Store) -> None:
    queues.create("email")
    store.faults.add("access-denied:action=GetQueueAttributes")
    done = project.run("queues", "-Q", "email", "--json")
    assert done.returncode == 0
    (queue,) = json.loads(done.stdout)["queues"]
    assert queue["visible"] is None
    assert "AccessDenied" in queue["problem"]


# -- peek ---------------------------------------------------------------------------------------------------------


def test_peek_shows_what_messages_say_and_leaves_them_visible(project: Any, queues: Any) -> None:
    with_dead_letters(queues)
    project.run("send", "email_tasks.send", "-Q", "email-send", "--args", '["a@example.com"]', "--kwargs", '{"n": 1}')
    queues.send("email-send", seal_task(as_task_v2("the-id", "proj.add", (2, 3), {"k": "v"}), routing_key="email-send"))
    queues.send("email-send", "neither")
    done = project.run("peek", "email-send", "--json")
    assert done.returncode == 0, done.stderr
    native, celery, other = json.loads(done.stdout)["messages"]
    assert (native["format"], native["task"], native["args"]) == ("native", "email_tasks.send", '["a@example.com"]')
    assert native["kwargs"] == '{"n": 1}'
    assert (celery["format"], celery["protocol"], celery["task"], celery["id"]) == ("celery", 2, "proj.add", "the-id")
    assert (celery["args"], celery["kwargs"]) == ("(2, 3)", "{'k': 'v'}")
    assert other["format"] == "other"
    assert "neither a JSON object nor base64" in other["problem"]
    assert queues.hidden("email-send") == 0
    assert "one of its 5 receives (maxReceiveCount)" in done.stderr
    text = project.run("peek", "email-send", "-n", "1").stdout
    assert "receive 2 of 5" in text
    assert "email_tasks.send" in text
    assert "1 message of email-send, visible again" in text


def test_peek_reads_protocol_1_and_the_messages_of_older_celerys(project: Any, queues: Any) -> None:
    queues.create("q")
    payload = json.dumps({"task": "old.task", "id": "i1", "args": [1], "kwargs": {}, "eta": "2030-01-01T00:00:00+00:00"})
    queues.send("q", envelope(payload.encode(), "application/json"))
    (message,) = json.loads(project.run("peek", "q", "--json").stdout)["messages"]
    assert (message["protocol"], message["task"], message["args"]) == (1, "old.task", "(1,)")
    assert message["eta"].startswith("2030-01-01")


def test_a_hostile_pickle_is_taken_apart_and_not_run(project: Any, queues: Any) -> None:
    queues.create("q")
    mark = project.folder / "pwned"
    queues.send("q", envelope(pickle.dumps(Gadget(mark)), "application/x-python-serialize", task="t.evil", id="x", lang="py"))
    queues.send("q", envelope(pickle.dumps(Gadget(mark), 0), "application/x-python-serialize"))
    done = project.run("peek", "q", "--json")
    assert done.returncode == 0, done.stderr
    newer, older = json.loads(done.stdout)["messages"]
    assert newer["task"] == "t.evil"
    assert newer["pickle"]["names"] == older["pickle"]["names"] == ["posix.system"]
    assert any("REDUCE" in line for line in newer["pickle"]["instructions"])
    assert "would import: posix.system" in project.run("peek", "q").stdout
    assert not mark.exists()


def test_peek_obeys_no_escape_sequence_of_a_message(project: Any, queues: Any) -> None:
    queues.create("q")
    queues.send("q", json.dumps({"task": "evil\u001b]0;title\u0007", "args": ["\u001b[2J"], "kwargs": {}}), "odd \u0085 body")
    out = project.run("peek", "q").stdout
    assert "\x1b" not in out
    assert "\x85" not in out
    assert "evil\\x1b]0;title\\x07" in out


def test_peek_raw_is_the_body(project: Any, queues: Any) -> None:
    queues.create("q")
    queues.send("q", "one", "two")
    assert project.run("peek", "q", "--raw").stdout == "one\ntwo\n"
    assert json.loads(project.run("peek", "q", "--raw", "--json", "-n", "1").stdout)["messages"][0]["body"]


def test_peek_asks_for_force_where_a_receive_could_be_the_last(project: Any, queues: Any) -> None:
    with_dead_letters(queues, receives=1)
    queues.send("email-send", "precious")
    done = project.run("peek", "email-send")
    assert done.returncode == 2
    assert "received at most 1 time" in done.stderr
    assert "--force" in done.stderr
    assert queues.left("email-send") == 1
    done = project.run("peek", "email-send", "--force")
    assert done.returncode == 0
    assert "its last: the next one takes it to email-send-dlq" in done.stdout


def test_peek_of_a_fifo_queue_says_that_it_locks_and_shows_the_order(project: Any, queues: Any, store: Store) -> None:
    queues.create("f.fifo", FifoQueue="true")
    for number in range(3):
        store.send("f.fifo", OutgoingMessage(str(number), group_id="g", dedup_id=str(number)))
    done = project.run("peek", "f.fifo", "--raw")
    assert done.stdout == "0\n1\n2\n"
    assert "locked" in done.stderr
    assert queues.hidden("f.fifo") == 0


def test_what_cannot_be_given_back_is_said(project: Any, queues: Any, store: Store) -> None:
    queues.create("q")
    queues.send("q", "a")
    store.faults.add("access-denied:action=ChangeMessageVisibilityBatch")
    done = project.run("peek", "q", "--raw")
    assert done.stdout == "a\n"
    assert "they come back within 60 s" in done.stderr


@pytest.mark.parametrize("command", [("peek",), ("dlq", "list"), ("dlq", "redrive", "-f")])
def test_a_queue_that_is_not_there_or_not_one(project: Any, queues: Any, command: tuple[str, ...]) -> None:
    queues.create("email-send")
    done = project.run(*command, "email-sned")
    assert done.returncode == 2
    assert "did you mean email-send?" in done.stderr
    done = project.run(*command, "email-*")
    assert done.returncode == 2
    assert "not one queue" in done.stderr


# -- send ---------------------------------------------------------------------------------------------------------


def test_what_is_sent_is_run(project: Any, queues: Any) -> None:
    project.write(
        "tasks.py",
        """
        from ledger import ran
        from pyqs import task

        @task(queue="email")
        def greet(name, loud=False):
            ran(f"{name} {loud}")
        """,
    )
    queues.create("email")
    done = project.run("send", "tasks.greet", "-Q", "email", "--args", '["a"]', "--json")
    assert json.loads(done.stdout)["sent"] == 1
    lines = "".join(json.dumps({"args": [f"n{number}"], "kwargs": {"loud": True}}) + "\n" for number in range(25))
    done = project.run("send", "tasks.greet", "-Q", "email", "--jsonl", given=lines)
    assert done.stdout == "sent 25 messages to email\n", done.stderr
    done = project.run("send", "-Q", "email", "--raw", given='{"task": "tasks.greet", "args": ["raw"]}')
    assert done.returncode == 0
    assert project.run("worker", "-Q", "email", "--include", "tasks", "--burst", "-c", "2").returncode == 0
    assert project.ran() == sorted(["a False", "raw False", *(f"n{number} True" for number in range(25))])


def test_delay_group_and_deduplication_reach_sqs(project: Any, queues: Any, store: Store) -> None:
    queues.create("q")
    queues.create("f.fifo", FifoQueue="true")
    assert project.run("send", "t.x", "-Q", "q", "--delay", "60").returncode == 0
    assert store.queue_attributes("q")["ApproximateNumberOfMessagesDelayed"] == "1"
    for _ in range(2):
        assert project.run("send", "t.x", "-Q", "f.fifo", "--group", "g", "--dedup-id", "once").returncode == 0
    (message,) = store.receive("f.fifo", max_messages=10, wait=0)
    assert message.attributes["MessageGroupId"] == "g"
    done = project.run("send", "t.x", "-Q", "f.fifo", "--delay", "5")
    assert done.returncode == 2
    assert "FIFO" in done.stderr


@pytest.mark.parametrize(
    ("args", "given", "words"),
    [
        (["t.x", "-Q", "q", "--args", "{"], "", "--args is not JSON"),
        (["t.x", "-Q", "q", "--args", "{}"], "", "--args is a JSON list"),
        (["t.x", "-Q", "q", "--kwargs", "[]"], "", "--kwargs is a JSON object"),
        (["-Q", "q"], "", "what is to be sent?"),
        (["t.x", "-Q", "q", "--raw"], "x", "TASK, --args and --kwargs have no place"),
        (["-Q", "q", "--raw"], "", "an empty body"),
        (["t.x", "-Q", "nowhere"], "", "does not exist"),
        (["t.x"], "", "-Q"),
        (["-Q", "q", "--jsonl"], '{"args": []}\n', "line 1: it names no task"),
        (["t.x", "-Q", "q", "--jsonl"], '{"args": 5}\n', "'args' is not a list"),
        (["t.x", "-Q", "q", "--jsonl"], "[]\n", "a line is a JSON object"),
    ],
)
def test_wrong_input_is_one_clear_error(project: Any, queues: Any, args: list[str], given: str, words: str) -> None:
    queues.create("q")
    done = project.run("send", *args, given=given)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert queues.left("q") == 0


def test_a_wrong_line_ends_it_and_says_which_and_what_was_sent(project: Any, queues: Any) -> None:
    queues.create("q")
    done = project.run("send", "t.x", "-Q", "q", "--jsonl", "--json", given='{"args":[1]}\n\n{"args":[2]}\n{"arg":[3]}\n{}\n')
    assert done.returncode == 2
    assert json.loads(done.stdout)["sent"] == queues.left("q") == 2
    assert "line 4: 'arg' is none of task, args" in done.stderr


# -- purge --------------------------------------------------------------------------------------------------------


def at_a_terminal(project: Any, *args: str, answer: str) -> tuple[int, str]:
    """Run ``pyqs *args`` with a person who types ``answer``; exit code and what was printed."""
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            project.command(*args), cwd=project.folder, env=project.env, stdin=theirs, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        os.write(ours, answer.encode())
        out, _ = process.communicate(timeout=45)
        return process.returncode, out
    finally:
        os.close(ours)
        os.close(theirs)


def test_purge_asks_and_does_what_is_answered(project: Any, queues: Any) -> None:
    queues.create("email-send")
    queues.send("email-send", "a", "b")
    code, out = at_a_terminal(project, "purge", "-Q", "email-send", answer="n\n")
    assert (code, queues.left("email-send")) == (2, 2)
    assert "Delete all messages of email-send (about 2)?" in out
    code, out = at_a_terminal(project, "purge", "-Q", "email-send", answer="y\n")
    assert (code, queues.left("email-send")) == (0, 0)
    assert "purged about 2 messages of 1 queue" in out


def test_purge_without_a_terminal_needs_force(project: Any, queues: Any) -> None:
    queues.create("email-send")
    queues.send("email-send", "a")
    done = project.run("purge", "-Q", "email-send", given="y\n")
    assert done.returncode == 2
    assert "-f/--force" in done.stderr
    assert queues.left("email-send") == 1


def test_purge_never_touches_a_dead_letter_queue_that_is_not_named_literally(project: Any, queues: Any) -> None:
    dead = queues.create("cemetery")
    arn = queues.sqs.queue_attributes(dead, ("QueueArn",))["QueueArn"]
    queues.create("church", RedrivePolicy=json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 3}))
    for name in ("cemetery", "church"):
        queues.send(name, "a")
    done = project.run("purge", "-Q", "c*", "-f", "--json")
    assert done.returncode == 0, done.stderr
    assert [one["name"] for one in json.loads(done.stdout)["purged"]] == ["church"]
    assert "cemetery: left alone" in done.stderr
    assert queues.left("cemetery") == 1
    assert project.run("purge", "-Q", "cemetery", "-f").returncode == 0
    assert queues.left("cemetery") == 0


def test_purge_of_an_apps_queues_as_celery_purge(project: Any, queues: Any, server: LocalServer) -> None:
    project.write(
        "proj.py",
        """
        from kombu import Queue
        from pyqs_celery_compat import Celery
        app = Celery("proj", broker="sqs://")
        app.conf.task_queues = [Queue("mail"), Queue("reports"), Queue("mail-fails")]
        """,
    )
    dead = queues.create("mail-fails")
    arn = queues.sqs.queue_attributes(dead, ("QueueArn",))["QueueArn"]
    queues.create("mail", RedrivePolicy=json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 3}))
    queues.create("reports")
    for name in ("mail", "reports", "mail-fails"):
        queues.send(name, "a")
    done = project.run("-A", "proj", "purge", "-f", "-X", "reports")
    assert done.returncode == 0, done.stderr
    assert "purged about 1 message of 1 queue" in done.stdout
    assert (queues.left("mail"), queues.left("reports"), queues.left("mail-fails")) == (0, 1, 1)
    assert "mail-fails: left alone, the dead-letter queue of another queue" in done.stderr


def test_purge_waits_for_the_purge_of_a_moment_ago(tmp_path: Path, project: Any) -> None:
    store = Store(pause=3)
    store.create_queue("q")
    store.purge_queue("q")
    store.send("q", OutgoingMessage("since then"))
    with LocalServer(store) as server:
        done = project.run("purge", "-Q", "q", "-f", PYQS_ENDPOINT_URL=server.endpoint_url)
    assert done.returncode == 0, done.stderr
    assert "purged less than a minute ago" in done.stderr
    assert store.queue_attributes("q")["ApproximateNumberOfMessages"] == "0"
    store.close()
