"""A worker that works for a long time among small troubles: its memory, its descriptors and its threads stay what they were."""

from __future__ import annotations

import itertools
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness import checks, growth
from harness.crew import Crew, Member
from harness.faces import LATE, NATIVE, QUEUE, Face
from harness.growth import Look
from harness.report import Report, pick
from processes import wait_until

TASKS = pick(long=200_000, short=5_000)
#: Seconds that it takes at least.
AT_LEAST = pick(long=1200.0, short=60.0)
CONCURRENCY = 2
#: Tasks after which an executor is replaced: often with one face; with the other so seldom that what grows would show.
RECYCLE = pick(long={"native": 5_000, "compat-late": 40_000}, short={"native": 1_500})
FAILING = 0.05
#: One of so many tasks takes longer than half its lease, so that it is renewed, which a fault refuses now and then.
LONG_EVERY = pick(long=2_000, short=500)
FAULTS = ("error=500:rate=0.01", "error=503:rate=0.005", "throttle:rate=0.005", "drop=after:rate=0.002")
LOST = pick(
    long="expired-handle:action=ChangeMessageVisibility:rate=0.3",
    short="expired-handle:action=ChangeMessageVisibility:rate=0.6",
)
#: Growth of memory that is allowed, and messages that wait in the queue at most.
GROWTH = 0.05
DEPTH = 400
LOOK_EVERY = pick(long=2.0, short=0.5)


@dataclass
class Watch:
    """Looks at a worker's processes again and again, in a thread of its own."""

    member: Member
    parent: list[Look] = field(default_factory=list)
    executors: list[Look] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.began = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(LOOK_EVERY):
            self.parent += self._look(self.member.pid)
            for pid in self.member.executors:
                self.executors += self._look(pid)

    def _look(self, pid: int) -> Iterator[Look]:
        try:
            memory = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            files = len(os.listdir(f"/proc/{pid}/fd"))
            threads = len(os.listdir(f"/proc/{pid}/task"))
        except OSError:
            return  # it has just been replaced
        yield Look(time.monotonic() - self.began, pid, memory, files, threads)


def feed(crew: Crew, report: Report) -> int:
    """Send tasks as they are taken, over the whole time; how many."""
    began, sent = time.monotonic(), 0
    numbers = itertools.count()
    while sent < TASKS or time.monotonic() - began < AT_LEAST:
        due = TASKS * (time.monotonic() - began) / AT_LEAST
        if waiting(crew) > DEPTH or sent > due + DEPTH:
            time.sleep(0.05)
            continue
        crew.send([message(crew.face, report, next(numbers)) for _ in range(100)])
        sent += 100
    return sent


def waiting(crew: Crew) -> int:
    """Messages that nobody has received yet."""
    return int(crew.store.queue_attributes(QUEUE, ["ApproximateNumberOfMessages"])["ApproximateNumberOfMessages"])


def message(face: Face, report: Report, number: int) -> object:
    if number % LONG_EVERY == LONG_EVERY - 1:
        return face.message("work", number, 7.0)
    task = "stumble" if report.dice.random() < FAILING else "work"
    return face.message(task, number, round(report.dice.uniform(0.0, 0.004), 4))


def series(looks: list[Look], parts: int = 20) -> list[str]:
    """Medians over time: MiB/descriptors/threads."""
    over = looks[-1].at
    found = []
    for part in range(parts):
        window = [one for one in looks if part * over <= one.at * parts < (part + 1) * over] or looks[-1:]
        memory, files, threads = (statistics.median(of(one) for one in window) for of, _ in growth.WHAT.values())
        found.append(f"{memory / 2**20:.1f}/{files:g}/{threads:g}")
    return found


@pytest.mark.parametrize("face", pick(long=(NATIVE, LATE), short=(NATIVE,)), ids=str)
@pytest.mark.timeout(3600)
def test_soak(face: Face, make_crew: Callable[..., Crew], report: Report) -> None:
    crew = make_crew(face, concurrency=CONCURRENCY)
    recycle = RECYCLE[face.name]
    member = crew.start("--max-tasks-per-child", str(recycle), "--include", "chaos_soak", "-l", "warning")
    wait_until(lambda: member.server.seen["ReceiveMessage"])
    for fault in FAULTS:
        member.door.faults.add(fault)
    crew.store.faults.add(LOST)
    watch = Watch(member)
    sent = feed(crew, report)
    watch.stop()
    member.door.faults.clear()
    crew.store.faults.clear()
    crew.drain(timeout=300)
    ending = crew.terminate(member, 60)
    numbers, runs = list(range(sent)), crew.ledger.runs()
    lost_leases = len(crew.log_lines("its lease (is|was) lost"))
    failures, executors = sum(run.how == "fail" for run in runs), len({run.pid for run in runs})
    report.add(**checks.summary(crew, numbers))
    report.add(lost_leases=lost_leases, failures=failures, executors=executors, exit_code=ending.code)
    report.add(judged_lives=growth.judged_lives(watch.executors))
    report.add(parent_over_time=series(watch.parent), executors_over_time=series(watch.executors))
    grown = []
    for name, looks in (("parent", watch.parent), ("executors", watch.executors)):
        for what, (of, _) in growth.WHAT.items():
            report.add(**{f"{name}_{what}": list(growth.medians(looks, of))})
        grown += [f"{name}: {line}" for line in growth.grown(looks, GROWTH)]
    grown += [f"executors, {line}" for line in growth.grown_in_lives(watch.executors, GROWTH)]
    checks.hold("lost", checks.lost(crew, numbers))
    checks.hold("grown", grown)
    assert executors >= CONCURRENCY + sent // recycle // 2, "executors were recycled"
    assert growth.judged_lives(watch.executors) >= CONCURRENCY, "lives were long enough to tell whether they grow"
    assert lost_leases, "leases were lost"
    assert failures >= FAILING * sent / 2, "tasks failed"
    assert ending.code == 0, member.log()[-3000:]
