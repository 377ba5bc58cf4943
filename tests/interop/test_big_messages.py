"""Bodies in S3, with AWS's own Extended Client Library on the other side, on ministack's SQS and S3."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

import emulators
from processes import Project, wait_until
from pyqs.config import ConnectionConfig
from pyqs.message import OutgoingMessage
from pyqs.producer import Producer

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
KEYS = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_DEFAULT_REGION": "us-east-1"}
TASKS = """
from pyqs import task

@task(queue="jobs")
def take(blob):
    with open("ran.txt", "a") as out:
        out.write(f"take {len(blob)}\\n")
"""
BODY = json.dumps({"task": "tasks.take", "args": ["ü" * 400_000], "kwargs": {}}, ensure_ascii=False)


class Aws:
    """Both services, the bucket, and who talks to them."""

    def __init__(self, url: str, python: str, directory: Path) -> None:
        self.url, self._python, self.directory = url, python, directory
        keys = {"aws_access_key_id": "k", "aws_secret_access_key": "s", "region_name": "us-east-1"}
        self.s3 = boto3.client("s3", endpoint_url=url, **keys)
        self.s3.create_bucket(Bucket="big")
        self.sqs = boto3.client("sqs", endpoint_url=url, **keys)
        self.queue = self.sqs.create_queue(QueueName="jobs")["QueueUrl"]
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYQS_"))}
        self.env |= KEYS | {"AWS_ENDPOINT_URL": url}

    @property
    def objects(self) -> list[Any]:
        return list(self.s3.list_objects_v2(Bucket="big").get("Contents") or ())

    @property
    def messages(self) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        return sum(map(int, self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=names)["Attributes"].values()))

    def extended(self, *args: str) -> str:
        command = [self._python, str(HERE / "interop_extended.py"), *args]
        done = subprocess.run(command, capture_output=True, text=True, env=self.env, timeout=100, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout


@pytest.fixture
def aws(find_peer: Callable[[str], str], tmp_path: Path) -> Iterator[Aws]:
    python = find_peer("PYQS_INTEROP_EXTENDED")
    with emulators.ministack("sqs,s3") as url:
        yield Aws(url, python, tmp_path)


@pytest.mark.parametrize("legacy", [False, True])
def test_what_awss_client_has_put_away_is_run_and_deleted(aws: Aws, legacy: bool) -> None:
    (aws.directory / "body").write_text(BODY)
    (aws.directory / "tasks.py").write_text(TASKS)
    aws.extended("send", "jobs", "big", str(aws.directory / "body"), *(["legacy"] if legacy else []))
    assert len(aws.objects) == 1
    project = Project(aws.directory, aws.env | {"PYTHONPATH": str(ROOT), "PYQS_LARGE_PAYLOAD_BUCKET": "big"})
    try:
        worker = project.start("-Q", "jobs", "-c", "1")
        worker.wait_ran("take 400000")
        wait_until(lambda: not aws.objects and not aws.messages)
    finally:
        project.end()


def test_what_we_have_put_away_awss_client_reads(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (KEYS | {"AWS_ENDPOINT_URL": aws.url}).items():
        monkeypatch.setenv(name, value)
    Producer(ConnectionConfig(large_payload_bucket="big")).send("jobs", OutgoingMessage(BODY))
    assert len(aws.objects) == 1
    assert json.loads(aws.extended("receive", "jobs", "big")) == BODY


def test_ours_with_ours(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (KEYS | {"AWS_ENDPOINT_URL": aws.url}).items():
        monkeypatch.setenv(name, value)
    (aws.directory / "tasks.py").write_text(TASKS)
    connection = ConnectionConfig(large_payload_bucket="big")
    Producer(connection).send_many("jobs", [OutgoingMessage(BODY)] * 12)
    env = aws.env | {"PYTHONPATH": str(ROOT), "PYQS_LARGE_PAYLOAD_BUCKET": "big"}
    project = Project(aws.directory, env)
    try:
        worker = project.start("-Q", "jobs", "-c", "2", "--burst", ready=None)
        assert worker.wait_exit() == 0, worker.log()
        assert len(worker.ran("take 400000")) == 12
    finally:
        project.end()
    assert not aws.objects
