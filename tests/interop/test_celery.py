"""Real Celery writes and we run; we write and real Celery runs. Each call once, with the right arguments."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from emulators import ministack

QUEUE = "interop-queue"
OUR_WORKER = [sys.executable, "-m", "pyqs", "worker", "-A", "interop_tasks", "-c", "2", "-l", "WARNING"]


def celery_worker(python: str) -> list[str]:
    return [
        python, "-m", "celery", "-A", "interop_tasks", "worker", "-c", "2", "-l", "WARNING", "--without-gossip",
        "--without-mingle", "--without-heartbeat",
    ]  # fmt: skip


def celery_writes(interop: Any, python: str, count: int) -> None:
    expected = interop.write(python, "interop_writer.py", count, foreign=True)
    interop.drain(interop.start("worker", OUR_WORKER), expected)
    assert interop.left(QUEUE) == 0


def we_write(interop: Any, python: str, count: int) -> None:
    expected = interop.write(sys.executable, "interop_writer.py", count, foreign=False)
    interop.drain(interop.start("worker", celery_worker(python), foreign=True), expected)
    assert interop.left(QUEUE) == 0


def test_twenty_calls_written_by_celery_57(interop: Any, find_peer: Callable[[str], str]) -> None:
    celery_writes(interop, find_peer("PYQS_INTEROP_CELERY57"), 20)


def test_twenty_calls_run_by_celery_57(interop: Any, find_peer: Callable[[str], str]) -> None:
    we_write(interop, find_peer("PYQS_INTEROP_CELERY57"), 20)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_hundred_calls_written_by_celery_57(interop: Any, find_peer: Callable[[str], str]) -> None:
    celery_writes(interop, find_peer("PYQS_INTEROP_CELERY57"), 200)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_hundred_calls_written_by_celery_44(interop: Any, find_peer: Callable[[str], str]) -> None:
    celery_writes(interop, find_peer("PYQS_INTEROP_CELERY44"), 200)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_hundred_calls_run_by_celery_57(interop: Any, find_peer: Callable[[str], str]) -> None:
    we_write(interop, find_peer("PYQS_INTEROP_CELERY57"), 200)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_hundred_calls_run_by_celery_44(interop: Any, find_peer: Callable[[str], str]) -> None:
    """Its kombu receives by SQS's old query protocol, which ministack speaks, and only a boto3 of its time can read that."""
    python = find_peer("PYQS_INTEROP_CELERY44_WORKER")
    with ministack("sqs") as url:
        interop.env.update(AWS_ENDPOINT_URL_SQS=url, INTEROP_PORT=url.rpartition(":")[2], INTEROP_READER="celery44")
        we_write(interop, python, 200)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_both_workers_share_one_queue(interop: Any, find_peer: Callable[[str], str]) -> None:
    """The cut-over: Celery's worker and ours side by side, both clients writing, each call run once by one of them."""
    python = find_peer("PYQS_INTEROP_CELERY57")
    expected = interop.write(python, "interop_writer.py", 60, foreign=True)
    celery = interop.start("celery", celery_worker(python), foreign=True)
    ours = interop.start("worker", OUR_WORKER)
    expected += interop.write(sys.executable, "interop_writer.py", 60, foreign=False)
    interop.wait_for(lambda: len(interop.ran()) >= len(expected), ours)
    celery.terminate()
    celery.wait(60)
    interop.drain(ours, expected)
    assert interop.left(QUEUE) == 0
