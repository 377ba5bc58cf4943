"""What is sent, and when: intervals, crontabs, summer time, downtimes, clocks that are set, an SQS that does not answer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import pytest

from beat_world import World
from pyqs_celery_compat import beat
from pyqs_celery_compat.schedules import crontab, schedule, solar

HOUR = 3600
MakeWorld = Callable[..., World]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


def test_an_interval_is_sent_every_so_often(world: World) -> None:
    beating = world.scheduler()
    beating.add(name="often", task="t", schedule=10)
    assert len(world.run(beating, 65)) == 6
    assert beating.schedule["often"].total_run_count == 6


def test_what_takes_long_to_send_does_not_make_intervals_longer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    beating = world.scheduler()
    beating.add(name="often", task="t", schedule=10)
    send = beating.send_task

    def slowly(*args: Any, **kwargs: Any) -> Any:
        world.passes(4)
        return send(*args, **kwargs)

    monkeypatch.setattr(beating, "send_task", slowly)
    started = world.wall
    while world.wall < started + timedelta(seconds=101):
        world.passes(max(beating.tick(), 0.001))
    assert beating.schedule["often"].total_run_count == 10


def test_a_crontab_is_sent_when_the_clock_shows_it(world: World) -> None:
    beating = world.scheduler()
    beating.add(name="hourly", task="t", schedule=crontab(minute=0, app=world.app))
    assert world.run(beating, 3 * HOUR) == [
        "hourly@2026-11-23T18:00:00Z", "hourly@2026-11-23T19:00:00Z", "hourly@2026-11-23T20:00:00Z"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("day", "sent"),
    [
        ("2026-03-29T00:00:00", ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]),  # 02:30 is left out: as much later
        ("2026-10-24T22:00:00", ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]),  # 02:30 comes twice: the first time
    ],
)
def test_a_change_to_or_from_summer_time_sends_nothing_twice(make_world: MakeWorld, day: str, sent: list[str]) -> None:
    world = make_world("Europe/Paris")
    world.wall = utc(day)
    beating = world.scheduler()
    beating.add(name="n", task="t", schedule=crontab(minute=30, hour=2, app=world.app))
    got = world.run(beating, 30 * HOUR)
    assert got == [f"n@{moment}" for moment in sent] or got[0] in {"n@2026-03-29T01:30:00Z"}
    assert len(got) == 2


def test_what_was_due_while_beat_was_down_is_sent_once(world: World) -> None:
    beating = world.scheduler()
    beating.add(name="hourly", task="t", schedule=crontab(minute=0, app=world.app))
    beating.add(name="often", task="t", schedule=60)
    world.passes(5 * HOUR + 45)
    assert sorted(world.run(beating, 10)) == ["hourly@2026-11-23T23:00:00Z", "often@2026-11-23T23:00:00Z"]


def test_beat_cron_starting_deadline_leaves_out_what_is_too_late(make_world: MakeWorld) -> None:
    world = make_world(beat_cron_starting_deadline=600)
    beating = world.scheduler()
    beating.add(name="hourly", task="t", schedule=crontab(minute=0, app=world.app))
    beating.add(name="often", task="t", schedule=60)
    world.passes(5 * HOUR + 20 * 60)  # 23:19:30
    assert world.run(beating, 10) == ["often@2026-11-23T23:19:00Z"]
    assert world.run(beating, HOUR)[-1].startswith("often")
    assert "hourly@2026-11-24T00:00:00Z" in world.ids


# -- the clock is set -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("step", [HOUR, -HOUR, -30, 30, -2])
def test_an_interval_keeps_its_distance_when_the_clock_is_set(world: World, step: float) -> None:
    beating = world.scheduler()
    beating.add(name="often", task="t", schedule=10)
    sent_at: list[float] = []
    for second in range(120):
        if second == 35:
            world.clock_is_set(step)
        for _ in range(3):
            beating.tick()
        if world.take():
            sent_at.append(world.steady)
        world.passes(1)
    gaps = [later - earlier for earlier, later in pairwise(sent_at)]
    assert set(gaps) == {10}


@pytest.mark.parametrize(("step", "most_silent"), [(-HOUR, 61), (HOUR, 61), (-20, 81), (-2, 63)])
def test_a_crontab_of_each_minute_is_not_silent_when_the_clock_is_set(world: World, step: float, most_silent: float) -> None:
    beating = world.scheduler()
    beating.add(name="m", task="t", schedule=crontab(app=world.app))
    sent_at: list[float] = [world.steady]
    for second in range(600):
        if second == 200:
            world.clock_is_set(step)
        for _ in range(3):
            beating.tick()
        sent_at += [world.steady] * len(world.take())
        world.passes(1)
    gaps = [later - earlier for earlier, later in pairwise(sent_at)]
    assert max(gaps) <= most_silent
    assert min(gaps[1:]) > 15 or step > 0  # then what the clock has left out comes at once, and the next in its minute


def test_a_clock_that_is_set_back_uses_no_id_again(world: World) -> None:
    beating = world.scheduler()
    beating.add(name="m", task="t", schedule=crontab(app=world.app))
    beating.add(name="often", task="t", schedule=600)
    got = []
    for minute in range(120):
        if minute == 90:
            world.clock_is_set(-HOUR)
        for _ in range(4):
            beating.tick()
        got += [message["headers"]["id"] for message in world.take()]
        world.passes(60)
    assert len(got) > 125
    assert len(set(got)) == len(got)


@pytest.mark.parametrize("step", [-HOUR, -60, -2])
def test_a_daily_task_is_not_sent_again_when_the_clock_is_set_back(world: World, step: float) -> None:
    beating = world.scheduler()
    beating.add(name="daily", task="t", schedule=crontab(minute=0, hour=18, app=world.app))
    assert len(world.run(beating, 120)) == 1
    world.clock_is_set(step)
    assert world.run(beating, 20 * HOUR) == []
    assert world.run(beating, 6 * HOUR) == ["daily@2026-11-24T18:00:00Z"]


def test_an_entry_that_ran_in_a_far_future_is_not_waited_for(world: World, caplog: pytest.LogCaptureFixture) -> None:
    beating = world.scheduler()
    beating.add(name="daily", task="t", schedule=crontab(minute=0, hour=18, app=world.app), last_run_at=utc("2035-01-01"))
    assert world.run(beating, 120) == ["daily@2026-11-23T18:00:00Z"]
    assert "the clock was set back" in caplog.text


# -- the ticks ------------------------------------------------------------------------------------------------------------
def test_two_beats_give_the_same_time_of_the_clock_the_same_id(make_world: MakeWorld) -> None:
    ids = []
    for late in (0.2, 3.4):
        world = make_world()
        beating = world.scheduler()
        beating.add(name="hourly", task="t", schedule=crontab(minute=0, app=world.app))
        beating.tick()
        world.passes(30 + late)
        beating.tick()
        (message,) = world.take()
        ids.append(message["headers"]["id"])
        assert message["headers"]["beat_tick"] == "hourly@2026-11-23T18:00:00Z"
        assert message["headers"]["celery_beat_task"] is True
    assert ids[0] == ids[1]
    assert len(ids[0]) == 36


def test_one_that_was_down_gives_the_time_that_the_other_has_sent(make_world: MakeWorld) -> None:
    # of crontabs with many due times in a row, too, and after weeks
    for due in (crontab(minute="*/5"), crontab(hour=18), crontab(minute=0, hour=18, day_of_month=23)):
        world = make_world()
        due.app = world.app
        beating = world.scheduler()
        beating.add(name="n", task="t", schedule=due, last_run_at=world.wall - timedelta(days=40))
        world.passes(45)  # 18:00:15
        assert world.run(beating, 1) == ["n@2026-11-23T18:00:00Z"]


def test_two_apps_and_two_prefixes_have_different_ids(make_world: MakeWorld) -> None:
    ids = set()
    for main, prefix in (("a", ""), ("b", ""), ("a", "staging-")):
        world = make_world(broker_transport_options={"queue_name_prefix": prefix})
        world.app.main = main
        beating = world.scheduler()
        beating.add(name="hourly", task="t", schedule=crontab(minute=0, app=world.app))
        world.passes(31)
        beating.tick()
        ids |= {message["headers"]["id"] for message in world.take(f"{prefix}celery")}
    assert len(ids) == 3


def test_no_two_runs_of_one_beat_have_the_same_id(world: World) -> None:
    class Hasty(schedule):
        def is_due(self, last_run_at: Any) -> Any:
            return True, 1

    class HastyCrontab(crontab):
        def is_due(self, last_run_at: Any) -> Any:
            return True, 1

    for name, due in (("hasty", Hasty(60, app=world.app)), ("cron", HastyCrontab(app=world.app)), ("relative", None)):
        beating = world.scheduler()
        if due is None:
            beating.add(name=name, task="t", schedule=5400, relative=True)
        else:
            beating.add(name=name, task="t", schedule=due)
        got = []
        for _ in range(40 if due else 4000):
            beating.tick()
            got += [message["headers"]["id"] for message in world.take()]
            world.passes(3)
        assert len(got) > 1
        assert len(set(got)) == len(got)


def test_the_options_of_an_entry_win(world: World) -> None:
    beating = world.scheduler()
    options = {"task_id": "mine", "queue": "other", "headers": {"a": 1}}
    beating.add(name="n", task="t", schedule=10, options=options)
    world.passes(11)
    assert world.run(beating, 1) == []
    (message,) = world.take("other")
    assert message["headers"]["id"] == "mine"
    assert (message["headers"]["a"], message["headers"]["celery_beat_task"]) == (1, True)
    assert options == {"task_id": "mine", "queue": "other", "headers": {"a": 1}}


def test_on_a_fifo_queue_two_beats_send_one(make_world: MakeWorld) -> None:
    world = make_world(task_default_queue="jobs.fifo")
    for _ in range(2):
        beating = world.scheduler()
        beating.add(name="hourly", task="t", schedule=crontab(minute=0, app=world.app), last_run_at=utc("2026-11-23T17:00:00"))
        world.passes(16)
        beating.tick()
    assert len(world.take("jobs.fifo")) == 1


# -- SQS does not answer --------------------------------------------------------------------------------------------------
def test_what_could_not_be_sent_has_not_run_and_is_tried_again(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    beating = world.scheduler()
    for name in ("a", "b", "c"):
        beating.add(name=name, task="t", schedule=crontab(minute=0, app=world.app))
    world.sqs.down = True
    assert world.run(beating, 20 * 60) == []
    assert {entry.total_run_count for entry in beating.schedule.values()} == {0}
    said = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(said) == 1
    assert "SQS does not take" in said[0].getMessage()
    world.sqs.down = False
    assert sorted(world.run(beating, 60)) == [f"{name}@2026-11-23T18:00:00Z" for name in "abc"]
    assert world.run(beating, 30 * 60) == []
    assert caplog.text.count("is sent, after") == 3


def test_an_answer_that_got_lost_is_a_second_message_of_the_same_id(world: World) -> None:
    beating = world.scheduler()
    beating.add(name="hourly", task="t", schedule=crontab(minute=0, app=world.app))
    world.sqs.lost = 1
    assert world.run(beating, 60) == ["hourly@2026-11-23T18:00:00Z"] * 2


def test_an_entry_that_cannot_be_sent_does_not_keep_others_from_it(world: World, caplog: pytest.LogCaptureFixture) -> None:
    beating = world.scheduler()
    beating.add(name="bad", task="t", schedule=10, args=(object(),))
    beating.add(name="good", task="t", schedule=10)
    assert len(world.run(beating, 65)) == 6
    assert [record.args[0] for record in caplog.records if record.levelname == "ERROR" and record.args] == ["bad"]


def test_a_lazy_argument_is_made_each_time(world: World) -> None:
    beating = world.scheduler()
    beating.add(name="n", task="t", schedule=10, args=(beat.BeatLazyFunc(world.wall.strftime, "%Y"),))
    world.passes(11)
    beating.tick()
    (message,) = world.take()
    assert message["headers"]["argsrepr"] == "['2026']"


def test_a_task_that_the_app_has_not_is_sent_and_said_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    beating = world.scheduler()
    beating.add(name="n", task="elsewhere.task", schedule=10)
    assert len(world.run(beating, 35)) == 3
    assert caplog.text.count("this app has no task 'elsewhere.task'") == 1


def test_apply_async_notes_a_run_only_if_it_was_sent(world: World) -> None:
    beating = world.scheduler()
    entry = beating.add(name="n", task="t", schedule=10)
    world.sqs.down = True
    with pytest.raises(beat.SchedulingError, match="Couldn't apply scheduled task n"):
        beating.apply_async(entry)
    assert beating.schedule["n"].total_run_count == 0
    world.sqs.down = False
    assert beating.apply_async(entry).id
    assert beating.schedule["n"].total_run_count == 1


def test_the_sun_is_a_schedule_like_the_others(world: World) -> None:
    pytest.importorskip("ephem")
    beating = world.scheduler()
    beating.add(name="sun", task="t", schedule=solar("sunrise", 48, 2, app=world.app))
    (tick,) = world.run(beating, 24 * HOUR)
    assert tick.startswith("sun@2026-11-24T07:")


# -- an app's entries -----------------------------------------------------------------------------------------------------
def test_add_periodic_task_and_beat_schedule_are_sent(make_world: MakeWorld) -> None:
    world = make_world(beat_schedule={"conf": {"task": "t", "schedule": 10}})

    @world.app.task(name="declared")
    def declared(x: int) -> None: ...

    world.app.add_periodic_task(10, declared.s(1), name="added")
    beating = world.scheduler()
    assert sorted(tick.partition("@")[0] for tick in world.run(beating, 11)) == ["added", "conf"]


FILES = {"result_backend": "file:///tmp"}


@pytest.mark.parametrize(("settings", "there"), [({}, False), (FILES, True), (FILES | {"result_expires": None}, False)])
def test_results_that_do_not_expire_by_themselves_are_cleaned_up(
    make_world: MakeWorld, settings: dict[str, Any], there: bool
) -> None:
    beating = make_world(**settings).scheduler()
    assert ("celery.backend_cleanup" in beating.schedule) is there
