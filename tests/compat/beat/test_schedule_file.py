"""The schedule file: what it remembers, who may have it, and what becomes of one that cannot be read."""

from __future__ import annotations

import logging
import os
import pickle
import shelve
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from beat_world import World
from pyqs_celery_compat import beat, schedule_file, version
from pyqs_celery_compat.schedules import crontab, schedule

MakeWorld = Callable[..., World]
RAN = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "celerybeat-schedule")


def entries() -> dict[str, Any]:
    return {
        "hourly": {"task": "t", "schedule": crontab(minute=0), "args": (1,), "options": {"queue": "celery"}},
        "often": {"task": "t", "schedule": timedelta(seconds=10), "kwargs": {"a": [1]}},
    }


def opened(world: World, path: str, **options: Any) -> Any:
    return world.scheduler(beat.PersistentScheduler, schedule_filename=path, **options)


def as_a_kill_leaves_it(path: str) -> str:
    """The files of a beat that ends here, elsewhere."""
    folder = os.path.dirname(path)
    shutil.copytree(folder, f"{folder}-killed")
    return os.path.join(f"{folder}-killed", os.path.basename(path))


def files(path: str) -> set[str]:
    return {name for name in os.listdir(os.path.dirname(path)) if not name.endswith(".lock")}


def test_it_remembers_what_ran_and_when(make_world: MakeWorld, path: str) -> None:
    world = make_world(beat_schedule=entries())
    first = opened(world, path)
    assert len(world.run(first, 65)) == 7
    first.close()
    second = opened(make_world(beat_schedule=entries()), path)
    assert second.schedule["often"].total_run_count == 6
    assert second.schedule["hourly"].last_run_at.replace(second=0, microsecond=0).isoformat() == "2026-11-23T18:00:00+00:00"
    second.close()


def test_it_follows_the_configuration(make_world: MakeWorld, path: str) -> None:
    first = opened(make_world(beat_schedule=entries()), path)
    ran = first.schedule["often"].last_run_at
    first.close()
    changed = {"often": {"task": "u", "schedule": 20}, "new": {"task": "t", "schedule": 5}}
    second = opened(make_world(beat_schedule=changed), path)
    assert sorted(second.schedule) == ["new", "often"]
    often = second.schedule["often"]
    assert (often.task, often.schedule, often.last_run_at) == ("u", schedule(20), ran)
    second.close()


def test_another_timezone_forgets_nothing(make_world: MakeWorld, path: str) -> None:
    first = opened(make_world(beat_schedule=entries()), path)
    ran = first.schedule["often"].last_run_at
    first.close()
    second = opened(make_world("Europe/Paris", beat_schedule=entries()), path)
    assert second.schedule["often"].last_run_at == ran
    assert second._store["tz"] == "Europe/Paris"
    second.close()


def test_the_daily_cleanup_is_remembered_like_the_others(make_world: MakeWorld, path: str, tmp_path: Path) -> None:
    settings = {"result_backend": f"file://{tmp_path}", "beat_schedule": {}}
    world = make_world(**settings)
    first = opened(world, path)
    ran = first.schedule["celery.backend_cleanup"].last_run_at
    first.close()
    later = make_world(**settings)
    later.passes(86400)
    second = opened(later, path)
    assert second.schedule["celery.backend_cleanup"].last_run_at == ran
    second.close()


def test_a_beat_that_was_killed_before_it_could_note_sends_the_same_tick_again(
    make_world: MakeWorld, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(beat_schedule={"hourly": entries()["hourly"]})
    killed = opened(world, path)
    world.passes(31)
    monkeypatch.setattr(killed, "reserve", sys.exit)
    with pytest.raises(SystemExit):
        killed.tick()
    ids = [message["headers"]["id"] for message in world.take()]
    again = opened(world, as_a_kill_leaves_it(path))
    for _ in range(5):
        again.tick()
        world.passes(1)
    ids += [message["headers"]["id"] for message in world.take()]
    assert len(ids) == 2
    assert ids[0] == ids[1]
    again.close()


def test_the_file_is_written_before_beat_waits(make_world: MakeWorld, path: str) -> None:
    world = make_world(beat_schedule=entries())
    first = opened(world, path)
    world.passes(11)
    while first.tick() == 0:
        pass
    first.rest()
    second = opened(make_world(beat_schedule=entries()), as_a_kill_leaves_it(path))
    assert second.schedule["often"].total_run_count == 1
    second.close()


# -- names ----------------------------------------------------------------------------------------------------------------
def test_pickles_have_celerys_names(make_world: MakeWorld, path: str) -> None:
    first = opened(make_world(beat_schedule=entries()), path)
    first.close()
    with shelve.open(path) as shelf:  # noqa: S301
        raw = dict(shelf.dict)
    assert b"celery.beat" in raw[b"entries"]
    assert b"celery.schedules" in raw[b"entries"]
    assert not any(b"pyqs" in value for value in raw.values())
    assert pickle.loads(raw[b"__version__"]) == version.CELERY  # noqa: S301 - our own


ROUND = """
import sys
from datetime import datetime, timedelta, timezone
from pyqs_celery_compat import Celery, schedule_file
from pyqs_celery_compat.beat import ScheduleEntry
from pyqs_celery_compat.schedules import crontab, schedule
{install}
app = Celery("x", broker="sqs://")
shelf = schedule_file.open(sys.argv[1])
ran = datetime(2026, 1, 2, tzinfo=timezone.utc)
if "entries" in shelf:
    assert shelf["entries"]["a"].schedule == crontab(minute="*/5", hour="1-3") and shelf["entries"]["a"].last_run_at == ran
    assert shelf["entries"]["b"].schedule == schedule(7) and shelf["entries"]["b"].total_run_count == 3
    assert shelf["entries"]["c"].schedule.app.main == "x"
shelf["entries"] = {{
    "a": ScheduleEntry("a", "t", ran, 3, crontab(minute="*/5", hour="1-3"), app=app),
    "b": ScheduleEntry("b", "t", ran, 3, 7, app=app),
    "c": ScheduleEntry("c", "t", ran, 3, crontab(app=app), app=app),
}}
shelf.close()
"""


def test_with_the_alias_and_without_it_is_one_file(path: str) -> None:
    install = "from pyqs_celery_compat import install_as_celery; install_as_celery()"
    for line in ("", install, "", install):
        subprocess.run([sys.executable, "-c", ROUND.format(install=line), path], check=True, timeout=60)


# -- who may have it ------------------------------------------------------------------------------------------------------
def test_two_beats_do_not_have_one_file(make_world: MakeWorld, path: str) -> None:
    first = opened(make_world(beat_schedule=entries()), path)
    with pytest.raises(beat.ScheduleInUse, match=rf"another beat \(process {os.getpid()}\) has the schedule file.*-s"):
        opened(make_world(beat_schedule=entries()), path)
    first.close()
    first.close()
    opened(make_world(beat_schedule=entries()), path).close()


def test_looking_at_a_scheduler_takes_no_file(make_world: MakeWorld, path: str) -> None:
    lazy = opened(make_world(beat_schedule=entries()), path, lazy=True)
    assert path in lazy.info
    lazy.close()
    assert os.listdir(os.path.dirname(path)) == []


@pytest.mark.parametrize("where", ["nowhere/schedule", "file/schedule"])
def test_a_place_where_none_can_be_is_said(make_world: MakeWorld, tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(schedule_file.Unusable, match=r"cannot be used.*-s names another place"):
        opened(make_world(), str(tmp_path / where))


# -- what cannot be read --------------------------------------------------------------------------------------------------
def moved_aside(path: str) -> set[str]:
    return {name for name in files(path) if ".unreadable-" in name}


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"\x80\x04\x95"])
def test_a_corrupt_file_is_moved_aside(
    make_world: MakeWorld, path: str, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    first = opened(make_world(beat_schedule=entries()), path)
    first.close()
    for name in files(path):
        if not name.endswith((".dir", ".bak")):
            file = Path(path).with_name(name)
            file.write_bytes(file.read_bytes()[:40] + damage)
    second = opened(make_world(beat_schedule=entries()), path)
    assert sorted(second.schedule) == ["hourly", "often"]
    second.close()
    assert moved_aside(path)
    (said,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "cannot be read" in said.getMessage()
    assert all(name in said.getMessage() for name in moved_aside(path))
    opened(make_world(beat_schedule=entries()), path).close()
    assert len(caplog.records) == 1


def test_a_file_that_is_none_at_all_is_moved_aside(make_world: MakeWorld, path: str) -> None:
    Path(path).write_text("my notes")
    opened(make_world(beat_schedule=entries()), path).close()
    (kept,) = moved_aside(path)
    assert Path(path).with_name(kept).read_text() == "my notes"


@pytest.mark.parametrize(
    "content",
    [
        {"entries": {"a": beat.ScheduleEntry("a", "t", RAN, 1, 10)}},  # of Celery 2
        {"entries": ["a"], "__version__": "5.7.0", "tz": "UTC", "utc_enabled": True},
        {"entries": {"a": 1}, "__version__": "5.7.0", "tz": "UTC", "utc_enabled": True},
    ],
)
def test_a_file_of_another_kind_or_time_is_moved_aside(make_world: MakeWorld, path: str, content: dict[str, Any]) -> None:
    shelf = schedule_file.open(path)
    shelf.update(content)
    shelf.close()
    made = opened(make_world(beat_schedule=entries()), path)
    assert sorted(made.schedule) == ["hourly", "often"]
    made.close()
    assert moved_aside(path)


def test_an_index_that_a_kill_has_left_half_written_is_restored(make_world: MakeWorld, path: str) -> None:
    if not os.path.exists(f"{path}.dat"):
        shelf = schedule_file.open(path)
        shelf.close()
    if not os.path.exists(f"{path}.dat"):
        pytest.skip("this Python's dbm has no such index")
    first = opened(make_world(beat_schedule=entries()), path)
    first.schedule["often"].total_run_count = 5
    first.close()
    os.replace(f"{path}.dir", f"{path}.bak")
    second = opened(make_world(beat_schedule=entries()), path)
    assert second.schedule["often"].total_run_count == 5
    second.close()
