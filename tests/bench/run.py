"""The benchmarks, by name: ``nox -s bench -- drain latency --rounds 3``. They print ratios and assert nothing on time.

Owns: the list of benches. Runs in the benchmark's main thread. Ends what it started when it is told to stop.
"""

from __future__ import annotations

import importlib
import signal
import sys
import time
from types import FrameType

from kit import options, results

#: In the order of what they tell.
BENCHES = ("drain", "enqueue", "latency", "waiting", "memory", "imports", "idle", "local_store", "credit", "executor")


def main() -> int:
    """Run those that were asked for; the exit code."""
    signal.signal(signal.SIGTERM, _leave)
    if sys.argv[1:] == ["report"]:
        importlib.import_module("report").main()
        return 0
    chosen = options.read(sys.argv[1:], BENCHES)
    print(results.described(results.machine()))
    print(f"load average {results.round_load()}; each figure becomes a line of {results.FILE}")
    for name in chosen.benches:
        began = time.monotonic()
        importlib.import_module(name).main(chosen)
        print(f"\n{name}: {time.monotonic() - began:.0f} s", flush=True)
    return 0


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
