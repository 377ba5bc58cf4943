"""SIGTERM every few seconds over one queue, as deployments send it: nothing lost, nothing twice, nothing kept back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from harness import checks
from harness.crew import Crew
from harness.faces import ASYNC_FACES, CELERY_EARLY, CELERY_LATE, FACES, QUEUE, Face
from harness.report import SHORT, Report, pick
from harness.watched import WatchedStore

TASKS = pick(long=500, short=80)
#: Seconds that a worker works before its SIGTERM.
INTERVAL = pick(long=(2.0, 4.0), short=(1.0, 2.0))
#: Seconds of the tasks that outlast the interval, and until a worker must have left.
LONG = pick(long=(4.5, 6.0), short=(2.5, 3.0))
DEADLINE = 20.0
#: Seconds after a worker's end at which nothing may be hidden because of it.
HIDDEN_NO_LONGER = 2.0
DEAD_LETTERS = "chaos-dead-letters"


def send_tasks(crew: Crew, report: Report, *, long_part: float) -> list[int]:
    """5-200 ms; ``long_part`` of them longer than the interval."""
    dice, numbers = report.dice, list(range(TASKS))
    outlast = set(dice.sample(numbers, int(TASKS * long_part)))
    seconds = [dice.uniform(*LONG) if n in outlast else dice.uniform(0.005, 0.2) for n in numbers]
    crew.send([crew.face.message("work", n, round(seconds[n], 4)) for n in numbers])
    return numbers


def deploy_until_drained(crew: Crew, report: Report, *args: str, patience: float = DEADLINE + 10) -> list[str]:
    """Workers follow each other; what a gone one kept hidden."""
    hidden: list[str] = []
    member = crew.wait_ready(crew.start(*args))
    give_up = time.monotonic() + 420
    while crew.left():
        assert time.monotonic() < give_up, f"{crew.left()} of {TASKS} messages left after {len(crew.endings)} workers"
        time.sleep(report.dice.uniform(*INTERVAL))
        ending = crew.terminate(member, patience)
        member = crew.start(*args)
        time.sleep(max(0.0, HIDDEN_NO_LONGER - (time.clock_gettime(time.CLOCK_BOOTTIME) - ending.gone_at)))
        hidden += checks.hidden_after(crew, ending)
        crew.wait_ready(member)
    crew.terminate(member, patience)
    return hidden


def spend_lives(store: WatchedStore) -> None:
    """Somebody has received every message once before, and half of them twice: those are on their last life."""
    for _ in range(TASKS * 3 // 2 // 10):
        store.receive(QUEUE, max_messages=10, wait=0, visibility=0)


def judge(crew: Crew, report: Report, numbers: list[int], hidden: list[str], *dead_letters: str) -> None:
    report.add(**checks.summary(crew, numbers, dead_letters), hidden_after_exit=len(hidden))
    never_started = [line for queue in dead_letters for line in checks.dead_letters_never_started(crew, queue)]
    report.add(dead_letters=sum(crew.left(queue) for queue in dead_letters), dead_letters_never_started=len(never_started))
    late = [f"{one.worker} left after {one.seconds:.1f} s" for one in crew.endings if one.seconds > DEADLINE]
    crashed = [f"{one.worker} left with exit code {one.code}" for one in crew.endings if one.code]
    checks.hold("lost", checks.lost(crew, numbers, dead_letters))
    checks.hold("run twice", checks.repeated(crew))
    checks.hold("healthy and hidden after their worker's end", hidden)
    checks.hold("beyond the deadline", late)
    checks.hold("not a clean exit", crashed)
    checks.hold("never started and in the dead-letter queue", never_started)


@pytest.mark.parametrize("face", [*FACES, *ASYNC_FACES], ids=str)
def test_sigterm_every_few_seconds(face: Face, make_crew: Callable[..., Crew], report: Report) -> None:
    crew = make_crew(face, concurrency=4)
    numbers = send_tasks(crew, report, long_part=0.0)
    hidden = deploy_until_drained(crew, report, "--shutdown-timeout", str(DEADLINE))
    judge(crew, report, numbers, hidden)


@pytest.mark.skipif(SHORT, reason="real Celery's figures are for the long form")
@pytest.mark.parametrize("face", [CELERY_EARLY, CELERY_LATE], ids=str)
def test_sigterm_every_few_seconds_real_celery(face: Face, make_crew: Callable[..., Crew], report: Report) -> None:
    """Measured, not judged."""
    crew = make_crew(face, concurrency=4)
    numbers = send_tasks(crew, report, long_part=0.0)
    measure_real_celery(crew, report, numbers)


def measure_real_celery(crew: Crew, report: Report, numbers: list[int], *dead_letters: str) -> None:
    try:
        hidden = deploy_until_drained(crew, report, patience=120)
    except AssertionError as exc:
        hidden = []
        report.add(stuck=str(exc).partition("\n")[0])
    report.add(**checks.summary(crew, numbers, dead_letters), hidden_after_exit=len(hidden))


@pytest.mark.parametrize("face", [*FACES, *ASYNC_FACES], ids=str)
def test_sigterm_where_three_receives_are_the_limit(
    face: Face, make_crew: Callable[..., Crew], report: Report, store: WatchedStore
) -> None:
    limited(store)
    crew = make_crew(face, concurrency=4)
    numbers = send_tasks(crew, report, long_part=0.1)
    spend_lives(store)
    hidden = deploy_until_drained(crew, report, "--shutdown-timeout", str(DEADLINE))
    judge(crew, report, numbers, hidden, DEAD_LETTERS)


@pytest.mark.skipif(SHORT, reason="real Celery's figures are for the long form")
@pytest.mark.parametrize("face", [CELERY_EARLY, CELERY_LATE], ids=str)
def test_sigterm_where_three_receives_are_the_limit_real_celery(
    face: Face, make_crew: Callable[..., Crew], report: Report, store: WatchedStore
) -> None:
    """Measured, not judged."""
    limited(store)
    crew = make_crew(face)
    numbers = send_tasks(crew, report, long_part=0.1)
    spend_lives(store)
    measure_real_celery(crew, report, numbers, DEAD_LETTERS)
    report.add(
        dead_letters=crew.left(DEAD_LETTERS),
        dead_letters_never_started=len(checks.dead_letters_never_started(crew, DEAD_LETTERS)),
    )


def limited(store: WatchedStore) -> None:
    """The queue hands a message out three times, then moves it to its dead-letter queue."""
    store.create_queue(DEAD_LETTERS)
    target = store.queue_attributes(DEAD_LETTERS)["QueueArn"]
    store.create_queue(QUEUE, {"RedrivePolicy": json.dumps({"deadLetterTargetArn": target, "maxReceiveCount": 3})})
