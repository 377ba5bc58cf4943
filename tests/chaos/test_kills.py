"""SIGKILL of a whole worker, and of its parent alone, again and again over one queue."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from harness import checks
from harness.crew import Crew, Member
from harness.faces import ASYNC_FACES, CELERY_EARLY, CELERY_LATE, FACES, Face
from harness.report import SHORT, Report, pick
from processes import wait_until

KILLS = pick(long=20, short=3)
TASKS = pick(long=1000, short=120)
#: Seconds between the start of a worker and every fourth SIGKILL: from the import of its tasks on, at any moment.
MOMENTS = (0.2, 4.0)
#: The others strike a worker while it runs something, so long after its first task has begun.
BUSY_MOMENTS = (0.0, 1.5)
#: Part of the kills that must have struck a running task, and one that held the GIL where some do.
STRUCK, GRIPPED = 0.6, 0.2
#: Seconds that a few tasks hold the GIL; in the long form beyond a lease.
GRIP = pick(long=13.0, short=5.0)
#: Seconds that an executor may outlive its worker, whatever it is doing. The short form shares its machine; half a lease, the
#: least that is left of one, is the time that must not be reached.
SURVIVE = pick(long=2.0, short=4.0)


def seconds_of(dice: random.Random) -> float:
    """5-200 ms, every twentieth 1-2 s."""
    return dice.uniform(1.0, 2.0) if dice.random() < 0.05 else dice.uniform(0.005, 0.2)


def await_moment(crew: Crew, report: Report, member: Member, turn: int) -> None:
    """When to kill it: every fourth at any moment, the others while a task of theirs runs."""
    if turn % 4 == 3:
        time.sleep(report.dice.uniform(*MOMENTS))
        return
    wait_until(lambda: running(crew, member), 60)
    time.sleep(report.dice.uniform(*BUSY_MOMENTS))
    wait_until(lambda: running(crew, member), 60)


def running(crew: Crew, member: Member) -> bool:
    """Whether something runs in it now."""
    return any(run.worker == member.name and run.end is None for run in crew.ledger.runs())


def kill_and_restart(crew: Crew, report: Report, end: Callable[[Any], Any]) -> None:
    """Kill, restart at once, so many times; then let the last worker do the rest."""
    for turn in range(KILLS):
        member = crew.start()
        await_moment(crew, report, member, turn)
        end(member)
    last = crew.start()
    crew.drain(timeout=300)
    crew.terminate(last, 60)


def send_tasks(crew: Crew, report: Report, *tasks: str, longer: int = 0) -> tuple[list[int], set[int]]:
    """The row's tasks, in random order of kind and length, and which of them hold the GIL.

    At their head are ``longer`` that hold it for ``GRIP``.
    """
    dice = report.dice
    numbers = list(range(TASKS))
    seconds = [GRIP if n < longer else round(seconds_of(dice), 4) for n in numbers]
    kinds = ["grip" if n < longer else dice.choice(tasks) for n in numbers]
    crew.send([crew.face.message(kinds[n], n, seconds[n]) for n in numbers])
    return numbers, {n for n in numbers if kinds[n] == "grip"}


def strikes(crew: Crew, report: Report, gripping: set[int]) -> tuple[int, int]:
    """How many kills have struck a running task, and one that held the GIL."""
    struck = [checks.struck(crew, ending) for ending in crew.endings if ending.kind != "term"]
    busy, gripped = sum(map(bool, struck)), sum(any(run.number in gripping for run in runs) for runs in struck)
    report.add(kills_that_struck=busy, kills_that_struck_the_gil=gripped)
    return busy, gripped


@pytest.mark.parametrize("face", [*FACES, *ASYNC_FACES], ids=str)
def test_sigkill_of_the_whole_tree(face: Face, make_crew: Callable[..., Crew], report: Report) -> None:
    crew = make_crew(face)
    numbers, _ = send_tasks(crew, report, "work")
    kill_and_restart(crew, report, crew.kill_tree)
    report.add(**checks.summary(crew, numbers))
    busy, _ = strikes(crew, report, set())
    assert busy >= STRUCK * KILLS, "the kills struck idle workers"
    checks.hold("lost", checks.lost_without_reason(crew, numbers))
    checks.hold("repeats of what was not held at a kill", checks.unexplained_repeats(crew))
    checks.hold("two runs at the same time", checks.overlaps(crew))


@pytest.mark.parametrize("face", [*FACES, *ASYNC_FACES], ids=str)
def test_sigkill_of_the_parent(face: Face, make_crew: Callable[..., Crew], report: Report) -> None:
    crew = make_crew(face)
    numbers, gripping = send_tasks(crew, report, "work", "grip", longer=2)
    kill_and_restart(crew, report, crew.kill_parent)
    report.add(**checks.summary(crew, numbers))
    busy, gripped = strikes(crew, report, gripping)
    survived = max(ending.seconds for ending in crew.endings if ending.kind == "parent")
    report.add(longest_survivor=survived)
    assert busy >= STRUCK * KILLS, "the kills struck idle workers"
    assert gripped >= GRIPPED * KILLS, "the kills struck hardly an executor that held the GIL"
    checks.hold("lost", checks.lost_without_reason(crew, numbers))
    assert survived < SURVIVE, f"an executor lived {survived:.1f} s longer than its worker"
    checks.hold("running when handed out again", checks.handed_out_while_running(crew))
    checks.hold("repeats of what was not held at a kill", checks.unexplained_repeats(crew))
    checks.hold("two runs at the same time", checks.overlaps(crew))


@pytest.mark.skipif(SHORT, reason="real Celery's figures are for the long form")
@pytest.mark.parametrize("face", [CELERY_EARLY, CELERY_LATE], ids=str)
def test_sigkill_of_the_whole_tree_real_celery(face: Face, make_crew: Callable[..., Crew], report: Report) -> None:
    """Measured, not judged."""
    crew = make_crew(face)
    numbers, _ = send_tasks(crew, report, "work")
    kill_and_restart(crew, report, crew.kill_tree)
    report.add(**checks.summary(crew, numbers))
    strikes(crew, report, set())


@pytest.mark.skipif(SHORT, reason="real Celery's figures are for the long form")
@pytest.mark.parametrize("face", [CELERY_EARLY, CELERY_LATE], ids=str)
def test_sigkill_of_the_parent_real_celery(face: Face, make_crew: Callable[..., Crew], report: Report) -> None:
    """Measured, not judged: how many of its processes outlive it, what they still run, and what is lost."""
    crew = make_crew(face)
    numbers, gripping = send_tasks(crew, report, "work", "grip", longer=2)
    outlived = []

    def kill(member: Member) -> None:
        try:
            crew.kill_parent(member, GRIP)
        except AssertionError as exc:  # they have been killed, too
            outlived.append(str(exc))

    try:
        kill_and_restart(crew, report, kill)
    except (AssertionError, TimeoutError) as exc:
        report.add(stuck=str(exc).partition("\n")[0])
    report.add(**checks.summary(crew, numbers), outlived=len(outlived))
    report.add(handed_out_while_running=len(checks.handed_out_while_running(crew)))
    strikes(crew, report, gripping)
