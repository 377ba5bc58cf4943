"""The loop, its signals and its end; entries as objects; the embedded form."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from beat_world import World
from pyqs_celery_compat import Celery, beat, signals
from pyqs_celery_compat.schedule_file import Unusable
from pyqs_celery_compat.schedules import crontab, schedule


@pytest.fixture
def service(world: World, tmp_path: Path) -> beat.Service:
    return beat.Service(world.app, schedule_filename=str(tmp_path / "schedule"))


def test_it_tells_of_its_beginning_and_ends_when_told(service: beat.Service) -> None:
    heard: list[str] = []

    def init(sender: Any, **_: Any) -> None:
        heard.append("init")
        assert sender is service

    def embedded(sender: Any, **_: Any) -> None:
        heard.append("embedded")
        threading.Thread(target=service.stop).start()

    signals.beat_init.connect(init)
    signals.beat_embedded_init.connect(embedded)
    service.start(embedded_process=True)
    signals.beat_init.disconnect(init)
    signals.beat_embedded_init.disconnect(embedded)
    assert heard == ["init", "embedded"]
    assert service.effective_max_interval == 300
    beat.Service(service.app, schedule_filename=service.schedule_filename).get_scheduler().close()  # the file is free


def test_an_exit_in_a_scheduler_is_an_end_in_order(service: beat.Service) -> None:
    closed = []

    class Mine(beat.Scheduler):
        def tick(self) -> Any:
            raise SystemExit(3)

        def sync(self) -> None:
            closed.append(True)

    service.scheduler_cls = Mine
    service.start()
    assert closed == [True]


def test_the_embedded_form_is_a_thread_that_waits_for_its_end(world: World, tmp_path: Path) -> None:
    embedded = beat.EmbeddedService(world.app, schedule_filename=str(tmp_path / "schedule"), thread=False)
    assert isinstance(embedded, threading.Thread)
    embedded.start()
    embedded.stop()
    embedded.join(10)
    assert not embedded.is_alive()


def test_one_that_cannot_begin_is_not_waited_for(world: World, tmp_path: Path) -> None:
    embedded = beat.EmbeddedService(world.app, schedule_filename=str(tmp_path / "nowhere" / "schedule"))
    with pytest.raises(Unusable):
        embedded.run()
    embedded.stop()


def test_there_is_no_remote_control(make_world: Callable[..., World]) -> None:
    made = make_world(beat_enable_remote_control=True)
    assert beat.Service(made.app).remote_control is False
    assert not hasattr(beat, "BeatPidbox")


def test_a_node_of_beat_has_a_name() -> None:
    assert beat.beat_nodename("here") == "celerybeat@here"
    assert beat.beat_nodename("mine@here") == "mine@here"


def test_entries_take_over_what_is_to_be_sent_and_keep_when_they_ran(world: World) -> None:
    one = beat.ScheduleEntry("n", "t", schedule=10, args=(1,), app=world.app)
    other = beat.ScheduleEntry("m", "u", schedule=crontab(), kwargs={"a": 1}, options={"queue": "q"}, app=world.app)
    ran = one.last_run_at
    assert one != other
    one.update(other)
    assert one == other
    assert (one.name, one.last_run_at) == ("n", ran)
    world.passes(5)
    following = next(one)
    assert (following.total_run_count, following.last_run_at - ran) == (1, timedelta(seconds=5))
    assert sorted(dict(following)) == sorted(dict(one))
    assert repr(other) == "<ScheduleEntry: m u(a=1) <crontab: * * * * * (m/h/dM/MY/d)>>"
    cls, arguments = one.__reduce__()
    assert cls(*arguments) == one


def test_an_entry_that_cannot_tell_when_it_is_due_keeps_no_other_from_it(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(schedule):
        def is_due(self, last_run_at: Any) -> Any:
            raise RuntimeError("broken")

    beating = world.scheduler()
    beating.add(name="broken", task="t", schedule=Broken(5, app=world.app))
    beating.add(name="good", task="t", schedule=10)
    assert len(world.run(beating, 65)) == 6
    assert caplog.text.count("when entry 'broken' is due next cannot be told") <= 3


def test_a_schedule_that_changes_while_it_runs_is_followed(world: World) -> None:
    beating = world.scheduler()
    beating.add(name="n", task="t", schedule=1000)
    assert beating.tick() == 300
    beating.add(name="n", task="t", schedule=10)
    assert beating.tick() == pytest.approx(10, abs=0.1)
    del beating.schedule["n"]
    assert beating.tick() == 300


def test_the_app_has_a_beat_as_a_program(world: World) -> None:
    program = world.app.Beat(schedule="elsewhere", max_interval=7, quiet=True)
    assert (program.app, program.schedule, program.scheduler_cls) == (
        world.app, "elsewhere", "celery.beat:PersistentScheduler"
    )  # fmt: skip
    service = program.Service(world.app, max_interval=7, scheduler_cls=beat.Scheduler)
    said = program.startup_info(service)
    assert "broker -> sqs://" in said
    assert "maxinterval -> 7.00 seconds (7s)" in said


def test_a_service_is_made_again_from_its_settings() -> None:
    made = beat.Service(Celery("x", broker="sqs://", set_as_current=False), 3, "file")
    cls, arguments = made.__reduce__()
    again = cls(*arguments)
    assert (again.max_interval, again.schedule_filename) == (3, "file")


# -- signals --------------------------------------------------------------------------------------------------------------
@pytest.fixture
def _own_signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Signalled(beat.Scheduler):
    """Gets so many signals in the middle of a tick."""

    count = 1
    noted: list[str]

    def tick(self) -> Any:
        for _ in range(self.count):
            os.kill(os.getpid(), signal.SIGTERM)
        self.noted.append("ticked")
        return 0

    def sync(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)  # one that is too impatient
        self.noted.append("written")


@pytest.mark.usefixtures("_own_signals")
@pytest.mark.parametrize(("count", "noted"), [(1, ["ticked", "written"]), (2, ["written"])])
def test_a_signal_ends_it_when_what_is_being_sent_is_sent_and_a_second_one_at_once(
    world: World, count: int, noted: list[str]
) -> None:
    cls = type("Mine", (Signalled,), {"count": count, "noted": []})
    service = beat.Service(world.app, scheduler_cls=cls)
    world.app.Beat(quiet=True).install_sync_handler(service)
    service.start()
    assert cls.noted == noted


@pytest.mark.usefixtures("_own_signals")
def test_a_signal_ends_its_waiting(world: World, service: beat.Service) -> None:
    world.app.Beat(quiet=True).install_sync_handler(service)
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
    service.start()
    assert service._is_stopped.is_set()
