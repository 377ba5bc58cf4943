"""What a worker must know of an app before it starts, and what ``pyqs report`` and ``pyqs check`` tell of it, read in a process
that imports the app and ends.

Owns: ``read_app_settings``, ``read_report`` and ``read_facts`` (run in a parent, which never imports an app) and the child they
start (``python -m pyqs_celery_compat.appinfo``). The child answers one JSON object on a pipe of its own, so that nothing the
app prints gets into it, and leaves with ``os._exit``, because an app's import may leave threads running that never end.
However the parent ends, so does the child.
"""

from __future__ import annotations

import dataclasses
import json
import os
import select
import signal
import subprocess
import sys
from typing import Any

from pyqs.errors import BootFailed, ConfigError, app_traceback
from pyqs_celery_compat import conf

if sys.platform == "linux":
    import fcntl

#: Seconds that an app may take to be imported.
IMPORT_TIMEOUT = 300.0


def read_app_settings(app: str, include: tuple[str, ...], directory: str) -> conf.WorkerSettings:
    """The app's settings.

    Parameters:
        app: as given with ``-A``. include: modules to import after it. directory: first on the child's ``sys.path``.

    Raises:
        BootFailed: an import failed (``details`` has the traceback), or the app is not done importing after five minutes.
        ConfigError: there is no app there, or one of its settings cannot be honoured.
    """
    return conf.worker_settings_from_primitives(_ask("settings", app, include, directory))


def read_report(app: str, include: tuple[str, ...], directory: str) -> dict[str, Any]:
    """The app's report, see ``app_report``. Parameters and errors are those of ``read_app_settings``, but that settings which
    cannot be honoured are part of the report."""
    return _ask("report", app, include, directory)


def read_facts(app: str, include: tuple[str, ...], directory: str) -> dict[str, Any]:
    """What a check asks of the app, see ``checking.app_facts``. Parameters and errors are those of ``read_report``."""
    return _ask("facts", app, include, directory)


def _ask(what: str, app: str, include: tuple[str, ...], directory: str) -> dict[str, Any]:
    answer, write_end = os.pipe()
    line, held_line = os.pipe()  # the child ends with the last who holds this
    question = json.dumps(
        {"what": what, "app": app, "include": list(include), "directory": directory, "answer": write_end, "lifeline": line,
         "log_format": conf.log_format()}
    )  # fmt: skip
    command = [sys.executable, "-m", "pyqs_celery_compat.appinfo", question]
    # The package must be importable in the child as it is here, wherever this process was started.
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    path = os.pathsep.join([home, *filter(None, [os.environ.get("PYTHONPATH")])])
    env = {**os.environ, "PYTHONPATH": path}
    try:
        try:
            child = subprocess.Popen(
                command,
                pass_fds=(write_end, line),
                stdin=subprocess.DEVNULL,
                stdout=None if what == "settings" else 2,  # a report alone stands on standard output
                cwd=directory,
                env=env,
            )
        finally:
            os.close(write_end)
            os.close(line)
        try:
            text = _read_until_closed(answer)
            status = child.wait()
        finally:  # a signal may end the waiting
            child.kill()
            child.wait()
    finally:
        os.close(answer)
        os.close(held_line)
    if not text:
        raise BootFailed(f"the app {app!r} ended its process while it was imported (exit status {status})")
    return _answered(app, json.loads(text))


def _read_until_closed(fd: int) -> bytes:
    import selectors
    import time

    pieces = []
    deadline = time.monotonic() + IMPORT_TIMEOUT
    with selectors.DefaultSelector() as selector:
        selector.register(fd, selectors.EVENT_READ)
        while True:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise BootFailed(f"the app was still importing after {IMPORT_TIMEOUT:.0f} s")
            piece = os.read(fd, 65536)
            pieces.append(piece)
            if not piece or piece.endswith(b"\n"):
                return b"".join(pieces)


def _answered(app: str, answer: dict[str, Any]) -> dict[str, Any]:
    if "config_error" in answer:
        raise ConfigError(answer["config_error"])
    if "traceback" in answer:
        raise BootFailed(f"the app {app!r} does not import: {answer['error']}", answer["traceback"])
    found: dict[str, Any] = answer["found"]
    return found


def main(question: str) -> int:
    """The child: import, read, answer."""
    asked = json.loads(question)
    _end_with(asked["lifeline"])
    conf.choose_log_format(asked["log_format"])
    answer: dict[str, Any]
    try:
        answer = {"found": _load(asked["what"], asked["app"], asked["include"], asked["directory"])}
    except ConfigError as exc:
        answer = {"config_error": str(exc)}
    except BaseException as exc:  # SystemExit, too: an app that calls sys.exit() while it is imported
        answer = {"error": f"{type(exc).__name__}: {exc}", "traceback": app_traceback(exc)}
    payload = json.dumps(answer).encode() + b"\n"
    with os.fdopen(asked["answer"], "wb") as pipe:
        pipe.write(payload)
    return 0 if "found" in answer else 2


def _end_with(line: int) -> None:
    """Have the kernel end this process when the writer of this pipe has gone, whatever an import is doing then."""
    if sys.platform == "linux":  # as executors do, pyqs.executor.lifeline
        fcntl.fcntl(line, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(line, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(line, fcntl.F_SETFL, fcntl.fcntl(line, fcntl.F_GETFL) | os.O_ASYNC)
        if select.select([line], [], [], 0)[0]:
            os._exit(1)


def _load(what: str, name: str, include: list[str], directory: str) -> dict[str, Any]:
    import importlib

    from pyqs_celery_compat import alias
    from pyqs_celery_compat.finding import find_app

    alias.install_for_worker(name)
    app = find_app(name, directory)
    for module in include:
        importlib.import_module(module)
    if what == "report":
        from pyqs_celery_compat.app_report import report

        return report(app)
    if what == "facts":
        from pyqs_celery_compat.checking.app_facts import facts

        return facts(app)
    return dataclasses.asdict(conf.worker_settings(app))


if __name__ == "__main__":
    status = main(sys.argv[1])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
