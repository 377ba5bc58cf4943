"""Cost of receive+delete in the embedded SQS at several backlogs, and messages per second over HTTP with boto3.

Run: ``python tests/bench/local_store.py [--db] [--cycles 300] [--http]``. Each cycle receives 10 messages of 500 bytes
and deletes them; sending 10 new ones, which keeps the backlog, is not timed. Prints the mean and the median per cycle
and the ratio to the smallest backlog.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from pyqs.local.server import LocalServer
from pyqs.local.store import Store
from pyqs.message import OutgoingMessage

BACKLOGS = (100, 10_000, 100_000)
BATCH = [OutgoingMessage("x" * 500) for _ in range(10)]


def cycle_times(path: str | None, backlog: int, cycles: int) -> list[float]:
    """Seconds of each receive+delete of 10 at this backlog."""
    store = Store(path)
    store.create_queue("q")
    for _ in range(backlog // 10):
        store.send_batch("q", BATCH)
    times = []
    for _ in range(cycles):
        start = time.perf_counter()
        received = store.receive("q", max_messages=10)
        store.delete_batch("q", [message.receipt_handle for message in received])
        times.append(time.perf_counter() - start)
        assert len(received) == 10
        store.send_batch("q", BATCH)
    store.close()
    return times


def over_http(path: str | None, count: int) -> tuple[float, float]:
    """Messages per second sent, and received and deleted, in batches of 10 by one boto3 thread in this process."""
    import boto3

    with LocalServer(Store(path)) as server:
        client = boto3.client(
            "sqs", endpoint_url=server.endpoint_url, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
        )
        url = client.create_queue(QueueName="q")["QueueUrl"]
        entries = [{"Id": str(i), "MessageBody": "x" * 500} for i in range(10)]
        start = time.perf_counter()
        for _ in range(count // 10):
            client.send_message_batch(QueueUrl=url, Entries=entries)
        sent = count / (time.perf_counter() - start)
        start = time.perf_counter()
        while messages := client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            handles = [{"Id": m["MessageId"], "ReceiptHandle": m["ReceiptHandle"]} for m in messages]
            client.delete_message_batch(QueueUrl=url, Entries=handles)
        return sent, count / (time.perf_counter() - start)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--db", action="store_true", help="with a file; otherwise in memory")
    parser.add_argument("--cycles", type=int, default=300)
    parser.add_argument("--http", action="store_true", help="also messages per second over HTTP")
    options = parser.parse_args()
    base = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for backlog in BACKLOGS:
            path = os.fspath(Path(folder) / f"{backlog}.db") if options.db else None
            times = cycle_times(path, backlog, options.cycles)
            mean = statistics.fmean(times)
            base = base or mean
            print(
                f"backlog {backlog:>7}: mean {mean * 1e3:.3f} ms  median {statistics.median(times) * 1e3:.3f} ms"
                f"  worst {max(times) * 1e3:.1f} ms  ratio of means {mean / base:.2f}",
                flush=True,
            )
        if options.http:
            path = os.fspath(Path(folder) / "http.db") if options.db else None
            sent, drained = over_http(path, 5000)
            print(f"over HTTP, batches of 10, one boto3 thread in the same process: {sent:.0f} sent/s, {drained:.0f} drained/s")


if __name__ == "__main__":
    main()
