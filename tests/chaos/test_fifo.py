"""FIFO queues: order in every group through failures and SIGKILLs, and only those that failed in the dead-letter queue."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest

from harness import checks
from harness.crew import Crew
from harness.faces import FACES, LATE, NATIVE, Face
from harness.ledger import Run
from harness.report import Report, pick

QUEUE, DEAD = "chaos.fifo", "chaos-dead.fifo"
GROUPS = pick(long=50, short=10)
LENGTH = pick(long=20, short=6)
KILLS = pick(long=3, short=1)
#: Seconds that a task takes.
SECONDS = pick(long=(0.05, 0.2), short=(0.02, 0.1))
FAILING = 0.1
MOST_RECEIVES = 3
#: Seconds after a worker's start at which it is killed.
MOMENTS = (3.0, 12.0)
#: How often one is told to stop instead, and after how many seconds.
TERMS = pick(long=6, short=2)
TERM_MOMENTS = (1.0, 4.0)


def send(crew: Crew, report: Report) -> tuple[dict[str, list[int]], set[int]]:
    """Every group's tasks, interleaved as they would arrive; the groups, and who fails."""
    numbers = range(GROUPS * LENGTH)
    hopeless = set(report.dice.sample(numbers, round(len(numbers) * FAILING)))
    groups: dict[str, list[int]] = defaultdict(list)
    messages = []
    for number in numbers:
        group = f"group-{number % GROUPS}"
        groups[group].append(number)
        task = "hopeless" if number in hopeless else "work"
        messages.append(crew.face.message(task, number, report.dice.uniform(*SECONDS), queue=QUEUE, group=group))
    crew.send(messages, QUEUE)
    return groups, hopeless


def out_of_order(crew: Crew, groups: dict[str, list[int]], dead: set[int]) -> list[str]:
    """Starts before an earlier one of the group had ended well, or had run for the last time on its way to the dead letters."""
    endings = {ending.worker: ending for ending in crew.endings}
    runs = checks.by_number(crew.ledger.runs())
    wrong = []
    for group, members in groups.items():
        over, last = float("-inf"), None
        for number in members:
            mine: list[Run] = runs.get(number, [])
            if not mine:
                wrong.append(f"{group}: task {number} never started: {checks.history(crew.store, number)}")
                continue
            if mine[0].start < over - checks.SKEW:
                wrong.append(
                    f"{group}: {mine[0]} began before task {last} was over at {over:.3f}; {checks.history(crew.store, number)}"
                )
            if number in dead:
                over = max(checks.end_of(run, endings) for run in mine)
            else:
                over = max([checks.end_of(run, endings) for run in mine if run.how in ("end", "fail")], default=float("inf"))
            last = number
    return wrong


def create_queues(store: Any) -> None:
    """The queue, which hands a message out three times, and its dead-letter queue."""
    store.create_queue(DEAD, {"FifoQueue": "true"})
    arn = store.queue_attributes(DEAD, ["QueueArn"])["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": MOST_RECEIVES})
    store.create_queue(QUEUE, {"FifoQueue": "true", "RedrivePolicy": policy})


def judge(crew: Crew, report: Report, groups: dict[str, list[int]], hopeless: set[int]) -> None:
    numbers = [number for members in groups.values() for number in members]
    dead = {one.number for one in crew.store.kept(DEAD)}
    innocent = sorted(dead - hopeless)
    twice = [text for text in checks.unexplained_repeats(crew) if int(text.split()[1].rstrip(":")) not in hopeless]
    lost = checks.lost_numbers(crew, set(numbers) - hopeless, [DEAD])
    report.add(**checks.summary(crew, numbers, [DEAD]), dead_letters=len(dead), innocent=len(innocent), hopeless=len(hopeless))
    report.add(lost=len(lost), repeats_unexplained=len(twice))  # the hopeless repeat until they are dead letters
    checks.hold("out of order", out_of_order(crew, groups, dead))
    checks.hold("lost", [f"task {n}: {checks.history(crew.store, n)}" for n in sorted(lost)])
    checks.hold("no failing head, and dead", [f"task {n}: {checks.history(crew.store, n)}" for n in innocent])
    if not crew.face.early:  # Celery deletes a task that fails unless it acks late
        assert dead == hopeless
    checks.hold("repeats of what was not held at a kill", twice)
    checks.hold("two runs at the same time", checks.overlaps(crew))


@pytest.mark.parametrize("face", pick(long=FACES, short=(NATIVE,)), ids=str)
@pytest.mark.timeout(1800)
def test_fifo(face: Face, make_crew: Callable[..., Crew], report: Report, store: Any) -> None:
    create_queues(store)
    crew = make_crew(face, queues=(QUEUE,), concurrency=4)
    groups, hopeless = send(crew, report)
    for _ in range(KILLS):
        member = crew.start("--include", "chaos_fifo")
        crew.wait_ready(member)
        time.sleep(report.dice.uniform(*MOMENTS))
        crew.kill_tree(member)
    last = crew.start("--include", "chaos_fifo")
    crew.drain(timeout=pick(long=1200, short=240))
    crew.terminate(last, 60)
    judge(crew, report, groups, hopeless)


@pytest.mark.parametrize("face", pick(long=FACES, short=(LATE,)), ids=str)
@pytest.mark.timeout(1800)
def test_fifo_with_deploys(face: Face, make_crew: Callable[..., Crew], report: Report, store: Any) -> None:
    """SIGTERMs instead of kills: the same order, and nothing healthy runs twice."""
    create_queues(store)
    crew = make_crew(face, queues=(QUEUE,), concurrency=4)
    groups, hopeless = send(crew, report)
    for _ in range(TERMS):
        member = crew.wait_ready(crew.start("--include", "chaos_fifo", "--shutdown-timeout", "20"))
        time.sleep(report.dice.uniform(*TERM_MOMENTS))
        assert crew.terminate(member, 30).code == 0, member.log()[-3000:]
    last = crew.start("--include", "chaos_fifo")
    crew.drain(timeout=pick(long=1200, short=240))
    crew.terminate(last, 60)
    judge(crew, report, groups, hopeless)
