"""Celery's command line, option by option: what becomes of each here.

Owns: the one table of Celery 5.7's commands and their options, from which ``--help`` and docs/command-line.md are made. Pure
data; ``celery_parsing`` reads it where a command line is parsed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

#: Whose options these are.
CELERY = "5.7.0"


class Fate(Enum):
    """What becomes of an option; the value is how documents call it."""

    WORKS = "works"
    NO_EFFECT = "no effect"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class CeleryOption:
    """One option of one of Celery's commands.

    Parameters:
        command: the command's name, or "" for options that stand before the command in Celery.
        names: as typed, ``-n`` and ``--hostname``.
        fate: what becomes of it.
        note: what it does here, why it has no effect, or what to do instead of it.
        flag: it takes no value.
    """

    command: str
    names: tuple[str, ...]
    fate: Fate
    note: str
    flag: bool = False

    @property
    def label(self) -> str:
        """Its names in one: ``-D/--detach``."""
        return "/".join(self.names)


def _works(command: str, names: str, note: str, *, flag: bool = False) -> CeleryOption:
    return CeleryOption(command, tuple(names.split()), Fate.WORKS, note, flag)


def _without_effect(command: str, names: str, note: str, *, flag: bool = False) -> CeleryOption:
    return CeleryOption(command, tuple(names.split()), Fate.NO_EFFECT, note, flag)


def _refused(command: str, names: str, note: str, *, flag: bool = False) -> CeleryOption:
    return CeleryOption(command, tuple(names.split()), Fate.REFUSED, note, flag)


_SUPERVISOR = "the service manager does it: systemd, a container's runtime, supervisord (docs/deploying.md)"
_AS_WHOM = "the worker is started as that user: USER in a Dockerfile, User= in a systemd unit"
_EVENTS = "there are no monitoring events on SQS; see docs/observability.md"

#: In Celery's own order.
CELERY_OPTIONS: tuple[CeleryOption, ...] = (
    _works("", "-A --app", "The app; before the command or behind it."),
    _works(
        "", "-b --broker", "The broker's URL, in place of the app's; every process of the worker has it as CELERY_BROKER_URL."
    ),
    _works("", "--result-backend", "The result backend, in place of the app's; likewise CELERY_RESULT_BACKEND."),
    _works("", "--loader", "The loader of an app that names none; likewise CELERY_LOADER."),
    _works("", "--config", "The configuration's module for the default loader; likewise CELERY_CONFIG_MODULE."),
    _works("", "--workdir", "The directory to change to first."),
    _works("", "-C --no-color", "No colours.", flag=True),
    _without_effect("", "-q --quiet", "a worker prints no banner; -l WARNING leaves out its other lines", flag=True),
    _works("", "--version", "Prints the version.", flag=True),
    _works("", "--skip-checks", "Django's system checks are left out.", flag=True),
    # -- worker
    _works(
        "worker", "-n --hostname", "The node's name, for request.hostname, signals and `status`; %h, %n and %d are replaced."
    ),
    _refused("worker", "-D --detach", _SUPERVISOR, flag=True),
    _without_effect("worker", "-S --statedb", "revoked ids are kept where all workers see them (docs/results.md)"),
    _works("worker", "-l --loglevel", "The level, also in small letters. The default is INFO."),
    _without_effect("worker", "-O --optimization", "a task is handed to an executor that is free, as `fair` has it"),
    _works("worker", "--prefetch-multiplier", "At most so many messages are held for each executor; 0 sets no limit."),
    _works("worker", "--disable-prefetch", "No more messages are held than there are executors.", flag=True),
    _works("worker", "-c --concurrency", "Executors; `auto` is one for each processor."),
    _works(
        "worker",
        "-P --pool",
        "prefork and processes are what there is; solo is one executor; eventlet, gevent, threads and custom are refused: "
        "for tasks that wait there is --async-slots.",
    ),
    _without_effect("worker", "-E --task-events --events", _EVENTS, flag=True),
    _works("worker", "--time-limit", "Seconds after which a task is killed that has no time_limit of its own."),
    _works("worker", "--soft-time-limit", "Seconds after which SoftTimeLimitExceeded is raised in such a task."),
    _works("worker", "--max-tasks-per-child", "An executor is replaced after so many tasks."),
    _works(
        "worker", "--pool-start-method", "fork: executors are forked from a process that has the app; spawn: as --no-preload."
    ),
    _works("worker", "--max-memory-per-child", "KiB above which an executor is replaced."),
    _refused(
        "worker",
        "--purge --discard",
        "it would empty the queues at every start, also of what is sent within the next minute; run `pyqs purge` once",
        flag=True,
    ),
    _works("worker", "--queues -Q", "What to consume; patterns, too."),
    _works("worker", "--exclude-queues -X", "What not."),
    _works("worker", "--include -I", "Further modules with tasks."),
    _without_effect("worker", "--without-gossip", "workers do not talk to each other", flag=True),
    _without_effect("worker", "--without-mingle", "workers do not talk to each other", flag=True),
    _without_effect(
        "worker",
        "--without-heartbeat",
        "no heartbeat is sent to the broker; --health and --heartbeat-file show life",
        flag=True,
    ),
    _without_effect("worker", "--heartbeat-interval", "no heartbeat is sent to the broker"),
    _works("worker", "--autoscale", "MAX,MIN: as -c MAX. An executor that waits costs a few MB and no time."),
    _works("worker", "-B --beat", "Periodic tasks are sent from this worker; from no other at the same time.", flag=True),
    _works("worker", "-s --schedule-filename --schedule", "With -B: the schedule file, which Celery's beat reads, too."),
    _works("worker", "--scheduler", "With -B: the scheduler's class."),
    _works(
        "worker", "--logfile -f", "All processes of the worker write to this file. It is opened once: rotate it by copying."
    ),
    _works("worker", "--pidfile", "The worker's pid; with the pid of a process that lives in it no worker starts."),
    _refused("worker", "--uid", _AS_WHOM),
    _refused("worker", "--gid", _AS_WHOM),
    _works("worker", "--umask", "Octal, of all processes of the worker."),
    _without_effect("worker", "--executable", "the Python that runs this one is taken"),
    # -- beat
    _refused("beat", "--detach", _SUPERVISOR, flag=True),
    _works("beat", "-s --schedule", "The schedule file, which Celery's beat reads, too."),
    _works("beat", "-S --scheduler", "The scheduler's class, or the name that a library has for it."),
    _works("beat", "--max-interval", "Seconds at most between two looks at the schedule."),
    _without_effect("beat", "--enable-remote-control --no-enable-remote-control", "beat cannot be asked over SQS", flag=True),
    _without_effect("beat", "-n --hostname", "beat cannot be asked over SQS"),
    _works("beat", "-l --loglevel", "The level, also in small letters. The default is INFO."),
    _works("beat", "--logfile -f", "Where to log."),
    _works("beat", "--pidfile", "Beat's pid; with the pid of a process that lives in it no beat starts."),
    _refused("beat", "--uid", _AS_WHOM),
    _refused("beat", "--gid", _AS_WHOM),
    _works("beat", "--umask", "Octal."),
    _without_effect("beat", "--executable", "the Python that runs this one is taken"),
    # -- call
    _works("call", "-a --args", "The arguments, a JSON array."),
    _works("call", "-k --kwargs", "The keyword arguments, a JSON object."),
    _works("call", "--eta", "When it is to run, ISO 8601."),
    _works("call", "--countdown", "The same in seconds from now."),
    _works("call", "--expires", "When it is no longer to run: seconds from now, or ISO 8601."),
    _works("call", "--serializer", "Of the arguments; json."),
    _works("call", "--queue", "The queue, in place of the one that the app's routes name."),
    _works("call", "--exchange", "The exchange."),
    _works("call", "--routing-key", "The routing key."),
    # -- result
    _works("result", "-t --task", "The task's name, for a backend of its own."),
    _works("result", "--traceback", "The traceback, in place of the value.", flag=True),
    # -- purge
    _works("purge", "-f --force", "Without a question.", flag=True),
    _works("purge", "-Q --queues", "These queues; patterns, too."),
    _works("purge", "-X --exclude-queues", "Not these."),
    # -- shell
    _works("shell", "-I --ipython", "IPython.", flag=True),
    _works("shell", "-B --bpython", "bpython.", flag=True),
    _works("shell", "--python", "Python's own.", flag=True),
    _works("shell", "-T --without-tasks", "Without the app's tasks among the names.", flag=True),
    _refused("shell", "--eventlet", "patch in a start-up file of the shell if it must be", flag=True),
    _refused("shell", "--gevent", "patch in a start-up file of the shell if it must be", flag=True),
    # -- status and inspect, which ask the workers of this machine
    *(
        row
        for command in ("status", "inspect")
        for row in (
            _without_effect(command, "-t --timeout", "a worker of this machine has answered already, or it does not live"),
            _works(command, "-d --destination", "Only nodes of these names."),
            _works(command, "-j --json", "JSON.", flag=True),
        )
    ),
    _works("inspect", "--list", "Prints what can be asked.", flag=True),
)

_ASK = "nobody can be told on SQS"
#: Celery's commands that are not here, and what to do instead.
REFUSED_COMMANDS: dict[str, str] = {
    "amqp": "there is no AMQP on SQS; `pyqs queues`, `pyqs peek` and `pyqs purge` look after queues",
    "control": f"{_ASK}. Revoke with app.control.revoke(id) (`pyqs shell -A proj`); limits and pools are settings and "
    "options of the worker, which is started anew",
    "events": "there are no monitoring events on SQS: `pyqs stats` shows live workers, /metrics is for Prometheus "
    "(docs/observability.md)",
    "graph": "no worker answers over SQS; `pyqs stats` shows those whose health port is reached",
    "list": "there are no bindings on SQS; `pyqs queues` lists queues",
    "logtool": "Celery's own reads these log lines, which are Celery's: PYQS_AS_CELERY=0 celery logtool ...",
    "migrate": "from another broker to SQS: run Celery's own `celery migrate`, or let the old worker drain its queues",
    "multi": f"one worker has as many executors as -c says; several are started by what starts services: {_SUPERVISOR}",
    "upgrade": "Celery's own does that: PYQS_AS_CELERY=0 celery upgrade settings ...",
}


def of(command: str) -> tuple[CeleryOption, ...]:
    """The rows of a command ("" for Celery's options before the command)."""
    return tuple(row for row in CELERY_OPTIONS if row.command == command)
