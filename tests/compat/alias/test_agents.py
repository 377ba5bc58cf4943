"""Agents that instrument modules when they are loaded: what Celery's worker has loaded by itself is loaded for them."""

from __future__ import annotations

from typing import Any

import pytest

#: Finds nothing, and tells what it was asked for, as the import hooks of New Relic, wrapt and Datadog do.
WATCHER = """
import sys
asked = []
class Watcher:
    def find_spec(self, name, path=None, target=None):
        asked.append(name)
sys.meta_path.insert(0, Watcher())
"""
BEGIN = """
from pyqs_celery_compat import Celery, alias, lifecycle
alias.install_for_worker("proj")
app = Celery("proj", broker="sqs://")
"""
NAMES = {"celery.app.trace", "celery.concurrency.prefork", "billiard.pool"}


def test_a_worker_loads_what_agents_put_themselves_around(alone: Any) -> None:
    alone(WATCHER + BEGIN + f"assert {NAMES!r} <= set(asked), asked")


def test_without_an_agent_nothing_is_loaded_for_one(alone: Any) -> None:
    alone(BEGIN + "import sys\nassert not {'pyqs_celery_compat.concurrency.prefork', 'billiard.pool'} & set(sys.modules)")


def test_what_is_put_around_the_begin_of_a_process_is_called_there(alone: Any) -> None:
    alone(
        WATCHER
        + BEGIN
        + """
from celery.app import trace
from celery.concurrency import prefork
called = []
def around(module, name):
    before = getattr(module, name)
    def wrapper(*args, **kwargs):
        called.append((name, args[0] is app))
        return before(*args, **kwargs)
    setattr(module, name, wrapper)
around(prefork, "process_initializer")
around(trace, "setup_worker_optimizations")
lifecycle.forked.run(app)
assert called == [("process_initializer", True), ("setup_worker_optimizations", True)], called
"""
    )


@pytest.mark.parametrize(
    ("module", "runs"), [("newrelic.hooks.application_celery", True), ("pyqs_celery_compat.app.task", False)]
)
def test_a_call_that_others_have_put_into_task_is_made(alone: Any, module: str, runs: bool) -> None:
    alone(
        BEGIN
        + f"""
from celery.app.task import BaseTask
from celery.app.trace import build_tracer
ran = []
before = BaseTask.__call__
def around(self, *args, **kwargs):
    ran.append(self.name)
    return before(self, *args, **kwargs)
around.__module__ = {module!r}
BaseTask.__call__ = around
@app.task(name="add")
def add(x, y):
    return x + y
assert build_tracer("add", app.tasks["add"], app=app)("id", (1, 2), {{}}).retval == 3
assert bool(ran) is {runs}, ran
"""
    )
