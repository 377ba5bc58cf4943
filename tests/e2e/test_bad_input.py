"""Whatever people, messages and AWS do wrong: the worker answers with one clear line and goes on, or ends with exit code 2."""

from __future__ import annotations

import base64
import json
import pickle
import signal
from typing import Any

import pytest

from pyqs.local.server import LocalServer

TASKS = """
    from ledger import ran
    from pyqs import task

    @task(queue="email")
    def send(number):
        ran(f"send {number}")

    def plain(number):
        ran(f"plain {number}")
"""


def native(name: str, *args: Any) -> str:
    return json.dumps({"task": name, "args": list(args), "kwargs": {}})


def celery(name: str, payload: str, content_type: str = "application/json", encoding: str = "utf-8", **headers: Any) -> str:
    """A protocol 2 message in kombu's envelope, base64 as kombu's SQS transport writes it."""
    head = {"lang": "py", "task": name, "id": "id-1", "root_id": "id-1", "retries": 0, "timelimit": [None, None], **headers}
    envelope = {
        "body": payload,
        "content-type": content_type,
        "content-encoding": encoding,
        "headers": head,
        "properties": {"body_encoding": "base64", "correlation_id": "id-1", "delivery_info": {}, "delivery_tag": "t"},
    }
    return base64.b64encode(json.dumps(envelope).encode()).decode()


class Gadget:
    """Unpickled without restriction this leaves a file behind."""

    def __reduce__(self) -> Any:
        import os

        return os.system, ("touch pwned",)


POISON = {
    "not-json": "hello",
    "empty-object": "{}",
    "null": "null",
    "list": "[1, 2]",
    "binary-looking": base64.b64encode(bytes(range(256))).decode(),
    "half-an-envelope": base64.b64encode(b'{"body": "x"').decode(),
    "unreadable-content": celery("tasks.send", base64.b64encode(b"{not json").decode()),
    "unknown-compression": celery("tasks.send", base64.b64encode(b"[[1], {}, {}]").decode(), compression="application/x-nope"),
    "unknown-content-type": celery("tasks.send", base64.b64encode(b"x").decode(), "application/x-nope"),
    "pickle-gadget": celery(
        "tasks.send",
        base64.b64encode(pickle.dumps(([Gadget()], {}, {}), 2)).decode(),
        "application/x-python-serialize",
        "binary",
    ),
    "s3-event": json.dumps({"Records": [{"eventSource": "aws:s3", "task": "x"}]}),
    "deep": "[" * 100_000,
    "wrong-args": json.dumps({"task": "tasks.send", "args": 5, "kwargs": []}),
}


@pytest.mark.parametrize("switch", ["--strict", "--burst"])
def test_an_unknown_queue_ends_it_with_near_matches(project: Any, queues: Any, switch: str) -> None:
    queues.create("email-send")
    done = project.run("worker", "-Q", "email-sned", switch)
    assert done.returncode == 2
    assert "email-sned" in done.stderr
    assert "email-send" in done.stderr.replace("email-sned", "")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("switch", ["--strict", "--burst"])
def test_a_queue_given_by_an_address_that_leads_nowhere_ends_it(project: Any, queues: Any, switch: str) -> None:
    url = queues.create("email-send").replace("email-send", "email-gone")
    done = project.run("worker", "-Q", url, switch)
    assert done.returncode == 2
    assert "email-gone" in done.stderr
    assert "does not exist" in done.stderr


def test_an_unknown_queue_is_warned_about_and_looked_for_again(project: Any, queues: Any, server: LocalServer) -> None:
    queues.create("email-send")
    running = project.start("worker", "-Q", "email-sned")
    assert "it is looked for again" in running.wait_for("email-sned")
    running.signal(signal.SIGINT)
    assert running.wait() == 0
    assert "ListQueues" not in server.seen, "which is for wildcards"


@pytest.mark.parametrize("command", [("queues",), ("worker", "--burst")])
def test_refused_credentials_at_a_burst_are_one_line(
    project: Any, queues: Any, server: LocalServer, command: tuple[str, ...]
) -> None:
    queues.create("email")
    server.store.faults.add("expired-token")
    done = project.run(*command, "-Q", "email")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "token" in done.stderr.lower()


def test_refused_credentials_do_not_end_a_worker(project: Any, queues: Any, server: LocalServer) -> None:
    project.write("tasks.py", TASKS)
    queues.create("email")
    queues.send("email", native("tasks.send", 1))
    server.store.faults.add("expired-token")
    running = project.start("worker", "-Q", "email", "--include", "tasks")
    running.wait_for("oken")
    server.store.faults.clear()
    project.wait_until(lambda: project.ran() == ["send 1"])
    running.signal(signal.SIGINT)
    assert running.wait() == 0
    assert "Traceback" not in running.stderr


def test_literal_names_need_no_permission_to_list(project: Any, queues: Any, server: LocalServer) -> None:
    project.write("tasks.py", TASKS)
    queues.create("email")
    queues.send("email", native("tasks.send", 1))
    server.store.faults.add("access-denied:action=ListQueues")
    done = project.run("worker", "-Q", "email", "--include", "tasks", "--burst")
    assert (done.returncode, project.ran()) == (0, ["send 1"]), done.stderr
    assert "ListQueues" not in done.stderr


def test_a_glob_without_permission_to_list_says_what_is_missing(project: Any, queues: Any, server: LocalServer) -> None:
    queues.create("email")
    server.store.faults.add("access-denied:action=ListQueues")
    done = project.run("worker", "-Q", "email.*", "--burst")
    assert done.returncode == 2
    assert "ListQueues" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "pattern", ["", "[email", "email]", "two words", "x" * 81, "arn:aws:sns:r:1:x", "http://", "email:depth=3", "é", ","]
)
def test_a_malformed_pattern_is_named(project: Any, pattern: str) -> None:
    done = project.run("worker", "-Q", pattern)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("option", ["--include", "-A"])
@pytest.mark.parametrize("preload", ["--preload", "--no-preload"])
def test_an_app_that_raises_on_import_ends_it_with_its_traceback(project: Any, queues: Any, option: str, preload: str) -> None:
    queues.create("email")
    project.write(
        "broken.py",
        """
        from ledger import ran
        ran("imported")
        raise RuntimeError("the database is on fire")
        """,
    )
    done = project.run("worker", "-Q", "email", option, "broken", preload, "-c", "2")
    assert done.returncode == 2, done.stderr
    assert "the database is on fire" in done.stderr
    assert "broken.py" in done.stderr
    assert len(project.ran()) <= 4, "a crash loop"
    frames = [line for line in done.stderr.splitlines() if line.startswith("  File ")]
    assert frames, "no traceback"
    assert all("broken.py" in frame for frame in frames), "a traceback of ours"


def test_an_unknown_content_type_is_named_without_a_traceback(project: Any, queues: Any) -> None:
    queues.create("email")
    done = project.run("worker", "-Q", "email", "--accept", "jsn", "--burst")
    assert done.returncode == 2
    assert "unknown content type 'jsn'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_module_that_is_not_there_is_named(project: Any, queues: Any) -> None:
    queues.create("email")
    done = project.run("worker", "-Q", "email", "--include", "nowhere.tasks")
    assert done.returncode == 2
    assert "nowhere" in done.stderr


@pytest.mark.parametrize("option", ["--include", "-A"])
def test_an_app_that_exits_on_import_ends_it(project: Any, queues: Any, option: str) -> None:
    queues.create("email")
    project.write("leaves.py", "import sys; sys.exit('no settings')")
    done = project.run("worker", "-Q", "email", option, "leaves")
    assert done.returncode == 2
    assert "leaves" in done.stderr


def test_poison_is_left_alone_and_the_rest_runs(project: Any, queues: Any) -> None:
    project.write("tasks.py", TASKS)
    queues.create("email")
    poison = {}
    for number, (name, body) in enumerate(POISON.items()):
        queues.send("email", native("tasks.send", number))
        (poison[name],) = queues.send("email", body)
    done = project.run("worker", "-Q", "email", "--include", "tasks", "--burst", "-c", "2")
    assert done.returncode == 0, done.stderr
    assert project.ran() == sorted(f"send {number}" for number in range(len(POISON)))
    assert queues.left("email") == len(POISON)
    assert not (project.folder / "pwned").exists()
    for name, message_id in poison.items():
        told = [line for line in done.stderr.splitlines() if message_id in line]
        assert len(told) == 1, f"{name}: {told}"
    assert "Traceback" not in done.stderr


NO_TASKS = [
    native("tasks.nothing_here", 1),
    native("nothing_here", 1),
    native("tasks.plain", 1),
    native("os.system", "touch pwned"),
    native("builtins.eval", "open('pwned', 'w')"),
    celery("os.system", base64.b64encode(b'[["touch pwned"], {}, {}]').decode()),
    celery("tasks.plain", base64.b64encode(b"[[1], {}, {}]").decode()),
    celery("tasks.nothing_here", base64.b64encode(b"[[1], {}, {}]").decode()),
    native("", 1),
    native("tasks.", 1),
    native("..", 1),
    native("tasks.send.__globals__", 1),
    native("tasks.os.system", "touch pwned"),
]


def test_only_tasks_run(project: Any, queues: Any) -> None:
    project.write("tasks.py", "import os" + TASKS.replace("\n    ", "\n"))
    queues.create("email")
    ids = queues.send("email", *NO_TASKS)
    queues.send("email", native("tasks.send", 1))
    done = project.run("worker", "-Q", "email", "--include", "tasks", "--burst", "-c", "1")
    assert done.returncode == 0, done.stderr
    assert project.ran() == ["send 1"]
    assert not (project.folder / "pwned").exists()
    assert queues.left("email") == len(NO_TASKS)
    for body, message_id in zip(NO_TASKS, ids, strict=True):
        assert done.stderr.count(message_id) == 1, body


WATCHED = """
    import sys

    class Watch:
        def find_spec(self, name, path=None, target=None):
            with open("imports.txt", "a") as seen:
                seen.write(f"{name}\\n")

    sys.meta_path.insert(0, Watch())
"""


FORBIDDEN = ["antigravity", "pip", "this", "lib2to3.pgen2.driver", "email.mime.audio", "pip._vendor.rich", "site", "__main__"]


@pytest.mark.parametrize("preload", ["--preload", "--no-preload"])
def test_a_message_never_imports_what_is_not_the_apps(project: Any, queues: Any, preload: str) -> None:
    project.write("watch.py", WATCHED)
    project.write("tasks.py", "import watch" + TASKS.replace("\n    ", "\n"))
    project.write("other.py", TASKS.replace("\n    ", "\n"))
    queues.create("email")
    for module in FORBIDDEN:
        queues.send("email", native(f"{module}.x", 1), celery(f"{module}.x", base64.b64encode(b"[[], {}, {}]").decode()))
    queues.send("email", native("other.send", 1))
    done = project.run("worker", "-Q", "email", "--include", "tasks", "--burst", "-c", "1", preload)
    assert done.returncode == 0, done.stderr
    seen = (project.folder / "imports.txt").read_text().splitlines()
    assert "other" in seen, "the watch does not see what the executor imports"
    assert not set(FORBIDDEN) & set(seen)
    assert queues.left("email") == 2 * len(FORBIDDEN)
    assert project.ran() == ["send 1"]


def test_an_import_that_leaves_a_thread_running(project: Any, queues: Any) -> None:
    project.write("tasks.py", TASKS)
    project.write(
        "threads.py",
        """
        import threading
        threading.Thread(target=threading.Event().wait, daemon=True, name="metrics").start()
        """,
    )
    queues.create("email")
    queues.send("email", *(native("tasks.send", number) for number in range(4)))
    done = project.run("worker", "-Q", "email", "--include", "tasks", "--include", "threads", "--burst", "-c", "2")
    assert done.returncode == 0, done.stderr
    assert project.ran() == ["send 0", "send 1", "send 2", "send 3"]
    assert len([line for line in done.stderr.splitlines() if "thread" in line.lower()]) == 1, done.stderr


DELAY = """
    from pyqs import task
    import pyqs.errors

    @task(queue={queue!r})
    def send(*args, **kwargs): ...

    try:
        send.delay({call})
    except (pyqs.errors.MessageError, pyqs.errors.ConfigError) as error:
        print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("queue", "call", "error", "said"),
    [
        ("email", "'x' * 1_100_000", "TooLarge", "send"),
        ("email", "object()", "NotSerializable", "send"),
        ("email", "key={1, 2}", "NotSerializable", "send"),
        ("email", "_delay_seconds=-1", "BadMessageOption", "-1"),
        ("email", "_delay_seconds=901", "BadMessageOption", "900"),
        ("email", "_delay_seconds='soon'", "BadMessageOption", "soon"),
        ("email", "_delay_seconds=float('nan')", "BadMessageOption", "nan"),
        ("email", "_delay_seconds=True", "BadMessageOption", "True"),
        ("orders.fifo", "_delay_seconds=5", "BadMessageOption", "FIFO"),
        ("two words", "1", "", "two words"),
        ("x" * 81, "1", "", "81"),
        ("é", "1", "", "é"),
    ],
)
def test_wrong_calls_are_refused_before_anything_is_sent(
    project: Any, queues: Any, server: LocalServer, queue: str, call: str, error: str, said: str
) -> None:
    queues.create("email")
    queues.create("orders.fifo", FifoQueue="true")
    done = project.python(DELAY.format(queue=queue, call=call))
    told = done.stdout + done.stderr
    if error:
        assert done.stdout.startswith(error), told
    else:  # at the decorator or at the call, either is before anything was sent
        assert "Error" in told or "BadMessageOption" in told
    assert said in told
    assert server.seen.get("SendMessage", 0) + server.seen.get("SendMessageBatch", 0) == 0


def test_a_missing_queue_is_an_error_that_names_the_fix_when_creation_is_off(project: Any) -> None:
    done = project.python(DELAY.format(queue="nowhere", call="1").replace("except (", "except (pyqs.errors.SqsError, "),
                          PYQS_CREATE_QUEUES="0")  # fmt: skip
    assert "nowhere" in done.stdout, done.stderr
    assert "create" in done.stdout.lower()
