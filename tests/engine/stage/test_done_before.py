"""A message whose task has ended for good is only deleted when it comes again, whatever has become of its first delete."""

from __future__ import annotations

from typing import Any

import pytest

from pyqs.wire import Run


@pytest.mark.parametrize("queue", ["jobs", "jobs.fifo"])
def test_what_comes_again_while_its_delete_fails_does_not_run_again(
    start: Any, stage: Any, sqs: Any, store: Any, send: Any, counts: Any, until: Any, queue: str
) -> None:
    fifo = queue.endswith(".fifo")
    url = sqs.create_queue(queue, {"FifoQueue": "true"} if fifo else {})
    send(queue, **({"group_id": "g", "dedup_id": "1"} if fifo else {}))
    running = start(queue)
    actor = stage.next()
    run = actor.expect(Run)
    actor.started(run)
    store.faults.add("error=500:action=DeleteMessage*")
    actor.done(run)
    until(lambda: running.worker._acker.failing()["delete"])
    sqs.change_visibility_batch(url, [(run.delivery.message.receipt_handle, 0)])  # as if its lease had been lost
    until(lambda: running.worker.totals.received == 2)
    store.faults.clear()
    until(lambda: counts(queue) == (0, 0, 0))
    until(lambda: not running.worker.held and not running.worker._acker.pending)
    assert actor.frames.empty(), "it is done"
