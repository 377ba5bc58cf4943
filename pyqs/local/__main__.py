"""``python -m pyqs.local``: the server without the rest of the command line.

Owns: its options, the same as those of ``pyqs local``. Runs in the main thread. Never does more than call ``serve.run``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from pyqs.local.serve import run


def main(argv: Sequence[str] | None = None) -> int:
    """Read the options and serve; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m pyqs.local", description="SQS on this machine, for development and tests.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=9324, help="port (default %(default)s; 0 takes a free one)")
    parser.add_argument("--db", metavar="FILE", help="SQLite file that keeps the queues")
    parser.add_argument("--memory", action="store_true", help="keep nothing (the default without --db)")
    parser.add_argument("--fault", dest="faults", action="append", default=[], metavar="SPEC", help="misbehave on purpose")
    options = parser.parse_args(argv)
    return run(options.host, options.port, options.db, options.memory, options.faults)


if __name__ == "__main__":
    sys.exit(main())
