"""Cost of receive+delete in the embedded SQS at several backlogs, and messages per second over HTTP with boto3.

Each cycle receives 10 messages of 500 bytes and deletes them; sending 10 new ones, which keeps the backlog, is not timed. The
ratio is to the smallest backlog; in memory and with a file. Runs in the benchmark's process, which holds the store.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path

from kit.options import Options
from kit.results import record
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


def main(options: Options) -> None:
    """Measure and print."""
    for kind in ("memory", "file"):
        with tempfile.TemporaryDirectory() as folder:
            print(f"\nlocal_store, kept in {kind}")
            _by_backlog(None if kind == "memory" else Path(folder), kind, options)
            path = None if kind == "memory" else os.fspath(Path(folder) / "http.db")
            sent, drained = over_http(path, 200 if options.short else 5000)
            record("local_store", case="http", peer=kind, round=0, sent=sent, drained=drained)
        print(f"  over HTTP, batches of 10, one boto3 thread in the same process: {sent:.0f} sent/s, {drained:.0f} drained/s")


def _by_backlog(folder: Path | None, kind: str, options: Options) -> None:
    base = 0.0
    for backlog in BACKLOGS[:2] if options.short else BACKLOGS:
        path = os.fspath(folder / f"{backlog}.db") if folder else None
        times = cycle_times(path, backlog, 30 if options.short else 300)
        mean = statistics.fmean(times)
        base = base or mean
        record(
            "local_store",
            case=f"cycle {backlog}",
            peer=kind,
            round=0,
            mean_ms=mean * 1e3,
            median_ms=statistics.median(times) * 1e3,
        )
        print(
            f"  backlog {backlog:>7}: mean {mean * 1e3:.3f} ms  median {statistics.median(times) * 1e3:.3f} ms"
            f"  worst {max(times) * 1e3:.1f} ms  ratio of means {mean / base:.2f}",
            flush=True,
        )
