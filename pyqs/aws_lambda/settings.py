"""What a Lambda function is told by its environment.

Owns: ``LambdaConfig`` and its reading from ``PYQS_*`` variables, those of ``pyqs worker`` where they mean the same. Runs when
the function starts. Never reads a file, never connects.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pyqs import cli
from pyqs.config import DEFAULT_MAX_PAYLOAD, ENV_PREFIX, ConnectionConfig, RuntimeConfig, WorkerConfig, parse_bool
from pyqs.errors import ConfigError

#: Seconds kept at the end of an invocation for what must be said to SQS.
DEFAULT_MARGIN = 2.0


@dataclass(frozen=True, slots=True)
class LambdaConfig:
    """All of one function.

    Parameters:
        worker: what a worker would be told of the same; its ``runtime``, ``connection`` and policies count here.
        margin: seconds before the end of the function's time in which no task starts; at most a quarter of that time.
    """

    worker: WorkerConfig
    margin: float = DEFAULT_MARGIN

    def __post_init__(self) -> None:
        if not 0 <= self.margin < 900:
            raise ConfigError(f"{ENV_PREFIX}LAMBDA_MARGIN must be 0 to 899 seconds, not {self.margin:g}")

    def over(self, connection: ConnectionConfig) -> LambdaConfig:
        """The same over another connection."""
        runtime = replace(self.worker.runtime, connection=connection)
        return replace(self, worker=replace(self.worker, runtime=runtime, connection=connection))


def from_environment(environ: Mapping[str, str] | None = None) -> LambdaConfig:
    """The settings of a function.

    Raises:
        ConfigError: one of the variables makes no sense; names it.
    """
    env = os.environ if environ is None else environ

    def get(name: str) -> str:
        return env.get(ENV_PREFIX + name, "").strip()

    if get("APP"):
        raise ConfigError(
            f"{ENV_PREFIX}APP names a Celery app, which has its own handler: write `handler = app.lambda_handler` in a module, "
            "and name that as the function's handler"
        )
    connection = ConnectionConfig.from_environment(env)
    runtime = RuntimeConfig(
        runtime=cli.COMPAT_RUNTIME,
        include=_items(get("INCLUDE")),
        accept=_items(get("ACCEPT")) or None,
        pickle_allow=_items(get("PICKLE_ALLOW")),
        connection=connection,
        create_queues=parse_bool(get("CREATE_QUEUES") or "1", ENV_PREFIX + "CREATE_QUEUES"),
        # The function's directory holds what it was packed with: a message may name none of that, only tasks that are there.
        working_directory="",
        max_payload=int(_number("MAX_PAYLOAD", get("MAX_PAYLOAD"), 1, 1024, DEFAULT_MAX_PAYLOAD >> 20)) << 20,
    )
    policies = {f"on_{kind}": get(f"ON_{kind.upper()}") or "leave" for kind in ("undecodable", "unknown", "refused")}
    worker = WorkerConfig(queues=(), runtime=runtime, connection=connection, **policies)  # type: ignore[arg-type]
    return LambdaConfig(worker, _number("LAMBDA_MARGIN", get("LAMBDA_MARGIN"), 0, 899, DEFAULT_MARGIN))


def _items(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _number(name: str, text: str, least: float, most: float, default: float) -> float:
    if not text:
        return default
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not least <= number <= most:
        raise ConfigError(f"{ENV_PREFIX}{name} must be a number from {least:g} to {most:g}, not {text!r}")
    return number
