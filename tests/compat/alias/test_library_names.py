"""What libraries import of Celery beside its main names: the same answers as Celery's own, and one clear error where there is
nothing to answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CALLS = f"import runpy, sys; sys.argv[1:] = {{}}; runpy.run_path({str(HERE / 'library_calls.py')!r}, run_name='__main__')"
RECORDED = json.loads((HERE / "library_celery57.json").read_text())
INSTALL = "from pyqs_celery_compat import install_as_celery; install_as_celery()\n"


def test_functions_answer_as_celerys(beside: Any) -> None:
    assert json.loads(beside(CALLS.format(["--alias"]))) == RECORDED


def test_the_record_is_what_celery_answers(with_billiard: Any) -> None:
    assert json.loads(with_billiard(CALLS.format([]), PYQS_AS_CELERY="0")) == RECORDED


def test_what_cannot_be_made_says_what_there_is_instead(alone: Any) -> None:
    for module, name, says in (
        ("celery.concurrency.prefork", "TaskPool", "tasks run in executors"),
        ("celery.platforms", "DaemonContext", "does not detach itself"),
    ):
        said = alone(INSTALL + f"from {module} import {name}\nclass Mine({name}): pass\nMine()", fails=True)
        assert "NotImplementedError" in said
        assert says in said
    alone(
        INSTALL
        + """
from celery import concurrency, maybe_patch_concurrency
from celery.concurrency import asynpool
from celery.concurrency.base import BasePool
asynpool.PROC_ALIVE_TIMEOUT = 60.0
assert issubclass(concurrency.get_implementation("prefork"), BasePool)
maybe_patch_concurrency(["celery", "worker", "-P", "prefork"])
"""
    )
    said = alone(INSTALL + "import celery; celery.maybe_patch_concurrency(['celery', '--pool=gevent'])", fails=True)
    assert "no pool 'gevent': tasks run in executors" in said


def test_commands_that_libraries_add_run_beside_celerys_own(alone: Any) -> None:
    out = alone(
        INSTALL
        + """
import click
from celery.bin.base import CLIContext, CeleryCommand, CeleryOption, handle_preload_options
from celery.bin.celery import celery, main
@celery.command(cls=CeleryCommand)
@click.option("--port", cls=CeleryOption, type=int, help_group="Flower")
@click.pass_context
@handle_preload_options
def flower(ctx, port):
    assert isinstance(ctx.obj, CLIContext) and ctx.obj.app is None
    click.echo(f"flower on {port}")
assert main(["flower", "--port", "5555"]) == 0
from click.testing import CliRunner
done = CliRunner().invoke(celery, ["-A", "proj", "multi", "start"])
assert done.exit_code == 2, done.output
assert {"flower", "worker", "beat", "multi"} <= set(celery.list_commands(None))
assert main(["worker", "--detach"]) == 2
"""
    )
    assert out == "flower on 5555"


def test_platforms_change_no_user_and_detach_nothing(alone: Any) -> None:
    alone(
        INSTALL
        + """
from celery import platforms
from celery.exceptions import SecurityError
platforms.maybe_drop_privileges()
for refused in (lambda: platforms.setuid(1), lambda: platforms.maybe_drop_privileges(uid="nobody")):
    try:
        refused()
        raise AssertionError
    except SecurityError as exc:
        assert "start it as the user" in str(exc)
with platforms.detached(fake=True):
    pass
"""
    )


def test_a_pidfile_holds_its_process(alone: Any, tmp_path: Path) -> None:
    path = tmp_path / "worker.pid"
    alone(
        INSTALL
        + f"""
import os
from celery.platforms import LockFailed, Pidfile
file = Pidfile({str(path)!r})
with file:
    assert file.read_pid() == os.getpid() and file.is_locked()
    try:
        Pidfile(file.path).acquire()
        raise AssertionError
    except LockFailed:
        pass
assert not file.is_locked()
for text, wrong in (("abc\\n", "contents invalid"), ("1", "Partial or invalid")):
    open(file.path, "w").write(text)
    try:
        file.read_pid()
        raise AssertionError
    except ValueError as exc:
        assert wrong in str(exc)
open(file.path, "w").write("99999999\\n")
assert file.remove_if_stale() and not file.is_locked()
open(file.path, "w").write(f"{{os.getppid()}}\\n")
assert not file.remove_if_stale()
"""
    )


def test_file_descriptors(alone: Any, tmp_path: Path) -> None:
    alone(
        INSTALL
        + f"""
import os
from celery.platforms import close_open_fds, fd_by_path
kept, other = open({str(tmp_path / "kept")!r}, "w"), open({str(tmp_path / "other")!r}, "w")
assert fd_by_path([kept.name, "/no/such/file"]) == [kept.fileno()]
close_open_fds([0, 1, 2, kept])
kept.write("x")
try:
    os.fstat(other.fileno())
    raise AssertionError
except OSError:
    pass
os._exit(0)
"""
    )


def test_loaders(alone: Any, tmp_path: Path) -> None:
    (tmp_path / "loaded_tasks.py").write_text("")
    alone(
        INSTALL
        + f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from celery import Celery, signals
from celery.loaders import get_loader_cls
from celery.loaders.app import AppLoader
assert get_loader_cls("app") is AppLoader
class Mine(AppLoader):
    begun = 0
    def on_worker_init(self): self.begun += 1
app = Celery("x", broker="sqs://", include=["loaded_tasks"])
loader = Mine(app)
loader.init_worker()
loader.init_worker()
assert loader.begun == 1 and loader.task_modules == {{"loaded_tasks"}}
assert loader.cmdline_config_parser(["worker.prefetch_multiplier=3", "task.ignore_result=yes", "x.y=(list)a,b"]) == {{
    "worker_prefetch_multiplier": 3, "task_ignore_result": True, "x_y": ["a", "b"]}}
try:
    loader.cmdline_config_parser(["worker.prefetch_multiplier=many"])
    raise AssertionError
except ValueError as exc:
    assert "worker.prefetch_multiplier=many" in str(exc)
@signals.import_modules.connect
def fail(**kw):
    raise ImportError("on purpose")
try:
    loader.import_default_modules()
    raise AssertionError
except ImportError as exc:
    assert str(exc) == "on purpose"
"""
    )


def test_threads_of_their_own(alone: Any) -> None:
    alone(
        INSTALL
        + """
import threading
from celery.utils.threads import Local, LocalManager, LocalStack, bgThread, default_socket_timeout, release_local
local, manager = Local(), None
local.a = 1
seen = []
threading.Thread(target=lambda: seen.append(hasattr(local, "a"))).start()
release_local(local)
assert not hasattr(local, "a")
manager = LocalManager([local])
local.b = 2
manager.cleanup()
assert not list(local)
rounds = threading.Event()
class Worker(bgThread):
    def body(self): rounds.set()
worker = Worker()
worker.start()
assert rounds.wait(10)
worker.stop()
assert not worker.is_alive() and seen == [False]
import socket
with default_socket_timeout(3):
    assert socket.getdefaulttimeout() == 3
assert socket.getdefaulttimeout() is None
"""
    )


def test_generics_and_state(alone: Any) -> None:
    alone(
        INSTALL
        + """
from typing import get_args
from celery import Celery, Task, _state
from celery.app import task
from celery.local import class_property
from celery.result import AsyncResult
assert get_args(Task[[int], str]) == ([int], str) and get_args(AsyncResult[str]) == (str,) and get_args(Celery[Task]) == (Task,)
app = Celery("x", broker="sqs://", set_as_current=False)
assert app in _state._get_active_apps()
_state._deregister_app(app)
assert app not in _state._get_active_apps()
assert not _state.task_join_will_block()
_state._set_task_join_will_block(True)
assert _state.task_join_will_block()
class Thing:
    name = class_property(lambda cls: cls.__name__)
assert Thing.name == Thing().name == "Thing"
"""
    )
