"""What it costs to say who may receive next, by the number of queues: ends of tasks a second, every queue's fetcher waiting.

One flooded queue runs at full speed, and is received from again, ten at a time, while the others wait for room, which is when
every end asks who is next. Runs in the benchmark's process alone; needs no SQS.
"""

from __future__ import annotations

import threading
import time

from kit.options import Options
from kit.results import record
from pyqs.worker.credit import Credit

ENDS = 2000


def measure(queues: int, seconds: float) -> float:
    """Ends a second with so many queues waiting, the flooded one's tasks taking so long."""
    credit, stopping = Credit(), threading.Event()
    credit.executors(4)
    receive(credit, stopping)
    credit.ended("flood", seconds)
    while receive(credit, stopping):
        pass
    threads = [
        threading.Thread(target=credit.acquire, args=(f"q{n}",), kwargs={"timeout": 3600.0, "stopping": stopping}, daemon=True)
        for n in range(queues)
    ]
    for thread in threads:
        thread.start()
    began = time.perf_counter()
    for number in range(ENDS):
        credit.ended("flood", seconds)
        if number % 10 == 9:
            receive(credit, stopping)
    taken = time.perf_counter() - began
    stopping.set()
    credit.wake()
    for thread in threads:
        thread.join()
    return ENDS / taken


def receive(credit: Credit, stopping: threading.Event) -> int:
    """One receive of the flooded queue that brings all it may."""
    grant = credit.acquire("flood", timeout=0.0, stopping=stopping)
    if grant is None:
        return 0
    credit.received(grant, grant.count)
    return grant.count


def main(options: Options) -> None:
    """Print one line for each number of queues."""
    print("\ncredit: ends of tasks a second")
    for number in range(options.rounds):
        for queues in (1, 10) if options.short else (1, 10, 100, 1000):
            rate = measure(queues, 0.001)
            record("credit", case="ends", peer=f"{queues} queues wait", round=number, rate=rate)
            print(f"  {number} {queues:5d} queues wait: {rate:10,.0f} ends a second", flush=True)
