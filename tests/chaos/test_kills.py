"""SIGKILL of a whole worker, and of its parent alone, again and again over one queue."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from harness import checks
from harness.crew import Crew
from harness.faces import CELERY_EARLY, CELERY_LATE, FACES, Face
from harness.report import SHORT, Report, pick

KILLS = pick(long=20, short=3)
TASKS = pick(long=1000, short=120)
#: Seconds between the start of a worker and its SIGKILL: from the import of its tasks on, at any moment.
MOMENTS = (0.2, 4.0)
#: Seconds that a few tasks hold the GIL; in the long form beyond a lease.
GRIP = pick(long=13.0, short=5.0)
#: Seconds that an executor may outlive its worker, whatever it is doing, on a machine that is busy.
SURVIVE = 2.0


def seconds_of(dice: random.Random) -> float:
    """5-200 ms, every twentieth 1-2 s."""
    return dice.uniform(1.0, 2.0) if dice.random() < 0.05 else dice.uniform(0.005, 0.2)


def kill_and_restart(crew: Crew, report: Report, end: Callable[[Any], Any]) -> None:
    """Kill, restart at once, so many times; then let the last worker do the rest."""
    for _ in range(KILLS):
        member = crew.start()
        time.sleep(report.dice.uniform(*MOMENTS))
        end(member)
    last = crew.start()
    crew.drain(timeout=300)
    crew.terminate(last, 60)


def send_tasks(crew: Crew, report: Report, *tasks: str, longer: int = 0) -> list[int]:
    """The row's tasks, in random order of kind and length; at their head ``longer`` that hold the GIL for ``GRIP``."""
    dice = report.dice
    numbers = list(range(TASKS))
    seconds = [GRIP if n < longer else round(seconds_of(dice), 4) for n in numbers]
    crew.send([crew.face.message("grip" if n < longer else dice.choice(tasks), n, seconds[n]) for n in numbers])
    return numbers


@pytest.mark.parametrize("face", FACES, ids=str)
def test_sigkill_of_the_whole_tree(face: Face, make_crew: Callable[..., Crew], report: Report) -> None:
    crew = make_crew(face)
    numbers = send_tasks(crew, report, "work")
    kill_and_restart(crew, report, crew.kill_tree)
    report.add(**checks.summary(crew, numbers))
    checks.hold("lost", checks.lost_without_reason(crew, numbers))
    checks.hold("repeats of what was not held at a kill", checks.unexplained_repeats(crew))
    checks.hold("two runs at the same time", checks.overlaps(crew))


@pytest.mark.parametrize("face", FACES, ids=str)
def test_sigkill_of_the_parent(face: Face, make_crew: Callable[..., Crew], report: Report) -> None:
    crew = make_crew(face)
    numbers = send_tasks(crew, report, "work", "grip", longer=2)
    kill_and_restart(crew, report, crew.kill_parent)
    report.add(**checks.summary(crew, numbers))
    survived = max(ending.seconds for ending in crew.endings if ending.kind == "parent")
    report.add(longest_survivor=survived)
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
    numbers = send_tasks(crew, report, "work")
    kill_and_restart(crew, report, crew.kill_tree)
    report.add(**checks.summary(crew, numbers))
