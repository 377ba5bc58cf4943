"""``pyqs local``: the embedded SQS as a process.

Owns: opening the store, the lines printed for the user, and the end on SIGINT or SIGTERM. Runs in the main thread of a
process of its own. Never daemonizes.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import closing

from pyqs.errors import ConfigError
from pyqs.local.faults import Faults
from pyqs.local.server import LocalServer, is_loopback
from pyqs.local.store import DEFAULT_REGION, Store


def run(
    host: str = "127.0.0.1",
    port: int = 9324,
    db: str | None = None,
    memory: bool = False,
    faults: Sequence[str] = (),
) -> int:
    """Serve until SIGINT or SIGTERM.

    Parameters:
        host: address to bind; one that other machines reach is warned about.
        port: 0 takes a free one, which is printed.
        db: SQLite file; without it everything is kept in memory.
        memory: say so explicitly, which spares the note about it.
        faults: rules in the form that ``faults`` describes.

    Returns 0 after a signal, 2 (with one line on stderr) when an option is wrong, the file cannot be used or the port is
    taken.
    """
    over = threading.Event()
    before = {number: signal.signal(number, lambda *_: over.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        if db is not None and memory:
            raise ConfigError("--db and --memory exclude each other")
        with closing(Store(db, faults=Faults(faults))) as store, LocalServer(store, host, port) as server:
            _announce(server, host, db, memory)
            over.wait()
    except ConfigError as error:
        print(f"pyqs local: {error}", file=sys.stderr, flush=True)
        return 2
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0


def _announce(server: LocalServer, host: str, db: str | None, memory: bool) -> None:
    if not is_loopback(host):
        print(
            f"pyqs local: warning: {host} is reachable from other machines, and nobody's credentials are checked",
            file=sys.stderr,
            flush=True,
        )
    kept = f"queues are kept in {db}" if db is not None else "queues are kept in memory and end with this process"
    hint = "" if db is not None or memory else " (--db FILE keeps them)"
    lines = [f"# pyqs local: SQS on {server.endpoint_url}; {kept}{hint}", f"export AWS_ENDPOINT_URL_SQS={server.endpoint_url}"]
    if not os.environ.get("AWS_ACCESS_KEY_ID") or not os.environ.get("AWS_SECRET_ACCESS_KEY"):
        lines.append("export AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local")
    if not os.environ.get("AWS_DEFAULT_REGION"):
        lines.append(f"export AWS_DEFAULT_REGION={DEFAULT_REGION}")
    print("\n".join(lines), flush=True)
