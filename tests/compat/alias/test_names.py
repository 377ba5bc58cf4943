"""After ``install_as_celery()`` Celery's names are this package's modules: the very same objects, and no others."""

from __future__ import annotations

from typing import Any

import pytest

from pyqs_celery_compat import aliases

INSTALL = "from pyqs_celery_compat import install_as_celery; assert install_as_celery() is True\n"


def test_every_module_has_two_names_and_is_one_object(beside: Any) -> None:
    out = beside(
        INSTALL
        + """
from importlib import import_module
from importlib.util import find_spec
from pyqs_celery_compat import aliases
import sys
found = 0
for name in sorted(aliases.MODULES - {"celery.__main__"}):
    own = aliases.ours(name)
    try:
        there = find_spec(own)
    except ModuleNotFoundError:  # nor is the package that it would be in
        there = None
    if there is None:
        continue
    try:
        module = import_module(name)
    except ModuleNotFoundError as exc:
        assert exc.name in ("django", "pytest") and exc.name in name, (name, exc)  # as Celery's own modules for them
        continue
    assert module is import_module(own) is sys.modules[name] is sys.modules[own], name
    assert module.__name__ == module.__spec__.name == own, (name, module.__name__, module.__spec__)
    found += 1
print(found)
"""
    )
    assert int(out) >= 50


@pytest.mark.parametrize("first", ["celery", "pyqs_celery_compat"])
def test_whichever_name_comes_first(alone: Any, first: str) -> None:
    other = "celery" if first != "celery" else "pyqs_celery_compat"
    alone(
        INSTALL
        + f"""
import {first}.app.trace, {first}.utils.log
from {first} import Celery, shared_task, signals, states
from {first}.exceptions import Retry
import {other}.app.trace, {other}.utils.log, {other}.exceptions, {other}.signals
import {other}
assert {other}.app.trace is {first}.app.trace
assert {other}.exceptions.Retry is Retry and {other}.Celery is Celery and {other}.signals is signals
try:
    raise {other}.exceptions.Retry("x")
except Retry:
    pass
"""
    )


@pytest.mark.parametrize("name", ["celery.envelope", "celery.publisher", "celery.runtime", "celery.alias", "celery._billiard"])
def test_what_is_ours_alone_has_no_name_of_celerys(beside: Any, name: str) -> None:
    said = beside(INSTALL + f"import {name}", fails=True)
    assert f"ModuleNotFoundError: No module named '{name}'" in said


def test_what_is_not_here_is_never_genuine_celerys(beside: Any) -> None:
    for name in ("celery.only_there", "celery.security", "celery.app.nothing"):
        said = beside(INSTALL + f"import {name}", fails=True)
        assert f"No module named '{name}': pyqs_celery_compat stands for Celery here" in said
        assert "docs/differences.md" in said


@pytest.mark.parametrize("removed", sorted(aliases.REMOVED))
def test_what_celery_has_removed_is_said_with_what_to_do(alone: Any, removed: str) -> None:
    said = alone(INSTALL + f"import {removed}", fails=True)
    assert f"ModuleNotFoundError: No module named '{removed}': {aliases.REMOVED[removed]}" in said


def test_an_old_import_of_a_removed_name_has_the_hint_too(alone: Any) -> None:
    assert "import shared_task, Task" in alone(INSTALL + "from celery import task", fails=True)
    assert "import shared_task, Task" in alone(INSTALL + "import celery.task.base", fails=True)
    assert alone(INSTALL + "import celery; print(hasattr(celery, 'task'))") == "False"


def test_version_gates(beside: Any) -> None:
    beside(
        INSTALL
        + """
import celery
from celery import VERSION, __version__, version_info
assert __version__ == celery.__version__ == "5.7.0"
assert VERSION == version_info == (5, 7, 0, "", "") and VERSION.major == 5 and VERSION >= (4, 0)
"""
    )


def test_names_that_are_there_without_an_import(alone: Any) -> None:
    alone(
        INSTALL
        + """
import celery
for name in ("app", "canvas", "exceptions", "local", "platforms", "registry", "result", "signals", "states", "utils"):
    assert getattr(celery, name).__name__ == "pyqs_celery_compat." + name
from celery import registry
assert registry.tasks is celery.current_app.tasks
"""
    )


def test_a_second_call_changes_nothing_and_without_one_there_is_no_celery(alone: Any) -> None:
    alone("import sys\n" + INSTALL + "before = list(sys.meta_path)\n" + INSTALL + "assert sys.meta_path == before")
    assert "No module named 'celery'" in alone("import pyqs_celery_compat, celery", fails=True)
