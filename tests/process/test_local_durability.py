"""``python -m pyqs.local`` as a process: what it acknowledged survives SIGKILL, and how it starts and ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

ROOT = Path(__file__).parents[2]


class Server:
    """One server process."""

    def __init__(self, *options: str) -> None:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
        environment["PYTHONPATH"] = str(ROOT)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pyqs.local", "--port", "0", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.lines: list[str] = []
        assert self.process.stdout is not None
        while not any(line.startswith("export AWS_DEFAULT_REGION") for line in self.lines):
            line = self.process.stdout.readline()
            assert line, self.process.communicate()[1]
            self.lines.append(line.rstrip())
        self.endpoint = next(
            re.search(r"AWS_ENDPOINT_URL_SQS=(\S+)", line).group(1) for line in self.lines if "ENDPOINT" in line
        )

    def client(self) -> Any:
        return boto3.client(
            "sqs",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="x",
            aws_secret_access_key="x",
            config=Config(retries={"total_max_attempts": 1}),
        )

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(10)


@pytest.fixture
def start() -> Iterator[Callable[..., Server]]:
    started: list[Server] = []

    def start(*options: str) -> Server:
        started.append(Server(*options))
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.process.kill()
        server.process.communicate()


class Writers:
    """Threads that send and delete until the server is gone, and remember what was acknowledged."""

    def __init__(self, server: Server, queue: str) -> None:
        self.sent: set[str] = set()
        self.tried: set[str] = set()
        self.deleted: set[str] = set()
        self.maybe_deleted: set[str] = set()
        self._lock = threading.Lock()
        self._server, self._queue = server, queue
        jobs = [self._send, self._send_batch, self._send_batch, self._delete, self._delete]
        self.threads = [threading.Thread(target=self._run, args=(job,)) for job in jobs]
        for thread in self.threads:
            thread.start()

    def _run(self, job: Callable[[Any], None]) -> None:
        client = self._server.client()
        while True:
            try:
                job(client)
            except (BotoCoreError, ClientError):
                return

    def _send(self, client: Any) -> None:
        body = str(uuid.uuid4())
        with self._lock:
            self.tried.add(body)
        client.send_message(QueueUrl=self._queue, MessageBody=body)
        with self._lock:
            self.sent.add(body)

    def _send_batch(self, client: Any) -> None:
        bodies = [str(uuid.uuid4()) for _ in range(10)]
        with self._lock:
            self.tried.update(bodies)
        client.send_message_batch(
            QueueUrl=self._queue, Entries=[{"Id": str(index), "MessageBody": body} for index, body in enumerate(bodies)]
        )
        with self._lock:
            self.sent.update(bodies)

    def _delete(self, client: Any) -> None:
        messages = client.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=5, WaitTimeSeconds=1).get("Messages", [])
        bodies = {message["Body"] for message in messages}
        with self._lock:
            self.maybe_deleted.update(bodies)
        if messages:
            client.delete_message_batch(
                QueueUrl=self._queue,
                Entries=[{"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(messages)],
            )
        with self._lock:
            self.deleted.update(bodies)


def everything(client: Any, queue: str) -> list[str]:
    """All bodies that the queue still has, those in flight included once their second is over."""
    bodies: list[str] = []
    while messages := client.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=2).get("Messages"):
        bodies += [message["Body"] for message in messages]
        client.delete_message_batch(
            QueueUrl=queue, Entries=[{"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(messages)]
        )
    return bodies


def test_sigkill_during_writes_loses_no_acknowledged_send_and_undoes_no_acknowledged_delete(start, tmp_path):
    path = str(tmp_path / "queues.db")
    writers: list[Writers] = []
    for _ in range(3):  # killed again and again, on the same file
        server = start("--db", path)
        url = server.client().create_queue(QueueName="q", Attributes={"VisibilityTimeout": "1"})["QueueUrl"]
        writers.append(Writers(server, url))
        deadline = time.monotonic() + 20
        while len(writers[-1].sent) < 400 or len(writers[-1].deleted) < 50:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert server.end(signal.SIGKILL) == -signal.SIGKILL
        for thread in writers[-1].threads:
            thread.join(10)
    client = start("--db", path).client()
    left = everything(client, client.get_queue_url(QueueName="q")["QueueUrl"])
    sent = set().union(*(w.sent for w in writers))
    tried = set().union(*(w.tried for w in writers))
    deleted = set().union(*(w.deleted for w in writers))
    maybe_deleted = set().union(*(w.maybe_deleted for w in writers))
    assert len(left) == len(set(left))
    assert sent - maybe_deleted <= set(left), "an acknowledged send is lost"
    assert not deleted & set(left), "an acknowledged delete came back"
    assert set(left) <= tried


def test_the_whole_state_survives_sigkill(start, tmp_path):
    path = str(tmp_path / "queues.db")
    server = start("--db", path)
    client = server.client()
    dead = client.create_queue(QueueName="dead.fifo", Attributes={"FifoQueue": "true"}, tags={"team": "x"})["QueueUrl"]
    arn = client.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    attributes = {
        "FifoQueue": "true",
        "VisibilityTimeout": "600",
        "RedrivePolicy": f'{{"deadLetterTargetArn":"{arn}","maxReceiveCount":5}}',
    }
    url = client.create_queue(QueueName="f.fifo", Attributes=attributes)["QueueUrl"]
    for number in range(3):
        sent = client.send_message(
            QueueUrl=url, MessageBody=f"a{number}", MessageGroupId="a", MessageDeduplicationId=f"a{number}"
        )
    held = client.receive_message(QueueUrl=url)["Messages"][0]
    delayed = client.create_queue(QueueName="delayed")["QueueUrl"]
    client.send_message(QueueUrl=delayed, MessageBody="later", DelaySeconds=900)
    server.end(signal.SIGKILL)

    client = start("--db", path).client()
    url = client.get_queue_url(QueueName="f.fifo")["QueueUrl"]
    kept = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert (kept["VisibilityTimeout"], kept["FifoQueue"]) == ("600", "true")
    assert (kept["ApproximateNumberOfMessages"], kept["ApproximateNumberOfMessagesNotVisible"]) == ("2", "1")
    assert "Messages" not in client.receive_message(QueueUrl=url)  # the group is still locked
    again = client.send_message(QueueUrl=url, MessageBody="a2", MessageGroupId="a", MessageDeduplicationId="a2")
    assert again["MessageId"] == sent["MessageId"]  # the deduplication window too
    client.delete_message(QueueUrl=url, ReceiptHandle=held["ReceiptHandle"])
    following = client.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert [message["Body"] for message in following] == ["a1", "a2"]
    newer = client.send_message(QueueUrl=url, MessageBody="b", MessageGroupId="b", MessageDeduplicationId="b")
    assert newer["SequenceNumber"] > sent["SequenceNumber"]
    dead = client.get_queue_url(QueueName="dead.fifo")["QueueUrl"]
    assert client.list_queue_tags(QueueUrl=dead)["Tags"] == {"team": "x"}
    assert client.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"] == [url]
    counts = client.get_queue_attributes(
        QueueUrl=client.get_queue_url(QueueName="delayed")["QueueUrl"], AttributeNames=["All"]
    )["Attributes"]
    assert counts["ApproximateNumberOfMessagesDelayed"] == "1"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_code_0_also_during_long_polls(start, number):
    server = start()
    url = server.client().create_queue(QueueName="q")["QueueUrl"]
    polls = [threading.Thread(target=lambda: _poll(server.client(), url)) for _ in range(5)]
    for poll in polls:
        poll.start()
    time.sleep(0.3)
    begun = time.monotonic()
    assert server.end(number) == 0
    assert time.monotonic() - begun < 3
    for poll in polls:
        poll.join(5)
    assert server.process.communicate()[1] == ""


def _poll(client: Any, url: str) -> None:
    with pytest.raises(BotoCoreError):
        client.receive_message(QueueUrl=url, WaitTimeSeconds=20)


def test_it_prints_what_an_sdk_needs(start, tmp_path):
    lines = start().lines
    assert lines[1:] == [
        lines[1],
        "export AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local",
        "export AWS_DEFAULT_REGION=us-east-1",
    ]
    assert re.fullmatch(r"export AWS_ENDPOINT_URL_SQS=http://127\.0\.0\.1:\d+", lines[1])
    assert "in memory" in lines[0]
    assert str(tmp_path / "x.db") in start("--db", str(tmp_path / "x.db")).lines[0]


def refused(*options: str) -> str:
    """The one line of a server that does not start."""
    result = subprocess.run(
        [sys.executable, "-m", "pyqs.local", *options],
        capture_output=True,
        text=True,
        timeout=20,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr


def test_what_it_cannot_use_is_one_line_and_exit_2(start, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"cannot listen on 127.0.0.1:{port}" in refused("--port", str(port))
    assert "99999" in refused("--port", "99999")
    assert "unknown fault" in refused("--port", "0", "--fault", "gremlins")
    assert "exclude each other" in refused("--port", "0", "--memory", "--db", str(tmp_path / "x.db"))
    assert "nowhere" in refused("--port", "0", "--db", str(tmp_path / "nowhere" / "x.db"))
    text = tmp_path / "text.db"
    text.write_text("this is no database\n" * 100)
    assert "text.db" in refused("--port", "0", "--db", str(text))
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    assert "another program" in refused("--port", "0", "--db", str(other))
    path = str(tmp_path / "mine.db")
    start("--db", path)
    assert "another process has it open" in refused("--port", "0", "--db", path)


def test_faults_from_the_command_line(start):
    client = start("--fault", "access-denied:action=ListQueues", "--fault", "short=1").client()
    with pytest.raises(ClientError, match="AccessDenied"):
        client.list_queues()
    url = client.create_queue(QueueName="q")["QueueUrl"]
    for _ in range(3):
        client.send_message(QueueUrl=url, MessageBody="x")
    assert len(client.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]) == 1
