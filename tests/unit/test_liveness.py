"""Liveness by beats, the heartbeat file, and the in-flight limit: each with a clock of its own."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

import pytest

from pyqs.clock import boottime
from pyqs.errors import AccessDenied, ConfigError, SqsError, Unreachable
from pyqs.worker.beats import Beats
from pyqs.worker.facts import Facts
from pyqs.worker.heartbeat_file import HeartbeatFile
from pyqs.worker.in_flight import EMPTY, EVERY, LIMIT, SELDOM, InFlight
from pyqs.worker.liveness import PAUSE, Liveness
from pyqs.worker.service import Pulse, Service


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def pass_by(liveness: Liveness, clock: Clock, seconds: float, *beating: Pulse) -> None:
    """Time passes, looked at every second; only these beat."""
    for _ in range(int(seconds)):
        clock.now += 1
        for pulse in beating:
            pulse.beaten_at = clock.now
        liveness.failure()


def test_the_host_hears_every_two_seconds_of_a_worker_whose_threads_beat(clock: Clock) -> None:
    one, other = Pulse("one", 5), Pulse("other", 5)
    told: list[float] = []
    beats = Beats(lambda: told.append(clock.now), one, None, other, clock=clock)

    def pass_seconds(count: int, *beating: Pulse) -> None:
        for _ in range(count):
            for pulse in beating:
                pulse.beaten_at = clock.now
            beats.look()
            clock.now += 1

    pass_seconds(6, one, other)
    assert told == [1000, 1002, 1004]
    pass_seconds(20, one)
    assert told[3:] == [1006, 1008, 1010], "then the other one counts as hung"
    pass_seconds(3, one, other)
    assert told[6:] == [1026, 1028]


def test_a_pulse_that_stops_is_a_failure_after_its_tolerance(clock: Clock) -> None:
    liveness = Liveness(clock)
    pool, main = Pulse("pool", 30), Pulse("main", 30)
    liveness.watch(pool, None, main)
    pool.beaten_at = main.beaten_at = clock.now
    pass_by(liveness, clock, 30, main)
    assert liveness.failure() is None
    pass_by(liveness, clock, 2, main)
    assert liveness.failure() == "pool: no round for 32 s"
    pass_by(liveness, clock, 1, main, pool)
    assert liveness.failure() is None


def test_a_pulse_that_rests_or_has_not_begun_is_no_failure(clock: Clock) -> None:
    liveness = Liveness(clock)
    pulse = Pulse("executors", 5, lacking="none alive")
    liveness.watch(pulse)
    pass_by(liveness, clock, 100)
    assert liveness.failure() is None
    pulse.beaten_at = clock.now
    pass_by(liveness, clock, 6)
    assert liveness.failure() == "executors: none alive for 6 s"
    pulse.rest()
    assert liveness.failure() is None


def test_after_a_pause_of_the_whole_process_every_thread_has_its_time_again(clock: Clock) -> None:
    liveness = Liveness(clock)
    pulse = Pulse("pool", 30)
    liveness.watch(pulse)
    pass_by(liveness, clock, 5, pulse)
    clock.now += 3600
    assert liveness.failure() is None, "the first look after it"
    pass_by(liveness, clock, 30)
    assert liveness.failure() is None
    pass_by(liveness, clock, 2)
    assert liveness.failure() == "pool: no round for 32 s", "a thread that hangs since then is found"


def test_a_shorter_pause_excuses_nobody(clock: Clock) -> None:
    liveness = Liveness(clock)
    pulse = Pulse("pool", 30)
    liveness.watch(pulse)
    pulse.beaten_at = clock.now
    for _ in range(4):
        clock.now += PAUSE
        liveness.failure()
    assert liveness.failure() == "pool: no round for 40 s"


def test_the_first_crash_stays_the_reason(clock: Clock) -> None:
    liveness = Liveness(clock)
    liveness.fail("pool crashed")
    liveness.fail("discovery crashed")
    clock.now += 1000
    assert liveness.failure() == "pool crashed"


def test_a_service_beats_when_it_begins_and_rests_when_it_has_ended() -> None:
    class Looping(Service):
        def run(self) -> None:
            self.begun = self.pulse.beaten_at if self.pulse else None
            self.stopping.wait(10)

    crashes: list[str] = []
    service = Looping("looping", lambda name, exc: crashes.append(name), tolerance=3)
    service.start()
    service.stop()
    assert service.join(10)
    assert service.begun is not None
    assert boottime() - service.begun < 10
    assert service.pulse is not None
    assert service.pulse.beaten_at is None
    assert not crashes
    assert Looping("waiting", lambda name, exc: None).pulse is None


# -- the file ---------------------------------------------------------------------------------------------------------


def test_the_file_is_there_at_once_renewed_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "alive"
    one = HeartbeatFile(str(path))
    assert path.read_text() == f"{os.getpid()}\n"
    assert stat.S_IMODE(path.stat().st_mode) & 0o133 == 0
    os.utime(path, (1, 1))
    one.renew()
    assert path.stat().st_mtime > 1_000_000
    one.remove()
    assert list(tmp_path.iterdir()) == []


def test_what_a_dead_worker_left_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "alive"
    path.write_text("1\n")
    HeartbeatFile(str(path)).remove()
    assert not path.exists()


def test_a_file_that_somebody_removed_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "alive"
    one = HeartbeatFile(str(path))
    path.unlink()
    one.renew()
    assert path.exists()
    one.remove()


def test_another_worker_s_file_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "alive"
    old, new = HeartbeatFile(str(path)), HeartbeatFile(str(path))
    os.utime(path, (1, 1))
    old.renew()
    old.renew()
    assert path.stat().st_mtime == 1
    assert caplog.text.count("somebody else has put another file in its place") == 1
    old.remove()
    assert path.exists()
    new.remove()
    assert not path.exists()


def test_a_failure_to_renew_is_said_once_and_so_is_its_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    folder = tmp_path / "there"
    folder.mkdir()
    one = HeartbeatFile(str(folder / "alive"))
    (folder / "alive").unlink()
    folder.rmdir()
    one.renew()
    one.renew()
    assert caplog.text.count("cannot be renewed: No such file or directory") == 1
    folder.mkdir()
    one.renew()
    assert (folder / "alive").exists()
    assert "renewed again" in caplog.text
    one.remove()


def test_paths_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--heartbeat-file: .* cannot be written: No such file or directory"):
        HeartbeatFile(str(tmp_path / "missing" / "alive"))
    with pytest.raises(ConfigError, match="is no ordinary file"):
        HeartbeatFile(str(tmp_path))
    with pytest.raises(ConfigError, match="is no ordinary file"):
        HeartbeatFile(os.devnull)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="is no ordinary file"):
        HeartbeatFile(str(link))
    assert list(tmp_path.iterdir()) == [link]


# -- the in-flight limit ----------------------------------------------------------------------------------------------


class Sqs:
    """Answers GetQueueAttributes."""

    def __init__(self) -> None:
        self.asked = 0
        self.waiting, self.hidden = 10, LIMIT
        self.error: SqsError | None = None

    def queue_attributes(self, url: str, names: tuple[str, ...]) -> dict[str, str]:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return dict(zip(names, map(str, (self.waiting, self.hidden)), strict=True))


class Limited:
    """One queue, ``jobs``."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.sqs = clock, Sqs()
        self.in_flight = InFlight(Facts(self.sqs, lambda name, exc: None), clock=clock)  # type: ignore[arg-type]

    def answers(self, *counts: int) -> list[str]:
        for count in counts:
            self.in_flight.answered("jobs", "http://sqs/jobs", count)
        return self.in_flight.full


@pytest.fixture
def limited(clock: Clock) -> Limited:
    return Limited(clock)


def test_a_full_queue_is_found_when_its_polls_stay_empty(limited: Limited, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert limited.answers(*[0] * (EMPTY - 1)) == []
    assert limited.sqs.asked == 0
    assert limited.answers(0) == ["jobs"]
    limited.answers(0, 0, 0, 0)
    assert limited.sqs.asked == 1, "once a minute"
    limited.clock.now += EVERY
    assert limited.answers(0) == ["jobs"]
    assert caplog.text.count("at its limit of messages in flight") == 1
    limited.sqs.hidden = int(LIMIT * 0.97)
    limited.clock.now += EVERY
    assert limited.answers(0) == ["jobs"], "not below it yet"
    limited.sqs.hidden = int(LIMIT * 0.9)
    limited.clock.now += EVERY
    assert limited.answers(0) == []
    assert caplog.text.count("below its limit of messages in flight again") == 1


def test_a_message_that_comes_is_the_end_of_it(limited: Limited, caplog: pytest.LogCaptureFixture) -> None:
    assert limited.answers(0, 0, 0) == ["jobs"]
    assert limited.answers(1) == [], "the worker may be busy with it for long, and look no more"
    assert limited.answers(0, 0, 0, 0) == []
    limited.clock.now += EVERY
    assert limited.answers(0) == ["jobs"]
    assert caplog.text.count("at its limit of messages in flight") == 2


def test_an_idle_queue_is_seldom_asked(limited: Limited) -> None:
    limited.sqs.waiting = limited.sqs.hidden = 0
    for _ in range(3 * int(SELDOM / 20)):
        limited.clock.now += 20
        assert limited.answers(0) == []
    assert limited.sqs.asked <= 3


def test_messages_that_come_are_no_reason_to_ask(limited: Limited) -> None:
    assert limited.answers(*[0, 0, 1] * 100) == []
    assert limited.sqs.asked == 0


def test_a_full_queue_on_which_nothing_waits_is_no_problem(limited: Limited) -> None:
    limited.sqs.waiting = 0
    assert limited.answers(0, 0, 0) == []


def test_where_the_attributes_may_not_be_read_nobody_asks_twice(limited: Limited) -> None:
    limited.sqs.error = AccessDenied("no")
    limited.answers(0, 0, 0)
    limited.clock.now += 10 * SELDOM
    assert limited.answers(0, 0, 0) == []
    assert limited.sqs.asked == 1
    limited.in_flight.refused("jobs")
    assert limited.answers() == ["jobs"], "SQS itself said so"
    assert limited.answers(0) == ["jobs"]
    assert limited.answers(3) == []


def test_an_sqs_that_does_not_answer_changes_nothing(limited: Limited) -> None:
    limited.sqs.error = Unreachable("no")
    assert limited.answers(0, 0, 0) == []
    limited.sqs.error = None
    limited.clock.now += EVERY
    assert limited.answers(0) == ["jobs"]
    limited.in_flight.forget("jobs")
    assert limited.in_flight.full == []
