"""Running all that was enqueued, in the middle of a test: workers in this process, one after the other, until nothing is left.

Owns: ``drain``. Runs in tests, in the test's thread, while the tasks run in others. Never waits for what is delayed or hidden.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pyqs import events
from pyqs.clock import boottime
from pyqs.config import WorkerConfig
from pyqs.errors import QueueNotFound
from pyqs.sqs import Sqs
from pyqs.testing.worker import InProcessWorker

#: Seconds between two looks.
_PAUSE = 0.005
_VISIBLE = "ApproximateNumberOfMessages"


def drain(
    connector: Callable[[], Sqs], only: Sequence[str] = (), *, check: bool = True, timeout: float = 30.0
) -> dict[str, int]:
    """Run the native tasks of what is visible, and of what those bring about.

    Parameters:
        connector: makes a client.
        only: names of the queues; without any all of them.
        check: a task that fails, and a message that cannot be run, is an error.
        timeout: seconds for all of it.

    Returns:
        how many deliveries have ended in which way: ``{"succeeded": 2}``.

    Raises:
        AssertionError: not all have succeeded. TimeoutError: it takes longer.
    """
    done: Counter[str] = Counter()
    deadline = boottime() + timeout
    looking = connector()
    with _failures() as failures:
        while queues := _with_messages(looking, only):
            worker = InProcessWorker(WorkerConfig(queues), connector())
            worker.start()
            # A message that is just being received when it looks idle is given back by the stop, and the next worker's.
            while _with_messages(looking, queues) or not worker.idle:
                if boottime() >= deadline:
                    raise _too_late(worker, queues, timeout)
                time.sleep(_PAUSE)
            worker.stop()
            done.update(worker.totals.done)
    wrong = {status: count for status, count in done.items() if status != "succeeded"}
    if check and wrong:
        words = ", ".join(f"{count} {status}" for status, count in wrong.items())
        raise AssertionError(f"not all have succeeded: {words} (the log has more)\n\n" + "\n".join(failures))
    return dict(done)


def _too_late(worker: InProcessWorker, queues: Sequence[str], timeout: float) -> TimeoutError:
    running = ", ".join(worker.running) or "none"
    with contextlib.suppress(RuntimeError):  # says the same
        worker.stop(0)
    return TimeoutError(f"queues {', '.join(queues)} are not drained after {timeout:g} s; tasks that run: {running}")


def _with_messages(sqs: Sqs, only: Sequence[str]) -> tuple[str, ...]:
    """The queues on which something is visible."""
    urls = list(sqs.list_queues())
    if only:
        urls = []
        for name in only:
            with contextlib.suppress(QueueNotFound):
                urls.append(sqs.queue_url(name))
    return tuple(url.rpartition("/")[2] for url in urls if int(sqs.queue_attributes(url, (_VISIBLE,))[_VISIBLE]))


@contextlib.contextmanager
def _failures() -> Iterator[list[str]]:
    """What the tasks raise in this block: each one's name and traceback."""
    found: list[str] = []

    def note(context: dict[str, Any]) -> None:
        if context["status"] == "exception":
            found.append(f"{context['full_task_path']}: {context['exception']}")

    hooks = events.get_events().post_process
    hooks.append(note)
    try:
        yield found
    finally:
        if note in hooks:
            hooks.remove(note)
