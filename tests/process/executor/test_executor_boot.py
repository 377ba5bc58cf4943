"""How an executor comes up: from the forkserver or by itself, and what it says when the tasks do not load."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from pyqs.config import ConnectionConfig
from pyqs.message import Delete
from pyqs.wire import Done, NotReady, Ready, Started, Stop

TASKS = """
    from pyqs import task

    @task
    def add(a, b): return a + b

    @task(custom_function_path="shop.send")
    def other(): ...
"""


def test_it_reports_its_tasks_and_where_it_came_from(parent: Any, preloading: bool) -> None:
    parent.write("tasks.py", TASKS)
    child = parent.start(preloading=preloading, ready=False)
    ready = child.expect(Ready)
    assert ready == Ready(child.pid, parent.server_pid, ("shop.send", "tasks.add"), 0, (), preloading)


def test_it_leads_a_process_group_of_its_own(parent: Any, preloading: bool) -> None:
    parent.write("tasks.py", TASKS)
    child = parent.start(preloading=preloading)
    assert os.getpgid(child.pid) == child.pid
    assert os.getpgid(parent.server_pid) == parent.server_pid


def test_stop_ends_it_with_exit_code_0(parent: Any, preloading: bool) -> None:
    parent.write("tasks.py", TASKS)
    child = parent.start(preloading=preloading)
    child.send(Stop())
    assert child.next() is None
    assert child.exit_code() == 0


def test_a_thread_that_a_task_left_behind_does_not_keep_it(parent: Any) -> None:
    parent.write(
        "tasks.py",
        """
        import threading
        from pyqs import task

        @task
        def leave(): threading.Thread(target=threading.Event().wait).start()
        """,
    )
    child = parent.start()
    child.run("tasks.leave")
    child.expect(Started)
    child.expect(Done)
    child.send(Stop())
    assert child.exit_code() == 0


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise RuntimeError('the database is on fire')", "module tasks does not load: RuntimeError: the database is on fire"),
        ("import nowhere_at_all", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("import sys; sys.exit('no settings')", "SystemExit: no settings"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("def broken(:", "SyntaxError"),
    ],
)
def test_tasks_that_do_not_load_are_reported(parent: Any, preloading: bool, code: str, reason: str) -> None:
    parent.write("tasks.py", code)
    child = parent.start(preloading=preloading, ready=False)
    report = child.expect(NotReady)
    assert reason in report.reason
    assert "\n" not in report.reason
    assert "tasks.py" in report.details
    assert not report.retry_without_preload
    assert report.forkserver_pid == parent.server_pid
    assert child.next() is None
    assert child.exit_code() == 1


def test_a_task_that_is_refused_is_reported_without_a_traceback(parent: Any, preloading: bool) -> None:
    parent.write("tasks.py", "from pyqs import task\n@task\nasync def t(): yield")
    report = parent.start(preloading=preloading, ready=False).expect(NotReady)
    assert "module tasks does not load: @task on t: an async generator cannot be a task" in report.reason
    assert report.details == ""


def test_a_module_that_is_not_there_is_reported(parent: Any, preloading: bool) -> None:
    child = parent.start(preloading=preloading, ready=False, include=("nowhere.tasks",))
    assert "nowhere" in child.expect(NotReady).reason


def test_a_runtime_that_is_not_there_is_reported(parent: Any, preloading: bool) -> None:
    child = parent.start(preloading=preloading, ready=False, runtime="nowhere:Runtime", include=())
    assert "nowhere" in child.expect(NotReady).reason


def test_the_forkserver_lives_on_after_a_failed_import_and_says_it_again(parent: Any) -> None:
    parent.write("tasks.py", "raise RuntimeError('once')")
    first = parent.start(ready=False).expect(NotReady)
    second = parent.start(ready=False).expect(NotReady)
    assert first == second


@pytest.mark.parametrize("daemon", [True, False])
def test_threads_that_an_import_leaves_running_are_named_and_preloading_is_off(parent: Any, daemon: bool) -> None:
    parent.write(
        "tasks.py", TASKS + f"""
    import threading
    threading.Thread(target=threading.Event().wait, name="metrics", daemon={daemon}).start()
    """)  # fmt: skip
    child = parent.start(ready=False)
    report = child.expect(NotReady)
    assert report.retry_without_preload
    assert "metrics" in report.reason
    assert child.exit_code() == 1


def test_a_native_thread_counts_as_well(parent: Any) -> None:
    parent.write(
        "tasks.py", TASKS + """
    import ctypes, ctypes.util
    libc = ctypes.CDLL(None)
    handle = ctypes.c_ulong()
    assert libc.pthread_create(ctypes.byref(handle), None, ctypes.cast(libc.sleep, ctypes.c_void_p), ctypes.c_void_p(60)) == 0
    """)  # fmt: skip
    report = parent.start(ready=False).expect(NotReady)
    assert report.retry_without_preload
    assert "native thread" in report.reason


def test_threads_do_not_matter_when_the_executor_imports_for_itself(parent: Any) -> None:
    parent.write("tasks.py", TASKS + "\n    import threading; threading.Thread(target=threading.Event().wait).start()")
    child = parent.start(preloading=False)
    child.run("tasks.add", 1, 2)
    child.expect(Started)
    assert child.expect(Done).verdict == Delete()
    child.send(Stop())
    assert child.exit_code() == 0


def test_a_thread_that_ends_soon_is_waited_for(parent: Any) -> None:
    parent.write("tasks.py", TASKS + "\n    import threading, time; threading.Thread(target=time.sleep, args=(0.1,)).start()")
    assert parent.start(ready=False).expect(Ready).preloaded


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_connection_that_an_import_opens_is_not_shared_by_executors(parent: Any, tmp_path: Path, kind: str) -> None:
    address = ("127.0.0.1", 0) if kind == "tcp" else str(tmp_path / "database")
    with socket.socket(socket.AF_INET if kind == "tcp" else socket.AF_UNIX) as database:
        database.bind(address)
        database.listen()
        parent.write(
            "tasks.py", TASKS + f"""
    import socket
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.connect(("127.0.0.1", 8125))
    listener = socket.create_server(("127.0.0.1", 0))
    connection = socket.socket(socket.{"AF_INET" if kind == "tcp" else "AF_UNIX"})
    connection.connect({database.getsockname()!r})
    """)  # fmt: skip
        report = parent.start(ready=False).expect(NotReady)
        assert report.retry_without_preload
        name = database.getsockname()
        assert (f"({name[0]}:{name[1]})" if kind == "tcp" else name) in report.reason


def test_datagrams_and_listeners_do_not_matter(parent: Any) -> None:
    parent.write(
        "tasks.py", TASKS + """
    import socket
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.connect(("127.0.0.1", 8125))
    """)  # fmt: skip
    assert parent.start(ready=False).expect(Ready).preloaded


def test_other_settings_than_the_preloaded_ones_are_not_run_with_them(parent: Any) -> None:
    parent.write("tasks.py", TASKS)
    parent.start()
    report = parent.start(ready=False, accept=("json",)).expect(NotReady)
    assert report.retry_without_preload


def test_no_secret_is_in_the_environment_of_the_forkserver_and_the_connection_still_arrives(parent: Any) -> None:
    parent.write(
        "tasks.py",
        """
        import os
        from pathlib import Path
        from pyqs import task
        from pyqs.config import process_defaults

        @task
        def look():
            connection = process_defaults.connection
            told = [connection.secret_access_key, connection.region, str(process_defaults.create_queues), *os.environ]
            Path(__file__).with_name("told").write_text(" ".join(told))
        """,
    )
    connection = ConnectionConfig("eu-west-1", "http://127.0.0.1:1", "key-of-mine", "secret-of-mine")
    child = parent.start(connection=connection, create_queues=False)
    assert b"secret-of-mine" not in Path(f"/proc/{parent.server_pid}/environ").read_bytes()
    child.run("tasks.look")
    child.expect(Started)
    assert child.expect(Done).status == "succeeded"
    told = (parent.folder / "told").read_text().split()
    assert told[:3] == ["secret-of-mine", "eu-west-1", "False"]
    assert "_PYQS_PRELOAD" not in told


def test_the_working_directory_comes_first_on_the_path(parent: Any, preloading: bool) -> None:
    # A module with the name of an installed one: python -m in that directory would take it, too.
    parent.write("wsgiref.py", "mine = True")
    parent.write("tasks.py", TASKS + "\n    import wsgiref; assert wsgiref.mine")
    parent.start(preloading=preloading)


def test_django_is_set_up_before_the_tasks_are_imported(parent: Any, preloading: bool, monkeypatch: Any) -> None:
    parent.write("django/__init__.py", "ready = []\ndef setup(): ready.append(True)")
    parent.write("tasks.py", TASKS + "\n    import django; assert django.ready == [True]")
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "shop.settings")
    parent.start(preloading=preloading)


def test_django_that_is_asked_for_and_not_there_is_said(parent: Any, preloading: bool, monkeypatch: Any) -> None:
    parent.write("django/__init__.py", "raise ModuleNotFoundError(\"No module named 'django'\", name='django')")
    parent.write("tasks.py", TASKS)
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "shop.settings")
    report = parent.start(preloading=preloading, ready=False).expect(NotReady)
    assert "shop.settings" in report.reason
    assert "not installed" in report.reason


def test_hooks_are_loaded_and_a_wrong_one_is_reported(parent: Any, preloading: bool) -> None:
    parent.write("tasks.py", TASKS)
    parent.write("hooks.py", "def before(context): ...")
    parent.start(preloading=preloading, hooks=(("pre_process", "hooks:before"),))


def test_a_hook_that_is_not_there_is_reported(parent: Any, preloading: bool) -> None:
    parent.write("tasks.py", TASKS)
    child = parent.start(preloading=preloading, ready=False, hooks=(("pre_process", "hooks:before"),))
    assert "hooks:before" in child.expect(NotReady).reason
