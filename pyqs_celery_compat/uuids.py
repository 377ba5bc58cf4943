"""Task ids and who made them.

Owns: ``uuid`` (a new task id), ``anon_nodename`` (a message's origin), ``thread_oid`` (where replies would go). Pure.
"""

from __future__ import annotations

import os
import socket
import threading
from uuid import NAMESPACE_OID, uuid3, uuid4

_thread = threading.local()


def uuid() -> str:
    """A new random task id."""
    return str(uuid4())


def anon_nodename() -> str:
    """``gen<pid>@<host>``, as Celery names the producer in a message."""
    return f"gen{os.getpid()}@{socket.gethostname()}"


def object_oid(obj: object) -> str:
    """An id of this object in this process."""
    return str(uuid3(NAMESPACE_OID, f"{os.getpid():x}-{id(obj):x}-{socket.gethostname()}"))


def thread_oid(obj: object) -> str:
    """An id of this object in this thread; kept for the thread's life."""
    known: dict[tuple[int, int], str] = _thread.__dict__.setdefault("oids", {})
    key = (os.getpid(), id(obj))
    if key not in known:
        known[key] = str(uuid3(NAMESPACE_OID, f"{os.getpid():x}-{threading.get_ident():x}-{id(obj):x}-{socket.gethostname()}"))
    return known[key]
