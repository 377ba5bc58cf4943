"""PyQS's command line: ``pyqs 'email.*' --concurrency 10``, queues first and no subcommand.

Owns: PyQS 1.0.1's options and what each has become. Everything ``pyqs worker`` knows is understood here too. Runs in the
main thread of the worker's process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import click

from pyqs import logs
from pyqs.commands import options, worker
from pyqs.commands.worker_options import WorkerOptions, options_from
from pyqs.config import ENV_PREFIX, MAX_BATCH, ConnectionConfig
from pyqs.errors import ConfigError
from pyqs.registry import registry

#: PyQS's defaults, which differ from ``pyqs worker``'s.
DEFAULT_CONCURRENCY = 1
DEFAULT_LOG_LEVEL = "WARNING"


def translate(
    chosen: WorkerOptions,
    *,
    interval: float | None = None,
    batchsize: int | None = None,
    prefetch_multiplier: int | None = None,
    simple_worker: bool = False,
) -> tuple[WorkerOptions, list[str]]:
    """PyQS's options folded into a worker's, and one line for each that no longer means what it did.

    Parameters:
        interval: seconds PyQS slept after each message.
        batchsize: messages of one receive; outside 1-10 it is set to the nearer end, as PyQS does.
        prefetch_multiplier: PyQS's internal queue held this many receives per process.
        simple_worker: one process both received and ran, nothing was prefetched.
    """
    notes = []
    size = MAX_BATCH if batchsize is None else min(MAX_BATCH, max(1, batchsize))
    concurrency = chosen.concurrency or DEFAULT_CONCURRENCY
    if interval:
        notes.append("--interval: no longer needed, nothing is polled in a loop (a receive waits up to 20 s for a message)")
    if simple_worker:
        notes.append(
            "--simple-worker: one receive feeds all executors and leases are renewed while a task runs; nothing is held beyond"
            f" the {concurrency * chosen.async_slots} running"
        )
        size = 1 if batchsize is None else size
        chosen = replace(chosen, prefetch_bound=concurrency * chosen.async_slots)
    elif prefetch_multiplier is not None:
        if prefetch_multiplier < 1:
            raise ConfigError(f"--prefetch-multiplier must be at least 1, not {prefetch_multiplier}")
        running = concurrency * chosen.async_slots
        chosen = replace(chosen, prefetch_bound=max(running, running * prefetch_multiplier * size))
        notes.append(
            f"--prefetch-multiplier: at most {chosen.prefetch_bound} messages are held at once; what can be run soon decides"
            " below that"
        )
    return replace(chosen, concurrency=concurrency, batch_size=size), notes


def tell(notes: list[str]) -> None:
    """What became of an option, on stderr: the user gave it on purpose and should hear, whatever the log level."""
    for note in notes:
        print(f"pyqs: {note}", file=sys.stderr)


def start(
    queues: tuple[str, ...],
    *,
    concurrency: int,
    log_level: str,
    connection: Mapping[str, str | None],
    **pyqs: Any,
) -> int:
    """``pyqs.main._main``: the worker of a program that calls PyQS instead of running it; its exit code.

    ``connection`` fields that are None come from the environment. Tasks that the program has imported run, and so do those
    in modules beside it: ``cd / && python /srv/site/manage.py worker`` finds what ``manage.py`` finds.
    """
    given: dict[str, Any] = {name: value for name, value in connection.items() if value}
    try:
        level = logs.level_name(log_level)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    chosen = WorkerOptions(
        queues=queues,
        concurrency=concurrency,
        log_level=level,
        connection=replace(ConnectionConfig.from_environment(), **given),
        include=_included(),
        working_directory=_program_directory(),
    )
    chosen, notes = translate(chosen, **pyqs)
    tell(notes)
    return worker.start(chosen)


def _included() -> tuple[str, ...]:
    """Modules named by ``PYQS_INCLUDE``, and those whose tasks the calling program has registered."""
    named = options.items([os.environ.get(f"{ENV_PREFIX}INCLUDE", "")])
    tasks = [registry.get(name) for name in registry.names()]
    loaded = [getattr(task, "__module__", "") for task in tasks]
    return tuple(dict.fromkeys([*named, *(module for module in sorted(set(loaded)) if module not in ("", "__main__"))]))


def _program_directory() -> str:
    """The directory of the calling program, which Python puts first on its path; for installed scripts the current one."""
    first = os.path.abspath(sys.path[0]) if sys.path and sys.path[0] else os.getcwd()
    installed = any(first.startswith(os.path.join(prefix, "")) for prefix in {sys.prefix, sys.base_prefix})
    return first if os.path.isdir(first) and not installed else os.getcwd()


@click.command("pyqs", context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("queues", nargs=-1, required=True, metavar="QUEUE...")
@options.option(
    "-c", "--concurrency", env="CONCURRENCY", type=click.IntRange(min=1), default=DEFAULT_CONCURRENCY, show_default=True,
    help="Executors.",
)  # fmt: skip
@click.option("--interval", type=click.FloatRange(min=0), help="PyQS: no longer needed; says so.")
@click.option("--batchsize", type=int, help="Messages of one receive, 1-10.")
@click.option("--prefetch-multiplier", type=int, help="PyQS: bounds what is held at once to concurrency x this x batchsize.")
@click.option("--simple-worker", is_flag=True, help="PyQS: nothing is held beyond what runs.")
@options.log_level_option("-l", "--loglevel", "--log_level", "--log-level", default=DEFAULT_LOG_LEVEL)
def command(**values: Any) -> int:
    """Consume QUEUES (names, globs, URLs, ARNs; commas separate), with PyQS's options and those of `pyqs worker`."""
    pyqs = {name: values.pop(name) for name in ("interval", "batchsize", "prefetch_multiplier", "simple_worker")}
    chosen, notes = translate(options_from(values), **pyqs)
    tell(notes)
    return worker.start(chosen)


_own = {param.name for param in command.params}
command.params += [param for param in worker.command.params if param.name not in _own]
