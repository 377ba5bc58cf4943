"""Chords while SQS duplicates and reorders, and while executors die under their parts and in what a worker does after those."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import real_redis
from harness import checks
from harness.crew import Crew
from harness.faces import CELERY_LATE, EARLY, LATE, Face
from harness.report import SHORT, Report, pick
from processes import wait_until
from pyqs_celery_compat import Celery, states

CHORDS = pick(long=2000, short=100)
#: On stores without a chord of their own, whose bodies wait for a task that looks once a second.
CHORDS_UNLOCKED = pick(long=300, short=25)
#: Of the header's tasks, one in so many takes its executor down while it runs or soon after.
ONE_DIES_IN = pick(long=20, short=10)
#: Up to so many seconds after its end.
AFTERWARDS = 0.004
FAULTS = ("duplicate:rate=0.05", "undelete:rate=0.05", "reorder:rate=0.2")
#: Numbers of the header's tasks begin here; below are the bodies.
PARTS = 100_000

Plan = list[tuple[int, list[tuple[int, float, float]]]]


@contextmanager
def store_of(kind: str, folder: Path) -> Iterator[str]:
    """The URL of a result backend of the row's own."""
    if kind == "redis":
        folder.mkdir()
        with real_redis.running(folder) as server:
            yield server.url
    else:
        yield f"db+sqlite:///{folder}.db"


def planned(report: Report, count: int, *, deaths: bool) -> Plan:
    """Chords of two to six, each with the seconds that it takes and after which it takes its executor down, 0 for never."""
    dice = report.dice
    plan: Plan = []
    for number in range(count):
        header = []
        for place in range(dice.randint(2, 6)):
            seconds = round(dice.uniform(0, 0.01), 4)
            dies = deaths and dice.randrange(ONE_DIES_IN) == 0
            header.append((PARTS + number * 10 + place, seconds, round(dice.uniform(0, AFTERWARDS), 5) if dies else 0.0))
        plan.append((number, header))
    return plan


def call(crew: Crew, plan: Plan, backend: str) -> None:
    """Call them, with the workers' own library, as a client does."""
    crew.write("chaos_caller.py", json.dumps(plan), env={"CHAOS_BACKEND": backend})


def run(crew: Crew, plan: Plan, backend: str) -> dict[int, str]:
    """Two workers drain them, while SQS is not kind; the state in which each body is in the end.

    That the queue is empty is not the end: a body may yet be sent by an early-acked part, or an error told by a host.
    """
    app = Celery("reader", broker="memory://", backend=backend, set_as_current=False)

    def ends() -> dict[int, str]:
        return {number: app.AsyncResult(f"body-{number}").state for number, _ in plan}

    for fault in FAULTS:
        crew.store.faults.add(fault)
    members = [crew.start(env={"CHAOS_BACKEND": backend}) for _ in range(2)]
    for member in members:
        crew.wait_ready(member)
    call(crew, plan, backend)
    try:
        crew.drain(timeout=pick(long=600, short=120))
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: states.READY_STATES.issuperset(ends().values()), 20)
        crew.drain(timeout=60)
    finally:
        crew.store.faults.clear()
    for member in members:
        crew.terminate(member, 60)
    return ends()


def measure(crew: Crew, report: Report, plan: Plan) -> dict[int, int]:
    """How often each body was published, into the report with the rest."""
    published = dict.fromkeys((number for number, _ in plan), 0)
    for event in crew.store.events:
        if event.kind == "sent" and event.number in published:
            published[event.number] += 1
    receives = Counter(event.message_id for event in crew.store.events if event.kind == "received")
    runs = checks.by_number(crew.ledger.runs())
    report.add(
        chords=len(plan),
        messages_handed_out_again=sum(count > 1 for count in receives.values()),
        most_receives_of_a_message=max(receives.values()),
        parts=sum(len(header) for _, header in plan),
        parts_run_again=sum(len(found) - 1 for number, found in runs.items() if number >= PARTS),
        deaths=deaths_of(crew),
        bodies_never_published=sum(not count for count in published.values()),
        bodies_published_again=sum(max(0, count - 1) for count in published.values()),
        bodies_too_early=len(too_early(crew, plan)),
        bodies_that_were_wrong=sum(run.how == "fail" for run in crew.ledger.runs()),
    )
    return published


def deaths_of(crew: Crew) -> int:
    """How many executors took themselves down."""
    return sum(json.loads(line)["e"] == "fuse" for line in crew.ledger.path.read_text().splitlines())


def too_early(crew: Crew, plan: Plan) -> list[str]:
    """Bodies that were there before the last of their headers had ended once."""
    runs = checks.by_number(crew.ledger.runs())
    sent_at: dict[int, float] = {}
    for event in crew.store.events:
        if event.kind == "sent" and event.number is not None:
            sent_at.setdefault(event.number, event.at)
    wrong = []
    for number, header in plan:
        if number not in sent_at:
            continue
        for part, *_ in header:
            ends = [run.end for run in runs.get(part, ()) if run.end is not None]
            if not ends or min(ends) > sent_at[number]:
                wrong.append(f"body {number} was sent at {sent_at[number]:.3f}; {[str(run) for run in runs.get(part, ())]}")
    return wrong


@pytest.fixture
def late_chords(make_crew: Callable[..., Crew], report: Report, tmp_path: Path) -> Callable[..., tuple[Crew, dict[int, int]]]:
    """Runs chords of late-acked tasks and holds what is always promised; the crew, and how often each body was published."""

    def play(face: Face, store_kind: str, *, deaths: bool) -> tuple[Crew, dict[int, int]]:
        crew = make_crew(face)
        plan = planned(report, CHORDS if store_kind == "redis" else CHORDS_UNLOCKED, deaths=deaths)
        with store_of(store_kind, tmp_path / "results") as backend:
            run(crew, plan, backend)
        published = measure(crew, report, plan)
        assert not deaths or deaths_of(crew) >= len(plan) / 10, "hardly an executor died: this shows nothing"
        hold_for_all(crew, plan, published)
        return crew, published

    return play


@pytest.mark.parametrize("store_kind", ["redis", "sqlite"])
@pytest.mark.parametrize("face", [LATE], ids=str)
def test_chords_without_deaths(face: Face, store_kind: str, late_chords: Callable[..., tuple[Crew, dict[int, int]]]) -> None:
    _, published = late_chords(face, store_kind, deaths=False)
    checks.hold("bodies published more than once", [str(number) for number, count in published.items() if count != 1])


@pytest.mark.parametrize("store_kind", ["redis", "sqlite"])
@pytest.mark.parametrize("face", [LATE], ids=str)
def test_chords_while_executors_die(
    face: Face, store_kind: str, late_chords: Callable[..., tuple[Crew, dict[int, int]]]
) -> None:
    crew, published = late_chords(face, store_kind, deaths=True)
    assert sum(published.values()) - len(published) <= deaths_of(crew)


def hold_for_all(crew: Crew, plan: Plan, published: dict[int, int]) -> None:
    """What is promised with and without deaths: each body once at least, complete, and after its header."""
    checks.hold("bodies that were never published", [str(number) for number, count in published.items() if not count])
    checks.hold("bodies before the end of their header", too_early(crew, plan))
    checks.hold("bodies with a wrong id or wrong results", [str(r) for r in crew.ledger.runs() if r.how == "fail"])
    ended = crew.ledger.ended()
    checks.hold("bodies that never ran", [str(number) for number in published if number not in ended])


def test_chords_of_early_acked_tasks_while_executors_die(
    make_crew: Callable[..., Crew], report: Report, tmp_path: Path
) -> None:
    """Their parts are not run again: a chord may fail, but it ends, and whoever waits for it hears of it."""
    crew = make_crew(EARLY)
    plan = planned(report, CHORDS, deaths=True)
    with store_of("redis", tmp_path / "results") as backend:
        ends = run(crew, plan, backend)
    published = measure(crew, report, plan)
    report.add(failed=sum(end == states.FAILURE for end in ends.values()))
    assert deaths_of(crew) >= len(plan) / 10, "hardly an executor died: this shows nothing"
    checks.hold("chords without an end", unended(crew, ends))
    checks.hold("bodies before the end of their header", too_early(crew, plan))
    checks.hold("bodies with a wrong id or wrong results", [str(r) for r in crew.ledger.runs() if r.how == "fail"])
    assert sum(max(0, count - 1) for count in published.values()) <= deaths_of(crew)


def unended(crew: Crew, ends: dict[int, str]) -> list[str]:
    """Chords whose body has no end, with all that befell it."""
    runs = checks.by_number(crew.ledger.runs())
    return [
        f"body {number} is {end}: {[str(run) for run in runs.get(number, ())]}; {checks.history(crew.store, number)}; "
        + "; ".join(crew.log_lines(f"body-{number}[^0-9]"))
        for number, end in ends.items()
        if end not in states.READY_STATES
    ]


@pytest.mark.skipif(SHORT, reason="real Celery's figures are for the long form")
@pytest.mark.parametrize("deaths", [False, True], ids=["kind", "deadly"])
def test_chords_real_celery(deaths: bool, make_crew: Callable[..., Crew], report: Report, tmp_path: Path) -> None:
    """Measured, not judged; a quarter of the chords, as it takes twenty times as long."""
    crew = make_crew(CELERY_LATE)
    plan = planned(report, CHORDS // 4, deaths=deaths)
    report.add(deadly=deaths)
    with store_of("redis", tmp_path / "results") as backend:
        try:
            run(crew, plan, backend)
        except AssertionError as exc:
            report.add(stuck=str(exc).partition("\n")[0])
    measure(crew, report, plan)
