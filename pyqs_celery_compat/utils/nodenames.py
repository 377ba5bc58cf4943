"""Names of workers, and the formats that have such names in them.

Owns: ``nodename`` and its company. Pure, but for asking the machine for its name.
"""

from __future__ import annotations

import os
from functools import lru_cache
from socket import gethostname as _machine
from typing import TYPE_CHECKING, Any

from pyqs_celery_compat.utils.text import simple_format

if TYPE_CHECKING:
    from kombu.entity import Queue

__all__ = [
    "anon_nodename",
    "default_nodename",
    "gethostname",
    "host_format",
    "node_format",
    "nodename",
    "nodesplit",
    "worker_direct",
]

NODENAME_DEFAULT = "celery"
NODENAME_SEP = "@"
WORKER_DIRECT_QUEUE_FORMAT = "{hostname}.dq2"
_DIRECT_EXCHANGE = "C.dq2"


@lru_cache(maxsize=1)
def gethostname() -> str:
    """This machine's name, asked for once."""
    return _machine()


def worker_direct(hostname: str | Queue) -> Queue:
    """The queue of one worker alone, as kombu's Queue; a Queue comes back as it is."""
    from kombu.entity import Exchange, Queue

    if isinstance(hostname, Queue):
        return hostname
    name = WORKER_DIRECT_QUEUE_FORMAT.format(hostname=hostname)
    exchange = Exchange(_DIRECT_EXCHANGE)  # type: ignore[no-untyped-call, unused-ignore]
    return Queue(name, exchange, hostname)  # type: ignore[no-untyped-call, unused-ignore]


def nodename(name: str, hostname: str) -> str:
    """``name@hostname``."""
    return NODENAME_SEP.join((name, hostname))


def anon_nodename(hostname: str | None = None, prefix: str = "gen") -> str:
    """A name for a process that is no worker."""
    return nodename(f"{prefix}{os.getpid()}", hostname or gethostname())


def nodesplit(name: str) -> Any:
    """``(name, hostname)``; the name is None where there is only a host."""
    parts = name.split(NODENAME_SEP, 1)
    return (None, parts[0]) if len(parts) == 1 else parts


def default_nodename(hostname: str | None, default_name: str = NODENAME_DEFAULT) -> str:
    """A worker's full name from what the user gave for it."""
    name, host = nodesplit(hostname or "")
    return nodename(name or default_name, host or gethostname())


def node_format(s: str, name: str, **extra: Any) -> str:
    """A format with ``%n`` ``%h`` ``%d`` ``%i`` ``%I`` ``%p`` in it, for the worker of this full name."""
    shortname, host = nodesplit(name)
    return host_format(s, host, shortname or NODENAME_DEFAULT, p=name, **extra)


def host_format(s: str, host: str | None = None, name: str | None = None, **extra: Any) -> str:
    """The same for a host and a short name.

    Raises:
        ValueError: the format has a letter that means nothing.
    """
    host = host or gethostname()
    shortname, _, domain = host.partition(".")
    index = _process_index()
    keys = {"h": host, "n": name or shortname, "d": domain, "i": index, "I": f"-{index}" if index != "0" else "", **extra}
    return simple_format(s, keys)


def _process_index() -> str:
    """Which of its pool's processes this is; executors have no number."""
    return "0"
