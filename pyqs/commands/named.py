"""Which queues a command is about: those of ``-Q``, or of the app of ``-A``, and the connection to them.

Owns: that reading of a command's values, and the discovery that a worker with the same options makes. Runs in the main thread
of a command. Never imports the app, and receives nothing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyqs import logs
from pyqs.commands import options
from pyqs.commands.app import AppSettings, merge_connection, read_app_settings
from pyqs.config import ConnectionConfig
from pyqs.errors import ConfigError
from pyqs.queues.discovery import Found, discover
from pyqs.queues.patterns import Pattern, compile_patterns
from pyqs.sqs import Sqs


@dataclass(frozen=True, slots=True)
class Named:
    """What was named.

    Parameters:
        connection: to the SQS that has them. settings: the app's, or those of a command without one. patterns: at least one.
    """

    connection: ConnectionConfig
    settings: AppSettings
    patterns: tuple[Pattern, ...]

    def found(self, sqs: Sqs, exclude: Sequence[str]) -> Found:
        """The queues that there are, as a worker would find them."""
        return discover(
            sqs,
            self.patterns,
            exclude=compile_patterns(exclude, excluding=True),
            prefix_bound=self.settings.queue_prefix,
            predefined=dict(self.settings.predefined_queues) or None,
            suggest=True,
        )


def named(queues: tuple[str, ...], app: str | None, values: dict[str, Any]) -> Named:
    """What a command's values name; logging is set up, too. Must run while the command does.

    Raises:
        ConfigError: nothing is named. BootFailed: the app does not load.
    """
    connection, flags = options.take_connection(values)
    logs.configure(values["log_level"], secrets=(connection.secret_access_key, connection.session_token))
    settings = AppSettings()
    if app:
        settings = read_app_settings(app, options.items(values["include"]), os.getcwd())
        connection = merge_connection(flags, settings)
    patterns = compile_patterns(queues or settings.queues)
    if not patterns:
        raise ConfigError("which queues? give -Q 'email.*' (a name, glob, URL or ARN), or -A with an app that names them")
    return Named(connection, settings, tuple(patterns))
