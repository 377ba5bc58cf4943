"""Executors that die under their tasks, one task in five: by SIGKILL, a segfault, ``os._exit`` and for want of memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness import checks
from harness.crew import Crew
from harness.faces import ASYNC_FACES, CELERY_EARLY, CELERY_LATE, FACES, Face
from harness.report import SHORT, Report, pick

TASKS = pick(long=300, short=60)
WAYS = ("kill", "segfault", "exit", "memory")


def send_tasks(crew: Crew, report: Report) -> tuple[list[int], set[int]]:
    """Every fifth takes its process down the first time; all numbers, and those."""
    dice, numbers = report.dice, list(range(TASKS))
    dying = set(dice.sample(numbers, TASKS // 5))
    order = sorted(dying)
    messages = []
    for n in numbers:
        seconds = round(dice.uniform(0.005, 0.1), 4)
        if n in dying:
            messages.append(crew.face.message("die", n, seconds, WAYS[order.index(n) % len(WAYS)]))
        else:
            messages.append(crew.face.message("work", n, seconds))
    crew.send(messages)
    return numbers, dying


def measure(crew: Crew, report: Report, numbers: list[int], dying: set[int]) -> None:
    held, others = checks.repeats_of_the_healthy(crew, dying)
    ended = crew.ledger.ended()
    report.add(**checks.summary(crew, numbers))
    report.add(
        dying=len(dying),
        deaths=sum(run.how == "die" for run in crew.ledger.runs()),
        dying_ended=len(dying & ended),
        healthy_repeats_held=len(held),
        healthy_repeats_not_held=len(others),
    )


@pytest.mark.parametrize("face", [*FACES, *ASYNC_FACES], ids=str)
def test_executors_die_under_one_task_in_five(face: Face, make_crew: Callable[..., Crew], report: Report) -> None:
    crew = make_crew(face)
    numbers, dying = send_tasks(crew, report)
    member = crew.wait_ready(crew.start())
    crew.drain(timeout=pick(long=400, short=90))
    report.add(worker_exited=not member.running)
    assert member.running, f"the worker has exited:\n{member.log()[-3000:]}"
    ending = crew.terminate(member, 60)  # what was acked early may still run when its queue is empty
    measure(crew, report, numbers, dying)
    assert ending.code == 0, member.log()[-3000:]
    runs = checks.by_number(crew.ledger.runs())
    beside: set[int] = set()
    if face.early:  # it was acked when it started: the death of its executor loses it and what ran beside it, and nothing else
        if face.slots > 1:
            deaths = checks.deaths_of(crew.ledger.runs())
            beside = {n for n, ran in runs.items() if ran[-1].end is None and ran[-1].pid in deaths}
            # And what was on its way to its first line.
            beside |= {n for n in numbers if n not in runs and checks.acked_near(crew.store, n, deaths.values())}
        checks.hold(
            "lost and not one that took its executor down",
            [f"task {n}: {checks.history(crew.store, n)}" for n in sorted(checks.lost_numbers(crew, numbers) - dying - beside)],
        )
    else:
        checks.hold("lost", checks.lost(crew, numbers))
    never = [n for n in numbers if n not in runs and n not in beside]
    checks.hold("never ran", [f"task {n}: {checks.history(crew.store, n)}" for n in never])
    checks.hold("ran twice, held by no dying executor", checks.repeats_of_the_healthy(crew, dying)[1])
    checks.hold("two runs at the same time", checks.overlaps(crew))


@pytest.mark.skipif(SHORT, reason="real Celery's figures are for the long form")
@pytest.mark.parametrize("face", [CELERY_EARLY, CELERY_LATE], ids=str)
def test_executors_die_under_one_task_in_five_real_celery(face: Face, make_crew: Callable[..., Crew], report: Report) -> None:
    """Measured, not judged."""
    crew = make_crew(face)
    numbers, dying = send_tasks(crew, report)
    member = crew.wait_ready(crew.start())
    try:
        crew.drain(timeout=300)
    except AssertionError as exc:
        report.add(stuck=str(exc).partition("\n")[0])
    report.add(worker_exited=not member.running)
    if member.running:
        crew.terminate(member, 60)
    measure(crew, report, numbers, dying)
