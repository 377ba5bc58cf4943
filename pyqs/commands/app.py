"""What ``-A`` says before any executor runs: the app's queues, connection and defaults, as primitives.

Owns: asking the compat package (by its dotted path in ``cli``) to read an app in a short-lived process, and folding the
answer under the command line's own values. Runs in the main thread at start. Never imports the app here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Protocol

from pyqs import cli
from pyqs.config import ConnectionConfig


@dataclass(frozen=True, slots=True)
class AppSettings:
    """What an app says about its worker; the defaults are those of a worker without an app.

    Parameters:
        queues: ``task_queues``, or the default queue: logical names.
        queue_prefix: ``queue_name_prefix`` of its transport options.
        predefined_queues: (name, URL); replace discovery.
        connection: from its broker URL and transport options, then from ``PYQS_*`` variables.
        create_queues: ``task_create_missing_queues``.
        create_attributes, create_tags: what it gives a queue that it creates.
        concurrency: ``worker_concurrency``, or None.
        prefetch_multiplier: ``worker_prefetch_multiplier`` where the app sets it, or None.
        shutdown_timeout: ``worker_soft_shutdown_timeout`` in seconds, or None for no limit.
        max_tasks_per_child: ``worker_max_tasks_per_child``, or None.
        max_memory_per_child: ``worker_max_memory_per_child`` in KiB, or None.
        notes: lines to log once.
    """

    queues: tuple[str, ...] = ()
    queue_prefix: str = ""
    predefined_queues: tuple[tuple[str, str], ...] = ()
    connection: ConnectionConfig = field(default_factory=ConnectionConfig)
    create_queues: bool = False
    create_attributes: tuple[tuple[str, str], ...] = ()
    create_tags: tuple[tuple[str, str], ...] = ()
    concurrency: int | None = None
    prefetch_multiplier: int | None = None
    shutdown_timeout: float | None = None
    max_tasks_per_child: int | None = None
    max_memory_per_child: int | None = None
    notes: tuple[str, ...] = ()


class _Answer(Protocol):
    """What the compat package answers. ``app_queues`` are logical names; discovery puts the prefix in front of them."""

    connection: ConnectionConfig
    app_queues: tuple[str, ...]
    queue_prefix: str
    predefined_queues: tuple[tuple[str, str], ...]
    create_queues: bool
    create_attributes: tuple[tuple[str, str], ...]
    create_tags: tuple[tuple[str, str], ...]
    concurrency: int | None
    prefetch_multiplier: int | None
    shutdown_timeout: float | None
    max_tasks_per_child: int | None
    max_memory_per_child: int | None
    notes: tuple[str, ...]


def read_app_settings(app: str, include: tuple[str, ...], directory: str) -> AppSettings:
    """What the app says, read in a process that imports it and ends.

    Raises:
        BootFailed: the app or an included module does not import; ``details`` holds its traceback.
        ConfigError: there is no app in the module, or a setting of it is impossible.
    """
    module, _, name = cli.COMPAT_APP_SETTINGS.partition(":")
    read: Callable[[str, tuple[str, ...], str], _Answer] = getattr(importlib.import_module(module), name)
    answer = read(app, include, directory)
    return AppSettings(
        queues=answer.app_queues,
        queue_prefix=answer.queue_prefix,
        predefined_queues=answer.predefined_queues,
        connection=answer.connection,
        create_queues=answer.create_queues,
        create_attributes=answer.create_attributes,
        create_tags=answer.create_tags,
        concurrency=answer.concurrency,
        prefetch_multiplier=answer.prefetch_multiplier,
        shutdown_timeout=answer.shutdown_timeout,
        max_tasks_per_child=answer.max_tasks_per_child,
        max_memory_per_child=answer.max_memory_per_child,
        notes=answer.notes,
    )


def merge_connection(flags: ConnectionConfig, app: AppSettings) -> ConnectionConfig:
    """The app's connection, changed by what was given as options.

    Only options, not variables: the app's producers read the same variables, and app and variables must mean the same SQS
    to both sides. Keys and profile are one choice: naming either sets aside the app's keys.
    """
    base = app.connection
    if flags.access_key_id or flags.profile:
        base = replace(base, access_key_id=None, secret_access_key=None, session_token=None, profile=None)
    given = {field_.name: value for field_ in fields(flags) if (value := getattr(flags, field_.name)) is not None}
    return replace(base, **given)
