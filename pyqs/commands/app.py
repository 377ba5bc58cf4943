"""What ``-A`` says before any executor runs: the app's queues, connection and defaults, as primitives.

Owns: asking the compat package (by its dotted path in ``cli``) to read an app in a short-lived process, and folding the
answer under the command line's own values. Runs in the main thread at start. Never imports the app here.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from pyqs import cli
from pyqs.config import ConnectionConfig


@dataclass(frozen=True, slots=True)
class AppSettings:
    """What an app says about its worker; the defaults are those of a worker without an app.

    Parameters:
        queues: ``task_queues``, or the default queue: logical names.
        queue_prefix: ``queue_name_prefix`` of its transport options.
        predefined_queues: (name, URL); replace discovery.
        connection: from its broker URL and transport options.
        create_queues: ``task_create_missing_queues``.
        create_attributes: what it gives a queue that it creates.
        concurrency: ``worker_concurrency``, or None.
        shutdown_timeout: ``worker_soft_shutdown_timeout`` in seconds, or None for no limit.
    """

    queues: tuple[str, ...] = ()
    queue_prefix: str = ""
    predefined_queues: tuple[tuple[str, str], ...] = ()
    connection: ConnectionConfig = field(default_factory=ConnectionConfig)
    create_queues: bool = False
    create_attributes: tuple[tuple[str, str], ...] = ()
    concurrency: int | None = None
    shutdown_timeout: float | None = None


def read_app_settings(app: str, include: tuple[str, ...], directory: str) -> AppSettings:
    """What the app says, read in a process that imports it and ends.

    Raises:
        BootFailed: the app or an included module does not import; ``details`` holds its traceback.
        ConfigError: there is no app in the module, or a setting of it is impossible.
    """
    module, _, name = cli.COMPAT_APP_SETTINGS.partition(":")
    read = getattr(importlib.import_module(module), name)
    return from_primitives(read(app, include, directory))


def from_primitives(answer: Mapping[str, Any]) -> AppSettings:
    """The answer of that process: names of the fields here to lists, text and numbers."""
    pairs = ("predefined_queues", "create_attributes")
    known = {name: value for name, value in answer.items() if name not in (*pairs, "queues", "connection")}
    return AppSettings(
        queues=tuple(answer["queues"]),
        connection=ConnectionConfig(**answer["connection"]),
        **{name: tuple(dict(answer[name]).items()) for name in pairs},
        **known,
    )


def merge_connection(chosen: ConnectionConfig, app: AppSettings) -> ConnectionConfig:
    """The command line's connection, with the app's in every field that the command line leaves open.

    Keys and profile are one choice: naming either on the command line sets aside the app's keys.
    """
    base = app.connection
    if chosen.access_key_id or chosen.profile:
        base = replace(base, access_key_id=None, secret_access_key=None, session_token=None, profile=None)
    given = {field_.name: value for field_ in fields(chosen) if (value := getattr(chosen, field_.name)) is not None}
    return replace(base, **given)
