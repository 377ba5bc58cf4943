"""The mixed fleet: a worker of genuine Celery 5.7 (prefork) and one of ours on one queue and one Redis, with faults on.

``nox -s mixed`` runs it: calls of all kinds, half of them made by either side, whose parts either side may run.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import real_redis
from harness import checks
from harness.crew import Crew
from harness.faces import CELERY_LATE, LATE
from harness.report import Report, pick

TASKS = pick(long=2000, short=240)
#: kind -> numbers that one call takes, and how often it is drawn.
KINDS = {
    "work": (1, 6), "eta": (1, 2), "again": (1, 2), "link": (2, 2), "errback": (2, 1), "chain": (3, 2), "group": (3, 1),
    "chord": (4, 2),
}  # fmt: skip
#: Strike both workers. A message that is handed out stays visible, one that was deleted comes back, order is broken, SQS fails
#: now and then.
FAULTS = (
    "duplicate:rate=0.03",
    "undelete:rate=0.03",
    "reorder:rate=0.2",
    "error:action=ReceiveMessage:rate=0.02",
    "error:action=Delete*:rate=0.02",
)
#: Seconds ahead of an eta at most: a Celery worker holds it in its memory, and after the queue's visibility timeout of 30 s
#: somebody else gets it, too.
AHEAD = 15.0
#: Of the runs, at least so much on either side.
SHARE = 0.05

Plan = list[tuple[str, int, float, float]]


def planned(report: Report) -> Plan:
    """Calls whose numbers are those of all tasks."""
    kinds, weights = list(KINDS), [weight for _, weight in KINDS.values()]
    plan: Plan = []
    number = 0
    while number < TASKS:
        (kind,) = report.dice.choices(kinds, weights)
        ahead = round(report.dice.uniform(2, AHEAD), 2) if kind == "eta" else 0.0
        plan.append((kind, number, round(report.dice.uniform(0.002, 0.05), 4), ahead))
        number += KINDS[kind][0]
    return plan


def test_a_celery_worker_and_ours_share_a_queue(make_crew: Callable[..., Crew], report: Report, tmp_path: Path) -> None:
    python = os.environ.get("PYQS_INTEROP_CELERY57")
    if not python:
        pytest.skip("PYQS_INTEROP_CELERY57 names no Python with Celery (nox -s mixed)")
    crew = make_crew(LATE)
    crew.python = python
    plan = planned(report)
    (tmp_path / "redis").mkdir()
    with real_redis.running(tmp_path / "redis") as server:
        env = {"CHAOS_BACKEND": server.url}
        members = {face.name: crew.start(env=env, face=face) for face in (LATE, CELERY_LATE)}
        for member in members.values():
            crew.wait_ready(member)
        for fault in FAULTS:
            crew.store.faults.add(fault)
        began = {}
        for half, face in enumerate((LATE, CELERY_LATE)):
            calls = [call for index, call in enumerate(plan) if index % 2 == half]
            said = crew.write("chaos_mixed_caller.py", json.dumps(calls), face=face, env=env)
            began |= {call[1]: float(said.split()[-1]) + call[3] for call in calls if call[0] == "eta"}
        crew.drain(timeout=pick(long=900, short=240))
        crew.store.faults.clear()
        for member in members.values():
            crew.terminate(member, 60)
    judge(crew, report, plan, began, {face: member.name for face, member in members.items()})


def judge(crew: Crew, report: Report, plan: Plan, due: dict[int, float], names: dict[str, str]) -> None:
    """Nothing lost, no eta early, no body before its header, and what ran twice was handed out twice."""
    runs = checks.by_number(crew.ledger.runs())
    kind_of = {number + more: kind for kind, number, *_ in plan for more in range(KINDS[kind][0])}
    first = {number: kind for kind, number, *_ in plan}
    failing = {number for number, kind in first.items() if kind == "errback"}
    ended = crew.ledger.ended() | {run.number for run in crew.ledger.runs() if run.how == "fail" and run.number in failing}
    again = {number for number, kind in first.items() if kind == "again"}
    shares = Counter(run.worker for found in runs.values() for run in found)
    more = {number: len(found) - (2 if number in again else 1) for number, found in runs.items()}
    deliveries = Counter(event.message_id for event in crew.store.events if event.kind == "received")
    numbers = {event.message_id: event.number for event in crew.store.events if event.kind == "received"}
    handed_out_again: Counter[int] = Counter()
    for message_id, count in deliveries.items():
        handed_out_again[numbers[message_id] or 0] += count - 1
    sent_again = Counter(event.number for event in crew.store.events if event.kind == "sent")
    report.add(
        tasks=len(kind_of), kinds=dict(Counter(kind for kind, *_ in plan)), lost=len(set(kind_of) - ended),
        runs_ours=shares[names[LATE.name]], runs_celery=shares[names[CELERY_LATE.name]],
        repeats=sum(count for count in more.values() if count > 0), messages_handed_out_again=sum(handed_out_again.values()),
    )  # fmt: skip
    history = {number: checks.history(crew.store, number) for number in set(kind_of) - ended}
    checks.hold("lost", [f"{kind_of[n]} {n}: {[str(run) for run in runs.get(n, ())]}; {text}" for n, text in history.items()])
    early = [f"{n}: {run.wall - due[n]:.2f} s" for n in due for run in runs.get(n, ()) if run.wall < due[n] - 0.1]
    checks.hold("before their eta", early)
    bodies = [n for n, kind in first.items() if kind == "chord"]
    wrong = [str(run) for n in bodies for run in runs[n] if run.how != "end"]
    checks.hold("bodies with a wrong id or wrong results", wrong)
    at = {event.number: event.at for event in reversed(crew.store.events) if event.kind == "sent"}
    too_early = [
        f"body {n}" for n in bodies for one in (n + 1, n + 2, n + 3)
        if min(run.end or float("inf") for run in runs[one]) > at[n]
    ]  # fmt: skip
    checks.hold("bodies before the end of their header", too_early)
    unexplained = [
        f"{kind_of[n]} {n}: {[str(run) for run in runs[n]]}; {checks.history(crew.store, n)}"
        for n, count in more.items()
        # an errback of several arguments is called where its task fails, each time that it does
        if count
        > handed_out_again[n] + max(0, sent_again[n] - (2 if n in again else 1)) + (more[n - 1] if n - 1 in failing else 0)
    ]
    checks.hold("ran more often than they were handed out or sent", unexplained)
    for face, name in names.items():
        assert shares[name] >= SHARE * sum(shares.values()), f"{face} ran hardly anything: this shows nothing"
