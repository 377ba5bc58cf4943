"""Tasks that outlast their lease, a worker that is frozen for two leases, and a wall clock that jumps by an hour."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness import checks
from harness.crew import Crew, Member
from harness.faces import CELERY_EARLY, CELERY_LATE, FACES, QUEUE, Face
from harness.report import SHORT, Report, pick
from processes import wait_until
from pyqs.clock import boottime

LEASE = 10
#: Seconds of the task that sleeps, and of the one that holds the GIL in C.
LONG = pick(long=5 * LEASE, short=1.6 * LEASE)
GRIP = pick(long=2 * LEASE, short=1.4 * LEASE)
STOPPED = pick(long=2 * LEASE, short=1.3 * LEASE)
HOUR = 3600.0
SHIM = Path(__file__).parent / "wall_clock.c"


@pytest.mark.parametrize("face", FACES, ids=str)
def test_tasks_that_outlast_their_lease(face: Face, make_crew: Callable[..., Crew], report: Report) -> None:
    """A second worker waits for whatever the first one lets go."""
    crew = make_crew(face, lease=LEASE, concurrency=3)
    members = [crew.start(), crew.start()]
    for member in members:
        crew.wait_ready(member)
    crew.send([face.message("work", 0, LONG), face.message("grip", 1, GRIP), face.message("grip", 2, GRIP)])
    crew.send([face.message("work", n, 0.05) for n in range(3, 50)])
    wait_until(lambda: len(crew.ledger.ended()) == 50, LONG + 30)
    crew.drain(timeout=15)
    for member in members:
        crew.terminate(member, 60)
    report.add(**checks.summary(crew, range(50)), longest=LONG, gil_held=GRIP)
    checks.hold("run twice", checks.repeated(crew))
    checks.hold("lost", checks.lost(crew, range(50)))
    checks.hold("lost leases", crew.log_lines("its lease is lost"))
    checks.hold("received more than once", [
        f"message of task {one.number}, {one.receives} receives"
        for one in crew.store.events if one.kind == "received" and one.receives > 1 and one.number in (0, 1, 2)
    ])  # fmt: skip


class Feed:
    """Tasks that keep coming while a row does something else."""

    def __init__(self, crew: Crew, pause: float, seconds: Callable[[], float]) -> None:
        self.numbers: list[int] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._crew, self._pause, self._seconds = crew, pause, seconds
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Feed:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._pause):
            self.burst(1)

    def burst(self, count: int) -> None:
        """So many at once."""
        with self._lock:
            numbers = range(len(self.numbers), len(self.numbers) + count)
            self.numbers += numbers
            self._crew.send([self._crew.face.message("work", n, round(self._seconds(), 4)) for n in numbers])


@dataclass
class Frozen:
    """What was done to two workers, and what was sent."""

    members: list[Member]
    freezes: list[checks.Freeze] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    outlast: list[int] = field(default_factory=list)


def freeze_parents(crew: Crew, report: Report) -> Frozen:
    """Several times the parent of the worker that runs a long task is stopped for two leases, while the other goes on."""
    done = Frozen([crew.start(), crew.start()])
    for member in done.members:
        crew.wait_ready(member)
    dice = report.dice
    with Feed(crew, 0.1, lambda: dice.uniform(0.005, 0.03)) as feed:  # so short that some are held in advance
        done.numbers = feed.numbers
        for turn in range(pick(long=3, short=1)):
            time.sleep(dice.uniform(1.0, 2.0))
            long = 1_000_000 + turn
            done.outlast.append(long)
            crew.send([crew.face.message("work", long, 1.2 * STOPPED)])
            wait_until(lambda long=long: long in crew.ledger.started())
            runs_it = next(run.worker for run in crew.ledger.runs() if run.number == long)
            time.sleep(dice.uniform(0.2, 1.0))
            feed.burst(100)
            time.sleep(dice.uniform(0.02, 0.4))
            victim = next(member for member in done.members if member.name == runs_it)
            stopped_at = boottime()
            os.kill(victim.pid, signal.SIGSTOP)
            time.sleep(STOPPED)
            os.kill(victim.pid, signal.SIGCONT)
            done.freezes.append(checks.Freeze(victim.name, stopped_at, boottime()))
        time.sleep(2.0)
    return done


@pytest.mark.parametrize("face", FACES, ids=str)
def test_parent_frozen_for_two_leases(face: Face, make_crew: Callable[..., Crew], report: Report) -> None:
    """Its executors run on, what it holds falls to the second worker, and when it thaws it must know that."""
    crew = make_crew(face, lease=LEASE)
    done = freeze_parents(crew, report)
    crew.drain(timeout=180)
    for member in done.members:
        crew.terminate(member, 60)
    numbers = [*done.numbers, *done.outlast]
    report.add(**checks.summary(crew, numbers), frozen_for=STOPPED, stale_starts=len(checks.stale_starts(crew)))
    checks.hold("lost", checks.lost(crew, numbers))
    checks.hold("started without holding the message", checks.stale_starts(crew))
    checks.hold(
        "repeats of what no frozen worker had started and not deleted", checks.repeats_beyond_freezes(crew, done.freezes)
    )
    if not face.early:
        first = done.outlast[0]
        assert first in checks.repeats(crew), f"the frozen worker's lease never ran out: {checks.history(crew.store, first)}"


@pytest.mark.skipif(SHORT, reason="real Celery's figures are for the long form")
@pytest.mark.parametrize("face", [CELERY_EARLY, CELERY_LATE], ids=str)
def test_parent_frozen_for_two_leases_real_celery(face: Face, make_crew: Callable[..., Crew], report: Report) -> None:
    """Measured, not judged. Its lease is the queue's own: it asks for another one only where it creates the queue."""
    crew = make_crew(face, lease=LEASE)
    crew.store.set_queue_attributes(QUEUE, {"VisibilityTimeout": str(LEASE)})
    done = freeze_parents(crew, report)
    try:
        crew.drain(timeout=180)
        for member in done.members:
            crew.terminate(member, 60)
    except AssertionError as exc:
        report.add(stuck=str(exc).partition("\n")[0])
    numbers = [*done.numbers, *done.outlast]
    beyond = checks.repeats_beyond_freezes(crew, done.freezes)
    report.add(**checks.summary(crew, numbers), frozen_for=STOPPED, repeats_beyond_freezes=len(beyond))
    report.add(stale_starts=len(checks.stale_starts(crew)))


class WallClock:
    """The wall clock of a worker and its executors, which a test can move: a library put before libc."""

    def __init__(self, folder: Path) -> None:
        self._offset = folder / "offset"
        self._offset.write_bytes(struct.pack("d", 0.0))
        library = folder / "wall_clock.so"
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", str(library), str(SHIM), "-ldl"], check=True)
        self.env = {"LD_PRELOAD": str(library), "WALL_CLOCK_OFFSET": str(self._offset)}

    def step(self, seconds: float) -> None:
        """The wall clock is so far ahead from now on."""
        with self._offset.open("r+b") as file:
            file.write(struct.pack("d", seconds))


@pytest.mark.skipif(shutil.which("gcc") is None, reason="the wall clock is moved by a library that gcc has to make")
@pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD is Linux's")
@pytest.mark.skipif(sys.version_info < (3, 11), reason="before 3.11 Python's own waits are timed by the wall clock")
@pytest.mark.parametrize("face", FACES, ids=str)
def test_wall_clock_steps(face: Face, make_crew: Callable[..., Crew], report: Report, tmp_path: Path) -> None:
    wall = WallClock(tmp_path)
    crew = make_crew(face, lease=LEASE, concurrency=3)
    member = crew.wait_ready(crew.start(env=wall.env))
    dice = report.dice
    crew.send([face.message("work", 1_000_000, 1.5 * LEASE)])
    with Feed(crew, 0.1, lambda: dice.uniform(0.01, 0.3)) as feed:
        for offset in pick(long=(HOUR, 0.0, -HOUR, 0.0, -HOUR, HOUR, 0.0), short=(HOUR, -HOUR)):
            time.sleep(dice.uniform(2.0, 4.0))
            wall.step(offset)
            time.sleep(pick(long=LEASE * 1.2, short=LEASE * 0.7))
    crew.drain(timeout=60)
    crew.terminate(member, 60)
    numbers = [*feed.numbers, 1_000_000]
    skews = [run.wall - run.start for run in crew.ledger.runs()]
    spread = max(skews) - min(skews)
    report.add(**checks.summary(crew, numbers), wall_clock_moved_by=spread)
    assert spread > 1.9 * HOUR, f"the tasks saw the wall clock move by {spread:.0f} s only"
    checks.hold("lost", checks.lost(crew, numbers))
    checks.hold("run twice", checks.repeated(crew))
    checks.hold("lost leases", crew.log_lines("its lease is lost"))
    checks.hold("started without holding the message", checks.stale_starts(crew))
