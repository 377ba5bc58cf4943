"""Receive and delete by our own client, nothing else: what the worker pays on top of it. argv: number of threads."""

import os
import sys
import threading

from pyqs.config import ConnectionConfig
from pyqs.sqs import connect

THREADS = int(sys.argv[1])
sqs = connect(ConnectionConfig.from_environment())
url = sqs.queue_url(os.environ["BENCH_QUEUE"])


def drain() -> None:
    while True:
        found = sqs.receive(url, wait=20)
        if found:
            sqs.delete_batch(url, [message.receipt_handle for message in found])


for _ in range(THREADS - 1):
    threading.Thread(target=drain, daemon=True).start()
drain()
