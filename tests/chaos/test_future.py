"""Far ETAs as Celery writes them: each runs once and in time, at the price of three requests a hop, whatever is refused."""

from __future__ import annotations

import json
import math
import os
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import pytest

from harness import checks
from harness.crew import Crew
from harness.faces import CELERY_LATE, EARLY, LATE, Face
from harness.report import SHORT, Report, pick
from processes import wait_until

COUNT = pick(long=100, short=24)
#: Seconds ahead of the scaled ETAs, and the longest hop that stands for SQS's 900 s.
NEAREST, FARTHEST = 5.0, pick(long=60.0, short=22.0)
LONGEST_HOP = pick(long=5, short=4)
WORKERS = 3
#: Seconds by which a task may be late when executors are free.
LATE_BY = 2.0
#: Seconds for which deletes are refused, and after which that begins.
REFUSED_FOR, REFUSED_AFTER = pick(long=20.0, short=8.0), 4.0
#: Requests of one hop: a receive, a send, a delete; batches make it less.
HOP_PRICE = 3


@dataclass
class Plan:
    """What was sent: number -> second (wall clock) at which it is due."""

    due: dict[int, float]
    sent_at: float


def write(crew: Crew, etas: Sequence[float]) -> Plan:
    """Send one task for each number of seconds ahead: with real Celery if there is one, else as it writes them."""
    python = os.environ.get("PYQS_INTEROP_CELERY57")
    if not python:
        now = time.time()
        texts = [datetime.fromtimestamp(now + ahead, timezone.utc).isoformat() for ahead in etas]
        crew.send([crew.face.message("work", number, 0.01, eta=text) for number, text in enumerate(texts)])
        return Plan({number: now + ahead for number, ahead in enumerate(etas)}, now)
    calls = json.dumps([[number, 0.01, ahead] for number, ahead in enumerate(etas)])
    said = crew.write("chaos_writer.py", calls, face=CELERY_LATE, python=python)
    now = float(said.split()[-1])  # when it began to write: its start takes seconds on a busy machine
    return Plan({number: now + ahead for number, ahead in enumerate(etas)}, now)


def start_workers(crew: Crew, *, scaled: bool = True) -> None:
    """The crew's workers, ready before anything is written: a start takes seconds of an ETA."""
    args = ("--include", "chaos_hops") if scaled else ()
    members = [crew.start(*args, env={"CHAOS_LONGEST_HOP": str(LONGEST_HOP)}) for _ in range(WORKERS)]
    for member in members:
        crew.wait_ready(member)


def spread(report: Report, count: int, farthest: float) -> list[float]:
    """Seconds ahead, evenly between the nearest and the farthest, in random order."""
    etas = [NEAREST + (farthest - NEAREST) * number / (count - 1) for number in range(count)]
    report.dice.shuffle(etas)
    return etas


def in_time(crew: Crew, plan: Plan, report: Report) -> None:
    """Each once, none early, none later than two seconds."""
    wait_until(lambda: crew.ledger.ended() >= set(plan.due))  # an early ack comes before the end
    first = {number: runs[0] for number, runs in checks.by_number(crew.ledger.runs()).items()}
    off = {number: run.wall - plan.due[number] for number, run in first.items()}
    report.add(earliest=min(off.values()), latest=max(off.values()), median_late=statistics.median(off.values()))
    report.add(**checks.summary(crew, list(plan.due)))
    checks.hold("lost", checks.lost(crew, plan.due))
    checks.hold("run more than once", checks.repeated(crew))
    # The ledger's wall clock is rounded to milliseconds.
    checks.hold(
        "early", [f"task {n} by {-late:.3f} s: {checks.history(crew.store, n)}" for n, late in off.items() if late < -0.001]
    )
    checks.hold(
        "late", [f"task {n} by {late:.3f} s: {checks.history(crew.store, n)}" for n, late in off.items() if late > LATE_BY]
    )


def hops(crew: Crew, plan: Plan, report: Report, *, longest: float, extra: int = 0) -> None:
    """No more copies than the way is long, and three requests for each."""
    sent = Counter(event.number for event in crew.store.events if event.kind == "sent")
    copies = {number: sent[number] - 1 for number in plan.due}
    report.add(copies=sum(copies.values()), most_copies=max(copies.values()))
    too_many = [
        f"task {number}, {plan.due[number] - plan.sent_at:.1f} s ahead, was copied {count} times: "
        + checks.history(crew.store, number)
        for number, count in copies.items()
        if count > math.ceil((plan.due[number] - plan.sent_at) / longest) + extra
    ]
    checks.hold("copied too often", too_many)


def price(crew: Crew, plan: Plan, report: Report) -> None:
    """Three requests a hop at most, empty polls left out: those are the price of being there."""
    seen: Counter[str] = Counter()
    for member in crew.members:
        seen.update(member.server.seen)
    copies = sum(event.kind == "sent" for event in crew.store.events) - len(plan.due)
    received = sum(event.kind == "received" for event in crew.store.events)  # at most one receive for each
    calls = received + seen["SendMessage"] + seen["SendMessageBatch"] + seen["DeleteMessage"] + seen["DeleteMessageBatch"]
    per_hop = (calls - 2 * len(plan.due)) / copies  # a receive and a delete belong to the run itself
    report.add(requests_per_hop_at_most=per_hop, visibility_changes=seen["ChangeMessageVisibilityBatch"])
    assert per_hop <= HOP_PRICE


def lives(crew: Crew, report: Report, most: int) -> None:
    """No message is received more often than that: a copy begins anew, a hide costs one."""
    counts = [event.receives for event in crew.store.events if event.kind == "received"]
    report.add(most_receives=max(counts))
    assert max(counts) <= most


def held(crew: Crew, report: Report) -> None:
    """What hops is in flight for a moment only: from its receive to the delete of the original."""
    received: dict[str, float] = {}
    moments: list[float] = []
    ran = {(run.number, run.worker): run.start for run in crew.ledger.runs()}
    for event in crew.store.events:
        if event.kind == "received":
            received[event.message_id] = event.at
        elif event.kind == "deleted" and event.message_id in received:
            began = received[event.message_id]
            start = ran.get((event.number or -1, event.by))
            if start is None or not began <= start <= event.at:  # not the run itself, which waits up to 2 s in an executor
                moments.append(event.at - began)
    report.add(median_held=statistics.median(moments), longest_held=max(moments))
    assert statistics.median(moments) < 0.5


@pytest.mark.parametrize("face", pick(long=[LATE, EARLY], short=[LATE]), ids=str)
def test_etas(face: Face, make_crew: Callable[..., Crew], report: Report) -> None:
    crew = make_crew(face)
    start_workers(crew)
    plan = write(crew, spread(report, COUNT, FARTHEST))
    crew.drain(timeout=FARTHEST + 30)
    in_time(crew, plan, report)
    hops(crew, plan, report, longest=LONGEST_HOP)
    price(crew, plan, report)
    lives(crew, report, 1)
    held(crew, report)


@pytest.mark.parametrize("fault", pick(long=["access-denied", "error=500"], short=["access-denied"]))
@pytest.mark.parametrize("face", pick(long=[LATE, EARLY], short=[LATE]), ids=str)
def test_etas_while_deletes_are_refused(face: Face, fault: str, make_crew: Callable[..., Crew], report: Report) -> None:
    report.add(fault=fault)
    crew = make_crew(face)
    start_workers(crew)
    plan = write(crew, spread(report, COUNT, FARTHEST))
    time.sleep(REFUSED_AFTER)
    for member in crew.members:
        member.door.faults.add(f"{fault}:action=DeleteMessage*")
    time.sleep(REFUSED_FOR)
    for member in crew.members:
        member.door.faults.clear()
    crew.drain(timeout=FARTHEST + 60)
    in_time(crew, plan, report)
    # Until a worker has seen its first delete fail it may copy once; copies of copies there are none.
    hops(crew, plan, report, longest=LONGEST_HOP, extra=WORKERS)
    lives(crew, report, 2)


def test_etas_while_sends_are_refused(make_crew: Callable[..., Crew], report: Report, store: Any) -> None:
    """Without sqs:SendMessage they are hidden in one step, so that none loses the lives of its queue's redrive policy."""
    store.create_queue("chaos-dead", {})
    arn = store.queue_attributes("chaos-dead", ["QueueArn"])["QueueArn"]
    store.create_queue("chaos", {"RedrivePolicy": json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 3})})
    crew = make_crew(LATE)
    start_workers(crew)
    for member in crew.members:
        member.door.faults.add("access-denied:action=SendMessage*")
    plan = write(crew, spread(report, COUNT, FARTHEST))
    crew.drain(timeout=FARTHEST + 30)
    in_time(crew, plan, report)
    hops(crew, plan, report, longest=math.inf)
    lives(crew, report, 2)
    assert not store.kept("chaos-dead")
    for member in crew.members:
        assert len(member.lines("messages are hidden instead")) <= 1
    assert crew.log_lines("messages are hidden instead")


@pytest.mark.skipif(SHORT, reason="twenty minutes, and nothing is scaled")
@pytest.mark.timeout(1800)
def test_etas_of_twenty_minutes_unscaled(make_crew: Callable[..., Crew], report: Report) -> None:
    crew = make_crew(LATE)
    start_workers(crew, scaled=False)
    plan = write(crew, spread(report, 100, 1200.0))
    wait_until(lambda: time.time() > plan.sent_at + 300, 400)
    for member in crew.members:
        member.door.faults.add("access-denied:action=DeleteMessage*")
    time.sleep(60)
    for member in crew.members:
        member.door.faults.clear()
    crew.drain(timeout=1200)
    in_time(crew, plan, report)
    hops(crew, plan, report, longest=900, extra=WORKERS)
    lives(crew, report, 2)
