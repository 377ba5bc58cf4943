"""A loader of one's own is told of the worker's processes and of each task, in Celery's order (seen on Celery 5.7)."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pyqs.config import RuntimeConfig
from pyqs_celery_compat import Celery, lifecycle, signals
from pyqs_celery_compat.app.trace import build_tracer
from pyqs_celery_compat.loaders.app import AppLoader
from pyqs_celery_compat.runtime import CeleryRuntime


class Telling(AppLoader):
    """Tells what it is told."""

    told: list[str]

    def __init__(self, app: Celery, **kwargs: Any) -> None:
        super().__init__(app, **kwargs)
        self.told = []

    def on_task_init(self, task_id: str, task: Any) -> None:
        self.told.append(f"init {task_id} {task.name}")

    def on_process_cleanup(self) -> None:
        self.told.append("cleanup")

    def on_worker_init(self) -> None:
        self.told.append("worker init")

    def on_worker_process_init(self) -> None:
        self.told.append("process init")

    def on_worker_shutdown(self) -> None:
        self.told.append("shutdown")


@pytest.fixture
def telling() -> Iterator[tuple[Celery, list[str]]]:
    app = Celery("proj", broker="sqs://", loader=Telling)
    loader = app.loader
    assert isinstance(loader, Telling)
    yield app, loader.told
    signals.worker_shutdown.disconnect(dispatch_uid=("loader", id(app)))


def declare(app: Celery, told: list[str]) -> Any:
    @app.task(name="work")
    def work(fails: bool = False) -> None:
        told.append("run")
        if fails:
            raise ValueError

    return app.tasks["work"]


def test_a_task_in_the_worker(telling: Any) -> None:
    app, told = telling
    task = declare(app, told)

    def prerun(**_: Any) -> None:
        told.append("prerun")

    def postrun(**_: Any) -> None:
        told.append("postrun")

    signals.task_prerun.connect(prerun)
    signals.task_postrun.connect(postrun)
    trace = build_tracer("work", task, app=app)
    trace("id1", (), {}, {})
    assert told == ["prerun", "init id1 work", "run", "postrun", "cleanup"]
    told.clear()
    trace("id2", (True,), {}, {})
    assert told == ["prerun", "init id2 work", "run", "postrun", "cleanup"]


def test_a_task_in_its_callers_process(telling: Any) -> None:
    app, told = telling
    task = declare(app, told)
    task.apply(task_id="id1")
    assert told == ["init id1 work", "run"]
    task()
    assert told[2:] == ["run"]


def test_a_cleanup_that_raises_is_logged_and_the_task_has_ended(telling: Any, caplog: pytest.LogCaptureFixture) -> None:
    app, told = telling
    app.loader.on_process_cleanup = lambda: 1 / 0
    assert build_tracer("work", declare(app, told), app=app)("id1", (), {}, {}).info is None
    assert "Process cleanup failed" in caplog.text


def test_a_loader_that_wants_nothing_costs_nothing(app: Celery) -> None:
    plain, hooked = (build_tracer("work", declare(one, []), app=one) for one in (app, Celery("x", loader=Telling)))
    assert type(plain) is not type(hooked)


def test_processes_of_a_worker(telling: Any) -> None:
    app, told = telling
    lifecycle.hosted.run(app)
    lifecycle.forked.run(app)
    signals.worker_shutdown.send(sender=None)
    assert told == ["worker init", "process init", "shutdown"]


def test_its_modules_are_the_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "job_loaded.py").write_text(
        "from pyqs_celery_compat import shared_task\n@shared_task(name='loaded')\ndef work(): ...\n"
    )
    (tmp_path / "job_loading.py").write_text(
        textwrap.dedent("""
        from pyqs_celery_compat import Celery
        from pyqs_celery_compat.loaders.app import AppLoader
        class Loader(AppLoader):
            builtin_modules = frozenset({"job_loaded"})
        app = Celery("job_loading", broker="sqs://", loader=Loader)
        """)
    )
    config = replace(RuntimeConfig(), app="job_loading", working_directory=str(tmp_path))
    assert "loaded" in CeleryRuntime(config).boot().tasks
