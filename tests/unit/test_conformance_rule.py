"""Which of Celery's own tests may be left out: each clause of the rule, and what only looks like it."""

from __future__ import annotations

import textwrap

import pytest

import rule

HEAD = """
import logging
import os
from unittest.mock import Mock, patch
import celery.app.base as appbase
from celery import _state
from celery.utils import imports
from kombu import pools as kombu_pools
try:
    from celery.local import Proxy
except ImportError:
    pass
"""


def reasons(body: str, head: str = HEAD) -> tuple[str, ...]:
    """Why the rule leaves out a method with this body."""
    source = f"{head}\nclass test_X:\n    def test_it(self, monkeypatch, patching):\n{textwrap.indent(body, ' ' * 8)}\n"
    (function,) = rule.read(source)
    assert function.name == "test_X.test_it"
    return function.reasons


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("with patch('celery.app.base.logger'): pass", "patches celery.app.base.logger"),
        ("with mock.patch('billiard.util'): pass", "patches billiard.util"),
        ("with patch.dict('kombu.pools.x', {}): pass", "patches kombu.pools.x"),
        ("with patch.multiple('celery._state', x=1): pass", "patches celery._state"),
        ("with patch.object(appbase, 'USING_EXECV', True): pass", "patches celery.app.base.USING_EXECV"),
        ("with patch.object(imports.os, 'sep', '/'): pass", "patches celery.utils.imports.os.sep"),
        ("with patch.object(Proxy, 'x', 1): pass", "patches celery.local.Proxy.x"),
        (
            "from celery.result import AsyncResult as A\nwith patch.object(A, 'x', 1): pass",
            "patches celery.result.AsyncResult.x",
        ),
        ("patching('celery._state.x', 0)", "patches celery._state.x"),
        ("self.patching('celery.canvas.maybe_signature')", "patches celery.canvas.maybe_signature"),
        ("patching.modules('os', 'celery.x')", "patches celery.x"),
        ("monkeypatch.setattr('celery.x', 1)", "patches celery.x"),
        ("monkeypatch.setattr(kombu_pools, 'limit', 1)", "patches kombu.pools.limit"),
        ("monkeypatch.delattr(kombu_pools, 'limit')", "patches kombu.pools.limit"),
    ],
)
def test_it_patches_a_library(body: str, reason: str) -> None:
    assert reasons(body) == (reason,)


@pytest.mark.parametrize(
    "body",
    [
        "with patch('logging.Formatter.format'): pass",
        "with patch('celeryd.x'): pass",
        "with patch.dict(os.environ, {'CELERY_X': '1'}): pass",
        "with patch.object(os, 'fork'): pass",
        "with patch.object(self.app, 'strict', True): pass",
        "monkeypatch.setenv('celery.x', '1')",
        "monkeypatch.setitem(sys.modules, 'celery', None)",
        "monkeypatch.setattr(os, 'sep', '/')",
        "symbol_by_name('celery.app.base:Celery')",
        "queue.object('celery.x')",
        "'patches celery.x'",
    ],
)
def test_it_patches_something_else(body: str) -> None:
    assert reasons(body) == ()


def test_decorators_and_marks_are_of_the_test() -> None:
    source = f"""{HEAD}
@patch('celery.a')
def test_a(a): pass
class test_X:
    @pytest.mark.patched_module('django', 'celery.b')
    async def test_b(self): pass
    @pytest.mark.sleepdeprived_patched_module(imports)
    def test_c(self): pass
    @pytest.mark.masked_modules('billiard.util')
    def test_masked(self): pass
"""
    found = {function.name: function.reasons for function in rule.read(source)}
    assert found == {
        "test_a": ("patches celery.a",),
        "test_X.test_b": ("patches celery.b",),
        "test_X.test_c": ("patches celery.utils.imports",),
        "test_X.test_masked": (),
    }


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("assert app._preconf", "reads app._preconf"),
        ("self.app._tasks['x'].y", "reads self.app._tasks"),
        ("self.make()._name", "reads self.make()._name"),
        ("_state._tls.current_app = None", "reads _state._tls"),
        ("del x._y.z", "reads x._y"),
        ("getattr(app, '_pool', None)", "reads app._pool"),
        ("hasattr(app, '_pool')", "reads app._pool"),
        ("def inner(self):\n    return task._app", "reads task._app"),
    ],
)
def test_it_reads_what_is_private_to_another(body: str, reason: str) -> None:
    assert reasons(body) == (reason,)


@pytest.mark.parametrize(
    "body",
    [
        "assert self._mine",
        "class X:\n    @classmethod\n    def make(cls):\n        return cls._made",
        "super()._setup()",
        "assert app.__class__.__name__",
        "app._pool = None",
        "del app._pool",
        "logging._levelToName[10]",
        "os._exit(1)",
        "assert _state",
        "_private()",
        "getattr(app, 'pool')",
        "getattr(app, name)",
    ],
)
def test_it_reads_nothing_private_to_another(body: str) -> None:
    assert reasons(body) == ()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("self.app.send_task = Mock()", "replaces self.app.send_task by a Mock"),
        ("x.run = y.run = mock.MagicMock(name='run')", "replaces x.run by a Mock"),
        ("told = Mock()\nself.app.now = told", "replaces self.app.now by a Mock"),
        ("for task in tasks: task.clone = ContextMock()", "replaces task.clone by a Mock"),
        ("with patch.object(task, 'retry', side_effect=Retry): pass", "replaces task.retry by a Mock"),
        ("with patch.object(task, 'retry', new=Mock()): pass", "replaces task.retry by a Mock"),
        ("with patch.object(type(self.app), 'pool', new_callable=make): pass", "replaces type().pool by a Mock"),
        ("with patching.object(task, 'retry'): pass", "replaces task.retry by a Mock"),
        ("monkeypatch.setattr(task, 'retry', Mock())", "replaces task.retry by a Mock"),
        ("setattr(task, 'retry', Mock())", "replaces task.retry by a Mock"),
    ],
)
def test_it_replaces_a_method_by_a_mock(body: str, reason: str) -> None:
    assert reason in reasons(body)


@pytest.mark.parametrize(
    "body",
    [
        "self.callback = Mock()",
        "callback = Mock()\napp.connect(callback)",
        "producer = Mock()\nproducer.publish = Mock()\nproducer.channel.close = Mock()",
        "self.app.now = lambda: 1",
        "self.app.conf.task_always_eager = True",
        "with patch.object(task, 'retry', lambda: 1): pass",
        "monkeypatch.setattr(task, 'retry', lambda: 1)",
        "setattr(task, 'retry', 1)",
        "found['x'] = Mock()",
        "self.app.task(Mock())",
    ],
)
def test_it_replaces_nothing_by_a_mock(body: str) -> None:
    assert reasons(body) == ()


def test_of_a_class_only_its_test_functions_are_read() -> None:
    source = f"""{HEAD}
class Base:
    def setup_method(self):
        self.patching('celery.x')
        self.app.send_task = Mock()
    def helper(self):
        return self.app._pool
    class test_inner:
        def test_a(self): self.helper()
    def test_b(self): pass
def helper():
    def test_c(): pass
def test_d(): pass
"""
    assert [(function.name, function.reasons) for function in rule.read(source)] == [
        ("Base.test_inner.test_a", ()),
        ("Base.test_b", ()),
        ("test_d", ()),
    ]


def test_a_test_defined_twice_is_one_and_its_last() -> None:
    (function,) = rule.read("def test_a(): x._y\ndef test_a(): pass\n")
    assert function.reasons == ()


def test_a_name_imported_in_another_function_says_nothing_of_this_one() -> None:
    head = "def other():\n    import sys as app\n"
    assert reasons("app._pool", head) == ("reads app._pool",)
