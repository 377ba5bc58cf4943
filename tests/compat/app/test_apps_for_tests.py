"""celery.contrib.testing.app and the fixtures of celery.contrib.pytest: what comes out was observed on Celery 5.7."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pyqs_celery_compat import Celery, _state, current_app
from pyqs_celery_compat.app.log import Logging
from pyqs_celery_compat.contrib.testing.app import DEFAULT_TEST_CONFIG, TestApp, Trap, UnitLogging, setup_default_app

SUITE = """
import pytest
from celery import _state, current_app

@pytest.fixture(scope="session")
def celery_config():
    return {"task_default_queue": "tested", "mine": 1}

@pytest.fixture(scope="session")
def celery_parameters():
    return {"strict_typing": False}

@pytest.fixture(scope="session")
def celery_class_tasks():
    from celery import Task
    class Counts(Task):
        name = "counts"
        def run(self): return 1
    return [Counts]

def test_an_app_for_this_test(celery_app):
    assert (celery_app.main, celery_app.conf.broker_url) == ("celery.tests", "memory://")
    assert (celery_app.conf.task_default_queue, celery_app.conf.mine) == ("tested", 1)
    assert celery_app.strict_typing is False
    assert current_app._get_current_object() is not celery_app

@pytest.mark.celery(result_backend="cache+memory://", mine=2)
def test_with_settings_of_its_own(celery_app):
    assert celery_app.conf.mine == 2

def test_one_that_is_current(depends_on_current_app, celery_app):
    assert current_app._get_current_object() is celery_app
    @celery_app.task
    def add(x, y): return x + y
    celery_app.conf.task_always_eager = True
    assert add.delay(1, 2).get() == 3

def test_nothing_of_it_is_left():
    assert _state.get_current_app().main != "celery.tests"

def test_one_for_all(celery_session_app, celery_app):
    assert celery_session_app is not celery_app
    assert celery_session_app.tasks["counts"].apply().get() == 1

def test_what_a_worker_would_be_given(celery_includes, celery_worker_pool, celery_worker_parameters, celery_enable_logging,
                                      use_celery_app_trap):
    assert (list(celery_includes), celery_worker_pool, celery_worker_parameters) == ([], "solo", {})
    assert not celery_enable_logging and not use_celery_app_trap

def test_a_worker_in_a_thread(celery_app, celery_worker):
    assert celery_app.tasks["celery.ping"].delay().get(timeout=10) == "pong"
"""


def test_the_fixtures_of_a_users_suite(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["celery.contrib.pytest"]\n')
    (tmp_path / "test_suite.py").write_text(SUITE)
    home = str(Path(__file__).parents[3])
    env = {**os.environ, "PYQS_AS_CELERY": "1", "PYTHONPATH": home}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--strict-markers", "-p", "no:cacheprovider", str(tmp_path)],
        env=env, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "7 passed" in done.stdout, done.stdout + done.stderr


def test_an_app_of_a_test_is_quiet_and_what_is_given_wins() -> None:
    app = TestApp(config={"mine": 1, "broker_url": "sqs://"}, set_as_current=False)
    assert (app.main, app.conf.mine, app.conf.broker_url) == ("celery.tests", 1, "sqs://")
    assert {name: app.conf[name] for name in ("result_backend", "enable_utc", "accept_content")} == {
        name: DEFAULT_TEST_CONFIG[name] for name in ("result_backend", "enable_utc", "accept_content")
    }
    assert isinstance(app.log, UnitLogging)
    assert app.log.already_setup
    other = TestApp("named", broker="sqs://one", backend="redis://two", config={"broker_url": "sqs://x"}, enable_logging=True)
    assert (other.main, other.conf.broker_url, other.conf.result_backend) == ("named", "sqs://one", "redis://two")
    assert type(other.log) is Logging
    assert not Logging._setup


def test_what_a_test_leaves_is_undone(app: Celery) -> None:
    default, current, finalizers = _state.default_app, _state.get_current_app(), list(_state._on_app_finalizers)
    with setup_default_app(TestApp()):
        left = Celery("left")
        _state.set_default_app(left)
        _state.connect_on_app_finalize(lambda app: None)
    assert (_state.default_app, _state.get_current_app(), _state._on_app_finalizers) == (default, current, finalizers)
    assert left not in _state.active_apps()


def test_a_trap_says_who_depends_on_the_current_app(app: Celery) -> None:
    before = _state.get_current_app()
    with setup_default_app(TestApp(), use_trap=True):
        with pytest.raises(RuntimeError, match="Test depends on current_app"):
            current_app.conf  # noqa: B018
        assert Trap()._is_coroutine is None
    assert _state.get_current_app() is before
