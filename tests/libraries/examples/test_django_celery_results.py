"""django-celery-results 2.6.0 with a worker: what it keeps of tasks that run elsewhere, as rows and as results."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from processes import wait_until


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("database") / "results.sqlite3")


@pytest.fixture
def project(database: str, sqs: str, work: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("EXAMPLE_DB", database)
    module = importlib.import_module("kept")
    from django.core.management import call_command

    if not Path(database).exists():
        call_command("migrate", verbosity=0)
    work("kept", EXAMPLE_DB=database)
    return module


def row(task_id: str) -> Any:
    from django_celery_results.models import TaskResult

    return TaskResult.objects.get(task_id=task_id)


def test_a_success_is_a_row_with_what_was_called(project: Any) -> None:
    result = project.add.delay(1, 2, note="of a test")
    assert result.get(timeout=30) == 3
    kept = row(result.id)
    assert (kept.status, kept.result, kept.content_type) == ("SUCCESS", "3", "application/json")
    assert (kept.task_name, kept.task_args, kept.task_kwargs) == ("kept.add", '"(1, 2)"', "\"{'note': 'of a test'}\"")
    assert "@" in kept.worker
    assert kept.date_started is not None
    assert kept.date_started <= kept.date_done


def test_a_failure_is_a_row_with_its_traceback(project: Any) -> None:
    result = project.fails.delay("on purpose")
    with pytest.raises(ValueError, match="on purpose"):
        result.get(timeout=30)
    kept = row(result.id)
    assert kept.status == "FAILURE"
    assert kept.traceback.rstrip().endswith("ValueError: on purpose")
    assert "in fails" in kept.traceback


def test_one_that_is_tried_again_is_one_row(project: Any) -> None:
    from django_celery_results.models import TaskResult

    result = project.tries.delay()
    assert result.get(timeout=30) == 2
    assert TaskResult.objects.filter(task_id=result.id).count() == 1
    assert row(result.id).status == "SUCCESS"


def test_a_chord_is_counted_in_the_database_and_its_group_is_kept(project: Any) -> None:
    from django_celery_results.models import ChordCounter

    result = project.summed(1, 2, 3)
    assert result.get(timeout=30) == 12
    assert wait_until(lambda: not ChordCounter.objects.exists())
    assert [row(part.id).status for part in result.parent.results] == ["SUCCESS"] * 3


def test_what_is_forgotten_is_gone(project: Any) -> None:
    from django_celery_results.models import TaskResult

    result = project.add.delay(4, 5)
    assert result.get(timeout=30) == 9
    result.forget()
    assert not TaskResult.objects.filter(task_id=result.id).exists()
