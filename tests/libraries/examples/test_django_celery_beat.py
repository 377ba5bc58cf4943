"""django-celery-beat 2.9.0 as the scheduler of a beat: what is in the database is sent, and followed while it changes."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from processes import wait_until

SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    path = tmp_path / "ran.txt"
    path.touch()
    return path


def lines(out: Path, what: str) -> list[str]:
    return [line for line in out.read_text().splitlines() if line.startswith(what)]


def test_what_is_in_the_database_is_sent(
    tmp_path: Path, out: Path, work: Any, beat: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = {"EXAMPLE_DB": str(tmp_path / "db.sqlite3"), "EXAMPLE_OUT": str(out)}
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    importlib.import_module("scheduled")
    from django.core.management import call_command
    from django_celery_beat.models import IntervalSchedule, PeriodicTask

    call_command("migrate", verbosity=0)
    every = IntervalSchedule.objects.create(every=1, period=IntervalSchedule.SECONDS)
    often = PeriodicTask.objects.create(interval=every, name="often", task="scheduled.note", args='["often"]')
    work("scheduled", **env)
    beating = beat("scheduled", SCHEDULER, **env)
    wait_until(lambda: len(lines(out, "often")) >= 3)
    PeriodicTask.objects.create(interval=every, name="added", task="scheduled.note", args='["added"]')
    wait_until(lambda: len(lines(out, "added")) >= 2)
    beating.process.terminate()
    assert beating.process.wait(20) == 0, beating.log.read_text()
    sent = beating.log.read_text().count("Sending due task often")
    wait_until(lambda: len(lines(out, "often")) >= sent)
    assert len(set(lines(out, "often"))) == sent
    often.refresh_from_db()
    assert often.last_run_at is not None
    assert often.total_run_count == sent
