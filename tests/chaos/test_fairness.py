"""Who waits for whom: a flooded queue beside calm ones, short tasks beside a long one, shares by weight, limits.

A wait is counted from the moment at which SQS has accepted the message to the start that the task itself writes down.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import pytest

from harness import checks
from harness.crew import Crew
from harness.faces import NATIVE
from harness.report import Report, pick
from processes import wait_until

FLOOD = pick(long=5000, short=1000)
#: Seconds for which the calm queues get one task each every half second.
CALM_FOR = pick(long=30.0, short=6.0)
CALM = tuple(f"calm-{number}" for number in range(9))
#: Seconds that a short task takes.
SHORT_TASK = 0.05
#: Numbers of the tasks of the calm queues begin here.
CALM_FROM = 100_000


def waits(crew: Crew, numbers: Sequence[int]) -> list[float]:
    """Seconds from sent to started, of each, shortest first."""
    sent = {one.number: one.at for one in list(crew.store.events) if one.kind == "sent"}
    first = {number: runs[0].start for number, runs in checks.by_number(crew.ledger.runs()).items()}
    missing = [number for number in numbers if number not in first]
    assert not missing, f"{len(missing)} tasks have not started: {missing[:10]}"
    return sorted(first[number] - sent[number] for number in numbers)


def percentile(values: Sequence[float], part: float) -> float:
    """Of sorted values."""
    return values[min(len(values) - 1, int(part * len(values)))]


def test_a_flooded_queue_holds_up_no_other(make_crew: Callable[..., Crew], report: Report) -> None:
    crew = make_crew(NATIVE, queues=("flood", *CALM), lease=30)
    crew.wait_ready(crew.start(concurrency=4))
    crew.send([NATIVE.message("work", n, SHORT_TASK) for n in range(FLOOD)], "flood")
    wait_until(lambda: len(crew.ledger.ended()) > 40, 30)
    numbers: list[int] = []
    begun = time.monotonic()
    while time.monotonic() - begun < CALM_FOR:
        for queue in CALM:
            numbers.append(CALM_FROM + len(numbers))
            crew.send([NATIVE.message("work", numbers[-1], SHORT_TASK)], queue)
        time.sleep(0.5)
    assert crew.left("flood"), "the flood was over too early to say anything"
    flood_by_then = len([n for n in crew.ledger.ended() if n < CALM_FROM])
    wait_until(lambda: crew.ledger.started() >= set(numbers), 60)
    seen = waits(crew, numbers)
    elapsed = time.monotonic() - begun
    report.add(
        calm_tasks=len(numbers), p50=statistics.median(seen), p95=percentile(seen, 0.95), longest=seen[-1],
        flood_ended=flood_by_then, ended_a_second=(flood_by_then + len(numbers)) / elapsed,
    )  # fmt: skip
    crew.drain(timeout=300)
    checks.hold("repeated", checks.repeated(crew))
    assert percentile(seen, 0.95) < 1.0


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("place", ["first", "middle"])
def test_a_long_task_holds_up_no_short_one(place: str, workers: int, make_crew: Callable[..., Crew], report: Report) -> None:
    """One task of 20 s and 200 of 50 ms, four executors in all, of which three are left for the short ones."""
    crew = make_crew(NATIVE, lease=30)
    for member in [crew.start(concurrency=4 // workers) for _ in range(workers)]:
        crew.wait_ready(member)
    short = list(range(1, 201))
    messages = [NATIVE.message("work", n, SHORT_TASK) for n in short]
    messages.insert(0 if place == "first" else 100, NATIVE.message("work", 0, 20.0))
    crew.send(messages)
    wait_until(lambda: crew.ledger.ended() >= set(short), 60)
    runs = [run for run in crew.ledger.runs() if run.number]
    begun = min(one.at for one in list(crew.store.events) if one.kind == "sent")
    took = max(run.end or 0.0 for run in runs) - begun
    own_work = len(short) * SHORT_TASK / 3
    released = len([one for one in list(crew.store.events) if one.kind == "hidden" and one.until <= one.at])
    report.add(place=place, workers=workers, took=took, own_work=own_work, beyond=took - own_work, released=released)
    crew.drain(timeout=60)
    checks.hold("repeated", checks.repeated(crew))
    assert took < own_work + pick(long=2.0, short=5.0)  # the short form shares its machine; the long task takes 20 s


def test_what_a_worker_holds_is_released_when_its_tasks_become_long(make_crew: Callable[..., Crew], report: Report) -> None:
    """One worker has learned that tasks are short, then all its executors get long ones; a second worker comes."""
    crew = make_crew(NATIVE, lease=60)
    first = crew.wait_ready(crew.start(concurrency=2))
    crew.send([NATIVE.message("work", n, 0.005) for n in range(100)])
    wait_until(lambda: len(crew.ledger.ended()) == 100, 60)
    long, behind = [100, 101], list(range(102, 132))
    crew.send([NATIVE.message("work", n, 20.0) for n in long] + [NATIVE.message("work", n, 0.005) for n in behind])
    crew.wait_ready(crew.start(concurrency=2))
    wait_until(lambda: crew.ledger.started() >= set(behind), 60)
    seen = waits(crew, behind)
    held_by_first = {one.number for one in list(crew.store.events) if one.kind == "received" and one.by == first.name}
    receives = [one.receives for one in list(crew.store.events) if one.kind == "received" and one.number in behind]
    report.add(
        p50=statistics.median(seen),
        longest=seen[-1],
        held_by_the_first=len(held_by_first & set(behind)),
        receives=max(receives),
    )
    crew.drain(timeout=90)
    checks.hold("repeated", checks.repeated(crew))
    assert max(receives) <= 2, "one life, and no more"
    assert seen[-1] < 10.0, "not after a lease, and not after the long tasks"


def test_weights_and_limits_of_queues_that_are_full(make_crew: Callable[..., Crew], report: Report) -> None:
    """Of three full queues one has weight 3, one weight 1, and one may run one task at a time."""
    names = ("heavy", "light", "one")
    crew = make_crew(NATIVE, queues=names, lease=30)
    crew.queues = ("heavy:weight=3", "light", "one:max=1")
    member = crew.start(concurrency=3)
    crew.queues = names
    count = pick(long=600, short=200)
    for place, queue in enumerate(names):
        crew.send([NATIVE.message("work", place * 10_000 + n, SHORT_TASK) for n in range(count)], queue)
    crew.wait_ready(member)
    wait_until(lambda: len([n for n in crew.ledger.ended() if n < 10_000]) >= count * 0.75, 120)
    runs = crew.ledger.runs()
    heavy, light, one = ([run for run in runs if run.number // 10_000 == place] for place in range(3))
    marks = sorted([(run.start, 1) for run in one] + [(run.end, -1) for run in one if run.end is not None])
    most, now = 0, 0
    for _, step in marks:
        now += step
        most = max(most, now)
    ratio = len(heavy) / len(light)
    report.add(heavy=len(heavy), light=len(light), one=len(one), ratio=ratio, most_of_one=most)
    crew.terminate(member, 30)
    assert most == 1
    assert 2.2 < ratio < 3.8
