"""Fixtures of pytest for native tasks, and for what any task has sent: ``pytest_plugins = ["pyqs.testing.pytest"]``.

Owns: the fixtures, which are this module's whole interface. Runs in tests. It is no entry point: a suite that does not name it
loads nothing of it, and one that does loads nothing but pytest before a fixture is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pyqs.local.server import LocalServer
    from pyqs.testing.process import WorkerProcess
    from pyqs.testing.recording import Enqueued, Place, Sent
    from pyqs.testing.worker import InProcessWorker


@pytest.fixture
def pyqs_sqs() -> Iterator[Place]:
    """An SQS in memory, for this test alone: all that the test sends goes there, whatever the settings say.

    Native tasks, and Celery tasks of ``pyqs_celery_compat``; those of an app on ``memory://`` go on to where they would.
    """
    from pyqs.producer import sending_elsewhere
    from pyqs.testing.recording import Place

    place = Place()
    with sending_elsewhere(place):
        yield place
    place.store.close()


@pytest.fixture
def enqueued(pyqs_sqs: Place) -> Enqueued:
    """``enqueued(task)``: what was sent, a list with the ``args``, ``kwargs``, ``queue`` and ``delay`` of each (``Sent``)."""
    from pyqs.testing.recording import Enqueued

    return Enqueued(pyqs_sqs)


@pytest.fixture
def assert_enqueued(enqueued: Enqueued) -> Callable[..., Sent]:
    """``assert_enqueued(task, 1, x=2, queue="mail", delay=60, count=1)``: see ``Enqueued.assert_enqueued``."""
    return enqueued.assert_enqueued


@pytest.fixture
def pyqs_drain(pyqs_sqs: Place) -> Callable[..., dict[str, int]]:
    """``pyqs_drain()`` runs what was enqueued, and what that enqueues, in threads of this process; how many ended in which way.

    Parameters: names of queues, for some of them only; ``timeout`` in seconds; ``check=False`` where tasks are to fail: else
    one that does not succeed is an AssertionError.
    """
    from pyqs.testing.draining import drain

    def run(*queues: str, check: bool = True, timeout: float = 30.0) -> dict[str, int]:
        return drain(pyqs_sqs.plain_client, queues, check=check, timeout=timeout)

    return run


@pytest.fixture
def pyqs_thread_worker(pyqs_sqs: Place) -> Iterator[Callable[..., InProcessWorker]]:
    """``pyqs_thread_worker("mail", concurrency=2)`` starts a worker in threads of this process, which stops after the test."""
    from pyqs.config import WorkerConfig
    from pyqs.testing.worker import InProcessWorker

    started: list[InProcessWorker] = []

    def start(*queues: str, **settings: Any) -> InProcessWorker:
        settings = {"create_queues": True, **settings}
        worker = InProcessWorker(WorkerConfig(queues, **settings), pyqs_sqs.plain_client())
        started.append(worker)
        worker.start()
        return worker

    yield start
    for worker in started:
        worker.stop()


@pytest.fixture
def pyqs_server(pyqs_sqs: Place) -> Iterator[LocalServer]:
    """``pyqs_sqs`` over HTTP on this machine: ``pyqs_server.endpoint_url``."""
    from pyqs.local.server import LocalServer

    with LocalServer(pyqs_sqs.store) as server:
        yield server


@pytest.fixture
def pyqs_worker(
    pyqs_sqs: Place, pyqs_server: LocalServer, request: pytest.FixtureRequest, tmp_path: Any
) -> Iterator[Callable[..., WorkerProcess]]:
    """``pyqs_worker("-Q", "mail", "--include", "tasks")`` starts `pyqs worker`, a process as in production, on ``pyqs_sqs``.

    It is started in pytest's rootdir and stopped after the test, which fails if the worker has.
    """
    from pyqs.testing.process import WorkerProcess

    started: list[WorkerProcess] = []

    def start(*options: str, directory: str | None = None) -> WorkerProcess:
        place = directory or str(request.config.rootpath)
        log = tmp_path / f"pyqs-worker-{len(started)}.log"
        worker = WorkerProcess(options, pyqs_server.endpoint_url, place, log, pyqs_sqs.left)
        try:
            worker.wait_ready()
        except BaseException:
            worker.kill()
            raise
        started.append(worker)
        return worker

    yield start
    for worker in started:
        worker.stop()
