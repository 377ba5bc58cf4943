"""Move tasks of the embedded SQS that the contract cannot show: they go on after a restart, and not beyond the store's end."""

from __future__ import annotations

import json
import time
from pathlib import Path

from pyqs.local.store import Store
from pyqs.message import OutgoingMessage

ARN = "arn:aws:sqs:us-east-1:000000000000:dead"


def status(store: Store) -> str:
    return store.list_moves(ARN)[0].status


def visible(store: Store, name: str) -> int:
    return int(store.queue_attributes(name)["ApproximateNumberOfMessages"])


def test_a_task_goes_on_where_the_file_was_left(tmp_path: Path) -> None:
    path = str(tmp_path / "queues")
    store = Store(path)
    store.create_queue("dead")
    store.create_queue("other")
    store.create_queue("q", {"RedrivePolicy": json.dumps({"deadLetterTargetArn": ARN, "maxReceiveCount": 1})})
    for _ in range(20):
        store.send_batch("dead", [OutgoingMessage("body")] * 10)
    handle = store.start_move(ARN, "arn:aws:sqs:us-east-1:000000000000:other", 50)
    assert status(store) == "RUNNING"
    store.close()
    store = Store(path)
    assert visible(store, "dead") > 0
    store.cancel_move(handle)
    deadline = time.monotonic() + 30
    while status(store) == "CANCELLING":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert status(store) == "CANCELLED"
    assert visible(store, "dead") + visible(store, "other") == 200
    store.delete_queue("dead")
    store.close()
