"""SQS gone, slow, angry or forged: the worker waits it out in few lines, and works again soon after."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness import checks
from harness.crew import Crew, Member
from harness.faces import CELERY_LATE, FACES, LATE, Face
from harness.line import Line
from harness.report import SHORT, Report, pick
from harness.roles import Roles
from processes import wait_until
from pyqs.clock import boottime

#: Seconds of each fault; a minute of the issue's two is enough for an expired token.
OUTAGE = pick(long=120.0, short=12.0)
EXPIRED = pick(long=60.0, short=12.0)
ROUGH = pick(long=60.0, short=10.0)
ROW_FACES = pick(long=FACES, short=(LATE,))
#: Seconds after the cure in which a task must have started: what has piled up meanwhile comes first.
CURED_WITHIN = 35.0
MOST_LINES = 100
#: Seconds between two tasks while a fault lasts.
TRICKLE = 0.25


class Scene:
    """One worker behind a line, a trickle of tasks, and what must hold when it is over."""

    def __init__(self, crew: Crew, report: Report) -> None:
        self.crew = crew
        self.report = report
        self.numbers: list[int] = []
        self.line: Line | None = None

    def start(self, *, host: str = "127.0.0.1", wrap: Sequence[str] = (), **env: str) -> Member:
        """A worker that reaches the SQS over the line only, by this name, with something in hand."""
        member = self.crew.start(env=env, through=lambda url: self._through(url, host), wrap=wrap)
        self.crew.wait_ready(member)
        self.send(5)
        wait_until(lambda: len(self.crew.ledger.ended()) == 5)
        self.threads = threads_at_rest(member)
        return member

    def _through(self, url: str, host: str) -> str:
        self.line = Line(url, self.report.dice)
        return self.line.url.replace("127.0.0.1", host)

    def send(self, count: int, task: str = "work", seconds: float = 0.05) -> list[int]:
        """Some more tasks."""
        numbers = list(range(len(self.numbers), len(self.numbers) + count))
        self.numbers += numbers
        self.crew.send([self.crew.face.message(task, number, seconds) for number in numbers])
        return numbers

    def suffer(self, seconds: float) -> None:
        """Let it last, while tasks arrive and one runs for longer than its lease."""
        self.send(1, seconds=1.5 * self.crew.lease)
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            self.send(1)
            time.sleep(TRICKLE)

    def cured(self, member: Member) -> None:
        """From now on it must work: receive within its time, renew, delete everything, hold every thread, say little."""
        cured = boottime()
        self.send(1)
        while not (starts := [run.start for run in self.crew.ledger.runs() if run.start > cured]):
            behind = boottime() - cured
            assert behind < 4 * CURED_WITHIN, f"nothing is consumed {behind:.0f} s after the cure\n{member.log()[-4000:]}"
            assert member.running, member.log()[-4000:]
            time.sleep(0.02)
        behind = min(starts) - cured
        self.crew.drain(timeout=120)
        (long,) = self.send(1, seconds=1.5 * self.crew.lease)
        wait_until(lambda: long in self.crew.ledger.ended(), 60)  # one that is acked early leaves its queue before
        self.crew.drain(timeout=60)
        threads = threads_at_rest(member)
        lines = said(member)
        self.report.add(
            consuming_after=behind,
            lines=len(lines),
            threads=threads,
            threads_before=self.threads,
            **checks.summary(self.crew, self.numbers),
        )
        checks.hold("lost", checks.lost_without_reason(self.crew, self.numbers))
        assert [run.number for run in self.crew.ledger.runs()].count(long) == 1, "renewals work again"
        assert behind <= CURED_WITHIN
        assert threads >= self.threads, "every thread is alive"
        assert not member.lines("crashed")
        assert len(lines) < MOST_LINES, "\n".join(lines)
        assert not member.lines("Traceback"), member.log()[-6000:]
        self.crew.terminate(member, 60)
        assert member.process.returncode == 0


def threads_of(member: Member) -> int:
    """How many threads the parent has."""
    return len(list(Path(f"/proc/{member.pid}/task").iterdir()))


def threads_at_rest(member: Member) -> int:
    """The same once it has stayed the same for some seconds: extra fetchers leave when there is nothing to do."""
    count, since = threads_of(member), time.monotonic()
    deadline = since + 60
    while time.monotonic() < min(since + 4, deadline):
        time.sleep(0.1)
        if (now := threads_of(member)) != count:
            count, since = now, time.monotonic()
    return count


def said(member: Member) -> list[str]:
    """Its log without the lines that tell how each task went."""
    return [
        line for line in member.log().splitlines() if not ("INFO" in line and ("delivery " in line or "Task chaos." in line))
    ]


@pytest.fixture
def scene(make_crew: Callable[..., Crew], report: Report) -> Iterator[Callable[[Face], Scene]]:
    made: list[Scene] = []

    def make(face: Face) -> Scene:
        made.append(Scene(make_crew(face), report))
        return made[-1]

    yield make
    for one in made:
        if one.line is not None:
            one.line.close()


@pytest.mark.parametrize("face", ROW_FACES, ids=str)
def test_sqs_gone_connections_refused(face: Face, scene: Callable[[Face], Scene]) -> None:
    row = scene(face)
    member = row.start()
    row.line.cut()
    row.suffer(OUTAGE)
    row.line.open()
    row.cured(member)


@pytest.mark.parametrize("face", ROW_FACES, ids=str)
def test_sqs_gone_packets_vanish(face: Face, scene: Callable[[Face], Scene]) -> None:
    row = scene(face)
    member = row.start()
    row.line.freeze()
    row.suffer(pick(long=120.0, short=25.0))
    row.line.open()
    row.cured(member)


@pytest.mark.parametrize("face", ROW_FACES, ids=str)
def test_sqs_stalls(face: Face, scene: Callable[[Face], Scene]) -> None:
    """It takes requests and does not answer them; what is asked after the cure is answered, what was asked before is not."""
    row = scene(face)
    member = row.start()
    member.door.faults.add("stall")
    row.suffer(pick(long=120.0, short=25.0))
    member.door.faults.clear()
    row.cured(member)


@pytest.mark.parametrize("face", ROW_FACES, ids=str)
def test_connection_resets(face: Face, scene: Callable[[Face], Scene]) -> None:
    row = scene(face)
    member = row.start()
    row.line.reset(0.2)
    row.suffer(ROUGH)
    row.line.open()
    row.cured(member)


@pytest.mark.parametrize(
    "fault", pick(long=["error=500", "error=503", "throttle", "throttle=ThrottlingException"], short=["throttle"])
)
@pytest.mark.parametrize("face", ROW_FACES, ids=str)
def test_a_fifth_of_all_calls_fails(face: Face, fault: str, scene: Callable[[Face], Scene]) -> None:
    row = scene(face)
    row.report.add(fault=fault)
    member = row.start()
    member.door.faults.add(f"{fault}:rate=0.2")
    row.suffer(ROUGH)
    member.door.faults.clear()
    row.cured(member)


@pytest.mark.parametrize("face", ROW_FACES, ids=str)
def test_a_proxy_answers_403(face: Face, scene: Callable[[Face], Scene]) -> None:
    row = scene(face)
    member = row.start()
    row.line.answer_as_proxy()
    row.suffer(ROUGH)
    row.line.open()
    row.cured(member)
    assert not member.lines("cannot be renewed|not allowed"), "a proxy's 403 is no policy"


@pytest.mark.parametrize("face", ROW_FACES, ids=str)
def test_sqs_denies_everything(face: Face, scene: Callable[[Face], Scene]) -> None:
    """A policy that is wrong for a while, and then right again: SQS's own 403 to every call."""
    row = scene(face)
    member = row.start()
    before = len(row.crew.ledger.started())
    member.door.faults.add("access-denied")
    row.suffer(ROUGH)
    member.door.faults.clear()
    assert len(row.crew.ledger.started()) - before <= 10, "only what its open polls still brought"
    row.cured(member)
    assert member.lines("denied|AccessDenied"), "it says so"


@pytest.mark.parametrize("face", ROW_FACES, ids=str)
def test_an_expired_token_that_cannot_be_renewed(face: Face, scene: Callable[[Face], Scene]) -> None:
    row = scene(face)
    with Roles() as roles:
        member = row.start(
            PYQS_ACCESS_KEY_ID="", PYQS_SECRET_ACCESS_KEY="", CHAOS_KEYS="", AWS_CONTAINER_CREDENTIALS_FULL_URI=roles.url
        )  # fmt: skip
        assert roles.asked, "the credentials come from there"
        roles.failing = True
        member.door.faults.add("expired-token")
        row.suffer(EXPIRED)
        member.door.faults.clear()
        roles.failing = False
        row.cured(member)


def own_hosts_file(hosts: Path) -> list[str]:
    """A command that gives what it runs a hosts file of its own; skips the test where that is not allowed."""
    wrap = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        'mount --bind "$0" /etc/hosts && exec "$@"',
        str(hosts),
    ]
    try:
        allowed = subprocess.run([*wrap, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        allowed = False
    if not allowed:
        pytest.skip("no mount namespace may be made here, so no name can be made to vanish")
    return wrap


@pytest.mark.parametrize("face", ROW_FACES, ids=str)
def test_a_name_that_does_not_resolve(face: Face, scene: Callable[[Face], Scene], tmp_path: Path) -> None:
    hosts, name = tmp_path / "hosts", "sqs.chaos.test"
    there, gone = f"127.0.0.1 localhost\n127.0.0.1 {name}\n", "127.0.0.1 localhost\n"
    hosts.write_text(there)
    row = scene(face)
    member = row.start(host=name, wrap=own_hosts_file(hosts))
    hosts.write_text(gone)
    row.line.cut()  # else its open connections need no name
    row.line.open()
    row.suffer(ROUGH)
    assert len(row.crew.ledger.started()) == 5, "it needs the name"
    hosts.write_text(there)
    row.cured(member)


@pytest.mark.skipif(SHORT, reason="SQS wants a minute between the two")
@pytest.mark.parametrize("face", FACES, ids=str)
def test_a_queue_deleted_and_created_again(face: Face, scene: Callable[[Face], Scene], store: Any) -> None:
    row = scene(face)
    member = row.start()
    wait_until(lambda: not row.crew.left())
    store.delete_queue("chaos")
    member.wait_log("queue chaos: no longer consumed")
    time.sleep(61)
    store.create_queue("chaos", {})
    row.cured(member)


@pytest.mark.skipif(SHORT, reason="real Celery's figures are for the long form")
@pytest.mark.parametrize("face", [CELERY_LATE], ids=str)
def test_sqs_gone_connections_refused_real_celery(face: Face, make_crew: Callable[..., Crew], report: Report) -> None:
    """Measured, not judged: whether it consumes again, and after how many seconds."""
    crew = make_crew(face)
    lines: list[Line] = []

    def through(url: str) -> str:
        lines.append(Line(url, report.dice))
        return lines[0].url

    member = crew.start(through=through)
    try:
        crew.wait_ready(member)
        crew.send([face.message("work", number, 0.05) for number in range(5)])
        wait_until(lambda: len(crew.ledger.ended()) == 5)
        lines[0].cut()
        sent, ends = 5, time.monotonic() + OUTAGE
        while time.monotonic() < ends:
            crew.send([face.message("work", sent, 0.05)])
            sent += 1
            time.sleep(TRICKLE)
        lines[0].open()
        cured = boottime()
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: not member.running or any(run.start > cured for run in crew.ledger.runs()), 4 * CURED_WITHIN)
        starts = [run.start - cured for run in crew.ledger.runs() if run.start > cured]
        report.add(consuming_after=min(starts) if starts else None, worker_exited=not member.running, lines=len(said(member)))
        with contextlib.suppress(AssertionError):
            crew.drain(timeout=60)
        report.add(left=crew.left(), **checks.summary(crew, range(sent)))
    finally:
        lines[0].close()
