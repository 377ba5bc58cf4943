"""Composition root: the process that ``pyqs`` starts, from argv to an exit code.

Owns: the entry point, the one place where the engine names the compat package, and what an error looks like to the
person at the terminal. Runs in the main thread of the worker's process. Importing it is cheap and does nothing: every
executor imports the main module again.

Exit codes: 0 done, 1 a worker was stopped in a hurry or a part of it crashed (or pyqs itself did), or what was asked about is
not so, 2 wrong usage, configuration or boot, 130 Ctrl-C of anything but a worker or beat.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyqs.config import WorkerConfig
    from pyqs.worker.health import Health
    from pyqs.worker.signals import Signals

#: The runtime of every ``pyqs worker``: it runs Celery's messages and native ones. Imported by executors only.
COMPAT_RUNTIME = "pyqs_celery_compat.runtime:CeleryRuntime"
#: Reads an app's settings in a short-lived process of its own; the worker never imports an app.
COMPAT_APP_SETTINGS = "pyqs_celery_compat.appinfo:read_app_settings"
#: Makes ``pyqs report``'s report of an app, in the same way.
COMPAT_APP_REPORT = "pyqs_celery_compat.appinfo:read_report"
#: What ``pyqs call``, ``result`` and ``shell`` do with an app.
COMPAT_BY_HAND = "pyqs_celery_compat.by_hand"
#: Reads what a test's Celery tasks have sent, for ``pyqs.testing``.
COMPAT_SENT = "pyqs_celery_compat.decoding:read"
#: Says what a message holds, for ``pyqs peek`` and ``pyqs dlq``; runs and imports nothing that it names.
COMPAT_READER = "pyqs_celery_compat.reading:read_message"
#: Runs ``pyqs beat``, in this process, which imports the app.
COMPAT_BEAT = "pyqs_celery_compat.beat_program:run"
#: Reads a codebase for ``pyqs check``, as text.
COMPAT_CHECK = "pyqs_celery_compat.checking.run:check"

EXIT_OK = 0
EXIT_CRASHED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None, *, celerys: bool = False) -> int:
    """Run one command line (``sys.argv[1:]`` if None) and answer its exit code; never raises for what a user did.

    Parameters:
        celerys: it is one for Celery's command, ``-A proj worker ...``.
    """
    try:
        _fill_standard_streams()
        if celerys:
            from pyqs.commands.celery_face import run
        else:
            from pyqs.commands.group import run

        return run(list(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # ``pyqs queues ... | head``: the reader has gone, and Python's own flush at exit must not complain about it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except Exception as error:
        return report(error)


def _fill_standard_streams() -> None:
    """Put the null device where a stream was closed before the start (``2>&-``, some init systems).

    Python then has None there; worse, the next file or socket would take the number, and what a task or a C library
    prints would go into it.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode)  # noqa: SIM115 - gets the lowest free number, the closed one, and stays open
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)


def report(error: Exception) -> int:
    """Say on stderr what is wrong, in one line (plus the app's own traceback when an app did not load); the exit code."""
    from pyqs.errors import BootFailed, PyQSError

    if isinstance(error, PyQSError):
        _say(f"error: {error}", error.details if isinstance(error, BootFailed) else "")
        return EXIT_USAGE
    if os.environ.get("PYQS_TRACEBACK"):
        raise error
    _say(f"internal error: {type(error).__name__}: {error} (a bug of pyqs; PYQS_TRACEBACK=1 shows where)")
    return EXIT_CRASHED


def _say(what: str, details: str = "") -> None:
    """On standard error, in the form of the log's lines where they are JSON."""
    from pyqs import logs

    if logs.chosen() == "json":
        import logging

        lines = filter(None, [what, details.rstrip()])
        logging.getLogger("pyqs").critical("%s", "\n".join(lines), extra={"verbatim": True})
        return
    if details:
        print(details.rstrip(), file=sys.stderr)
    print(f"pyqs: {what}", file=sys.stderr)


def run_worker(config: WorkerConfig, *, health: Health | None = None, signals: Signals | None = None) -> int:
    """Run a worker in this process until it has drained (``--burst``) or been told to stop; its exit code.

    Parameters:
        health: what answers probes, started by the caller.
        signals: taken by the caller; None takes them while the worker runs.

    Raises:
        ConfigError: on Windows, where tasks can be sent but not run.
    """
    from pyqs.errors import ConfigError

    if sys.platform == "win32":
        raise ConfigError("a worker does not run on Windows (tasks can be sent from there); use Linux, a container or WSL")
    from pyqs.worker.worker import Worker

    return Worker(config, health=health, signals=signals).run()
