"""``manage.py pyqs``: what program it becomes, and what that is told."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest

pytest.importorskip("django")

from django.core.management.base import CommandError

from pyqs_celery_compat.django.management.commands import pyqs as command


def test_it_becomes_pyqs_where_manage_py_is(monkeypatch: Any) -> None:
    monkeypatch.setenv("PYTHONPATH", "/lib")
    became: list[Any] = []
    monkeypatch.setattr(os, "execve", lambda *args: became.append(args))
    argv = ["/srv/manage.py", "pyqs", "worker", "--settings", "a.b", "-A", "shop", "--pythonpath=/more", "--burst"]
    command.Command().run_from_argv(argv)
    ((program, args, env),) = became
    assert program == sys.executable
    assert args == [sys.executable, "-m", "pyqs", "worker", "-A", "shop", "--burst"]
    assert env["PYTHONPATH"] == os.pathsep.join(["/more", "/srv", "/lib"])


def test_call_command_runs_it_to_its_end(monkeypatch: Any) -> None:
    codes = iter([0, 2])
    monkeypatch.setattr(command.subprocess, "call", lambda *args, **kwargs: next(codes))
    command.Command().handle("queues")
    with pytest.raises(CommandError) as raised:
        command.Command().handle("queues")
    assert raised.value.returncode == 2
