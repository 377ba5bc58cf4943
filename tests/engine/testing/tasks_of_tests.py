"""Native tasks of these tests. A worker in a process of its own imports this module, too."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import pyqs
from pyqs.interruption import interruptible, should_stop

seen: list[Any] = []
go_on = threading.Event()
begun = threading.Event()


@pyqs.task(queue="jobs")
def note(*args: Any) -> None:
    seen.append(args)


@pyqs.task(queue="jobs")
def where() -> None:
    seen.append((os.getpid(), threading.current_thread() is threading.main_thread()))


@pyqs.task(queue="jobs")
def calls_another(number: int) -> None:
    seen.append(number)
    if number:
        calls_another.delay(number - 1)


@pyqs.task(queue="jobs")
def fails() -> None:
    raise ValueError("what is wrong")


@pyqs.task(queue="jobs", soft_time_limit=0.2)
def runs_into_its_soft_limit() -> None:
    try:
        while not go_on.wait(0.01):
            pass
    except pyqs.SoftTimeLimitExceeded:
        seen.append("soft limit")


@pyqs.task(queue="jobs", time_limit=0.3, retry_backoff=(1, 1))
def runs_into_its_hard_limit() -> None:
    seen.append("began")
    while not go_on.wait(0.01):
        pass
    seen.append("ended")


@pyqs.task(queue="jobs")
def waits() -> None:
    begun.set()
    seen.append("went on" if go_on.wait(10) else "waited for too long")


@pyqs.task(queue="jobs")
def looks_whether_it_should_stop() -> None:
    begun.set()
    deadline = time.monotonic() + 10
    while not should_stop() and time.monotonic() < deadline:
        time.sleep(0.01)
    seen.append(f"should stop: {should_stop()}")


@pyqs.task(queue="jobs")
def can_be_interrupted() -> None:
    with interruptible():
        begun.set()
        while not go_on.wait(0.01):
            pass
    seen.append("ended")


@pyqs.task(queue="orders.fifo", group_id=lambda group, number: group)
def in_order(group: str, number: int) -> None:
    seen.append((group, number))


@pyqs.task(queue="mail", delay_seconds=5)
def mail(address: str, copy_to: str = "") -> None:
    seen.append(address)


@pyqs.task(queue="files")
def write(path: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(str(os.getpid()))
