"""What becomes of a delivery, whatever its task does: one Done, the right verdict, and an executor that goes on."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from pyqs.message import Delete, Hide
from pyqs.wire import Done, Started, Stop

TASKS = """
    import ctypes, os, signal, subprocess, sys, threading, time
    from pathlib import Path
    from pyqs import task

    HERE = Path(__file__).parent

    @task
    def good(*args, **kwargs): ...

    @task
    def fail(): raise ValueError("on purpose")

    @task
    def leave(code): sys.exit(code)

    @task
    def interrupt(): raise KeyboardInterrupt

    class Own(BaseException): ...

    @task
    def base(): raise Own

    @task
    def deep(): deep()

    @task
    def shout(text):
        print(text)
        print(text, file=sys.stderr)

    @task
    def close_standard_streams():
        for stream in (sys.stdin, sys.stdout, sys.stderr): stream.close()

    @task
    def close_descriptors(): os.closerange(0, 256)

    @task
    def lose_streams(): sys.stdout = sys.stderr = None

    @task
    def odd_streams():
        class Odd:
            def write(self, text): ...
            def flush(self): raise RuntimeError
        sys.stdout = sys.stderr = Odd()

    @task
    def processes(method):
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor
        with ProcessPoolExecutor(2, multiprocessing.get_context(method)) as pool:
            assert list(pool.map(abs, [-1, -2, -3])) == [1, 2, 3]

    @task
    def timeouts():
        import socket
        socket.setdefaulttimeout(0.001)

    @task
    def signals():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    @task
    def fork(how):
        pid = os.fork()
        if pid == 0:
            if how == "return": return
            if how == "exit": sys.exit(3)
            if how == "raise": raise ValueError
            os._exit(4)
        _, status = os.waitpid(pid, 0)
        (HERE / "status").write_text(str(os.waitstatus_to_exitcode(status)))

    @task
    def die(): os.kill(os.getpid(), signal.SIGKILL)
"""


def end(child: Any, task: str, *args: Any, **kwargs: Any) -> Done:
    """Run one and answer its Done."""
    number = child.run(task, *args, **kwargs)
    started = child.expect(Started)
    assert (started.delivery_id, started.task, started.call_id) == (number, task, f"m-{number}")
    assert not started.ack_early
    done = child.expect(Done)
    assert isinstance(done, Done)
    assert (done.delivery_id, done.task, done.call_id) == (number, task, f"m-{number}")
    return done


@pytest.fixture
def child(parent: Any) -> Any:
    parent.write("tasks.py", TASKS)
    return parent.start()


def test_success_deletes(child: Any) -> None:
    done = end(child, "tasks.good", 1, key="value")
    assert (done.verdict, done.status, done.follow_ups, done.reason) == (Delete(), "succeeded", (), "")


@pytest.mark.parametrize(
    ("task", "args", "reason"),
    [
        ("fail", (), "ValueError"),
        ("leave", (0,), "SystemExit"),
        ("leave", (1,), "SystemExit"),
        ("interrupt", (), "KeyboardInterrupt"),
        ("base", (), "Own"),
        ("deep", (), "RecursionError"),
        ("fail", ("too", "many"), "TypeError"),
    ],
)
def test_whatever_a_task_raises_is_its_failure(child: Any, task: str, args: tuple[Any, ...], reason: str) -> None:
    done = end(child, f"tasks.{task}", *args)
    assert (done.status, done.reason) == ("failed", reason)
    assert isinstance(done.verdict, Hide)
    assert done.verdict.seconds > 0
    assert end(child, "tasks.good").status == "succeeded"


@pytest.mark.parametrize(
    "task", ["close_standard_streams", "close_descriptors", "lose_streams", "odd_streams", "timeouts", "signals"]
)
def test_what_a_task_does_to_its_process_does_not_end_it(child: Any, task: str) -> None:
    assert end(child, f"tasks.{task}").status == "succeeded"
    os.kill(child.pid, signal.SIGTERM)
    os.kill(child.pid, signal.SIGINT)
    for _ in range(3):
        assert end(child, "tasks.good", "x" * 100_000).status == "succeeded"
    child.send(Stop())
    assert child.exit_code() == 0


@pytest.mark.parametrize(("how", "status"), [("return", "0"), ("exit", "3"), ("raise", "1"), ("at once", "4")])
def test_a_forked_process_is_no_second_executor(parent: Any, child: Any, how: str, status: str) -> None:
    done = end(child, "tasks.fork", how)
    assert done.status == "succeeded"
    assert (parent.folder / "status").read_text() == status
    assert end(child, "tasks.good").status == "succeeded"


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_task_may_use_processes_of_its_own(child: Any, method: str) -> None:
    assert end(child, "tasks.processes", method).status == "succeeded"
    assert end(child, "tasks.good").status == "succeeded"


BROKEN_RUNTIME = """
    from pyqs.native import NativeRuntime
    from pyqs.runtime import Outcome
    from pyqs.message import Delete, FollowUp, OutgoingMessage
    from dataclasses import dataclass

    @dataclass
    class Broken:
        how: str
        task = "t"; call_id = "c"; start_at = None; soft_time_limit = None; ack_early = False; rate_key = None; rate = 0.0

        @property
        def time_limit(self):
            if self.how == "limit": raise RuntimeError
            return object() if self.how == "started" else None

        def run(self):
            if self.how == "run": raise SystemExit
            body = b"bytes" if self.how == "bytes" else "x" * (66 * 1024 * 1024)
            return Outcome(Delete(), "succeeded", (FollowUp("q", OutgoingMessage(body)),))

    class Runtime(NativeRuntime):
        def prepare(self, delivery):
            how = delivery.message.body
            if how == "prepare": raise SystemExit
            return Broken(how) if how in ("limit", "started", "run", "bytes", "large") else super().prepare(delivery)

        def close(self): raise RuntimeError
"""


@pytest.mark.parametrize("how", ["prepare", "limit", "started", "run", "bytes", "large"])
def test_a_runtime_that_breaks_its_word_costs_one_delivery_a_delay(parent: Any, how: str) -> None:
    parent.write("tasks.py", TASKS)
    parent.write("broken_runtime.py", BROKEN_RUNTIME)
    child = parent.start(runtime="broken_runtime:Runtime")
    child.run("", body=how)
    done = child.next()
    if isinstance(done, Started):
        done = child.next()
    assert isinstance(done, Done)
    assert isinstance(done.verdict, Hide)
    assert done.follow_ups == ()
    assert "the runtime raised" in done.reason
    assert end(child, "tasks.good").status == "succeeded"
    child.send(Stop())
    assert child.exit_code() == 0


def test_printing_is_flushed_and_does_not_reach_the_pipe(parent: Any, capfd: Any) -> None:
    parent.write("tasks.py", TASKS)
    child = parent.start()
    assert end(child, "tasks.shout", "hello from the task").status == "succeeded"
    seen = capfd.readouterr()
    assert "hello from the task" in seen.out
    assert "hello from the task" in seen.err


def test_a_failure_leaves_its_traceback_in_the_log_and_no_arguments_in_the_frame(parent: Any, capfd: Any) -> None:
    parent.write("tasks.py", TASKS)
    child = parent.start()
    done = end(child, "tasks.fail")
    seen = capfd.readouterr().err
    assert "on purpose" in seen
    assert "tasks.py" in seen
    assert "on purpose" not in done.reason


def test_frames_of_a_megabyte_and_more(child: Any) -> None:
    done = end(child, "tasks.good", "ü" * 1_000_000, more="x" * 1_000_000)
    assert done.status == "succeeded"


def test_death_is_the_end_of_the_stream(child: Any) -> None:
    child.run("tasks.die")
    child.expect(Started)
    assert child.next() is None
    assert child.exit_code() == -signal.SIGKILL


@pytest.mark.parametrize(
    "body", ["", "hello", "{}", "null", "[1]", '{"task": 5}', '{"task": "tasks.good", "args": 5}', "[" * 100_000]
)
def test_what_cannot_be_read_is_hidden_and_never_started(child: Any, body: str) -> None:
    child.run("", body=body)
    done = child.expect(Done)
    assert done.status == "undecodable"
    assert isinstance(done.verdict, Hide)
    assert done.verdict.seconds >= 10
    assert done.call_id == "m-1"
    assert end(child, "tasks.good").status == "succeeded"


NAMES = """
    os.system builtins.eval antigravity.x pip.x pip._internal.main this.x nowhere.x good . tasks. ..x setup.main __main__.x
    tasks.plain tasks.HERE.unlink tasks.good.__globals__ tasks.subprocess.run venv.inside.run site-packages.x pyqs.main.main
"""


@pytest.mark.parametrize("name", [*NAMES.split(), "tasks good", "tasks.\u00e9"])
def test_a_name_that_is_no_task_imports_and_runs_nothing(parent: Any, name: str) -> None:
    parent.write("tasks.py", TASKS + """
    def plain(): (HERE / "ran").touch()

    @task
    def loaded(): (HERE / "loaded").write_text(" ".join(sys.modules))
    """)  # fmt: skip
    parent.write("setup.py", "import pathlib; pathlib.Path(__file__).with_name('ran').touch()\ndef main(): ...")
    parent.write("venv/pyvenv.cfg", "")
    parent.write(
        "venv/inside.py", "import pathlib; pathlib.Path(__file__).parents[1].joinpath('ran').touch()\n@print\ndef run(): ..."
    )
    child = parent.start()
    end(child, "tasks.loaded")
    before = (parent.folder / "loaded").read_text().split()
    child.run(name)
    done = child.expect(Done)
    assert done.status == "unknown"
    assert isinstance(done.verdict, Hide)
    end(child, "tasks.loaded")
    assert set((parent.folder / "loaded").read_text().split()) <= {*before, "ast", "_ast"}
    assert not (parent.folder / "ran").exists()


def test_a_task_of_the_working_directory_is_imported_when_a_message_names_it(parent: Any, preloading: bool) -> None:
    parent.write("tasks.py", TASKS)
    parent.write("shop/orders/tasks.py", "from pyqs import task\n@task\ndef ship(number): ...")
    child = parent.start(preloading=preloading, include=())
    assert end(child, "shop.orders.tasks.ship", 1).status == "succeeded"
    assert end(child, "tasks.good").status == "succeeded"


@pytest.mark.parametrize("code", ["raise RuntimeError", "import sys; sys.exit()", "import nowhere", "def broken(:"])
def test_a_named_module_that_does_not_load_is_an_unknown_task(parent: Any, code: str) -> None:
    parent.write("tasks.py", TASKS)
    parent.write("broken.py", f"def t(): ...\nt = print(t)\n{code}")
    child = parent.start()
    child.run("broken.t")
    done = child.expect(Done)
    assert done.status == "unknown"
    assert "importing broken raised" in done.reason
    assert end(child, "tasks.good").status == "succeeded"


def test_hooks_see_pyqs_keys_and_the_outcome(parent: Any, preloading: bool) -> None:
    parent.write("tasks.py", TASKS)
    parent.write(
        "hooks.py",
        """
        import json
        from pathlib import Path

        def note(context):
            with Path(__file__).with_name("contexts").open("a") as out:
                print(json.dumps(context), file=out)

        def double(context):
            context["args"] = [2 * one for one in context["args"]]
        """,
    )
    hooks = (("pre_process", "hooks:double"), ("pre_process", "hooks:note"), ("post_process", "hooks:note"))
    child = parent.start(preloading=preloading, hooks=hooks)
    end(child, "tasks.good", 1, key="v")
    end(child, "tasks.fail")
    import json

    lines = [json.loads(line) for line in (parent.folder / "contexts").read_text().splitlines()]
    assert [line.get("status") for line in lines] == [None, "success", None, "exception"]
    first = lines[0]
    assert isinstance(first.pop("fetch_time"), float)
    assert first == {
        "message_id": "m-1", "task_name": "good", "args": [2], "kwargs": {"key": "v"}, "full_task_path": "tasks.good",
        "queue_url": "http://sqs/1/email", "timeout": 120, "receipt_handle": "handle-1",
    }  # fmt: skip
    assert lines[1]["args"] == [1]
    assert "on purpose" in lines[3]["exception"]
    assert "Traceback" in lines[3]["exception"]
